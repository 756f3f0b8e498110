from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.ir.loss import Losses
from flumegate.ir.parts import Extras, Media, Part, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Effort, Reasoning, Request, Turn
from flumegate.ir.turns import (
    asks_reasoning,
    grouped,
    leading_system,
    note_as_user,
    refuse_no_answer,
    refuse_unanswered,
    report_name,
    report_turn,
    safe_id,
    safe_name,
    text_of,
    tool_names,
    unanswered,
    with_calls_together,
    with_state_on_calls,
)
from rig import cuts

SYSTEM = Turn("system", (Text("Be brief."),), plain=True)
DEVELOPER = Turn("developer", (Text("Speak of ships."),))
USER = Turn("user", (Text("Which berth?"),), plain=True)
CALLS = Turn("assistant", (ToolCall("c1", "weigh"), ToolCall("c2", "dock")))
RESULT_1 = Turn("tool", (ToolResult("c1", (Text("4 t"),)),))
RESULT_2 = Turn("tool", (ToolResult("c2", (Text("free"),)),))


def test_the_state_before_a_call_goes_back_onto_it() -> None:
    """Only state of that origin without a text of its own, and only onto a call that has none."""
    state = Thinking((), "blob", "gemini")
    call = ToolCall("c1", "weigh")
    signed = ToolCall("c1", "weigh", signature="blob", origin="gemini")

    def put(*parts: Part) -> tuple[Part, ...]:
        return with_state_on_calls([Turn("assistant", parts)], "gemini")[0].parts

    assert put(Text("a"), state, call, ToolCall("c2", "dock")) == (Text("a"), signed, ToolCall("c2", "dock"))
    assert put(Thinking(("hm",), "own", "gemini"), state, call) == (Thinking(("hm",), "own", "gemini"), signed)
    for kept in (
        (state, Text("a"), call),
        (Thinking(("hm",), "blob", "gemini"), call),
        (Thinking((), "blob", "messages"), call),
        (Thinking((), "blob", "gemini", redacted=True), call),
        (Thinking((), "", "gemini"), call),
        (state, ToolCall("c1", "weigh", signature="other", origin="gemini")),
        (state,),
    ):
        assert put(*kept) == kept


@pytest.mark.parametrize(
    ("turns", "count"),
    [((), 0), ((USER,), 0), ((SYSTEM, DEVELOPER, USER, SYSTEM), 2), ((SYSTEM,), 1)],
)
def test_the_leading_run_of_rules_is_told_from_the_rest(turns: tuple[Turn, ...], count: int) -> None:
    """Only what stands first is hoisted; a rule in mid-conversation stays where it is."""
    assert leading_system(turns) == (turns[:count], turns[count:])


def test_a_rule_in_mid_conversation_is_marked_as_the_users() -> None:
    """Dialects with one place for rules still get what it says, and the client is told."""
    losses = Losses()
    picture = Media("image", url="https://x.example/a", at="messages[3]")
    for role in ("system", "developer"):
        rule = Turn(role, (Text("Be brief."), picture), plain=True, at="messages[3]")
        assert note_as_user(rule, losses, "Nobody") == Turn(
            "user", (Text("[system] Be brief."), picture), at="messages[3]"
        )
    assert [(loss.kind, loss.path) for loss in losses.found] == [("approximated", "messages[3]")]
    assert losses.found[0].reason.startswith("Nobody takes")
    assert note_as_user(USER, Losses(), "Nobody") is USER


def test_what_a_turn_itself_loses_is_reported() -> None:
    """Its speaker's name, and members that only another dialect knows."""
    extras = Extras("chat", {"weight": msgspec.Raw(b"1")})
    losses = Losses()
    report_turn(Turn("user", name="ann", at="messages[0]", extras=extras), losses, "gemini", "Nobody")
    assert [loss.path for loss in losses.found] == ["messages[0].weight", "messages[0].name"]
    own = Losses()
    report_turn(Turn("user", at="messages[0]", extras=extras), own, "chat", "Nobody")
    report_name(USER, own, "Nobody")
    assert not own.found


def test_results_join_the_user_turn_behind_them_and_stand_first_in_it() -> None:
    """All results of one turn are one user turn, whatever order they were sent in."""
    assert grouped([USER, CALLS, RESULT_1, USER, RESULT_2]) == [
        USER,
        CALLS,
        Turn("user", (*RESULT_1.parts, *RESULT_2.parts, *USER.parts)),
    ]
    assert grouped([RESULT_1]) == [Turn("user", RESULT_1.parts)]


def test_neighbours_of_one_speaker_become_one_turn() -> None:
    """Assistant and user turns are put together; rules are not, for each may carry marks of its own."""
    assert grouped([SYSTEM, SYSTEM, USER, USER, CALLS, CALLS]) == [
        SYSTEM,
        SYSTEM,
        Turn("user", USER.parts * 2),
        Turn("assistant", CALLS.parts * 2),
    ]


def test_calls_made_at_once_are_one_turn() -> None:
    """Calls, the words beside them and the reasoning before them belong together; two texts in a row stay two."""
    thought, text = Turn("assistant", (Thinking(("Hm.",)),)), Turn("assistant", (Text("Aye."),), plain=True)
    call_1, call_2 = (Turn("assistant", (part,)) for part in CALLS.parts)
    assert with_calls_together([USER, thought, text, text, call_1, call_2, text, RESULT_1, RESULT_2]) == [
        USER,
        Turn("assistant", thought.parts + text.parts),
        Turn("assistant", text.parts + CALLS.parts + text.parts),
        RESULT_1,
        RESULT_2,
    ]
    assert with_calls_together([text, text, USER, USER]) == [text, text, USER, USER]


def test_what_a_reader_left_over_survives_grouping() -> None:
    """Names and extras of the second turn are not lost on the way, or nobody could report them."""
    first = Extras("chat", {"a": msgspec.Raw(b"1"), "b": msgspec.Raw(b"1")}, ("a",), ("b",))
    second = Extras("chat", {"b": msgspec.Raw(b"2"), "c": msgspec.Raw(b"2")}, ("c", "a"), ("b",))
    one = Turn("user", name="ann", extras=first)
    two = Turn("user", name="bob", extras=second)
    both = grouped([one, two])[0]
    assert (both.name, both.extras) == (
        "ann",
        Extras("chat", {"a": msgspec.Raw(b"1"), "b": msgspec.Raw(b"1"), "c": msgspec.Raw(b"2")}, ("a", "c"), ("b",)),
    )
    assert grouped([USER, two])[0].extras == second
    assert grouped([one, USER])[0].extras == first
    assert grouped([USER, two])[0].name == "bob"


def test_names_of_tools_are_found_by_call_id() -> None:
    """Dialects that repeat the name in the result look it up here."""
    assert tool_names([USER, CALLS, RESULT_1]) == {"c1": "weigh", "c2": "dock"}


@pytest.mark.parametrize(
    ("turns", "missing"),
    [
        ([USER, CALLS], []),
        ([USER, CALLS, RESULT_1, RESULT_2, USER], []),
        ([USER, CALLS, SYSTEM, RESULT_1, RESULT_2], []),
        ([USER, CALLS, RESULT_1], ["c2"]),
        ([USER, CALLS, USER], ["c1", "c2"]),
        ([USER, CALLS, SYSTEM, Turn("assistant")], ["c1", "c2"]),
    ],
)
def test_calls_without_results_are_named(turns: list[Turn], missing: list[str]) -> None:
    """A conversation that went on over an open call is told; one that waits for its results is fine."""
    assert [call.id for call in unanswered(turns)] == missing


def test_text_is_joined() -> None:
    """Only texts count, with what the writer wants between them."""
    parts = (Text("a"), Media("image", data="eA=="), Text("b"))
    assert (text_of(parts), text_of(parts, "\n\n")) == ("ab", "a\n\nb")


@cuts.law
@given(st.text(max_size=80), st.integers(20, 64))
def test_any_id_becomes_a_legal_one(value: str, limit: int) -> None:
    """Legal for every dialect, within the limit, the same every time, and unchanged where it was legal."""
    safe = safe_id(value, limit)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", safe)
    assert len(safe) <= limit
    assert safe == safe_id(value, limit) == safe_id(safe, limit)
    assert safe_name(value, limit) == safe


def test_different_names_stay_different() -> None:
    """What is cut or replaced lives on in a digest."""
    names = ["a.b", "a/b", "a b", "x" * 70, "x" * 71, "é", "", "constructor"]
    assert len({safe_name(name) for name in names}) == len(names)
    assert safe_name("constructor") == "constructor"


@pytest.mark.parametrize(
    ("reasoning", "asks"),
    [
        (None, False),
        (Reasoning(), False),
        (Reasoning(visible=True), False),
        (Reasoning(enabled=False, effort="high"), False),
        (Reasoning(effort="none"), False),
        (Reasoning(effort="low"), True),
        (Reasoning(enabled=True), True),
        (Reasoning(budget_tokens=2_000), True),
    ],
)
def test_whether_thinking_is_wanted(reasoning: Reasoning | None, asks: bool) -> None:
    """An effort, a budget or the switch say yes; `none` and the switch say no; wishes about its display say neither."""
    assert asks_reasoning(Request(dialect="chat", model="m", reasoning=reasoning)) is asks


def test_every_effort_but_none_asks() -> None:
    """The list of efforts has one word for off."""
    efforts: tuple[Effort, ...] = ("minimal", "low", "medium", "high", "xhigh", "max")
    assert all(asks_reasoning(Request(dialect="chat", model="m", reasoning=Reasoning(word))) for word in efforts)


def test_calls_without_a_result_are_refused_by_their_ids() -> None:
    """One loss at the first of them names all, a few at most; a conversation that waits for results is fine."""
    losses = Losses()
    refuse_unanswered([USER, CALLS], losses)
    assert losses.found == []
    refuse_unanswered([USER, CALLS, USER], losses)
    (loss,) = losses.found
    assert (loss.code, loss.reason) == ("refused:messages", "These tool calls have no result: c1, c2.")


@pytest.mark.parametrize(("limit", "refused"), [(None, False), (0, True), (1, False)])
def test_a_limit_of_nothing_is_refused(limit: int | None, *, refused: bool) -> None:
    """It asks for no answer."""
    losses = Losses()
    assert refuse_no_answer(Request(dialect="messages", model="m", max_output_tokens=limit), losses) is refused
    assert [loss.code for loss in losses.found] == ["refused:max_output_tokens"] * refused
