"""What control asks of workers: the ends control_end and worker_end over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flumegate.processes import link
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
from rig.link import Control, Worker, connected, until

EXPLAIN = Explain("POST", "/v1/chat/completions", [("x-a", "b")], b"{}")
OPEN = ForceTarget("up/a", "open")
UNKNOWN = Refused("unknown_target", "There is none.")


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    made = Control(tmp_path / "link.sock")
    await made.end.open()
    yield made
    made.end.close()


async def obey(question: Question) -> Answer:
    """Answer as a worker does that has every target."""
    if isinstance(question, Explain):
        return Explained(b'{"path": "%s"}' % question.path.encode())
    name = question.name if isinstance(question, ForceTarget) else "up/a"
    return TargetList([TargetState(name, "closed", in_flight=1)])


async def deny(question: Question) -> Answer:
    """Answer as a worker does that has no target."""
    return TargetList([]) if isinstance(question, ListTargets) else UNKNOWN


async def joined(control: Control, count: int) -> None:
    await until(control, lambda: len(control.hellos) >= count)


async def test_a_question_is_answered(control: Control) -> None:
    """It arrives as it was asked, and so does the answer; many may be on their way at once."""
    async with connected(control.end.path) as worker:
        worker.answer = obey
        await joined(control, 1)
        answers = await asyncio.gather(*(control.end.ask_one(EXPLAIN) for _ in range(link.MOST_ASKED)))
        assert answers == [Explained(b'{"path": "/v1/chat/completions"}')] * link.MOST_ASKED
        assert worker.asked == [EXPLAIN] * link.MOST_ASKED


async def test_without_a_worker_nobody_is_waited_for(control: Control) -> None:
    assert await control.end.ask_one(EXPLAIN) == UNAVAILABLE
    assert await control.end.ask_all(ListTargets()) == {}


async def test_a_worker_that_is_lost_while_asked_is_unavailable(control: Control) -> None:
    """At once, not after the time limit."""
    async with connected(control.end.path) as worker:
        await joined(control, 1)
        asked = asyncio.create_task(control.end.ask_one(EXPLAIN))
        await until(worker, lambda: bool(worker.asked))
    assert await asked == UNAVAILABLE


async def test_a_silent_worker_is_given_up_and_another_one_is_asked(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "REPLY_SECONDS", 0.05)
    async with connected(control.end.path, name="w0") as silent, connected(control.end.path, name="w1") as worker:
        worker.answer = obey
        await joined(control, 2)
        assert isinstance(await control.end.ask_one(EXPLAIN), Explained)
        assert silent.asked == [EXPLAIN]


async def test_questions_that_wait_are_bounded(control: Control) -> None:
    """Further ones are refused at once."""
    async with connected(control.end.path) as worker:
        gate = asyncio.Event()

        async def later(question: Question) -> Answer:
            await gate.wait()
            return await obey(question)

        worker.answer = later
        await joined(control, 1)
        asked = [asyncio.create_task(control.end.ask_one(EXPLAIN)) for _ in range(link.MOST_ASKED)]
        await until(worker, lambda: len(worker.asked) == link.MOST_ASKED)
        assert await control.end.ask_one(EXPLAIN) == UNAVAILABLE
        gate.set()
        assert UNAVAILABLE not in await asyncio.gather(*asked)


async def test_a_bug_in_an_answer_harms_only_that_answer(control: Control) -> None:
    """The worker serves on, and the line stays."""
    async with connected(control.end.path) as worker:

        async def stumble(_: Question) -> Answer:
            raise ZeroDivisionError

        worker.answer = stumble
        await joined(control, 1)
        assert await control.end.ask_one(EXPLAIN) == UNAVAILABLE
        worker.answer = obey
        assert isinstance(await control.end.ask_one(EXPLAIN), Explained)
        assert len(control.hellos) == 1


async def test_an_answer_that_no_frame_can_hold_is_refused(control: Control) -> None:
    """It does not cost the line."""
    async with connected(control.end.path) as worker:

        async def swell(_: Question) -> Answer:
            return Explained(b"x" * (link.UP_BYTES + 1))

        worker.answer = swell
        await joined(control, 1)
        answer = await control.end.ask_one(EXPLAIN)
        assert isinstance(answer, Refused)
        assert answer.code == "answer_too_large"
        assert len(control.hellos) == 1


async def test_what_is_forced_reaches_every_worker(control: Control) -> None:
    async with connected(control.end.path, name="w0") as first, connected(control.end.path, name="w1") as second:
        first.answer = second.answer = obey
        await joined(control, 2)
        answers = await control.end.force(OPEN)
        assert sorted(answers) == ["w0", "w1"]
        assert first.asked == second.asked == [OPEN]


async def test_what_is_forced_reaches_workers_that_come_later(control: Control) -> None:
    """After the Snapshot that names the targets; however many there are, and the last word counts."""
    names = [f"up/{index}" for index in range(3 * link.MOST_ASKED)]
    control.end.push(b"x" * 2_000_000, 1)
    async with connected(control.end.path, name="w0") as first:
        first.answer = obey
        await joined(control, 1)
        for name in names:
            await control.end.force(ForceTarget(name, "open"))
        await control.end.force(ForceTarget(names[0], "auto"))
    worker = Worker(control.end.path, name="w0", pid=2)
    try:
        worker.answer = obey
        await until(worker, lambda: len(worker.asked) == len(names))
        assert worker.asked == [ForceTarget(names[0], "auto"), *(ForceTarget(name, "open") for name in names[1:])]
        assert worker.snapshots == [b"x" * 2_000_000]
    finally:
        worker.task.cancel()
        await asyncio.gather(worker.task, return_exceptions=True)


async def test_a_worker_that_was_silent_is_told_again(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hung while something was forced does not go its own way."""
    monkeypatch.setattr(link, "REPLY_SECONDS", 0.01)
    async with connected(control.end.path) as worker:
        await joined(control, 1)
        assert await control.end.force(OPEN) == {"w0": UNAVAILABLE}
        (line,) = control.end.workers
        line.catch_up()
        await until(worker, lambda: worker.asked == [OPEN, OPEN])


async def test_a_target_that_nobody_has_is_forgotten(control: Control) -> None:
    """A slip of the pen leaves nothing behind, in no worker."""
    async with connected(control.end.path, name="w0") as worker:
        worker.answer = deny
        await joined(control, 1)
        assert await control.end.force(OPEN) == {"w0": UNKNOWN}
        assert worker.asked == [OPEN, ForceTarget("up/a", "auto")]
        assert control.end.forced == {}


async def test_without_a_worker_nothing_changes(control: Control) -> None:
    """Whoever is told that nobody answered can rely on it; what was forced before stays."""
    assert await control.end.force(OPEN) == {}
    assert control.end.forced == {}
    async with connected(control.end.path) as worker:
        worker.answer = obey
        await joined(control, 1)
        await control.end.force(OPEN)
    await control.end.idle.wait()
    assert await control.end.force(ForceTarget(OPEN.name, "auto")) == {}
    assert control.end.forced == {OPEN.name: OPEN}


async def test_a_target_that_one_worker_has_is_kept(control: Control) -> None:
    """The others may come to know it later."""
    async with connected(control.end.path, name="w0") as first, connected(control.end.path, name="w1") as second:
        first.answer, second.answer = obey, deny
        await joined(control, 2)
        answers = await control.end.force(OPEN)
        assert answers["w1"] == UNKNOWN
        assert control.end.forced == {"up/a": OPEN}
