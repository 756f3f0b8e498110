from __future__ import annotations

import msgspec
import pytest

from flumegate.records.manage import (
    UNAVAILABLE,
    Answer,
    Explain,
    Explained,
    ForceTarget,
    ListTargets,
    Question,
    Refused,
    TargetList,
    TargetState,
)


@pytest.mark.parametrize(
    "question", [Explain("POST", "/v1", [("a", "b")], b"\xff"), ForceTarget("up/a", "auto"), ListTargets()]
)
def test_questions_travel_unchanged(question: Question) -> None:
    """The kind travels along."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(question), type=Question) == question


@pytest.mark.parametrize(
    "answer", [Explained(b"{}"), TargetList([TargetState("up/a", "half_open", latency_ms=1.5)]), Refused("a", "b")]
)
def test_answers_travel_unchanged(answer: Answer) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=Answer) == answer


def test_a_standing_that_does_not_exist_is_no_answer() -> None:
    """A worker of another release is not believed."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(["targets", [["up/a", "sleepy"]]]), type=Answer)


def test_unavailable_says_what_to_do() -> None:
    assert "again" in UNAVAILABLE.message
