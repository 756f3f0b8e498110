from __future__ import annotations

import pytest
from hypothesis import given

from flumegate.ir import events as e
from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.failure import Failure
from flumegate.ir.fold import BrokenStreamError, Fold, fold, unfold
from flumegate.ir.grammar import Grammar
from flumegate.ir.parts import Citation, Extras, Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.usage import Usage
from rig import conversations, cuts

STOP = e.Finished(Finish("stop"))


def in_pieces(stream: list[e.Event]) -> list[e.Event]:
    """Return the same stream with every growth cut after its first character."""
    pieces: list[e.Event] = []
    for event in stream:
        if isinstance(event, e.Grew) and len(event.text) > 1:
            pieces.append(e.Grew(event.index, event.text[:1], event.piece, event.logprobs))
            pieces.append(e.Grew(event.index, event.text[1:], event.piece))
        else:
            pieces.append(event)
    return pieces


@cuts.law
@given(conversations.ANSWERS)
def test_folding_undoes_unfolding(answer: Answer) -> None:
    """An answer taken apart and put together is the same answer, and its stream is a legal one."""
    stream = list(unfold(answer))
    grammar = Grammar()
    for event in stream:
        grammar.check(event)
    assert grammar.ended
    assert fold(stream) == answer


@cuts.law
@given(conversations.ANSWERS)
def test_the_size_of_the_pieces_does_not_matter(answer: Answer) -> None:
    """How often a block grows changes nothing."""
    assert fold(in_pieces(list(unfold(answer)))) == answer


def test_blocks_may_interleave() -> None:
    """Two calls that grow in turns are put together each for itself, in order of opening."""
    answer = fold(
        [
            e.Started("a", "tern-2", 7),
            e.Opened(0, ToolCall("c1", "weigh")),
            e.Opened(1, ToolCall("c2", "weigh")),
            e.Grew(1, '{"b"'),
            e.Grew(0, '{"a"'),
            e.Grew(1, ":2}"),
            e.Grew(0, ":1}"),
            e.Closed(1),
            e.Closed(0),
            e.Finished(Finish("tool")),
            e.Ended(),
        ]
    )
    calls = (ToolCall("c1", "weigh", '{"a":1}'), ToolCall("c2", "weigh", '{"b":2}'))
    assert answer == Answer("a", "tern-2", 7, (Choice(calls, Finish("tool")),))


def test_the_last_usage_wins() -> None:
    """Reports of usage replace one another and are never summed."""
    stream: list[e.Event] = [e.Started(), e.Counted(Usage(5, 1)), e.Counted(Usage(5, 9)), STOP, e.Ended()]
    assert fold(stream).usage == Usage(5, 9)


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        (Thinking(origin="gemini"), Thinking((), "late", "gemini")),
        (Thinking(), Thinking((), "late", "")),
        (ToolCall("c", "weigh", origin="gemini"), ToolCall("c", "weigh", signature="late", origin="gemini")),
    ],
)
def test_a_signature_may_come_last(part: Part, whole: Part) -> None:
    """State that arrives with the end of a block belongs to the block, and so does an origin named earlier."""
    folded = fold([e.Started(), e.Opened(0, part), e.Closed(0, "late"), STOP, e.Ended()])
    assert folded.choices[0].parts == (whole,)
    renamed = fold([e.Started(), e.Opened(0, part), e.Closed(0, "late", "messages"), STOP, e.Ended()])
    found = renamed.choices[0].parts[0]
    assert isinstance(found, Thinking | ToolCall)
    assert (found.signature, found.origin) == ("late", "messages")


def test_logprobs_of_pieces_become_one_list() -> None:
    """Lists of several events are one list, empty ones and white space aside."""
    stream: list[e.Event] = [
        e.Started(),
        e.Opened(0, Text("")),
        e.Grew(0, "a", logprobs=b' [{"token":"a"}] '),
        e.Grew(0, "", logprobs=b"[ ]"),
        e.Grew(0, "b", logprobs=b'[{"token":"b"},{"token":"c"}]'),
        e.Closed(0),
        STOP,
        e.Ended(),
    ]
    assert fold(stream).choices[0].parts == (Text("ab", logprobs=b'[{"token":"a"},{"token":"b"},{"token":"c"}]'),)


def test_citations_keep_their_order() -> None:
    """Sources named while a text grows stand behind those that it opened with."""
    first, second = Citation("https://harbour.example/1"), Citation("https://harbour.example/2")
    stream: list[e.Event] = [
        e.Started(),
        e.Opened(0, Text("", (first,))),
        e.Cited(0, second),
        e.Closed(0),
        STOP,
        e.Ended(),
    ]
    assert fold(stream).choices[0].parts == (Text("", (first, second)),)


@pytest.mark.parametrize(
    "part",
    [Media("image", data="eA=="), Opaque("messages", "x", b"{}"), ToolResult("c1"), Refusal("No."), Text("a")],
)
def test_what_opens_whole_stays_whole(part: Part) -> None:
    """A block that holds everything from the start needs no growth."""
    assert fold([e.Started(), e.Opened(0, part), e.Closed(0), STOP, e.Ended()]).choices[0].parts == (part,)


def test_a_choice_without_a_word_is_a_choice() -> None:
    """One of two alternatives that was filtered away keeps its place and its reason."""
    extras = Extras("chat", {})
    stream: list[e.Event] = [
        e.Started(),
        e.Opened(0, Text("")),
        e.Closed(0),
        STOP,
        e.Finished(Finish("filter"), 1, extras),
        e.Ended(),
    ]
    assert fold(stream).choices == (Choice((Text(""),)), Choice((), Finish("filter"), extras))


def test_an_answer_without_choices_is_an_empty_one() -> None:
    """A stream has to finish something, so nothing at all becomes a choice without parts."""
    assert fold(unfold(Answer("a"))) == Answer("a", choices=(Choice(),))


def test_a_failed_stream_has_no_answer() -> None:
    """The failure comes out as it went in, and what had come so far can still be asked for."""
    failure = Failure("overloaded", "All berths are taken.")
    folding = Fold()
    for event in (e.Started("a"), e.Opened(0, Text("")), e.Grew(0, "so fa"), e.Failed(failure)):
        folding.take(event)
    with pytest.raises(BrokenStreamError, match="All berths") as caught:
        folding.answer()
    assert caught.value.failure == failure
    assert folding.partial() == Answer("a", choices=(Choice((Text("so fa"),)),))


def test_a_stream_without_an_end_has_no_answer() -> None:
    """Silence is never taken for a stop."""
    with pytest.raises(BrokenStreamError) as caught:
        fold([e.Started(), STOP])
    assert caught.value.failure.reason == "cut"
    with pytest.raises(BrokenStreamError, match="garbage"):
        fold([e.Failed(Failure("garbage"))])
