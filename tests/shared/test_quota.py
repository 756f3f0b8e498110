from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from flumegate.quota.book import Book, Holder, Over, Room
from flumegate.quota.ledger import Ledger, Line, Short, Unknown
from flumegate.quota.stay import Allowance, Stay
from flumegate.records.access import Limits
from flumegate.shared.link import AwayError
from flumegate.shared.quota import SharedQuota, _entry, _Stay
from flumegate.shared.scripts import ENTER, LEASE_SECONDS
from rig.fault_proxy import CLEAN, Ending, FaultProxy, Way, fault_proxy
from rig.redis import Redis

Quotas = Callable[..., SharedQuota]
NOW = 1_000.0
LINE = Line("key:1@total", 10_000)
KEY = Holder("key:1", Limits(concurrency=100))


class Clock:
    """Unix time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_795_262_400.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def proxy(redis: Redis) -> Iterator[FaultProxy]:
    with fault_proxy(redis.port) as running:
        yield running


def kept(redis: Redis, key: str, field: str) -> int:
    """Return a number that Redis keeps; 0 where it keeps none."""
    answer = redis.command("HGET", f"fg:{{flumegate}}:{key}", field).split(b"\r\n")
    return 0 if answer[0] == b"$-1" else int(answer[1])


def account(redis: Redis, line: Line = LINE) -> tuple[int, int]:
    """Return what a budget has spent and holds, as Redis keeps it."""
    return kept(redis, f"account:{line.account}", "s"), kept(redis, f"account:{line.account}", "h")


async def enter(quota: SharedQuota, request: str, micros: int = 100) -> Over | Short | Unknown | None:
    """Ask for a place of one key and for money of one budget."""
    return await quota.enter(request, [KEY], [LINE], 0, micros, NOW)


# the same meaning as the book and the ledger


class Counting:
    """The same calls, counted by one worker in itself."""

    def __init__(self) -> None:
        self.book, self.ledger = Book(), Ledger()
        self.stays: dict[str, Stay] = {}

    def enter(
        self, request: str, holders: list[Holder], lines: list[Line], tokens: int, micros: int, now: float
    ) -> Over | Short | Unknown | None:
        allowance = Allowance(holders, [], lines)
        found: Over | Short | Unknown | None = allowance.bind(self.book, self.ledger, now)
        if request not in self.stays and (found := found or allowance.refused(tokens, micros, now)) is None:
            self.stays[request] = allowance.count(tokens, micros, int(now))
        return found

    def extend(self, request: str, micros: int) -> Short | None:
        return self.stays[request].extend(micros) if request in self.stays else None

    def leave(self, request: str, tokens: int | None, micros: int | None, now: float) -> None:
        if request in self.stays:
            self.stays.pop(request).leave(tokens, micros, now)


@pytest.mark.parametrize("seed", range(8))
async def test_one_worker_s_book_and_ledger_would_have_said_the_same(quotas: Quotas, seed: int) -> None:
    """Every admission, every refusal with its reason and its wait, over hundreds of random calls.

    A look before each of them says the same, and leaves no trace.
    """
    dice, clock, counting = random.Random(seed), Clock(), Counting()
    quota = quotas(clock=clock)
    holders = [
        Holder("key:1", Limits(requests_per_minute=7, concurrency=4)),
        Holder("key:2", Limits(tokens_per_minute=500, max_requests=40)),
        Holder("project:1", Limits(9, 900, 5)),
    ]
    lines = [Line("key:1@2026-11-21", 9_000, clock.now + 86_400), Line("project:1@total", 12_000), LINE]
    counting.book.tell("key:2", 3)
    await quota.tell("key:2", 3)
    for line in lines:
        counting.ledger.open(line.account, 50)
        await quota.open(line.account, 50, line.ends_at)
    met: dict[str, list[Line]] = {}
    for number in range(300):
        clock.now += dice.choice((0.0, 0.0, 0.25, 1.0, 7.5, 40.0 if number % 10 == 0 else 0.0))
        request, some = f"r{dice.randrange(12)}", dice.sample(lines, dice.randrange(3))
        match dice.randrange(4):
            case 0 | 1:
                asked, tokens, micros = dice.sample(holders, dice.randrange(1, 3)), dice.randrange(300), 40
                micros = dice.randrange(900)
                looked = await quota.look(asked, some, tokens, micros, clock.now)
                found = await quota.enter(request, asked, some, tokens, micros, clock.now)
                expected: object = counting.enter(request, asked, some, tokens, micros, clock.now)
                looked_for = found
                if isinstance(expected, Over) and expected.wait_seconds is not None:
                    assert isinstance(found, Over)
                    assert found.wait_seconds == pytest.approx(expected.wait_seconds, abs=0.002)
                    found = found._replace(wait_seconds=expected.wait_seconds)
                assert found == expected
                if request not in met:  # a look knows no request that has entered already
                    assert looked == looked_for
                if found is None:
                    met.setdefault(request, some)
            case 2:
                micros = dice.randrange(400)
                extended = await quota.extend(request, met.get(request, some), micros)
                assert extended == counting.extend(request, micros)
            case _:
                took, cost = dice.choice((None, dice.randrange(400))), dice.choice((None, dice.randrange(900)))
                met.pop(request, None)
                for _ in range(2):
                    await quota.leave(request, took, cost, clock.now)
                    counting.leave(request, took, cost, clock.now)
        await quota.renew()


async def test_an_account_is_opened_once(quotas: Quotas, redis: Redis) -> None:
    """Nothing is held before it is known what was spent, and a later word does not undo what was spent since."""
    quota, other = quotas(), quotas()
    limited = Holder("key:1", Limits(max_requests=2))
    assert await quota.enter("a", [limited], [LINE], 0, 1, NOW) == Unknown((LINE.account,), (limited.name,))
    await quota.open(LINE.account, 9_900)
    await quota.tell(limited.name, 1)
    await other.open(LINE.account, 0)
    await other.tell(limited.name, 0)
    assert await other.enter("a", [], [LINE], 0, 101, NOW) == Short(LINE, 100)
    assert await other.enter("a", [limited], [LINE], 0, 100, NOW) is None
    assert await quota.enter("b", [limited], [], 0, 0, NOW) == Over("max_requests", limited, 2, None)
    assert account(redis) == (9_900, 100)


async def test_an_admitted_request_knows_what_is_left(quotas: Quotas, redis: Redis) -> None:
    """Of all workers' rates together, as headers tell it; of what a worker lets in alone nothing is known."""
    quota, other = quotas(), quotas()
    first, second = Holder("key:1", Limits(requests_per_minute=5)), Holder("project:1", Limits(tokens_per_minute=90))
    assert await other.enter("a", [second, KEY], [], 80, 0, NOW) is None
    assert other.rooms("a") == [(None, Room(90, 10, 61.0)), (None, None)]
    assert await quota.enter("b", [first, second], [], 10, 0, NOW) is None
    assert quota.rooms("b") == [(Room(5, 4, 61.0), None), (None, Room(90, 0, 61.0))]
    assert quota.rooms("a") == []
    redis.command("CONFIG", "SET", "maxmemory", "1")
    assert await quota.enter("c", [first], [], 0, 0, NOW) is None
    assert quota.rooms("c") == []


async def test_it_is_occupied_by_who_is_about_to_enter(quotas: Quotas) -> None:
    """Also while something else is asked in between; whoever is inside occupies it, whoever has left does not."""
    quota = quotas()
    told = [quota.occupied]
    with quota.entering():
        told.append(quota.occupied)
        assert await quota.enter("a", [KEY], [], 0, 0, NOW) is None
    told.append(quota.occupied)
    await quota.leave("a", 0, 0, NOW)
    assert [*told, quota.occupied] == [False, True, True, False]


async def test_accounts_outlive_their_period_and_do_not_stay_for_ever(quotas: Quotas, redis: Redis) -> None:
    """A clock that goes back over midnight finds what was spent; a month later nothing is left."""
    quota, ends = quotas(), time.time() + 1_000
    await quota.open("day", 1, ends)
    await quota.open("total", 1)
    for name, least, most in (("day", 172_800, 174_000), ("total", 2_591_000, 2_592_000)):
        left = int(redis.command("TTL", f"fg:{{flumegate}}:account:{name}")[1:])
        assert least <= left <= most


# many at once


RACER = """
import asyncio, sys
from flumegate.quota.book import Holder
from flumegate.quota.ledger import Line
from flumegate.records.access import Limits
from flumegate.shared.quota import SharedQuota

async def main() -> None:
    name, url = sys.argv[1:]
    quota = SharedQuota(url, workers=lambda: 2, timeout_seconds=20.0)
    holders, lines = [Holder("key:1", Limits(concurrency=60))], [Line("key:1@total", 5_000)]
    print("ready", flush=True)
    sys.stdin.readline()
    found = await asyncio.gather(*(quota.enter(f"{name}{n}", holders, lines, 0, 100, 0.0) for n in range(100)))
    print(found.count(None), quota.away, flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(quota.leave(f"{name}{n}", 0, 100, 0.0) for n in range(100)))
    await quota.close()

asyncio.run(main())
"""


class Racer:
    """A worker's quota in a process of its own."""

    def __init__(self, name: str, redis: Redis) -> None:
        command = [sys.executable, "-c", RACER, name, redis.url]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self, *, kill: bool) -> None:
        if kill:
            self.process.kill()
        self.process.communicate()


async def test_two_processes_never_spend_more_than_a_budget_has(quotas: Quotas, redis: Redis) -> None:
    """Money for fifty, two hundred at once: fifty get it. Of a killed process nothing stays but for the lease."""
    clock = Clock()
    clock.now = time.time()
    quota = quotas(clock=clock)
    await quota.open(LINE.account, 0)
    racers = [Racer("a", redis), Racer("b", redis)]
    try:
        for racer in racers:
            assert racer.read() == "ready"
        for racer in racers:
            racer.go()
        counts = [racer.read().split() for racer in racers]
        assert [away for _, away in counts] == ["False", "False"]
        assert sum(int(count) for count, _ in counts) == 50
        assert account(redis) == (0, 5_000)
        assert kept(redis, "holder:key:1", "active") == 50
        racers[0].go()
        racers[0].end(kill=False)
    finally:
        for racer in racers:
            racer.end(kill=True)
    killed = int(counts[1][0])
    assert account(redis) == (100 * (50 - killed), 100 * killed)
    clock.now += LEASE_SECONDS + 5
    await quota.renew()
    assert await quota.enter("sweeps", [], [], 0, 0, NOW) is None
    assert account(redis) == (100 * (50 - killed), 0)
    assert kept(redis, "holder:key:1", "active") == 0


async def test_a_rate_holds_over_two_workers(quotas: Quotas) -> None:
    """A burst at the edge of a minute, sent to both, is admitted once."""
    clock, limited = Clock(), Holder("key:1", Limits(requests_per_minute=20))
    workers, admitted = [quotas(clock=clock, workers=2) for _ in range(2)], []
    for step in range(260):
        clock.now += 0.5
        for number, quota in enumerate(workers * 2):
            if await quota.enter(f"{step}.{number}", [limited], [], 0, 0, clock.now) is None:
                admitted.append(clock.now)
    assert all(sum(start <= moment < start + 60 for moment in admitted) <= 20 for start in admitted)
    assert len(admitted) == 60


async def test_a_clock_of_redis_that_goes_back_refills_nothing(quotas: Quotas) -> None:
    """What was used counts on, and not for ever."""
    clock, limited = Clock(), Holder("key:1", Limits(requests_per_minute=2))
    quota = quotas(clock=clock)
    for request in "ab":
        assert await quota.enter(request, [limited], [], 0, 0, NOW) is None
    clock.now -= 86_400
    over = await quota.enter("c", [limited], [], 0, 0, NOW)
    assert over == Over("requests", limited, 2, 61.0)
    clock.now += 61
    assert await quota.enter("c", [limited], [], 0, 0, NOW) is None


# leases


async def test_a_renewed_lease_holds_and_one_that_is_not_does_not(quotas: Quotas, redis: Redis) -> None:
    """A worker that froze longer than its lease is still charged when it ends, once."""
    clock = Clock()
    quota, other = quotas(clock=clock), quotas(clock=clock)
    await quota.open(LINE.account, 0)
    assert await enter(quota, "a") is None
    for _ in range(5):
        clock.now += LEASE_SECONDS - 1
        await quota.renew()
    assert account(redis) == (0, 100)
    clock.now += LEASE_SECONDS + 1
    assert await enter(other, "b", 1) is None
    assert account(redis) == (0, 1)
    await quota.leave("a", 0, 70, NOW)
    await quota.leave("a", 0, 70, NOW)
    assert account(redis) == (70, 1)


async def test_a_request_that_was_swept_by_mistake_is_entered_again(quotas: Quotas, redis: Redis) -> None:
    """Its worker lives: at its next sign of life the place and the money are held again, and charged once."""
    clock = Clock()
    quota = quotas(clock=clock)
    await quota.open(LINE.account, 0)
    assert await enter(quota, "a") is None
    clock.now += LEASE_SECONDS + 1
    await quota.renew()
    assert (account(redis), kept(redis, "holder:key:1", "active")) == ((0, 100), 1)
    await quota.leave("a", 0, 30, NOW)
    assert (account(redis), kept(redis, "holder:key:1", "active")) == ((30, 0), 0)


async def test_a_worker_renews_by_itself(quotas: Quotas, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs longer than a lease, or than Redis remembers, keeps its place and its money."""
    monkeypatch.setattr("flumegate.shared.quota.PROBE_SECONDS", 0.01)
    monkeypatch.setattr("flumegate.shared.quota.RENEW_SECONDS", 0.02)
    quota = quotas()
    await quota.open(LINE.account, 0)
    assert await enter(quota, "a") is None
    redis.flush()
    await quota.open(LINE.account, 500)
    quota.start()
    while account(redis) != (500, 100):  # noqa: ASYNC110 # Redis tells nobody
        await asyncio.sleep(0.01)


async def test_a_request_that_ends_while_it_is_renewed_holds_nothing(
    quotas: Quotas, redis: Redis, proxy: FaultProxy
) -> None:
    """Whether Redis had forgotten it or not: what is entered again for nobody is undone."""
    clock = Clock()
    quota = quotas(f"redis://127.0.0.1:{proxy.port}/0", clock=clock)
    await quota.open(LINE.account, 0)
    for request in "abc":
        assert await enter(quota, request) is None
    clock.now += LEASE_SECONDS + 1
    proxy.answers = Way(delay_seconds=0.05)
    renewing = asyncio.create_task(quota.renew())
    while account(redis) == (0, 300):  # noqa: ASYNC110 # Redis tells nobody
        await asyncio.sleep(0)
    leaving = asyncio.create_task(quota.leave("a", 0, 1, NOW))
    while account(redis)[1] == 0:  # noqa: ASYNC110 # Redis tells nobody
        await asyncio.sleep(0)
    await quota.leave("b", 0, 10, NOW)
    await quota.leave("c", 0, 100, NOW)
    await asyncio.gather(renewing, leaving)
    proxy.answers = CLEAN
    await quota.renew()
    assert (account(redis), kept(redis, "holder:key:1", "active")) == ((111, 0), 0)


# what is not certain


async def test_a_client_that_leaves_while_its_request_enters_holds_nothing(
    quotas: Quotas, redis: Redis, proxy: FaultProxy
) -> None:
    """Whether the entry has happened is unknown; it is undone."""
    quota = quotas(f"redis://127.0.0.1:{proxy.port}/0")
    await quota.open(LINE.account, 0)
    proxy.answers = Way(delay_seconds=0.05)
    entering = asyncio.create_task(enter(quota, "a"))
    while account(redis) != (0, 100):  # noqa: ASYNC110 # Redis tells nobody
        await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    proxy.answers = CLEAN
    assert not quota.away
    await quota.renew()
    assert (account(redis), kept(redis, "holder:key:1", "active")) == ((0, 0), 0)
    # Nor does its entry hold anything when it was still on its way, and comes only now.
    assert await quotas()._run(ENTER, _entry("a", _Stay([KEY], [LINE], 0, 100))) == [b"ended"]
    assert (account(redis), kept(redis, "holder:key:1", "active")) == ((0, 0), 0)


async def test_a_request_that_was_undone_may_come_again(quotas: Quotas, redis: Redis, proxy: FaultProxy) -> None:
    """Refused in an outage, undone after it, tried again: its worker lets it in, and Redis is told."""
    quota = await started(quotas, proxy.port)
    proxy.answers = Way(end_at=0, ending=Ending.RESET)
    assert isinstance(await enter(quota, "a", 5_000), Short)
    proxy.answers = CLEAN
    await quota.probe()
    assert account(redis) == (0, 100)
    assert await enter(quota, "a", 50) is None
    await quota.renew()
    assert account(redis) == (0, 150)
    await quota.leave("a", 0, 40, NOW)
    assert account(redis) == (40, 100)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_leave_whose_answer_is_lost_counts_once(
    quotas: Quotas, redis: Redis, proxy: FaultProxy, cancelled: bool
) -> None:
    """It is said again, and Redis knows it already."""
    quota = quotas(f"redis://127.0.0.1:{proxy.port}/0")
    await quota.open(LINE.account, 0)
    assert await enter(quota, "a") is None
    assert await enter(quota, "b") is None
    proxy.answers = Way(delay_seconds=0.05 if cancelled else 2.0)
    leaving = asyncio.create_task(quota.leave("a", 0, 70, NOW))
    if cancelled:
        while account(redis) != (70, 100):  # noqa: ASYNC110 # Redis tells nobody
            await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    else:
        await leaving
    assert quota.away != cancelled
    await quota.leave("b", 0, 5, NOW) if not cancelled else None
    proxy.answers = CLEAN
    await (quota.renew() if cancelled else quota.probe())
    assert account(redis) == ((70, 100) if cancelled else (75, 0))


# outages


def is_away(quota: SharedQuota) -> bool:
    """Ask anew."""
    return quota.away


async def started(quotas: Quotas, port: int) -> SharedQuota:
    """Return the quota of a worker that has one request under way."""
    quota = quotas(f"redis://127.0.0.1:{port}/0")
    await quota.open(LINE.account, 0)
    assert await enter(quota, "before") is None
    return quota


@pytest.mark.parametrize("fault", ["frozen", "slow", "cut", "refused", "full"])
async def test_an_outage_is_lived_through_on_a_lease(
    quotas: Quotas, redis: Redis, proxy: FaultProxy, fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """No error, no request beyond the lease, two lines in the log; then all that was spent is entered, once."""
    quota = await started(quotas, proxy.port)

    def refuse() -> None:
        proxy.door = "reset"
        proxy.hang_up()

    begin: dict[str, Callable[[], object]] = {
        "frozen": redis.freeze,
        "slow": lambda: setattr(proxy, "answers", Way(delay_seconds=2.0)),
        "cut": lambda: setattr(proxy, "answers", Way(end_at=0, ending=Ending.RESET)),
        "refused": refuse,
        "full": lambda: redis.command("CONFIG", "SET", "maxmemory", "1"),
    }
    end: dict[str, Callable[[], object]] = {
        "frozen": redis.thaw,
        "slow": lambda: setattr(proxy, "answers", CLEAN),
        "cut": lambda: setattr(proxy, "answers", CLEAN),
        "refused": lambda: setattr(proxy, "door", "serve"),
        "full": lambda: redis.command("CONFIG", "SET", "maxmemory", "0"),
    }
    begin[fault]()
    try:
        found = await asyncio.gather(*(enter(quota, f"out{number}", 10) for number in range(100)))
        assert quota.away
        assert found.count(None) == 9_900 * 5 // 100 // 10
        assert all(isinstance(refused, Short) for refused in found if refused is not None)
        sent = proxy.sent_bytes
        await quota.leave("before", 0, 60, NOW)
        inside = [f"out{number}" for number, refused in enumerate(found) if refused is None]
        for request in inside[1:]:
            await quota.leave(request, 0, 7, NOW)
        assert await quota.extend(inside[0], [LINE], 1) is None
        with pytest.raises(AwayError):
            await quota.renew()
        assert proxy.sent_bytes == sent
        with pytest.raises(AwayError):
            await quota.probe()
    finally:
        end[fault]()
    for _ in range(2):
        await quota.probe()
    assert not is_away(quota)
    assert account(redis) == (60 + 48 * 7, 11)
    assert kept(redis, "holder:key:1", "active") == 1
    await quota.leave(inside[0], 0, 7, NOW)
    assert account(redis) == (60 + 49 * 7, 0)
    assert await enter(quota, "after") is None
    lines = capfd.readouterr().err
    assert (lines.count("redis_away"), lines.count("redis_back")) == (1, 1)


async def test_a_batch_whose_answer_is_lost_counts_once(quotas: Quotas, redis: Redis, proxy: FaultProxy) -> None:
    """Redis has entered it and nobody knows: the second try changes nothing."""
    await quotas().probe()
    quota = await started(quotas, proxy.port)
    assert await enter(quota, "other") is None
    await quota.leave("other", 0, 0, NOW)
    proxy.answers = Way(end_at=0, ending=Ending.RESET)
    assert await enter(quota, "local", 10) is None
    await quota.leave("local", 0, 7, NOW)
    # What follows the first answer, to a leave, is cut; Redis has done it.
    proxy.answers = Way(end_at=len(b"*1\r\n$4\r\nleft\r\n"), ending=Ending.RESET)
    with pytest.raises(AwayError):
        await quota.probe()
    assert account(redis) == (7, 100)
    proxy.answers = CLEAN
    await quota.probe()
    assert account(redis) == (7, 100)


async def test_redis_that_forgot_everything_is_told_again(quotas: Quotas, redis: Redis) -> None:
    """Accounts are opened from the records, places and money of what is under way are held again."""
    quota, limited = quotas(), Holder("key:2", Limits(max_requests=5))
    await quota.tell(limited.name, 0)
    await quota.open(LINE.account, 0)
    assert await enter(quota, "a") is None
    assert await enter(quota, "b") is None
    redis.flush()
    assert await quota.enter("c", [limited], [LINE], 0, 1, NOW) == Unknown((LINE.account,), (limited.name,))
    await quota.open(LINE.account, 500)
    await quota.leave("b", 0, 40, NOW)
    assert account(redis) == (540, 0)
    await quota.renew()
    assert (account(redis), kept(redis, "holder:key:1", "active")) == ((540, 100), 1)
    await quota.leave("a", 0, 60, NOW)
    assert (account(redis), kept(redis, "holder:key:1", "active")) == ((600, 0), 0)


async def test_an_account_that_is_opened_late_is_charged_all_the_same(quotas: Quotas, redis: Redis) -> None:
    """Its request was entered again before Redis knew the account."""
    quota = quotas()
    await quota.open(LINE.account, 0)
    assert await enter(quota, "a") is None
    redis.flush()
    await quota.renew()
    assert account(redis) == (0, 0)
    await quota.open(LINE.account, 500)
    await quota.leave("a", 0, 60, NOW)
    assert account(redis) == (560, 0)


async def test_a_worker_says_that_redis_throws_money_away(
    quotas: Quotas, redis: Redis, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Soon after it began; and again when Redis was away, for it may be another one."""
    monkeypatch.setattr("flumegate.shared.quota.PROBE_SECONDS", 0.01)
    quota = quotas()
    quota.start()
    for _ in range(2):
        redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        while "redis_evicts" not in capfd.readouterr().err:  # noqa: ASYNC110 # a log tells nobody
            await asyncio.sleep(0.01)
        redis.kill()
        await quota.open(LINE.account, 0)
        assert quota.away
        redis.start()


async def test_a_restarted_redis_is_found_again(quotas: Quotas, redis: Redis) -> None:
    """The worker looks for it by itself, and what is known only to the records is asked for meanwhile."""
    quota = quotas()
    quota.start()
    await quota.open(LINE.account, 0)
    redis.kill()
    unseen, counted = Line("key:9@total", 1_000), Holder("key:9", Limits(max_requests=9))
    assert await quota.enter("a", [counted], [unseen], 0, 5, NOW) == Unknown((unseen.account,), (counted.name,))
    await quota.open(unseen.account, 0)
    await quota.tell(counted.name, 3)
    assert await quota.enter("a", [counted], [unseen], 0, 5, NOW) is None
    assert await quota.extend("a", [unseen], 5) is None
    assert await quota.extend("a", [unseen], 50) == Short(unseen, 40)
    redis.start()
    while quota.away:  # noqa: ASYNC110 # the watch tells nobody
        await asyncio.sleep(0.01)
    assert await quota.enter("b", [], [unseen], 0, 5, NOW) == Unknown((unseen.account,))
    assert kept(redis, "holder:key:9", "active") == 1


async def test_a_shared_request_is_extended_on_the_lease(quotas: Quotas, redis: Redis, proxy: FaultProxy) -> None:
    """And charged by what it cost, not by what was held for it in which place."""
    quota = await started(quotas, proxy.port)
    assert await quota.extend("nobody", [LINE], 5) is None
    assert await quota.extend("before", [LINE], 9_901) == Short(LINE, 9_900)
    assert await quota.extend("before", [LINE], 100) is None
    proxy.answers = Way(end_at=0, ending=Ending.RESET)
    assert await quota.extend("before", [LINE], 400) is None
    assert await quota.extend("before", [LINE], 400) == Short(LINE, 9_900 * 5 // 100 - 400)
    await quota.leave("before", 0, 650, NOW)
    proxy.answers = CLEAN
    await quota.probe()
    assert account(redis) == (650, 0)


@pytest.mark.parametrize("back", [True, False])
async def test_a_worker_that_ends_tells_what_it_owes(
    quotas: Quotas, redis: Redis, proxy: FaultProxy, back: bool
) -> None:
    """If Redis is there again; if not, nothing holds the end up."""
    quota = await started(quotas, proxy.port)
    quota.start()
    proxy.answers = Way(end_at=0, ending=Ending.RESET)
    assert await enter(quota, "local", 10) is None
    await quota.leave("local", 0, 7, NOW)
    if back:
        proxy.answers = CLEAN
    await quota.close()
    assert account(redis)[0] == (7 if back else 0)


async def test_what_entered_twice_entered_once(quotas: Quotas, redis: Redis) -> None:
    """By the id of the request, also when another worker says it again."""
    quota, other = quotas(), quotas()
    await quota.open(LINE.account, 0)
    for asked in (quota, quota, other):
        assert await enter(asked, "a") is None
    assert account(redis) == (0, 100)


@pytest.mark.parametrize("seed", range(10))
async def test_every_cost_is_entered_once_whatever_is_cut(
    quotas: Quotas, redis: Redis, proxy: FaultProxy, seed: int
) -> None:
    """Answers cut at any byte, clients that leave at any moment: at the end the account is the sum of all costs."""
    dice = random.Random(seed)
    workers = [quotas(f"redis://127.0.0.1:{proxy.port}/0", workers=2) for _ in range(2)]
    await workers[0].open(LINE.account, 0)
    inside: dict[str, SharedQuota] = {}
    spent = 0
    line = LINE._replace(limit_micros=10**9)
    for number in range(150):
        quota = dice.choice(workers)
        match dice.randrange(12):
            case 0 | 1 | 2 | 3:
                entering = asyncio.create_task(quota.enter(f"r{number}", [KEY], [line], 0, 100, NOW))
                if dice.random() < 0.2:
                    for _ in range(dice.randrange(12)):
                        await asyncio.sleep(0)
                    entering.cancel()
                await asyncio.wait([entering])
                if not entering.cancelled() and entering.result() is None:
                    inside[f"r{number}"] = quota
            case 4 | 5 | 6 if inside:
                request = dice.choice(list(inside))
                cost = dice.choice((None, 7, 130))
                leaving = asyncio.create_task(inside.pop(request).leave(request, 0, cost, NOW))
                if dice.random() < 0.2:
                    await asyncio.sleep(0)  # it has begun
                    leaving.cancel()
                await asyncio.gather(leaving, return_exceptions=True)
                spent += 100 if cost is None else cost
            case 7:
                proxy.answers = Way(end_at=dice.randrange(30), ending=Ending.RESET)
            case 8 | 9:
                proxy.answers = CLEAN
            case _:
                asked = quota.probe() if quota.away else quota.renew()
                await asyncio.gather(asked, return_exceptions=True)
    proxy.answers = CLEAN
    for quota in workers:
        await quota.probe()
    assert account(redis) == (spent, 100 * len(inside))
    assert kept(redis, "holder:key:1", "active") == len(inside)
    for request, quota in inside.items():
        await quota.leave(request, 0, 1, NOW)
    assert account(redis) == (spent + len(inside), 0)
    assert kept(redis, "holder:key:1", "active") == 0
