"""Responses that were answered in another dialect, remembered by what was recorded of them.

A response of ours is `resp_` and the id of its Record, and with `records.content: full` its content is in the store
already: nothing is written for it. `previous_response_id` becomes turns of the request; what is below
`/v1/responses/{id}` is answered here for ids that are known to be the caller's, everything else goes on as before.
The store is asked through control, and only for such requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qsl

from msgspec.structs import replace

from flumegate.dialects.node import ReadError
from flumegate.dialects.openai.responses import stored as links
from flumegate.dialects.openai.responses.stored import PREVIOUS, Link
from flumegate.engine import local
from flumegate.errors import INVALID_REQUEST, NOT_FOUND, UNAVAILABLE, GatewayError
from flumegate.exchange import Exchange
from flumegate.ir.request import Request
from flumegate.records.stored import Stored, Wanted

Ask = Callable[[Wanted], Awaitable[Stored]]

MOST_LINKS = 50
ASK_SECONDS = 2.0
"""For all links together."""
RETRY_SECONDS = 2
MOST_ITEMS = 100
"""Of one page."""
_OURS = re.compile(r"resp_([0-9a-f]{16})")
_PATH = re.compile(rb"/v1/responses/resp_([0-9a-f]{16})(/input_items|/cancel)?/?")
_METHODS: dict[bytes, tuple[bytes, ...]] = {
    b"": (b"GET", b"DELETE"),
    b"/input_items": (b"GET",),
    b"/cancel": (b"POST",),
}


async def nobody(_wanted: Wanted) -> Stored:
    """Answer for a store that is not there."""
    return Stored("unavailable")


async def recall(exchange: Exchange, ask: Ask) -> None:
    """Put into the exchange the turns that its request leaves to `previous_response_id`.

    Raises:
        GatewayError: 400 or 404, the response is not one that can be continued; 503, the store cannot be asked now.
    """
    try:
        previous = links.read_previous(exchange.body)
    except ReadError as error:
        raise GatewayError(INVALID_REQUEST, "invalid_request_body", str(error), param=error.path or None) from None
    if not previous:
        return
    if exchange.response_body is None:
        raise _not_stored(PREVIOUS)
    matched = _OURS.fullmatch(previous)
    if matched is None:
        raise _unknown(previous, PREVIOUS)
    chain = await _follow(exchange, ask, matched[1], len(exchange.body))
    try:
        exchange.earlier = links.read_turns(chain)
    except ReadError as error:
        raise GatewayError(INVALID_REQUEST, "invalid_request_body", str(error), param=PREVIOUS) from None


def with_storage(exchange: Exchange, request: Request) -> tuple[Request, Request]:
    """Return a request as its answer repeats it, and as it is sent.

    Raises:
        GatewayError: 400, it wants to be stored and nothing is.
    """
    if exchange.kind != "responses":
        return request, request
    kept = exchange.response_body is not None
    if request.store and not kept:
        raise _not_stored("store")
    if exchange.earlier or request.store:
        # Stored is what is asked of us, not of the provider.
        sent = links.continue_from(_with_store(request, stored=None), exchange.earlier)
    else:
        sent = request
    return _with_store(request, stored=kept and request.store is not False), sent


async def serve(exchange: Exchange, ask: Ask, extra: bytes) -> bytes | None:
    """Return the answer to a request about a stored response; None if it is for a provider.

    Raises:
        GatewayError: 400 or 404, it cannot be served; 503, the store cannot be asked now.
    """
    matched = _PATH.fullmatch(exchange.path)
    if matched is None or exchange.method not in _METHODS[matched[2] or b""] or b"x-upstream-name" in exchange.picked:
        return None
    link_id, what = matched[1].decode(), matched[2] or b""
    snapshot = exchange.snapshot
    default = snapshot.providers.get(snapshot.default_provider)
    others = default is not None and "openai" in default.speaks
    if snapshot.records.content != "full":
        if others:
            return None
        raise _not_stored(None)
    wanted = Wanted(link_id, exchange.key_id, exchange.project)
    async with _asking():
        found = await ask(wanted)
    if found.state == "unknown" and others:
        return None
    exchange.kind = "stored_response"
    if exchange.method == b"DELETE":
        body = await _forget(wanted, found, ask)
        return local.answer(exchange, 200, body, extra)
    link = _read(link_id, found, None)
    if what == b"/cancel":
        message = "Only responses in the background can be cancelled, and none is made here."
        raise GatewayError(INVALID_REQUEST, "response_not_cancellable", message)
    if what:
        return local.answer(exchange, 200, await _list_input(exchange, ask, link), extra)
    if _query(exchange).get("stream") == "true":
        raise _invalid_query("stream", "A stored response is not streamed again; leave it out.")
    return local.answer(exchange, 200, link.response, extra)


async def _forget(wanted: Wanted, found: Stored, ask: Ask) -> bytes:
    try:
        _read(wanted.id, found, None)
    except GatewayError as error:
        if error.code != "response_not_whole":  # what is kept in part can be deleted, too
            raise
    async with _asking():
        found = await ask(replace(wanted, forget=True))
    if found.state == "unavailable":
        raise _unavailable()
    return links.write_deleted(f"resp_{wanted.id}")


async def _list_input(exchange: Exchange, ask: Ask, link: Link) -> bytes:
    query = _query(exchange)
    order, limit = query.get("order", "desc"), query.get("limit", "20")
    if order not in ("asc", "desc"):
        raise _invalid_query("order", "It must be asc or desc.")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MOST_ITEMS):
        raise _invalid_query("limit", f"It must be a number between 1 and {MOST_ITEMS}.")
    matched = _OURS.fullmatch(link.previous)
    chain = await _follow(exchange, ask, matched[1], link.size) if matched is not None else []
    found = links.list_input([*chain, link])
    if order == "desc":
        found.reverse()
    after = query.get("after", "")
    if after:
        place = next((number for number, (item_id, _) in enumerate(found) if item_id == after), None)
        if place is None:
            raise _invalid_query("after", "No item of this response has that id.")
        found = found[place + 1 :]
    return links.write_page(found[: int(limit)], has_more=len(found) > int(limit))


async def _follow(exchange: Exchange, ask: Ask, link_id: str, size: int) -> list[Link]:
    """Return a link and all before it, oldest first; `size` bytes are taken already."""
    chain: list[Link] = []
    most = exchange.snapshot.door.max_body_bytes
    async with _asking():
        while link_id:
            found = await ask(Wanted(link_id, exchange.key_id, exchange.project))
            link = _read(link_id, found, PREVIOUS)
            chain.append(link)
            size += link.size
            if len(chain) > MOST_LINKS or size > most:
                raise GatewayError(
                    INVALID_REQUEST,
                    "response_chain_too_long",
                    f"The conversation behind it is longer than {MOST_LINKS} responses or {most} bytes "
                    "(server.max_body_bytes); begin a new one with what matters of it as input.",
                    param=PREVIOUS,
                )
            matched = _OURS.fullmatch(link.previous)
            link_id = matched[1] if matched is not None else ""
    chain.reverse()
    return chain


def _read(link_id: str, found: Stored, param: str | None) -> Link:
    match found.state:
        case "found":
            try:
                link = links.read_link(link_id, found.request_body, found.response_body)
            except ReadError:
                raise _not_whole(link_id, param) from None
            if link.kept:
                return link
            raise _unknown(f"resp_{link_id}", param)
        case "cut" | "too_large":
            raise _not_whole(link_id, param)
        case "unavailable":
            raise _unavailable()
        case "unknown" | "deleted":
            raise _unknown(f"resp_{link_id}", param)


@contextlib.asynccontextmanager
async def _asking() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            yield
    except TimeoutError:
        raise _unavailable() from None


def _with_store(request: Request, *, stored: bool | None) -> Request:
    # `false` and absent are repeated alike: most requests are not copied.
    return request if request.store == stored or not (request.store or stored) else replace(request, store=stored)


def _query(exchange: Exchange) -> dict[str, str]:
    return dict(parse_qsl(exchange.query[1:].decode("latin-1")))


def _invalid_query(name: str, detail: str) -> GatewayError:
    return GatewayError(INVALID_REQUEST, "invalid_query", f"{name}: {detail}", param=name)


def _unknown(response_id: str, param: str | None) -> GatewayError:
    message = f"No response {response_id[:100]!r} is stored here for this key."
    return GatewayError(NOT_FOUND, "response_not_found", message, param=param)


def _not_whole(link_id: str, param: str | None) -> GatewayError:
    return GatewayError(
        INVALID_REQUEST,
        "response_not_whole",
        f"resp_{link_id} is longer than what is kept of a request or an answer; raise records.max_request_bytes and "
        "records.max_response_bytes, or send the conversation as input.",
        param=param,
    )


def _not_stored(param: str | None) -> GatewayError:
    return GatewayError(
        INVALID_REQUEST,
        "responses_not_stored",
        "Responses of this provider are stored by the gateway, and here it keeps no content. Set records.content to "
        "full, or send the conversation as input.",
        param=param,
    )


def _unavailable() -> GatewayError:
    message = "The store cannot be asked for earlier responses now; try again soon."
    return GatewayError(UNAVAILABLE, "store_unavailable", message, retry_after=RETRY_SECONDS)
