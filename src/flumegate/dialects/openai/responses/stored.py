"""Stored responses (dialects: §4.1, §4.4): bodies that were kept, read as links of a conversation.

A link is one request and its answer. `previous_response_id` says which link came before; its context is the input and
the output of all links, oldest first. `instructions` are not handed down. The bodies are our own client's and our own
writer's, so one that cannot be read was cut when it was kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.responses.names import NAME
from flumegate.dialects.openai.responses.read_items import read_input
from flumegate.ir.request import Request, Turn
from flumegate.wire import sse

PREVIOUS = "previous_response_id"
MENTION = b'"previous_response_id"'
"""A body without it continues nothing; one that spells it otherwise is refused by the request's reader."""
_TERMINAL = (b"response.completed", b"response.incomplete")
_IDS = {"message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco"}

_encode = msgspec.json.Encoder().encode
_decode_item = msgspec.json.Decoder(dict[str, Any]).decode


class Link(NamedTuple):
    """One request and its answer."""

    id: str
    """Of the response, without `resp_`."""
    previous: str
    """The id that the request continued; empty = none."""
    kept: bool
    """The client did not say `store: false`."""
    items: list[msgspec.Raw]
    """The request's own input; a plain string is one message."""
    response: bytes
    """The whole response object."""
    output: list[msgspec.Raw]

    @property
    def size(self) -> int:
        """Bytes of input and output."""
        return sum(len(raw) for raw in (*self.items, *self.output))


def read_previous(body: bytes) -> str:
    """Return the id that a request continues; empty = none.

    Raises:
        ReadError: the body is no object, or the id no string.
    """
    return Node(body, NAME).text(PREVIOUS)


def read_link(link_id: str, request_body: bytes, response_body: bytes) -> Link:
    """Return the link that two kept bodies are; the answer may have been a stream.

    Raises:
        ReadError: one of them is not whole.
    """
    request = Node(request_body, NAME)
    response = response_body if response_body[:1] == b"{" else _last_of_stream(response_body)
    if request.is_string("input"):
        items = [msgspec.Raw(_encode({"role": "user", "content": request.text("input")}))]
    else:
        items = request.items("input")
    kept = request.boolean("store") is not False
    return Link(link_id, request.text(PREVIOUS), kept, items, response, Node(response, NAME).items("output"))


def _last_of_stream(body: bytes) -> bytes:
    for event in sse.read(body):
        if event.name in _TERMINAL:
            return Node(event.data, NAME).raw("response")
    raise ReadError("", "The stream has no end.")


def read_turns(links: Sequence[Link]) -> tuple[Turn, ...]:
    """Return the context that links, oldest first, hand down.

    Raises:
        ReadError: an item is not of this dialect.
    """
    items = [raw for link in links for raw in (*link.items, *link.output)]
    return read_input(Node(_encode({"input": items}), NAME, PREVIOUS)) if items else ()


def continue_from(request: Request, earlier: tuple[Turn, ...]) -> Request:
    """Return a request that says itself what it left to `previous_response_id`."""
    extras = request.extras
    if extras is not None and PREVIOUS in extras.fields:
        extras = msgspec.structs.replace(
            extras,
            fields={name: raw for name, raw in extras.fields.items() if name != PREVIOUS},
            vital=tuple(name for name in extras.vital if name != PREVIOUS),
        )
    after = sum(turn.at == "instructions" for turn in request.turns[:1])
    turns = request.turns[:after] + earlier + request.turns[after:]
    return msgspec.structs.replace(request, turns=turns, extras=extras)


def list_input(links: Sequence[Link]) -> list[tuple[str, msgspec.Raw]]:
    """Return the input of the last link, oldest item first, each under its id: what it inherited, and its own."""
    found: list[tuple[str, msgspec.Raw]] = []
    for link in links:
        for number, raw in enumerate(link.items):
            found.append(_listed(raw, f"{link.id}_in{number}"))
        if link is not links[-1]:
            found += [_listed(raw, f"{link.id}_out{number}") for number, raw in enumerate(link.output)]
    return found


def _listed(raw: msgspec.Raw, minted: str) -> tuple[str, msgspec.Raw]:
    """Return an item as clients expect it in a list: with type and id, and content as parts."""
    item = _decode_item(raw)
    kind = item.setdefault("type", "message")
    item_id = item.get("id")
    if not isinstance(item_id, str) or not item_id:
        item_id = f"{_IDS.get(kind, 'item')}_{minted}"
    if isinstance(item.get("content"), str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        more: dict[str, list[object]] = {"annotations": [], "logprobs": []} if part == "output_text" else {}
        item["content"] = [{"type": part, "text": item["content"]} | more]
    item.setdefault("status", "completed")
    return item_id, msgspec.Raw(_encode({"id": item_id} | item | {"id": item_id}))


def write_page(found: Sequence[tuple[str, msgspec.Raw]], *, has_more: bool) -> bytes:
    """Return one page of a list of items."""
    return _encode(
        {
            "object": "list",
            "data": [raw for _, raw in found],
            "first_id": found[0][0] if found else None,
            "last_id": found[-1][0] if found else None,
            "has_more": has_more,
        }
    )


def write_deleted(response_id: str) -> bytes:
    """Return what says that a response is gone."""
    return _encode({"id": response_id, "object": "response", "deleted": True})
