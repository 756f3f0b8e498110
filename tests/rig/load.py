"""Clients that ask without a pause and keep count: the oracle for what a gateway owes its users."""

from __future__ import annotations

import collections
import itertools
import threading
from typing import Self

from rig import raw, road
from rig.gateway import Gateway

NUMBER = itertools.count()


class Load:
    """Clients that ask as fast as they are answered, on kept connections, until they are stopped.

    Attributes:
        answered: the ids of requests whose answers arrived whole, with status 200.
        broken: how often a connection ended before an answer did; the request may or may not have been served.
        refused: other statuses, counted.
    """

    def __init__(self, gateway: Gateway, clients: int) -> None:
        self.answered: set[str] = set()
        self.broken = 0
        self.refused: collections.Counter[int] = collections.Counter()
        self._port = gateway.port
        self._stop = threading.Event()
        self._grown = threading.Condition()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def __exit__(self, *_: object) -> None:
        self.stop()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int, seconds: float = 60) -> None:
        """Return once so many more requests have been answered."""
        with self._grown:
            goal = len(self.answered) + more
            assert self._grown.wait_for(lambda: len(self.answered) >= goal, seconds), f"{len(self.answered)} of {goal}"

    def _ask(self, number: int) -> None:
        while not self._stop.is_set():
            try:
                with raw.wire(self._port) as wire:
                    self._ask_on(wire, number)
            except OSError:
                self._note(broken=True)

    def _ask_on(self, wire: raw.Wire, number: int) -> None:
        while not self._stop.is_set():
            name = f"load-{next(NUMBER)}"
            body = road.chat("m", f"nonce-{name}", stream=number % 2 == 0)
            wire.data.clear()
            wire.send(raw.request("/v1/chat/completions", body, key=road.KEY, headers=[("x-request-id", name)]))
            answers = wire.answers(1)
            if not answers or not answers[0].complete:
                self._note(broken=True)
                return
            self._note(name, answers[0].status)

    def _note(self, name: str = "", status: int = 0, *, broken: bool = False) -> None:
        with self._grown:
            if broken:
                self.broken += 1
            elif status == 200:
                self.answered.add(name)
            else:
                self.refused[status] += 1
            self._grown.notify_all()
