from __future__ import annotations

import pytest

from flumegate.ir.answer import Choice, Finish, FinishReason, finish_of


@pytest.mark.parametrize(
    ("reason", "called", "truth"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool"),
        ("stop_sequence", True, "tool"),
        ("length", True, "length"),
        ("filter", True, "filter"),
        ("refusal", True, "refusal"),
        ("tool", False, "tool"),
    ],
)
def test_a_call_that_was_seen_outweighs_a_plain_stop(reason: FinishReason, called: bool, truth: FinishReason) -> None:
    """Many servers say stop for both; a limit or a filter is the truth all the same."""
    assert finish_of(reason, "raw word", called=called) == Finish(truth, "raw word")


def test_a_choice_says_nothing_and_stops_by_default() -> None:
    """An empty answer is an answer."""
    assert Choice() == Choice((), Finish("stop"), None)
