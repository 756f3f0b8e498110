from __future__ import annotations

import asyncio
import contextlib
import functools
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from flumegate.processes import link
from flumegate.processes.link import DamagedFrameError, Frames, Hello, Report, frame
from flumegate.records.balance import Balance, Sought
from flumegate.records.counters import Counters
from flumegate.records.stored import Stored, Wanted
from rig.link import Control, Worker, connected, until

COUNTED = Counters(
    requests={("chat", "openai", 200): 3},
    latency={("chat", "openai"): [1, 2]},
    latency_us={("chat", "openai"): 5},
    tokens={("openai", "input"): 7},
    totals={"records_dropped": 0},
    gauges={"connections_open": 1},
)


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    made = Control(tmp_path / "link.sock")
    await made.end.open()
    yield made
    made.end.close()


def test_a_worker_under_uvloop_speaks_with_a_control_under_asyncio(tmp_path: Path) -> None:
    """The two processes run different event loops."""
    path = tmp_path / "link.sock"

    async def work() -> list[bytes]:
        async with connected(path) as worker:
            await until(worker, lambda: bool(worker.snapshots))
            return worker.snapshots

    async def both() -> list[bytes]:
        control = Control(path)
        await control.end.open()
        control.end.push(b"snapshot", 1)
        try:
            return await asyncio.to_thread(uvloop.run, work())
        finally:
            control.end.close()

    assert asyncio.run(both()) == [b"snapshot"]


@given(
    st.lists(st.tuples(st.integers(link.HELLO, link.ANSWER), st.binary(max_size=300)), max_size=6),
    st.lists(st.integers(1, 64), min_size=1, max_size=40),
)
def test_frames_are_the_same_however_the_bytes_are_cut(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """A stream has no message boundaries of its own."""
    stream = b"".join(frame(kind, body) for kind, body in sent)
    frames, found, position, turn = Frames(1000), list[tuple[int, bytes]](), 0, 0
    while position < len(stream):
        step = cuts[turn % len(cuts)]
        found += frames.feed(stream[position : position + step])
        position, turn = position + step, turn + 1
    assert found == sent


@pytest.mark.parametrize("head", [struct.pack(">IB", 1001, 1), struct.pack(">IB", 1, 0), struct.pack(">IB", 1, 9)])
def test_oversized_and_unknown_frames_are_damage(head: bytes) -> None:
    """Nothing is allocated for a length that is not allowed."""
    with pytest.raises(DamagedFrameError):
        list(Frames(1000).feed(head))


async def test_a_snapshot_reaches_the_worker_and_its_acknowledgement_comes_back(control: Control) -> None:
    """Pushed before or after the worker connects, each Snapshot arrives; counters arrive as they were sent."""
    control.end.push(b"first", 1)
    async with connected(control.end.path) as worker:
        await until(worker, lambda: worker.snapshots == [b"first"])
        control.end.push(b"second" * 100_000, 2)
        await until(worker, lambda: worker.snapshots[1:] == [b"second" * 100_000])
        worker.end.version = 2
        assert worker.end.report(COUNTED)
        await until(control, lambda: bool(control.reports))
    assert control.hellos == [Hello("w0", 1, 0)]
    assert control.reports == [Report(2, COUNTED)]


async def test_a_worker_that_has_the_newest_snapshot_is_not_sent_it_again(control: Control) -> None:
    """A worker that started from the shelf says so."""
    control.end.push(b"same", 7)
    worker = Worker(control.end.path)
    worker.end.version = 7
    await until(control, lambda: bool(control.hellos))
    control.end.push(b"next", 8)
    await until(worker, lambda: bool(worker.snapshots))
    worker.task.cancel()
    await asyncio.gather(worker.task, return_exceptions=True)
    assert worker.snapshots == [b"next"]


async def test_peers_reach_the_worker(control: Control) -> None:
    """Each worker hears what the others have counted."""
    async with connected(control.end.path) as worker:
        await until(control, lambda: bool(control.hellos))
        for line in control.end.workers:
            line.send_peers(COUNTED)
        await until(worker, lambda: worker.peers == [COUNTED])


async def test_a_worker_finds_a_control_that_comes_back(tmp_path: Path) -> None:
    """Control may die and return any number of times; the worker connects again each time."""
    path = tmp_path / "link.sock"
    async with connected(path) as worker:
        for version in (1, 2, 3):
            control = Control(path)
            await control.end.open()
            control.end.push(b"%d" % version, version)
            await until(worker, functools.partial(worker.snapshots.__contains__, b"%d" % version))
            control.end.close()
        assert worker.snapshots == [b"1", b"2", b"3"]


async def test_a_new_process_of_a_name_ends_the_line_of_the_one_before(control: Control) -> None:
    """What a dead worker's line still holds cannot be taken for its successor's."""
    async with connected(control.end.path, pid=1):
        await until(control, lambda: len(control.hellos) == 1)
        (first,) = control.end.workers
        async with connected(control.end.path, pid=2):
            await until(control, lambda: len(control.hellos) == 2)
            assert first not in control.end.workers or len(control.end.workers) == 1
    assert [hello.pid for hello in control.hellos[:2]] == [1, 2]


async def test_a_control_that_does_not_read_costs_a_worker_a_bounded_amount(tmp_path: Path) -> None:
    """Reports to a frozen control are dropped once 256 KiB wait, and never block."""
    path = tmp_path / "link.sock"
    accepted = asyncio.Event()

    async def freeze(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # a frozen process reads nothing at all
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        writer.transport.abort()

    server = await asyncio.start_unix_server(freeze, str(path))
    big = Counters(totals={f"name {index}": index for index in range(2000)})
    async with connected(path) as worker:
        await asyncio.wait_for(accepted.wait(), 10)
        taken = [worker.end.report(big) for _ in range(400)]
        assert taken[0]
        assert not taken[-1]
        assert worker.end._end
        assert worker.end._end._transport
        assert worker.end._end._transport.get_write_buffer_size() < 2 * link.QUEUED_BYTES
    server.close()


@pytest.mark.parametrize(
    "bad",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frame(link.COUNTERS, b"\x90"),
        frame(link.HELLO, b"\xc1"),
        frame(link.SNAPSHOT, b""),
        frame(link.QUESTION, b"\x90"),
    ],
)
async def test_damage_closes_the_connection_and_nothing_else(control: Control, bad: bytes) -> None:
    """Whatever connects and talks nonsense is hung up on; others are served."""
    reader, writer = await asyncio.open_unix_connection(str(control.end.path))
    writer.write(bad)
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    async with connected(control.end.path):
        await until(control, lambda: bool(control.hellos))


WANTED = Wanted("0123456789abcdef", "key", "project")


async def test_each_question_gets_its_own_reply(control: Control) -> None:
    """Replies may come in any order, and be larger than what may wait unread."""
    async with connected(control.end.path) as worker:
        await until(control, lambda: bool(control.hellos))
        asked = [asyncio.create_task(worker.end.ask(WANTED)) for _ in range(3)]
        await until(control, lambda: len(control.questions) == 3)
        for line, question in reversed(control.questions):
            assert question.wanted == WANTED
            line.reply(question.number, Stored("found", b"%d" % question.number, b"x" * 1_000_000))
        replies = await asyncio.gather(*asked)
        assert [reply.request_body for reply in replies] == [b"1", b"2", b"3"]


async def test_a_question_to_nobody_is_answered_at_once(tmp_path: Path) -> None:
    async with connected(tmp_path / "nobody.sock") as worker:
        assert await worker.end.ask(WANTED) == Stored("unavailable")


async def test_a_question_ends_with_the_connection(control: Control) -> None:
    """Nobody waits for a control that has died."""
    async with connected(control.end.path) as worker:
        await until(control, lambda: bool(control.hellos))
        asked = asyncio.create_task(worker.end.ask(WANTED))
        await until(control, lambda: bool(control.questions))
        control.end.close()
        assert await asked == Stored("unavailable")


async def test_a_question_is_given_up_and_its_late_reply_is_nobodys(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent control costs the asker a bounded time, and what it says later harms no later question."""
    monkeypatch.setattr(link, "REPLY_SECONDS", 0.01)
    async with connected(control.end.path) as worker:
        await until(control, lambda: bool(control.hellos))
        assert await worker.end.ask(WANTED) == Stored("unavailable")
        monkeypatch.undo()
        asked = asyncio.create_task(worker.end.ask(WANTED))
        await until(control, lambda: len(control.questions) == 2)
        for number, (line, question) in enumerate(control.questions):
            line.reply(question.number, Stored("found", b"%d" % number))
        assert await asked == Stored("found", b"1")


async def test_questions_are_bounded(control: Control) -> None:
    """More than so many unanswered ones are not asked."""
    async with connected(control.end.path) as worker:
        await until(control, lambda: bool(control.hellos))
        asked = [asyncio.create_task(worker.end.ask(WANTED)) for _ in range(link.MOST_QUESTIONS)]
        await until(control, lambda: len(control.questions) == link.MOST_QUESTIONS)
        assert await worker.end.ask(WANTED) == Stored("unavailable")
        for line, question in control.questions:
            line.reply(question.number, Stored("unknown"))
        assert {reply.state for reply in await asyncio.gather(*asked)} == {"unknown"}


async def test_questions_that_were_given_up_are_bounded_too(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control that is behind with answers is not piled up with questions that nobody waits for any more."""
    async with connected(control.end.path) as worker:
        await until(control, lambda: bool(control.hellos))
        monkeypatch.setattr(link, "REPLY_SECONDS", 0.001)
        for _ in range(link.MOST_QUESTIONS):
            await worker.end.ask(WANTED)
        await until(control, lambda: len(control.questions) == link.MOST_QUESTIONS)
        monkeypatch.undo()
        assert await worker.end.ask(WANTED) == Stored("unavailable")
        assert len(control.questions) == link.MOST_QUESTIONS
        line, question = control.questions[0]
        line.reply(question.number, Stored("unknown"))
        asked = asyncio.create_task(worker.end.ask(WANTED))
        await until(control, lambda: len(control.questions) == link.MOST_QUESTIONS + 1)
        line.reply(control.questions[-1][1].number, Stored("unknown"))
        assert await asked == Stored("unknown")


async def test_a_balance_is_asked_for_on_the_same_line(control: Control) -> None:
    """Told as it is, or not at all; an answer to something else is none."""
    sought = Sought(("key:k",), ("key:k|total",))
    async with connected(control.end.path) as worker:
        await until(control, lambda: bool(control.hellos))
        for told, expected in ((Balance({"key:k": 3}, {}), Balance({"key:k": 3}, {})), (Stored("unavailable"), None)):
            asked = asyncio.create_task(worker.end.ask_balance(sought))
            await until(control, lambda: bool(control.questions))
            line, question = control.questions.pop()
            assert question.wanted == sought
            line.reply(question.number, told)
            assert await asked == expected
        asked_stored = asyncio.create_task(worker.end.ask(WANTED))
        await until(control, lambda: bool(control.questions))
        line, question = control.questions.pop()
        line.reply(question.number, Balance())
        assert await asked_stored == Stored("unavailable")
    assert await worker.end.ask_balance(sought) is None
