"""What the record learns of an answer that was read, and when its tokens are estimated."""

from __future__ import annotations

import pytest

from flumegate.engine.seen import Seen
from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.parts import Text
from flumegate.ir.request import Request, Turn
from flumegate.ir.usage import Usage

ASKED = Request(dialect="chat", model="m", turns=(Turn("user", (Text("a" * 40),)),))


@pytest.mark.parametrize(("complete", "finish"), [(True, ""), (True, "stop"), (False, "stop")])
def test_what_the_provider_says_at_the_end_is_kept(complete: bool, finish: str) -> None:
    """An estimate never replaces it."""
    seen = Seen(ASKED)
    seen.hear("hello, and more than it counts")
    seen.usage, seen.complete, seen.finish_reason = Usage(1, 2), complete, finish
    seen.close()
    assert (seen.usage, seen.estimated) == (Usage(1, 2), False)


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (Usage(50, 1, 30, 5, 0), Usage(50, 100, 30, 5, 0)),
        (Usage(50), Usage(50, 100)),
        (Usage(None, 1), Usage(14, 100)),
    ],
)
def test_a_count_at_the_start_is_not_what_came_after_it(said: Usage, known: Usage) -> None:
    """Of an answer that broke off what was passed on counts; the input as far as the provider has said it."""
    seen = Seen(ASKED)
    seen.usage = said
    seen.hear("word" * 100)
    seen.close()
    assert (seen.usage, seen.estimated) == (known, True)


def test_a_count_on_the_way_stands_where_it_is_more() -> None:
    """It knows of what is hidden, too."""
    seen = Seen(ASKED)
    seen.usage = Usage(1, 2)
    seen.hear("hello")
    seen.close()
    assert (seen.usage, seen.estimated) == (Usage(1, 2), False)


def test_pieces_are_counted_in_bytes() -> None:
    """About four bytes a token, whatever the script; what was asked is counted, too."""
    seen = Seen(ASKED)
    seen.hear("hello, ")
    seen.hear("日本語")
    seen.close()
    assert seen.estimated
    assert seen.usage == Usage(14, 4)


def test_nothing_was_said() -> None:
    """Before the first word nothing is claimed; a complete answer was paid for, however short."""
    seen = Seen(ASKED)
    seen.close()
    assert (seen.usage, seen.estimated) == (None, False)
    seen.complete = True
    seen.close()
    assert seen.usage == Usage(14, 0)


def test_without_a_request_nothing_is_estimated() -> None:
    """As for embeddings."""
    seen = Seen()
    seen.hear("hello")
    seen.close()
    assert seen.usage is None


def test_an_answer_in_one_piece() -> None:
    """Model, finish reason and usage of an answer; where it has none, its text is weighed."""
    seen = Seen(ASKED)
    seen.note(Answer("id", "real", 0, (Choice((Text("b" * 8),), Finish("stop", "STOP")),), None))
    assert (seen.model, seen.finish_reason, seen.usage, seen.estimated) == ("real", "STOP", Usage(14, 2), True)
