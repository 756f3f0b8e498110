"""Limits and budgets over all workers and machines, with the meaning of `quota.stay`.

A request enters in one round trip, holds its place and money under a lease that its worker renews, and leaves once.
While Redis is away nothing waits: the worker decides alone (`shared.alone`), remembers what Redis must be told, and
tells it when it is back: what was spent by batches that count once, what is under way by entering it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import cast

from flumegate.quota.book import Holder, LimitName, Over, Room, limit_of
from flumegate.quota.ledger import Line, Short, Unknown
from flumegate.quota.window import MINUTE
from flumegate.shared.alone import Alone
from flumegate.shared.link import COMMAND_SECONDS, AwayError, Link
from flumegate.shared.scripts import CHARGE, ENTER, EXTEND, LEAVE, OPEN, RENEW, Script

PROBE_SECONDS = 1.0
RENEW_SECONDS = 5.0
"""Far below the lease: also how soon places and money are held again after Redis has forgotten everything."""
_CHUNK = 100
Argument = dict[str, object]


class _Stay:
    """A request under way in this worker."""

    __slots__ = ("holders", "lines", "micros", "shared", "spent", "tokens", "used")

    def __init__(self, holders: Sequence[Holder], lines: Sequence[Line], tokens: int, micros: int) -> None:
        self.holders, self.lines, self.tokens, self.micros = tuple(holders), tuple(lines), tokens, micros
        # Whether Redis knows it; else this worker has admitted it alone.
        self.shared = True
        # Requests and tokens within the minute in which it entered, for each holder in turn.
        self.used: list[int] = []
        # What had been spent of each line then.
        self.spent: list[int] = []


class SharedQuota:
    """One worker's part of the limits and budgets of all.

    Attributes:
        alone: what this worker knows itself.
    """

    def __init__(
        self, url: str, *, workers: Callable[[], int], namespace: str = "flumegate",
        timeout_seconds: float = COMMAND_SECONDS, clock: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        """Prepare; nothing is connected yet.

        Args:
            url: `redis://`, `rediss://` or `unix://`.
            workers: how many workers share the limits, at this moment.
            namespace: installations with different ones share a Redis without meeting.
            timeout_seconds: how long a request waits for Redis, once; then Redis is away.
            clock: Unix time instead of Redis's own.
        """
        self.alone = Alone()
        self._link = Link(url, namespace, timeout_seconds)
        self._workers = workers
        self._clock = clock
        self._stays: dict[str, _Stay] = {}
        self._entering = 0
        self._owed: list[Argument] = []
        self._doubtful: dict[str, None] = {}
        self._sums: dict[str, int] = {}
        self._batch: tuple[str, dict[str, int]] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def away(self) -> bool:
        """Whether this worker decides alone."""
        return self._link.away

    @property
    def occupied(self) -> bool:
        """Whether a request that entered here is under way, or one is about to enter."""
        return bool(self._stays or self._entering)

    @contextlib.contextmanager
    def entering(self) -> Iterator[None]:
        """Be occupied by a request that is about to enter: it may have to ask elsewhere in between."""
        self._entering += 1
        try:
            yield
        finally:
            self._entering -= 1

    def start(self) -> None:
        """Keep leases alive, and look after Redis when it is away."""
        self._watching = asyncio.create_task(self._watch(), name="shared quota")

    async def close(self) -> None:
        """Stop, tell Redis what it is still owed, if it is there or back, and close all connections."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        with contextlib.suppress(AwayError):
            await self._tell(probing=True)
        await self._link.close()

    async def enter(
        self, request: str, holders: Sequence[Holder], lines: Sequence[Line], tokens: int, micros: int, now: float
    ) -> Over | Short | Unknown | None:
        """Admit a request on all limits and hold an amount on all budgets; None = both, else neither.

        Args:
            request: its id.
            holders: whose limits count.
            lines: the budgets that it meets.
            tokens: what it is expected to take.
            micros: what it is expected to cost at most.
            now: a clock that does not go back, for what this worker decides alone.
        """
        if request in self._stays:
            return None
        stay = _Stay(holders, lines, tokens, micros)
        try:
            reply = await self._run(ENTER, _entry(request, stay))
        except AwayError as error:
            if error.doubtful:
                self._doubtful[request] = None
            reply = []
        except asyncio.CancelledError:
            self._doubtful[request] = None
            raise
        if reply in ([], [b"ended"]):
            # The second: it was tried during an outage, undone since, and is tried again.
            stay.shared = False
            found = self.alone.enter(request, holders, lines, tokens, micros, now=now, workers=max(1, self._workers()))
        else:
            found = self._read(reply, stay)
            if found is None:
                self.alone.count(request, holders, tokens, now)
        if found is None:
            self._stays[request] = stay
        return found

    async def look(
        self, holders: Sequence[Holder], lines: Sequence[Line], tokens: int, micros: int, now: float
    ) -> Over | Short | Unknown | None:
        """Tell what `enter` would answer to such a request; nothing is held or counted."""
        stay = _Stay(holders, lines, tokens, micros)
        try:
            reply = await self._run(ENTER, _entry("", stay) | {"look": True})
        except AwayError:
            return self.alone.look(holders, lines, tokens, micros, now=now, workers=max(1, self._workers()))
        return self._read(reply, stay)

    async def open(self, account: str, spent_micros: int, ends_at: float = 0.0) -> None:
        """Enter what an account had spent before; one that is open already stays as it is."""
        try:
            await self._run(OPEN, {"account": account, "spent": spent_micros, "ends": ends_at})
        except AwayError:
            self.alone.open(account, spent_micros)

    async def tell(self, holder: str, served: int) -> None:
        """Enter how many requests a holder with a count for life has had; what is known already stays."""
        try:
            await self._run(OPEN, {"holder": holder, "served": served})
        except AwayError:
            self.alone.tell(holder, served)

    async def extend(self, request: str, lines: Sequence[Line], micros: int) -> Short | None:
        """Hold more for a request that is under way; None = it is held, or there is nothing to extend."""
        stay = self._stays.get(request)
        if stay is None:
            return None
        if stay.shared:
            with contextlib.suppress(AwayError):
                reply = await self._run(EXTEND, {"request": request, "lines": _lines(lines), "micros": micros})
                if reply[0] == b"short":
                    return Short(lines[_int(reply[1])], _int(reply[2]))
                stay.micros += micros
                return None
        short = self.alone.extend(request, lines, micros, max(1, self._workers()))
        if short is None:
            stay.micros += micros
        return short

    async def leave(
        self, request: str, tokens: int | None, micros: int | None, now: float, *, counted: bool = True
    ) -> None:
        """End a request: give its place and money back, enter what it took and cost. A second call does nothing.

        None for tokens or micros = nobody knows, so what was expected counts. One that is not `counted` came to nothing
        and is none of the requests of a life.
        """
        stay = self._stays.pop(request, None)
        if stay is None:
            return
        self.alone.leave(request, tokens, now)
        if not stay.shared:
            cost = stay.micros if micros is None else micros
            self.alone.settle(request, cost)
            for account in _accounts(stay):
                self._sums[account] = self._sums.get(account, 0) + cost
            return
        self.alone.settle(request, None)
        owed: Argument = {"request": request, "accounts": _accounts(stay), "held": stay.micros}
        owed |= {} if micros is None else {"micros": micros}
        owed |= {} if tokens is None else {"tokens": tokens}
        owed |= {} if counted else {"discounted": True}
        try:
            await self._run(LEAVE, {"leaves": [owed]})
        except AwayError as error:
            self._owed.append(owed | {"again": True} if error.doubtful else owed)
        except asyncio.CancelledError:
            self._owed.append(owed | {"again": True})
            raise

    def rooms(self, request: str) -> list[tuple[Room | None, Room | None]]:
        """Return what each holder of a request had left of its rates of requests and of tokens when it entered.

        Nothing for one that this worker has let in alone: what others have left it cannot know.
        """
        stay = self._stays.get(request)
        if stay is None:
            return []
        used = iter(stay.used)
        return [
            (_room(holder.limits.requests_per_minute, requests), _room(holder.limits.tokens_per_minute, tokens))
            for holder, requests, tokens in zip(stay.holders, used, used, strict=False)
        ]

    def spent(self, request: str) -> list[tuple[Line, int]]:
        """Return what was spent of each budget of a request when it entered; nothing for one that was let in alone."""
        stay = self._stays.get(request)
        return [] if stay is None else list(zip(stay.lines, stay.spent, strict=False))

    async def renew(self) -> None:
        """Extend the leases of all requests under way; what Redis has forgotten is entered again.

        Raises:
            AwayError: Redis is away.
        """
        known = [request for request, stay in self._stays.items() if stay.shared]
        for start in range(0, len(known), _CHUNK):
            _, *gone = await self._run(RENEW, {"requests": known[start : start + _CHUNK]})
            for name in gone:
                stay = self._stays.get(cast("bytes", name).decode())
                if stay is not None:
                    stay.shared = False
        await self._tell(probing=False)

    async def probe(self) -> None:
        """Look whether Redis takes changes again; if so tell it what was done without it, and return to it.

        Raises:
            AwayError: it does not.
        """
        await self._link.close()  # those of before the outage may lead nowhere
        await self._tell(probing=True)
        self.alone.end()
        self._link.returned()

    async def _watch(self) -> None:
        beat, looked = 0, False
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            beat += 1
            with contextlib.suppress(AwayError):
                if self._link.away:
                    # What comes back may be another server, or the same with other settings.
                    looked = False
                    await self.probe()
                    continue
                if beat % int(RENEW_SECONDS / PROBE_SECONDS) == 0:
                    await self.renew()
                if not looked:
                    await self._link.check_policy()
                    looked = True

    async def _tell(self, *, probing: bool) -> None:
        """Tell Redis everything that it does not know yet; what it may know already counts once."""
        if self._link.away and not probing:
            raise AwayError("redis is away", doubtful=False)
        while self._owed:
            chunk = self._owed[:_CHUNK]
            # Said before it is known: whatever interrupts this, the next time is a second one.
            self._owed[: len(chunk)] = [owed | {"again": True} for owed in chunk]
            await self._run(LEAVE, {"leaves": chunk}, probing=probing)
            del self._owed[: len(chunk)]
        while doubtful := list(self._doubtful)[:_CHUNK]:
            leaves = [_never(request) for request in doubtful]
            await self._run(LEAVE, {"leaves": leaves}, probing=probing)
            for request in doubtful:
                del self._doubtful[request]
        if self._batch is None and probing:
            # Empty or not: a probe must change something, else it would not notice that changes are refused.
            self._freeze()
        while self._batch is not None or self._sums:
            name, sums = self._batch or self._freeze()
            costs = [{"account": account, "micros": micros} for account, micros in sums.items()]
            await self._run(CHARGE, {"batch": name, "costs": costs}, probing=probing)
            self._batch = None
        await self._enter_again(probing=probing)

    def _freeze(self) -> tuple[str, dict[str, int]]:
        """Put what was spent alone under a name, so that a second try of the same batch counts nothing twice."""
        self._batch, self._sums = (secrets.token_hex(16), self._sums), {}
        return self._batch

    async def _enter_again(self, *, probing: bool) -> None:
        for request, stay in [(request, stay) for request, stay in self._stays.items() if not stay.shared]:
            if request not in self._stays:
                continue
            self._doubtful[request] = None
            await self._run(ENTER, _entry(request, stay) | {"forced": True}, probing=probing)
            # One that left meanwhile was charged as one that Redis does not know, so its entry is undone.
            if request in self._stays:
                del self._doubtful[request]
                stay.shared = True

    async def _run(self, script: Script, argument: Argument, *, probing: bool = False) -> list[object]:
        if self._clock is not None:
            argument = {**argument, "now": self._clock()}
        return await self._link.run(script, argument, probing=probing)

    def _read(self, reply: list[object], stay: _Stay) -> Over | Short | Unknown | None:
        match reply:
            case [b"in", list(lefts), list(used), list(spent)]:
                for line, left in zip(stay.lines, lefts, strict=False):
                    self.alone.see(line.account, _int(left))
                stay.spent = [_int(amount) for amount in spent]
                stay.used = [_int(amount) for amount in used]
                return None
            case [b"over", index, limit, wait]:
                name = cast("LimitName", cast("bytes", limit).decode())
                holder, milliseconds = stay.holders[_int(index)], _int(wait)
                return Over(
                    name, holder, limit_of(holder.limits, name), None if milliseconds < 0 else milliseconds / 1_000
                )
            case [b"short", index, left]:
                line = stay.lines[_int(index)]
                self.alone.see(line.account, _int(left))
                return Short(line, _int(left))
        _, accounts, told = reply
        return Unknown(_names(accounts), _names(told))


def _entry(request: str, stay: _Stay) -> Argument:
    return {
        "request": request,
        "holders": [
            {
                "name": holder.name,
                "rpm": holder.limits.requests_per_minute,
                "tpm": holder.limits.tokens_per_minute,
                "concurrency": holder.limits.concurrency,
                "most": holder.limits.max_requests,
            }
            for holder in stay.holders
        ],
        "lines": _lines(stay.lines),
        "tokens": stay.tokens,
        "micros": stay.micros,
    }


def _lines(lines: Sequence[Line]) -> list[Argument]:
    return [{"account": line.account, "limit": line.limit_micros, "ends": line.ends_at} for line in lines]


def _never(request: str) -> Argument:
    """Return a leave that undoes an entry of which nobody knows whether it happened."""
    return {"request": request, "accounts": [], "held": 0, "micros": 0, "tokens": 0, "again": True}


def _accounts(stay: _Stay) -> list[str]:
    return list({line.account: None for line in stay.lines})


def _room(limit: int, used: int) -> Room | None:
    # What was counted just now is forgotten last, after a minute and the second it was counted in.
    return Room(limit, max(0, limit - used), MINUTE + 1.0) if limit else None


def _int(value: object) -> int:
    return int(cast("int", value))


def _names(value: object) -> tuple[str, ...]:
    return tuple(name.decode() for name in cast("list[bytes]", value))
