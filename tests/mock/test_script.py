"""What the mock says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.mock.asked import Asked, Tool
from flumegate.mock.faults import Faults
from flumegate.mock.script import ECHO_WORDS_MAX, Script, Speech, filled, write


def said(text: str, faults: Faults | None = None, **fields: Any) -> Script:
    return write(Asked(model="m", body={}, last_text=text, words=10, **fields), faults or Faults())


@given(st.text())
def test_echo_is_verbatim(text: str) -> None:
    """Whatever stands in a prompt comes back as it stood, and the pieces join to it."""
    assert said(text).speech.text() == "echo: " + text


def test_long_prompts_keep_both_ends() -> None:
    """An agent's prompt is echoed as its beginning and end, so a nonce in the last line comes back."""
    text = "first " + "middle " * 10_000 + "nonce-end"
    speech = said(text).speech
    assert len(speech) == ECHO_WORDS_MAX
    assert speech.text().startswith("echo: first ")
    assert speech.text().endswith("nonce-end")


@pytest.mark.parametrize("tokens", [1, 3, 4, 50])
def test_tokens_are_exact(tokens: int) -> None:
    """So many words, counted as so many tokens, whether the echo is shorter or longer."""
    script = said("one two three", Faults(tokens=tokens))
    assert len(script.speech.text().split()) == script.output_tokens == tokens
    assert "".join(script.speech.pieces()) == script.speech.text()


@pytest.mark.parametrize("limit", [0, 2, 4, 5])
def test_limit_cuts_and_says_so(limit: int) -> None:
    """The reason is `length` exactly where something is missing."""
    script = said("one two three", word_limit=limit)
    assert script.output_tokens == min(limit, 4)
    assert script.finish == ("length" if limit < 4 else "stop")


def test_limit_cuts_made_up_words_too() -> None:
    """A limit beyond the echo and below the words asked for."""
    script = said("one", Faults(tokens=100), word_limit=10)
    assert (script.output_tokens, script.finish) == (10, "length")


def test_pieces_are_filled_up() -> None:
    """Every piece has the size, white space stays at its end."""
    assert [len(piece) for piece in Speech(("a ", "b"), 3, 20).pieces()] == [20] * 5
    assert list(Speech(("ä ",), 0, 6).pieces()) == ["ä... "]


@pytest.mark.parametrize(
    ("text", "fields", "names"),
    [
        ("please Use Tool", {}, ["a"]),
        ("nothing", {}, []),
        ("nothing", {"must_call": True}, ["a"]),
        ("nothing", {"must_call": True, "named": "b"}, ["b"]),
        ("use tool", {"after_tool_result": True}, []),
        ("x", {"after_tool_result": True, "must_call": True}, ["a"]),
    ],
)
def test_calls_are_made_when_asked_for(text: str, fields: dict[str, Any], names: list[str]) -> None:
    """A trigger in the prompt or a demand in the request; a result in the prompt ends an optional loop."""
    script = said(text, tools=(Tool("a", {}), Tool("b", {})), **fields)
    assert [call.name for call in script.calls] == names
    assert script.finish == ("tool_calls" if names else "stop")
    assert bool(script.speech.text()) != bool(names)


def test_several_calls_go_round_the_tools() -> None:
    """From the named tool on."""
    script = said("use tool", Faults(tool_calls=3), tools=(Tool("a", {}), Tool("b", {})), named="b")
    assert [call.name for call in script.calls] == ["b", "a", "b"]


def test_no_tools_no_call() -> None:
    """The trigger alone calls nothing."""
    assert said("use tool").calls == ()


def test_arguments_fit_their_schema() -> None:
    """Each type has its value, made from the text."""
    schema: Any = {
        "properties": {
            "text": {"type": "string"},
            "nullable": {"type": ["string", "null"]},
            "whole": {"type": "integer"},
            "number": {"type": "NUMBER"},
            "flag": {"type": "boolean"},
            "nothing": {"type": "null"},
            "choice": {"enum": ["x", "y"]},
            "list": {"type": "array", "items": {"type": "integer"}},
            "inner": {"type": "object", "properties": {"deep": {}}},
        }
    }
    assert filled(schema, "abc") == {
        "text": "abc",
        "nullable": "abc",
        "whole": 3,
        "number": 3.0,
        "flag": True,
        "nothing": None,
        "choice": "x",
        "list": [3],
        "inner": {"deep": "abc"},
    }
    assert filled({}, "abc") == {"input": "abc"}


def test_cached_tokens_are_part_of_the_input() -> None:
    """Never more than there are."""
    script = said("x", Faults(cached=7, cache_write=9))
    assert (script.input_tokens, script.cached_tokens, script.cache_write_tokens) == (10, 7, 3)


def test_choices_and_reasoning_are_counted() -> None:
    """Each choice is spoken, the thoughts once."""
    script = said("a b", choices=2, reasoning=True)
    assert script.reasoning_tokens == 5
    assert script.output_tokens == 2 * 3 + 5
    assert script.total_tokens == 10 + 11
