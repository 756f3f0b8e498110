"""The request of `/response`: what it has beyond Responses, and what does not count."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.node import ReadError
from flumegate.dialects.openai.responses.read_plain import read_plain_request
from flumegate.ir.parts import Text, ToolResult
from flumegate.ir.request import Request


def read(**members: Any) -> Request:
    """Return what a request with these members means."""
    return read_plain_request(json.dumps({"model": "m"} | members).encode())


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("rain", ["rain"]),
        ({"content": "rain", "content_items": [{"type": "input_text", "text": "snow"}]}, ["rain"]),
        ({"content_items": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}, ["a", "b"]),
        ({"content": None}, [""]),
        ({"success": True}, [""]),
    ],
)
def test_outputs(output: Any, said: list[str]) -> None:
    """`content` is preferred to the items."""
    request = read(input=[{"type": "function_call_output", "call_id": "c", "output": output}])
    (part,) = request.turns[0].parts
    assert isinstance(part, ToolResult)
    assert [inner.text for inner in part.parts if isinstance(inner, Text)] == said


@pytest.mark.parametrize(("stop", "read_as"), [("x", ("x",)), (["x", "y"], ("x", "y")), (None, ())])
def test_stop(stop: Any, read_as: tuple[str, ...]) -> None:
    """A string or a list of them."""
    assert read(input="hello", stop=stop).stop == read_as


def test_strangers_and_notes_do_not_count() -> None:
    """What holds state elsewhere does: it cannot be honoured."""
    request = read(input="hello", whatever=1, target="up", metadata={"a": "b"}, previous_response_id="r")
    assert request.metadata == b""
    assert request.extras is not None
    assert list(request.extras.fields) == ["previous_response_id"]


@pytest.mark.parametrize(
    "members",
    [
        {"input": [{"type": "function_call_output", "call_id": "c", "output": {"content": 5}}]},
        {"input": ["output"]},
        {"input": "hello", "stop": 5},
        {"input": 5},
    ],
)
def test_wrong_types(members: dict[str, Any]) -> None:
    """They are named, as everywhere."""
    with pytest.raises(ReadError):
        read(**members)
