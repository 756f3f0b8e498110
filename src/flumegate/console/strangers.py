"""Who could not get into the console, as the audit trail tells it: each source once a minute, with a count.

The first try of a source is told at once, those of the minute after it together: a thousand guesses are a few entries,
not a thousand. Sources beyond the first few share one entry, so that many addresses cannot fill the trail either. What
is told is written in the background: a store that is slow or away keeps nobody's answer waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from flumegate.manage.actor import Actor

WINDOW_SECONDS = 60.0
MOST_SOURCES = 64
Tell = Callable[[Actor, int], Awaitable[None]]
"""Writes that somebody tried so often."""


class _Source(msgspec.Struct):
    actor: Actor
    """As it asked last."""
    since: float
    untold: int = 0


async def tell_nobody(actor: Actor, tries: int) -> None:
    """Write nothing: there is no trail."""
    del actor, tries


class Strangers:
    """The sources of the last minute; used in one event loop."""

    def __init__(self, tell: Tell = tell_nobody, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._sources: dict[str, _Source] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()

    def note(self, actor: Actor) -> None:
        """Remember a try, and tell it now or with the others of its minute."""
        name = actor.client
        if name not in self._sources and len(self._sources) >= MOST_SOURCES:
            name = ""
        source = self._sources.get(name)
        if source is None:
            self._sources[name] = _Source(actor, self._clock())
            self._write(actor._replace(client=name), 1)
        else:
            source.untold += 1
            source.actor = actor._replace(client=name)
        self._wake_later()

    def _wake_later(self) -> None:
        if self._timer is None and self._sources:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_SECONDS, self._turn)

    def _turn(self) -> None:
        """Tell what was tried in minutes that are over; forget sources that have fallen silent."""
        self._timer = None
        now = self._clock()
        for name, source in list(self._sources.items()):
            if now - source.since < WINDOW_SECONDS:
                continue
            if source.untold:
                self._write(source.actor, source.untold)
                source.since, source.untold = now, 0
            else:
                del self._sources[name]
        self._wake_later()

    def _write(self, actor: Actor, tries: int) -> None:
        task = asyncio.ensure_future(self._tell(actor, tries))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
