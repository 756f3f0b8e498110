"""Cancels requests at their Nth await, for all N, and counts the awaits that there are.

The worker's app runs within the test, because only so can a task be cancelled at exactly one of its steps. Where a
request is cancelled follows from the seed and from its own id alone, so a run is replayed by its seed.
"""

from __future__ import annotations

import asyncio
import random
import types
from collections import Counter
from collections.abc import Coroutine, Generator
from typing import Any

UNTOUCHED = 0.1
"""Share of the requests that are left alone."""


class Cancelling:
    """A task factory that cancels requests at seeded awaits.

    Attributes:
        lengths: how many awaits each of the requests had that were left alone to learn from.
        cancelled: how many were cancelled at each await.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.lengths: list[int] = []
        self._learning = True
        self._active = True
        self.cancelled: Counter[int] = Counter()

    def __call__(self, loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        if getattr(work, "__qualname__", "") != "Engine.run":
            return asyncio.Task(work, loop=loop, **more)
        request_id = work.cr_frame.f_locals["exchange"].request_id
        dice = random.Random(f"{self.seed} {request_id!r}")
        return asyncio.Task(self._step(work, self._number(dice)), loop=loop, **more)

    def begin(self) -> None:
        """Cancel from now on: what was learnt so far tells how many awaits there are."""
        self._learning = False
        self.lengths.sort()

    def rest(self) -> None:
        """Leave all requests alone from now on."""
        self._active = False

    def usual(self, share: float) -> set[int]:
        """Return the awaits that so large a share of the requests came to that were left alone."""
        most = self.lengths[int(len(self.lengths) * (1 - share))]
        return set(range(1, most + 1))

    def _number(self, dice: random.Random) -> int:
        """Return at which await to cancel; 0 = none. Half tend to the early awaits, half to the rare late ones."""
        if self._learning or not self._active or dice.random() < UNTOUCHED:
            return 0
        most = self.lengths[-1] if dice.random() < 0.5 else dice.choice(self.lengths)
        return dice.randint(1, most)

    @types.coroutine
    def _step(self, work: Coroutine[Any, Any, None], number: int) -> Generator[Any, Any, None]:
        """Run a coroutine within a task and cancel that task at its Nth await; 0 = never."""
        awaits = 0
        sent: Any = None
        thrown: BaseException | None = None
        task = asyncio.current_task()
        assert task is not None
        while True:
            try:
                waited = work.throw(thrown) if thrown is not None else work.send(sent)
            except StopIteration:
                if self._learning:
                    self.lengths.append(awaits)
                return
            awaits += 1
            if awaits == number:
                self.cancelled[number] += 1
                task.cancel()
            thrown = None
            try:
                sent = yield waited
            except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine, whatever it is
                thrown = error
