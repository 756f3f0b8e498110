"""A race is won by a whole answer, and leaves no place, connection or task behind, wherever the client leaves it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import types
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flumegate.engine.run import Engine
from flumegate.exchange import Exchange
from flumegate.records.request import Attempt
from flumegate.routing.health import Health
from flumegate.snapshot import Hedge, Route, Target
from rig import engines

MOST_AWAITS = 200
GOOD = engines.HEAD % (200, len(engines.ANSWER)) + engines.ANSWER
ERROR = b'{"type":"error","error":{"message":"overloaded","type":"overloaded_error"}}'
PAGE = b"<html><body>Sign in to the network</body></html>"


class Upstream:
    """Answers a model's requests with the bytes that the test says, as soon as it says them; `None` = closes."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: defaultdict[str, asyncio.Queue[bytes | None]] = defaultdict(asyncio.Queue)

    def say(self, model: str, *answer: bytes | None) -> None:
        for piece in answer:
            self._answers[model].put_nowait(piece)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        saying: asyncio.Task[None] | None = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                model = json.loads(await reader.readexactly(length))["model"]
                self.asked.append(model)
                if saying is None:
                    saying = asyncio.create_task(self._say(self._answers[model], writer))
        if saying is not None:
            saying.cancel()
            await asyncio.wait({saying})
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _say(self, answers: asyncio.Queue[bytes | None], writer: asyncio.StreamWriter) -> None:
        while (piece := await answers.get()) is not None:
            writer.write(piece)
        writer.close()


class Race(NamedTuple):
    """A request under way, to `first` and, beside it, to `second`."""

    engine: Engine
    upstream: Upstream
    exchange: Exchange
    running: asyncio.Task[None]

    @property
    def rows(self) -> tuple[Attempt, ...]:
        return self.exchange.attempts

    def health(self, model: str) -> Health:
        return next(health for health in self.engine.healths.all() if health.name.endswith(f"/{model}"))

    async def until(self, look: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not look():
                assert not self.running.done()
                await asyncio.sleep(0)

    async def end(self) -> None:
        async with asyncio.timeout(20):
            await self.running  # its record was asked for before, and is made first


@contextlib.asynccontextmanager
async def racing(folder: Path, second: str = "up") -> AsyncIterator[Race]:
    """Begin a request, and go on once both targets have been asked; `second` is the provider of the hedge."""
    upstream = Upstream()
    targets = (Target("up", "first"), Target(second, "second", tier=1))
    async with engines.running(folder, {"m": Route(targets, hedge=Hedge(0.002, 1.0))}, upstream.serve) as made:
        exchange = engines.request(made)
        race = Race(made, upstream, exchange, asyncio.create_task(made.run(exchange)))
        await race.until(lambda: len(upstream.asked) == 2)
        yield race
        assert {(health.in_flight, health.unheard, health.probing) for health in made.healths.all()} == {(0, 0, False)}


def outcomes(race: Race) -> list[tuple[str, int | None, str]]:
    """Return what the record says of every attempt, each of which has its own end."""
    for row in race.rows:
        assert row.ended_us is not None
        assert row.started_us <= (row.first_byte_us or row.started_us) <= row.ended_us
    return [(row.target.partition("/")[2], row.status, row.outcome) for row in race.rows]


@types.coroutine
def leaving(work: Coroutine[Any, Any, None], number: int) -> Generator[Any, Any, int]:
    """Run a request whose client leaves at its Nth await; return how many awaits it came to."""
    awaits = 0
    sent: Any = None
    thrown: BaseException | None = None
    task = asyncio.current_task()
    assert task is not None
    while True:
        try:
            waited = work.throw(thrown) if thrown is not None else work.send(sent)
        except StopIteration:
            return awaits
        awaits += 1
        if awaits == number:
            task.cancel()
        thrown = None
        try:
            sent = yield waited
        except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine, whatever it is
            thrown = error


@pytest.mark.parametrize(
    "models", [("silent", "quick"), ("slow", "silent"), ("slow", "bad"), ("bad", "quick"), ("slow", "slower")]
)
async def test_nothing_is_left_wherever_the_client_leaves(tmp_path: Path, models: tuple[str, str]) -> None:
    """Places, probes and connections: all are given back, and no task fails unheard."""
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    targets = tuple(Target("up", model, tier=tier) for tier, model in enumerate(models))
    async with engines.running(tmp_path, {"m": Route(targets, hedge=Hedge(0.002, 1.0))}) as made:
        pool = made.upstream.pool(made.snapshot.providers["up"])
        for number in range(1, MOST_AWAITS):
            exchange = engines.request(made)
            awaits = await asyncio.ensure_future(leaving(made.run(exchange), number))
            assert exchange.settled
            under_way = {(health.in_flight, health.unheard, health.probing) for health in made.healths.all()}
            assert under_way == {(0, 0, False)}, f"left at await {number}"
            assert pool.places == pool.idle, f"left at await {number}"
            if awaits < number:
                break
        else:
            raise AssertionError("a request never ends")
        assert number > 3
        assert not made.overload.active
    assert not unheard


async def test_a_client_in_a_hurry_blames_neither_target(tmp_path: Path) -> None:
    """Both attempts end with the client's own time, and that tells nothing about those who were asked."""
    targets = (Target("up", "silent"), Target("up", "quiet-silent", tier=1))
    async with engines.running(tmp_path, {"m": Route(targets, hedge=Hedge(0.002, 1.0))}) as made:
        exchange = engines.request(made)
        exchange.special, exchange.picked = True, {b"x-flumegate-timeout": b"0.05"}
        running = asyncio.create_task(made.run(exchange))
        async with asyncio.timeout(20):
            while not running.done():
                made.upstream.sweep()
                await asyncio.sleep(0)
        assert (exchange.status, len(exchange.attempts)) == (504, 2)
        assert [health.failures for health in made.healths.all()] == [0, 0]


@pytest.mark.parametrize(("early", "late"), [("first", "second"), ("second", "first")])
async def test_a_head_is_no_answer_yet(tmp_path: Path, early: str, late: str) -> None:
    """Who sends its head at once and its body late is overtaken by who answers wholly in between."""
    async with racing(tmp_path) as race:
        race.upstream.say(early, GOOD[:-9])
        await race.until(lambda: any(row.status for row in race.rows))
        race.upstream.say(late, GOOD)
        await race.end()
        assert race.exchange.plan is not None
        assert (race.exchange.status, race.exchange.plan.model) == (200, late)
        assert sorted(outcomes(race)) == sorted([(early, 200, "cancelled"), (late, 200, "ok")])
        assert race.upstream.asked == ["first", "second"]


def answer(body: bytes, status: int = 200, media_type: bytes = b"application/json", missing: int = 0) -> bytes:
    head = b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (status, media_type, len(body) + missing) + body


NO_ANSWERS: dict[str, tuple[list[bytes | None], str]] = {
    "page": ([answer(PAGE, media_type=b"text/html")], "upstream_garbage"),
    "nothing": ([answer(b"")], "upstream_garbage"),
    "half a document": ([answer(engines.ANSWER[:-9])], "upstream_garbage"),
    "error in a 200": ([answer(ERROR)], "error_in_answer"),
    "broken off": ([answer(engines.ANSWER[:-9], missing=9), None], "upstream_cut"),
    "overloaded": ([answer(ERROR, 503)], "upstream_503"),
    "overloaded, and not all of it": ([answer(ERROR, 503, missing=9)], "upstream_503"),
    "closed": ([None], "upstream_closed"),
}


@pytest.mark.parametrize("second", ["up", "claude"])
@pytest.mark.parametrize("bad", NO_ANSWERS)
async def test_a_hedge_that_is_no_answer_leaves_the_first(tmp_path: Path, bad: str, second: str) -> None:
    """In whatever dialect it was asked; nobody is asked twice, and the record tells each attempt's own end."""
    said, code = NO_ANSWERS[bad]
    async with racing(tmp_path, second) as race:
        race.upstream.say("second", *said)
        await race.until(lambda: race.rows[1].ended_us is not None)
        race.upstream.say("first", GOOD)
        await race.end()
        exchange = race.exchange
        assert exchange.plan is not None
        assert (exchange.status, exchange.outcome, exchange.lane) == (200, "ok", "verbatim")
        assert (exchange.plan.target_name, exchange.response_body) == ("up/first", [engines.ANSWER])
        assert race.upstream.asked == ["first", "second"]
        if second == "claude" and bad == "error in a 200":
            code = "upstream_garbage"  # an error can be read where the client's dialect is spoken
        assert outcomes(race) == [("first", 200, "ok"), ("second", race.rows[1].status, code)]


@pytest.mark.parametrize(("bad", "good"), [("first", "second"), ("second", "first")])
@pytest.mark.parametrize("leaves", [False, True])
async def test_who_fails_leaves_its_place_at_once(tmp_path: Path, bad: str, good: str, leaves: bool) -> None:
    """While the other one goes on, and whether or not the client waits for that."""
    async with racing(tmp_path) as race:
        race.upstream.say(bad, answer(ERROR, 503))
        await race.until(lambda: race.health(bad).in_flight == 0)
        assert (race.health(bad).failures, race.health(bad).last_error) == (1, "upstream_503")
        assert race.health(good).in_flight == 1
        if leaves:
            race.running.cancel()
        else:
            race.upstream.say(good, GOOD)
        await race.end()
        assert (race.health(bad).failures, race.health(good).failures) == (1, 0)
        told = {model: (status, outcome) for model, status, outcome in outcomes(race)}
        assert told == {bad: (503, "upstream_503"), good: (None, "cancelled") if leaves else (200, "ok")}
        assert race.exchange.plan is not None
        assert race.exchange.plan.model == good


@pytest.mark.parametrize(("earlier", "later"), [("first", "second"), ("second", "first")])
async def test_both_fail_each_by_its_own(tmp_path: Path, earlier: str, later: str) -> None:
    """The client gets the later one's failure."""
    async with racing(tmp_path) as race:
        race.upstream.say(earlier, answer(ERROR, 503))
        await race.until(lambda: any(row.ended_us is not None for row in race.rows))
        race.upstream.say(later, answer(ERROR, 500))
        await race.end()
        assert (race.exchange.status, race.exchange.error_code) == (500, "upstream_500")
        told = {model: (status, outcome) for model, status, outcome in outcomes(race)}
        assert told == {earlier: (503, "upstream_503"), later: (500, "upstream_500")}
        assert race.exchange.plan is not None
        assert race.exchange.plan.model == later
        assert race.upstream.asked == ["first", "second"]


async def test_a_client_that_leaves_both_calls_both_off(tmp_path: Path) -> None:
    """Also the one whose answer had begun."""
    async with racing(tmp_path) as race:
        race.upstream.say("second", GOOD[:-9])
        await race.until(lambda: race.rows[1].status == 200)
        race.running.cancel()
        await race.end()
        assert outcomes(race) == [("first", None, "cancelled"), ("second", 200, "cancelled")]
        assert [health.failures for health in race.engine.healths.all()] == [0, 0]


async def test_events_that_nobody_asked_for_win_as_a_whole(tmp_path: Path) -> None:
    """They are handed on as they came; the first attempt is called off when the last of them is there."""
    events = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    async with racing(tmp_path) as race:
        race.upstream.say("second", answer(events, media_type=b"text/event-stream", missing=2))
        await race.until(lambda: race.rows[1].status == 200)
        assert race.health("first").in_flight == 1
        race.upstream.say("second", b"\n\n")
        await race.end()
        assert race.exchange.outcome == "ok"
        assert b"".join(race.exchange.response_body or []) == events + b"\n\n"
        assert outcomes(race) == [("first", None, "cancelled"), ("second", 200, "ok")]
        assert race.upstream.asked == ["first", "second"]


async def test_a_refusal_is_an_answer(tmp_path: Path) -> None:
    """Another target would refuse the request just so: it is handed on, and the first attempt called off."""
    async with racing(tmp_path) as race:
        race.upstream.say("second", answer(ERROR, 400))
        await race.end()
        assert (race.exchange.status, race.exchange.error_code) == (400, "upstream_400")
        assert outcomes(race) == [("first", None, "cancelled"), ("second", 400, "upstream_400")]
        assert race.upstream.asked == ["first", "second"]
