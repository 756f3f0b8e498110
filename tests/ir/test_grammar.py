from __future__ import annotations

import pytest

from flumegate.ir import events as e
from flumegate.ir.answer import Finish
from flumegate.ir.failure import Failure
from flumegate.ir.grammar import Grammar, GrammarError
from flumegate.ir.parts import Citation, Media, Opaque, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage

START = e.Started()
STOP = e.Finished(Finish("stop"))
STOP_1 = e.Finished(Finish("stop"), 1)
END = e.Ended()
BROKEN = e.Failed(Failure("cut"))
TEXT = e.Opened(0, Text(""))
THINKING = e.Opened(0, Thinking())

LEGAL: dict[str, list[e.Event]] = {
    "nothing said": [START, STOP, END],
    "a text": [START, TEXT, e.Grew(0, "a"), e.Grew(0, "b"), e.Cited(0, Citation()), e.Closed(0), STOP, END],
    "usage at any time": [START, e.Counted(Usage()), STOP, e.Counted(Usage()), END],
    "pieces of thinking": [START, THINKING, e.Grew(0, "a"), e.Grew(0, "b", 1), e.Closed(0), STOP, END],
    "two blocks at once": [START, TEXT, e.Opened(1, ToolCall("c", "f")), e.Closed(1), e.Closed(0), STOP, END],
    "two choices": [START, TEXT, e.Closed(0), e.Opened(1, Text(""), 1), STOP, e.Closed(1), STOP_1, END],
    "a choice without blocks": [START, STOP_1, STOP, END],
    "a failure at once": [BROKEN],
    "a failure in a block": [START, TEXT, BROKEN],
    "a failure behind the finish": [START, STOP, BROKEN],
}
ILLEGAL: dict[str, tuple[list[e.Event], str]] = {
    "no start": ([TEXT], "before the start"),
    "growth before the start": ([e.Grew(0, "a")], "is not open"),
    "two starts": ([START, START], "a second start"),
    "a gap in the numbers": ([START, e.Opened(1, Text(""))], "opens where 0 is next"),
    "a number twice": ([START, TEXT, e.Closed(0), TEXT], "opens where 1 is next"),
    "growth behind the close": ([START, TEXT, e.Closed(0), e.Grew(0, "a")], "is not open"),
    "a source of nothing": ([START, e.Cited(0, Citation())], "is cited and is not open"),
    "closed twice": ([START, TEXT, e.Closed(0), e.Closed(0)], "closes and is not open"),
    "media grows": ([START, e.Opened(0, Media("image", data="eA==")), e.Grew(0, "a")], "came whole"),
    "an unknown block grows": ([START, e.Opened(0, Opaque("chat", "x", b"{}")), e.Grew(0, "a")], "came whole"),
    "a text in pieces": ([START, TEXT, e.Grew(0, "a", 1)], "at piece 0 and grows piece 1"),
    "thinking skips a piece": ([START, THINKING, e.Grew(0, "a", 2)], "at piece 0 and grows piece 2"),
    "thinking goes back": ([START, THINKING, e.Grew(0, "", 1), e.Grew(0, "a", 0)], "at piece 1 and grows piece 0"),
    "a finish with an open block": ([START, TEXT, STOP], "finishes with an open block"),
    "two finishes": ([START, STOP, STOP], "finishes twice"),
    "a block in a finished choice": ([START, STOP, TEXT], "opens in a finished choice"),
    "an end without a finish": ([START, END], "before every choice"),
    "a choice left open": ([START, e.Opened(0, Text(""), 1), e.Closed(0), STOP, END], "before every choice"),
    "words behind the end": ([START, STOP, END, e.Counted(Usage())], "Counted after the end"),
    "an end behind a failure": ([START, BROKEN, END], "Ended after the end"),
    "a failure behind the end": ([START, STOP, END, BROKEN], "Failed after the end"),
}


@pytest.mark.parametrize("name", LEGAL)
def test_a_legal_stream_is_taken(name: str) -> None:
    """Every event is taken, and the stream has ended with the last one and not before."""
    grammar = Grammar()
    for event in LEGAL[name]:
        assert not grammar.ended
        grammar.check(event)
    assert grammar.ended
    assert grammar.started


@pytest.mark.parametrize("name", ILLEGAL)
def test_the_first_event_out_of_order_is_named(name: str) -> None:
    """Everything before the last event is taken; the last is refused with what is wrong."""
    stream, wrong = ILLEGAL[name]
    grammar = Grammar()
    for event in stream[:-1]:
        grammar.check(event)
    with pytest.raises(GrammarError, match=wrong):
        grammar.check(stream[-1])
