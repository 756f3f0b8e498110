from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.openai.responses.read_request import read_request
from flumegate.dialects.openai.responses.stored import (
    Link,
    continue_from,
    list_input,
    read_link,
    read_previous,
    read_turns,
    write_deleted,
    write_page,
)
from flumegate.ir.parts import Text, ToolCall, ToolResult
from flumegate.ir.request import Turn

CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"}
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "hello", "annotations": [], "logprobs": []}],
}


def asked(**members: Any) -> bytes:
    return json.dumps({"model": "m"} | members).encode()


def answered(*output: dict[str, Any]) -> bytes:
    return json.dumps({"id": "resp_a", "object": "response", "output": output}).encode()


def texts(turns: tuple[Turn, ...]) -> list[tuple[str, str]]:
    return [(turn.role, part.text) for turn in turns for part in turn.parts if isinstance(part, Text)]


@pytest.mark.parametrize(
    ("body", "previous"), [(asked(previous_response_id="resp_x"), "resp_x"), (asked(previous_response_id=None), "")]
)
def test_the_id_that_is_continued(body: bytes, previous: str) -> None:
    assert read_previous(body) == previous


@pytest.mark.parametrize("body", [b"[]", b"{", asked(previous_response_id=3)])
def test_an_id_that_is_none_is_wrong(body: bytes) -> None:
    with pytest.raises(ReadError):
        read_previous(body)


@pytest.mark.parametrize("event", ["response.completed", "response.incomplete"])
def test_the_answer_of_a_stream_is_that_of_its_last_event(event: str) -> None:
    """A kept stream yields the same link as the same answer in one piece."""
    whole = answered(SAID)
    stream = b'event: response.created\ndata: {"response":{"output":[]}}\n\n' + (
        b'event: %b\ndata: {"type":"x","response":%b}\n\n' % (event.encode(), whole)
    )
    assert read_link("a", asked(input="x"), stream) == read_link("a", asked(input="x"), whole)


@pytest.mark.parametrize(
    ("request_body", "response_body"),
    [
        (asked(input="x")[:-1], answered(SAID)),
        (b"", answered(SAID)),
        (asked(input="x"), answered(SAID)[:-1]),
        (asked(input="x"), b""),
        (asked(input="x"), b'event: response.created\ndata: {"response":{"output":[]}}\n\n'),
        (asked(input="x"), b'event: response.completed\ndata: {"respon'),
    ],
)
def test_bodies_that_were_cut_are_no_link(request_body: bytes, response_body: bytes) -> None:
    with pytest.raises(ReadError):
        read_link("a", request_body, response_body)


@pytest.mark.parametrize(("members", "kept"), [({}, True), ({"store": True}, True), ({"store": False}, False)])
def test_a_link_knows_whether_it_may_be_kept(members: dict[str, bool], kept: bool) -> None:
    assert read_link("a", asked(input="x", **members), answered()).kept is kept


def chain() -> list[Link]:
    """Return a call of a tool, and its result."""
    return [
        read_link("a", asked(input="one", instructions="old"), answered(CALL)),
        read_link(
            "b",
            asked(
                previous_response_id="resp_a",
                input=[{"type": "function_call_output", "call_id": "c1", "output": "rain"}],
            ),
            answered(SAID),
        ),
    ]


def test_the_context_is_input_and_output_of_all_links_before_the_new_input() -> None:
    """`instructions` are the new request's alone and stay in front; the id itself is not said to any provider."""
    request = read_request(asked(input="two", instructions="new", previous_response_id="resp_b", prompt={"id": "p"}))
    sent = continue_from(request, read_turns(chain()))
    assert texts(sent.turns) == [("system", "new"), ("user", "one"), ("assistant", "hello"), ("user", "two")]
    assert [type(part) for turn in sent.turns[2:4] for part in turn.parts] == [ToolCall, ToolResult]
    assert sent.extras is not None
    assert set(sent.extras.fields) == {"prompt"}
    assert sent.extras.vital == ("prompt",)


def test_without_links_there_is_no_context() -> None:
    request = read_request(asked(input="x"))
    assert read_turns([]) == ()
    assert continue_from(request, ()) == request


def test_sizes_count_both_sides() -> None:
    first = chain()[0]
    assert first.size == len(json.dumps({"role": "user", "content": "one"}, separators=(",", ":"))) + len(
        json.dumps(CALL)
    )


def test_input_items_have_types_ids_and_parts() -> None:
    """All that was inherited and the link's own input, not its output; ids are the same at every look and differ."""
    links = [*chain(), read_link("c", asked(input=[{"role": "assistant", "content": "hm"}, SAID]), answered(SAID))]
    found = [json.loads(bytes(raw)) for _, raw in list_input(links)]
    assert [item["type"] for item in found] == [
        "message",
        "function_call",
        "function_call_output",
        "message",
        "message",
        "message",
    ]
    assert found[0]["content"] == [{"type": "input_text", "text": "one"}]
    assert found[4]["content"] == [{"type": "output_text", "text": "hm", "annotations": [], "logprobs": []}]
    assert [item["id"] for item in found] == ["msg_a_in0", "fc_1", "fco_b_in0", "msg_1", "msg_c_in0", "msg_1"]
    assert [item_id for item_id, _ in list_input(links)] == [item["id"] for item in found]


def test_pages_name_their_ends() -> None:
    found = list_input(chain())
    page = json.loads(write_page(found, has_more=True))
    assert (page["object"], page["has_more"]) == ("list", True)
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
    empty: dict[str, Any] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert json.loads(write_page([], has_more=False)) == empty


def test_a_deletion_is_confirmed() -> None:
    assert json.loads(write_deleted("resp_a")) == {"id": "resp_a", "object": "response", "deleted": True}
