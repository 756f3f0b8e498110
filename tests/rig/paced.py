"""Clients that ask at a pace, whatever they are answered, and keep count: an outage as it looks from outside."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple, Self

from rig import raw, routes
from rig.gateway import Gateway

WAIT_SECONDS = 300.0


class Asked(NamedTuple):
    """One request: when it was asked (monotonic), the answer's status, the field retry-after, and how long it took."""

    at: float
    status: int
    retry_after: str
    seconds: float


class Paced:
    """So many clients for the length of a `with` block, each with a request every `period` seconds.

    Each request has an id, `paced-` and a number. `asked` grows while they ask.
    """

    def __init__(self, gateway: Gateway, clients: int, period: float, *, headers: dict[str, str] | None = None) -> None:
        self.asked: list[Asked] = []
        self._port = gateway.port
        self._period = period
        self._headers = headers or {}
        self._stop = threading.Event()
        self._grown = threading.Condition()
        self._threads = [
            threading.Thread(target=self._visit, args=(period * number / clients,)) for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more; return once all have been answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> list[Asked]:
        """Return the next so many requests, once they have been answered."""
        with self._grown:
            begin = len(self.asked)
            reached = self._grown.wait_for(lambda: len(self.asked) >= begin + count, WAIT_SECONDS)
            assert reached, f"{len(self.asked) - begin} of {count} requests were answered"
            return self.asked[begin:]

    def well(self, count: int) -> None:
        """Return once so many requests in a row have been served."""
        with self._grown:
            reached = self._grown.wait_for(
                lambda: len(self.asked) >= count and all(each.status == 200 for each in self.asked[-count:]),
                WAIT_SECONDS,
            )
            assert reached, [each.status for each in self.asked[-count:]]

    def _visit(self, delay: float) -> None:
        self._stop.wait(delay)
        with raw.wire(self._port) as wire:
            while not self._stop.is_set():
                wire.data.clear()
                at = time.monotonic()
                wire.send(routes.request("m", name=f"paced-{next(routes.NUMBER)}", headers=self._headers))
                answers = wire.answers(1)
                took = time.monotonic() - at
                whole = bool(answers) and answers[0].complete
                asked = Asked(at, 0, "", took)
                if whole:
                    asked = Asked(at, answers[0].status, answers[0].headers.get("retry-after", ""), took)
                with self._grown:
                    self.asked.append(asked)
                    self._grown.notify_all()
                if not whole:
                    return
                self._stop.wait(max(0.0, self._period - took))
