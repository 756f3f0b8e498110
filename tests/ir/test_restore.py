from __future__ import annotations

import pytest
from hypothesis import given

from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.fold import fold, unfold
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Text, ToolCall
from flumegate.ir.request import Tool
from flumegate.ir.restore import (
    CUSTOM_FIELD,
    CUSTOM_PARAMETERS,
    Restorer,
    pack_custom,
    packed_description,
    restore_answer,
)
from flumegate.ir.written import Rename
from rig import conversations, cuts

RENAMES = {
    "weigh": Rename("weigh.exactly"),
    "tide_table": Rename("table", "tide"),
    "dock-7": Rename("dock", kind="custom"),
}


def answer_of(*calls: ToolCall) -> Answer:
    return Answer(choices=(Choice((Text("Aye."), *calls), Finish("tool")),))


@pytest.mark.parametrize(
    ("sent", "restored"),
    [
        (ToolCall("1", "weigh", '{"a":1}'), ToolCall("1", "weigh.exactly", '{"a":1}')),
        (ToolCall("1", "tide_table", "{}"), ToolCall("1", "table", "{}", namespace="tide")),
        (ToolCall("1", "dock-7", '{"input":"port side"}'), ToolCall("1", "dock", "port side", "custom")),
        (ToolCall("1", "dock-7", ""), ToolCall("1", "dock", "", "custom")),
        (ToolCall("1", "dock-7", '{"input":"por'), ToolCall("1", "dock", '{"input":"por', "custom")),
        (ToolCall("1", "dock-7", '{"input":7}'), ToolCall("1", "dock", '{"input":7}', "custom")),
        (ToolCall("1", "dock-7", '"\ud800"'), ToolCall("1", "dock", '"\ud800"', "custom")),
        (ToolCall("1", "other", "{}"), ToolCall("1", "other", "{}")),
    ],
)
def test_a_call_gets_the_name_that_the_client_knows(sent: ToolCall, restored: ToolCall) -> None:
    """Names, namespaces and free texts are the client's again; what cannot be unpacked is shown as it was written."""
    assert restore_answer(answer_of(sent), RENAMES) == answer_of(restored)


@pytest.mark.parametrize(
    ("description", "form", "told", "codes"),
    [
        ("Hoists flags.", b"", "Hoists flags.", ["approximated:tools"]),
        ("", b'{"type":"text"}', "", ["approximated:tools"]),
        (
            "Hoists flags.",
            b'{"type":"grammar","syntax":"regex"}',
            'Hoists flags.\n\nThe input must follow this format: {"type":"grammar","syntax":"regex"}',
            ["approximated:tools", "approximated:tools.format"],
        ),
        (
            "",
            b'{"type":"grammar"}',
            'The input must follow this format: {"type":"grammar"}',
            ["approximated:tools", "approximated:tools.format"],
        ),
    ],
)
def test_a_grammar_is_told_in_words(description: str, form: bytes, told: str, codes: list[str]) -> None:
    """The function that stands for a custom tool says what its text must look like, and both changes are reported."""
    losses = Losses()
    tool = Tool("dock", "custom", description, format=form)
    assert packed_description(tool, losses, "tools[0]", "Chat") == told
    assert [loss.code for loss in losses.found] == codes


def test_arguments_of_any_depth_are_shown_not_thrown() -> None:
    """A model that nests a hundred thousand lists breaks nothing."""
    deep = '{"x":' + "[" * 100_000
    restored = restore_answer(answer_of(ToolCall("1", "dock-7", deep)), RENAMES)
    assert restored == answer_of(ToolCall("1", "dock", deep, "custom"))


def test_a_packed_text_is_unpacked_unchanged() -> None:
    """What goes out as the one argument comes back as the text, quotes and line ends included."""
    text = 'say "hi"\n\u2028 🌊'
    restored = restore_answer(answer_of(ToolCall("1", "dock-7", pack_custom(text))), RENAMES)
    assert restored == answer_of(ToolCall("1", "dock", text, "custom"))
    assert f'"{CUSTOM_FIELD}"'.encode() in CUSTOM_PARAMETERS


def test_without_renames_nothing_is_touched() -> None:
    """The usual case costs nothing: the same object comes back."""
    answer = answer_of(ToolCall("1", "weigh"))
    stream = list(unfold(answer))
    assert restore_answer(answer, {}) is answer
    assert Restorer({}).restore(stream) is stream


@cuts.law
@given(conversations.ANSWERS)
def test_a_stream_is_restored_as_the_whole_answer_is(answer: Answer) -> None:
    """One event at a time or all at once, the client sees the same calls."""
    expected = restore_answer(answer, RENAMES)
    stream = list(unfold(answer))
    assert fold(Restorer(RENAMES).restore(stream)) == expected
    restorer = Restorer(RENAMES)
    assert fold(restored for event in stream for restored in restorer.restore([event])) == expected


def test_a_custom_call_is_held_until_it_is_whole() -> None:
    """Half a JSON text cannot be unpacked, so pieces are kept back; other blocks go on meanwhile."""
    restorer = Restorer(RENAMES)
    call = e.Opened(0, ToolCall("1", "dock-7", '{"in'))
    assert list(restorer.restore([call])) == [e.Opened(0, ToolCall("1", "dock", "", "custom"))]
    text: list[e.Event] = [e.Opened(1, Text("")), e.Grew(1, "Aye.")]
    assert list(restorer.restore([e.Grew(0, 'put":'), *text])) == text
    assert list(restorer.restore([e.Grew(0, '"hull"}'), e.Closed(0)])) == [e.Grew(0, "hull"), e.Closed(0)]
