"""Which requests belong together."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flumegate.dialects.session import SESSION_HEADERS, prefix_of, session_of
from rig import cuts, goldens


def body(**members: object) -> bytes:
    return json.dumps({"model": "m", **members}, ensure_ascii=False).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("picked", "members", "session"),
    [
        ({}, {}, b""),
        ({b"x-flumegate-session": b"a", b"x-session-id": b"b", b"session_id": b"c"}, {"prompt_cache_key": "d"}, b"a"),
        ({b"x-session-id": b"b", b"session_id": b"c"}, {"prompt_cache_key": "d"}, b"b"),
        ({b"session_id": b"c"}, {"prompt_cache_key": "d"}, b"c"),
        ({b"session_id": b""}, {"prompt_cache_key": "d"}, b"d"),
        ({}, {"prompt_cache_key": "d", "metadata": {"user_id": "e"}}, b"d"),
        ({}, {"prompt_cache_key": "", "metadata": {"user_id": "e"}}, b"e"),
        ({}, {"prompt_cache_key": 7, "metadata": {"user_id": "e"}}, b"e"),
        ({}, {"metadata": {"user_id": "user_1_session_2"}}, b"user_1_session_2"),
        ({}, {"metadata": {"user_id": None}}, b""),
        ({}, {"metadata": {"topic": "x"}}, b""),
        ({}, {"metadata": None}, b""),
        ({}, {"metadata": "user_id"}, b""),
        ({}, {"user": "u", "safety_identifier": "s"}, b""),
        ({}, {"prompt_cache_key": "x" * 64}, b"x" * 64),
    ],
)
def test_what_a_request_says_of_its_conversation(
    picked: dict[bytes, bytes], members: dict[str, Any], session: bytes
) -> None:
    """Headers before the body, what names a conversation before what may name one, and never a mere person."""
    assert session_of(picked, body(**members)) == session


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"metadata":{"user_id":"\xff"}}', b"[" * 100_000])
def test_a_body_that_cannot_be_read_says_nothing(text: bytes) -> None:
    """The provider shall say what is wrong with it; a header still counts."""
    assert session_of({}, text) == b""
    assert session_of({SESSION_HEADERS[0]: b"a"}, text) == b"a"
    assert prefix_of(text) == b""


def test_long_names_stay_apart() -> None:
    """A name is bounded, and two that differ only at their end are two."""
    one, other = (session_of({}, body(prompt_cache_key="x" * 1_000 + end)) for end in "ab")
    assert one != other
    assert len(one) == len(other) == 16


TEXT = st.text(max_size=20)
TURN: dict[str, Callable[[str, str], object]] = {
    "messages": lambda role, text: {"role": role, "content": text},
    "input": lambda role, text: {"role": role, "content": [{"type": "input_text", "text": text}]},
    "contents": lambda role, text: {"role": role, "parts": [{"text": text}]},
}
SYSTEM: dict[str, tuple[str, Callable[[str], object]]] = {
    "messages": ("system", lambda text: [{"type": "text", "text": text}]),
    "input": ("instructions", lambda text: text),
    "contents": ("systemInstruction", lambda text: {"parts": [{"text": text}]}),
}


@pytest.mark.parametrize("key", TURN)
@cuts.law
@given(first=TEXT, other=TEXT, system=TEXT, later=st.lists(TEXT, max_size=4), leading=st.booleans())
@example(first="a", other="b", system='"messages":[', later=["]"], leading=True)
def test_the_turns_of_one_conversation_have_one_prefix(
    key: str, first: str, other: str, system: str, later: list[str], *, leading: bool
) -> None:
    """Turns that are added change nothing; another first message, system, tool or model does."""
    turn, (place, written) = TURN[key], SYSTEM[key]

    def asked(first: str, system: str, later: list[str], **more: object) -> bytes:
        turns = [turn("user", first), *(turn("assistant", text) for text in later)]
        if leading and key != "contents":
            return prefix_of(body(**{key: [turn("system", system), *turns]}, **more))
        return prefix_of(body(**{key: turns, place: written(system)}, **more))

    prefix = asked(first, system, [])
    assert len(prefix) == 16
    assert asked(first, system, later, temperature=len(later)) == prefix
    assert (asked(other, system, later) == prefix) == (other == first)
    assert asked(first, f"{system}.", later) != prefix
    assert asked(first, system, later, tools=[{"name": "t"}]) != prefix
    assert asked(first, system, later, model="n") != prefix


@pytest.mark.parametrize("question", goldens.requests(), ids=lambda question: question.name)
def test_every_request_has_a_prefix(question: goldens.Question) -> None:
    """In every dialect something is said first."""
    assert len(prefix_of(question.body)) == 16


@pytest.mark.parametrize("key", ["input", "prompt", "contents", "messages"])
def test_what_is_no_list_is_the_first_message(key: str) -> None:
    """A string, a single object, and lists of other things than turns."""
    texts: list[object] = ["a", "b", {"parts": "a"}, ["c", "b"], ["d"], [1, 2], [[3], [4]], "é"]
    assert len({prefix_of(body(**{key: text})) for text in texts}) == len(texts)
    assert prefix_of(body(**{key: "a"})) != prefix_of(body(**{key: "a"}, instructions="b"))


@pytest.mark.parametrize("members", [{}, {"messages": []}, {"input": []}, {"system": "s", "tools": []}])
def test_without_a_message_there_is_no_conversation(members: dict[str, Any]) -> None:
    """Requests that have nothing in common must not meet at one target."""
    assert prefix_of(body(**members)) == b""


def test_requests_with_nothing_but_a_system_message_have_a_prefix() -> None:
    """It is all that is said."""
    assert len(prefix_of(body(messages=[{"role": "system", "content": "s"}]))) == 16


MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ({"type": "text", "text": "a", **MARK}, {"type": "text", "text": "a"}),
        ({**MARK, "type": "text", "text": "a"}, {"type": "text", "text": "a"}),
        ({"type": "text", **MARK, "text": "a"}, {"type": "text", "text": "a"}),
        ({"type": "text", "text": "a", "cache_control": None}, {"type": "text", "text": "a"}),
        (MARK, {}),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_breakpoint_that_moves_on_changes_nothing(
    marked: dict[str, Any], plain: dict[str, Any], separators: tuple[str, str]
) -> None:
    """Agents mark the newest message for the cache, so the first one loses its mark with the second turn."""

    def written(part: dict[str, Any], separators: tuple[str, str]) -> bytes:
        turns = [{"role": "user", "content": [part]}]
        return json.dumps({"system": [part], "tools": [part], "messages": turns}, separators=separators).encode()

    assert prefix_of(written(marked, separators)) == prefix_of(written(plain, separators))
