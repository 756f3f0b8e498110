"""The rules of stored responses by themselves; tests/road/translation proves them before real processes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from flumegate.dialects.openai.responses.read_request import read_request
from flumegate.engine import stored_responses
from flumegate.engine.stored_responses import nobody, recall, serve, with_storage
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.ir.parts import Text
from flumegate.records.stored import Stored, Wanted
from flumegate.snapshot import Door, RecordPolicy, Snapshot
from rig import exchanges

FULL = RecordPolicy(content="full")
FIRST, SECOND = "00000000000000a1", "00000000000000a2"


class Store:
    """What is stored, by id; it notes what it was asked."""

    def __init__(self, found: dict[str, Stored]) -> None:
        self.found = found
        self.asked: list[Wanted] = []

    async def ask(self, wanted: Wanted) -> Stored:
        self.asked.append(wanted)
        return self.found.get(wanted.id, Stored("unknown"))


def kept(text: str, previous: str = "", **members: Any) -> Stored:
    """Return the bodies of one turn."""
    request = {"input": text, "previous_response_id": f"resp_{previous}" if previous else None} | members
    content = [{"type": "output_text", "text": f"re {text}"}]
    response = {"output": [{"type": "message", "role": "assistant", "content": content}]}
    return Stored("found", json.dumps(request).encode(), json.dumps(response).encode())


def asking(known: Snapshot | None = None, *, keeps: bool = True, **members: Any) -> Exchange:
    """Return an exchange that asks for a response."""
    made = exchanges.exchange(
        path=b"/v1/responses",
        body=json.dumps({"input": "new"} | members).encode(),
        known=known or exchanges.snapshot(exchanges.provider(), records=FULL),
    )
    made.kind, made.key_id, made.project = "responses", "key", "project"
    made.response_body = [] if keeps else None
    return made


async def refusal_of(made: Exchange, store: Store) -> tuple[int, str, str | None]:
    with pytest.raises(GatewayError) as refused:
        await recall(made, store.ask)
    return refused.value.status, refused.value.code, refused.value.param


async def test_the_context_comes_in_order_and_for_the_one_who_asks() -> None:
    store = Store({FIRST: kept("one"), SECOND: kept("two", FIRST)})
    made = asking(previous_response_id=f"resp_{SECOND}")
    await recall(made, store.ask)
    said = [part.text for turn in made.earlier for part in turn.parts if isinstance(part, Text)]
    assert said == ["one", "re one", "two", "re two"]
    assert store.asked == [Wanted(SECOND, "key", "project"), Wanted(FIRST, "key", "project")]


async def test_null_asks_nobody() -> None:
    store = Store({})
    made = asking(previous_response_id=None)
    await recall(made, store.ask)
    assert (made.earlier, store.asked) == ((), [])


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (Stored("unknown"), (404, "response_not_found")),
        (Stored("deleted"), (404, "response_not_found")),
        (kept("one", store=False), (404, "response_not_found")),
        (Stored("cut"), (400, "response_not_whole")),
        (Stored("too_large"), (400, "response_not_whole")),
        (Stored("found", b"{", b"{}"), (400, "response_not_whole")),
        (Stored("found", b'{"input":[{}]}', b"{}"), (400, "invalid_request_body")),
    ],
)
async def test_a_context_that_is_not_whole_is_refused(first: Stored, told: tuple[int, str]) -> None:
    """Also where only an earlier part of it is missing: half a conversation would be another one."""
    store = Store({FIRST: first, SECOND: kept("two", FIRST)})
    for previous in (FIRST, SECOND):
        refused = await refusal_of(asking(previous_response_id=f"resp_{previous}"), store)
        assert refused == (*told, "previous_response_id")


async def test_nobody_who_could_tell_is_a_503() -> None:
    with pytest.raises(GatewayError) as refused:
        await recall(asking(previous_response_id=f"resp_{FIRST}"), nobody)
    assert (refused.value.status, refused.value.code) == (503, "store_unavailable")
    assert refused.value.retry_after


async def test_a_store_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is one for all links together."""
    monkeypatch.setattr(stored_responses, "ASK_SECONDS", 0.01)

    async def silent(_: Wanted) -> Stored:
        await asyncio.Event().wait()
        return Stored("unknown")

    with pytest.raises(GatewayError) as refused:
        await recall(asking(previous_response_id=f"resp_{FIRST}"), silent)
    assert refused.value.code == "store_unavailable"


async def test_a_conversation_larger_than_a_body_may_be_is_refused() -> None:
    """A small request must not become one that is larger than what the door lets in."""
    known = exchanges.snapshot(exchanges.provider(), records=FULL, door=Door(max_body_bytes=2000))
    store = Store({FIRST: kept("x" * 1000), SECOND: kept("y" * 1000, FIRST)})
    await recall(asking(known, previous_response_id=f"resp_{FIRST}"), Store({FIRST: kept("x" * 800)}).ask)
    told = await refusal_of(asking(known, previous_response_id=f"resp_{SECOND}"), store)
    assert told == (400, "response_chain_too_long", "previous_response_id")


async def test_without_content_and_for_other_ids_nobody_is_asked() -> None:
    store = Store({})
    metadata = asking(keeps=False, previous_response_id=f"resp_{FIRST}")
    assert await refusal_of(metadata, store) == (400, "responses_not_stored", "previous_response_id")
    foreign = asking(previous_response_id="resp_68a1")
    assert await refusal_of(foreign, store) == (404, "response_not_found", "previous_response_id")
    wrong = asking(previous_response_id=7)
    assert await refusal_of(wrong, store) == (400, "invalid_request_body", "previous_response_id")
    assert store.asked == []


@pytest.mark.parametrize(
    ("keeps", "store", "repeated", "sent"),
    [
        (True, None, True, None),
        (True, True, True, None),
        (True, False, False, False),
        (False, None, None, None),
        (False, False, False, False),
    ],
)
def test_what_is_said_of_storing(*, keeps: bool, store: bool | None, repeated: bool | None, sent: bool | None) -> None:
    """The answer says what is true here; the provider is not asked to store what we store."""
    made = asking(keeps=keeps, store=store)
    told, asked = with_storage(made, read_request(made.body))
    assert (told.store, asked.store) == (repeated, sent)


def test_storing_without_a_store_is_refused() -> None:
    made = asking(keeps=False, store=True)
    with pytest.raises(GatewayError) as refused:
        with_storage(made, read_request(made.body))
    assert (refused.value.code, refused.value.param) == ("responses_not_stored", "store")


def test_other_endpoints_store_nothing() -> None:
    made = asking(store=True)
    made.kind = "response"
    request = read_request(made.body)
    assert with_storage(made, request) == (request, request)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (b"PUT", b"/v1/responses/resp_00000000000000a1"),
        (b"POST", b"/v1/responses/resp_00000000000000a1"),
        (b"GET", b"/v1/responses/resp_00000000000000a1/cancel"),
        (b"GET", b"/v1/responses/resp_00000000000000a1/other"),
        (b"GET", b"/v1/responses/resp_00000000000000a"),
        (b"GET", b"/v1/responses/resp_00000000000000a12"),
        (b"GET", b"/v1/responses/resp_00000000000000A1"),
        (b"GET", b"/proxy/v1/responses/resp_00000000000000a1"),
        (b"GET", b"/v1/files"),
    ],
)
async def test_whatever_else_goes_on_unasked(method: bytes, path: bytes) -> None:
    store = Store({FIRST: kept("one")})
    made = exchanges.exchange(method, path, known=exchanges.snapshot(exchanges.provider(), records=FULL))
    assert await serve(made, store.ask, b"") is None
    assert store.asked == []


async def test_an_unknown_id_goes_to_the_default_provider_if_that_speaks_the_dialect() -> None:
    """Another's and a made-up one alike."""
    for speaks, default, passed_on in (
        (("openai",), "up", True),
        (("anthropic",), "up", False),
        (("openai",), "", False),
    ):
        known = exchanges.snapshot(exchanges.provider(speaks=speaks), default_provider=default, records=FULL)
        made = exchanges.exchange(b"GET", f"/v1/responses/resp_{FIRST}".encode(), known=known)
        if passed_on:
            assert await serve(made, Store({}).ask, b"") is None
            continue
        with pytest.raises(GatewayError) as refused:
            await serve(made, Store({}).ask, b"")
        assert (refused.value.status, refused.value.code) == (404, "response_not_found")


async def test_a_deletion_is_asked_for_once_it_is_known_to_be_allowed() -> None:
    """What the client did not want stored is not deleted from the records either: for it, it was never there."""
    known = exchanges.snapshot(exchanges.provider(), records=FULL)
    for found, deleted in ((kept("x"), True), (Stored("cut"), True), (kept("x", store=False), False)):
        store = Store({FIRST: found})
        made = exchanges.exchange(b"DELETE", f"/v1/responses/resp_{FIRST}".encode(), known=known)
        if deleted:
            answer = await serve(made, store.ask, b"")
            assert answer is not None
            assert answer.endswith(b'"deleted":true}')
        else:
            with pytest.raises(GatewayError):
                await serve(made, store.ask, b"")
        assert any(wanted.forget for wanted in store.asked) is deleted
