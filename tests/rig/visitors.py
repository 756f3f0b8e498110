"""Clients with keys of their own that ask without a pause, on connections that they keep, while something happens."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple, Self

from rig import managed, raw
from rig.gateway import Gateway
from rig.managed import Asked, Key

WAIT_SECONDS = 120.0


class Timed(NamedTuple):
    """One request, when it was sent (monotonic), and how long its answer took."""

    at: float
    asked: Asked
    seconds: float


class Visitors:
    """Clients, each with a key of its own, that ask without a pause while a `with` block runs."""

    def __init__(self, gateway: Gateway, keys: list[Key], model: str = "m") -> None:
        self.seen: list[Timed] = []
        self._stop = threading.Event()
        self._grown = threading.Condition()
        self._threads = [threading.Thread(target=self._ask, args=(gateway, key, model)) for key in keys]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until(self, count: int, *, since: float) -> list[Timed]:
        """Return what was sent after a moment, once it is so many answers."""
        found: list[Timed] = []

        def enough() -> bool:
            found[:] = [each for each in self.seen if each.at >= since]
            return len(found) >= count

        with self._grown:
            assert self._grown.wait_for(enough, WAIT_SECONDS), f"{len(found)} of {count}"
        return found

    def _ask(self, gateway: Gateway, key: Key, model: str) -> None:
        with raw.wire(gateway.port) as wire:
            while not self._stop.is_set():
                at, name = time.monotonic(), f"visit-{next(managed.NUMBER)}"
                wire.data.clear()
                wire.send(managed.request(model, name, key))
                (answer,) = wire.answers(1)
                seconds = time.monotonic() - at
                code = answer.code if answer.status >= 400 else ""
                asked = Asked(name, model, key, answer.status, code, b"", answer.complete)
                with self._grown:
                    self.seen.append(Timed(at, asked, seconds))
                    self._grown.notify_all()
