from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.ir.arguments import as_object, object_of
from flumegate.ir.parts import ToolCall
from rig import cuts

VALUES = st.dictionaries(
    st.text(max_size=5), st.none() | st.integers() | st.text() | st.lists(st.integers()), max_size=4
)


@cuts.law
@given(VALUES, st.sampled_from([None, 0, 2]))
def test_an_object_passes_byte_for_byte(members: dict[str, object], indent: int | None) -> None:
    """However it is laid out."""
    text = json.dumps(members, indent=indent)
    found = as_object(text)
    assert found is not None
    assert bytes(found) == text.encode()


@pytest.mark.parametrize("text", ['{"a":1e999}', '{"a":9007199254740993.0}', '{"a":1,"a":2}', ' {"a":{}} '])
def test_what_no_value_could_hold_passes(text: str) -> None:
    """Huge numbers and doubled names are the receiver's to judge."""
    found = as_object(text)
    assert found is not None
    assert bytes(found) == text.encode()


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_no_arguments_are_an_empty_object(text: str) -> None:
    """Some models say nothing where nothing is asked."""
    found = as_object(text)
    assert found is not None
    assert bytes(found) == b"{}"


@pytest.mark.parametrize(
    "text", ["[]", "null", '"{}"', "7", "{", '{"a":}', "{} {}", "{'a':1}", '{"a":"\ud800"}', '{"a":' * 100_000]
)
def test_what_is_no_object_is_none(text: str) -> None:
    """Cut short, of another form, or no text that any encoding could carry."""
    assert as_object(text) is None


@cuts.law
@given(st.text())
def test_a_custom_call_is_always_an_object(text: str) -> None:
    """Its text becomes the one member of the function that stands for its tool."""
    found = object_of(ToolCall("c", "n", text, kind="custom"))
    assert found is not None
    assert json.loads(bytes(found)) == {"input": text}


def test_a_function_call_is_what_it_says() -> None:
    """Nothing is packed."""
    assert object_of(ToolCall("c", "n", "a")) is None
    found = object_of(ToolCall("c", "n", '{"a":1}'))
    assert found is not None
    assert bytes(found) == b'{"a":1}'
