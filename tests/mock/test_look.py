"""A careful look into unchecked JSON."""

from __future__ import annotations

import pytest

from flumegate.mock import look


@pytest.mark.parametrize("value", [None, 1, 1.5, True, "x", [1], {"a": 1}])
def test_only_the_right_type_is_seen(value: object) -> None:
    """Everything else reads as nothing."""
    assert look.mapping(value) == (value if isinstance(value, dict) else {})
    assert look.items(value) == (value if isinstance(value, list) else [])
    assert look.text(value) == (value if isinstance(value, str) else "")
    assert look.count(value) == (1 if value == 1 and not isinstance(value, bool) else None)


def test_negative_is_no_count() -> None:
    """-1 stands for "no limit" in some dialects."""
    assert look.count(-1) is None


def test_either_takes_the_first_name_that_is_there() -> None:
    """Two spellings of one field."""
    assert look.either({"b": 2, "a": None}, "a", "b") is None
    assert look.either({"b": 2}, "a", "b") == 2
    assert look.either({}, "a") is None


def test_texts_are_found_in_every_dialects_content() -> None:
    """Strings, parts, results inside parts; images and numbers are passed over."""
    content: list[object] = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "tool_result", "content": [{"type": "text", "text": "b"}, "c"]},
        {"type": "function_call_output", "output": "d"},
        7,
    ]
    assert list(look.texts(content)) == ["a", "b", "c", "d"]
    assert list(look.texts("whole")) == ["whole"]
    assert list(look.texts(None)) == []
