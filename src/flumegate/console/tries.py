"""How often an address may be wrong about a token: so often a minute, and then it waits.

Whoever has the right token is not kept waiting by somebody who guesses from the same address, but for the second in
which a new token may not be heard of: only wrong tries are counted, and only they are answered so. Bounded: what is
forgotten first is what was tried longest ago.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque

MOST_PER_MINUTE = 5
_WINDOW_SECONDS = 60.0
_MOST_ADDRESSES = 4096


class Tries:
    """The wrong tries of the last minute, by address."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, address: str, now: float) -> int:
        """Return how many seconds the address has to wait until it may be wrong again; 0 = not at all."""
        tries = self._tries.get(address)
        if tries is None:
            return 0
        while tries and tries[0] <= now - _WINDOW_SECONDS:
            tries.popleft()
        if not tries:
            del self._tries[address]
            return 0
        return math.ceil(tries[0] + _WINDOW_SECONDS - now) if len(tries) >= MOST_PER_MINUTE else 0

    def count(self, address: str, now: float) -> None:
        """Remember a wrong try."""
        self._tries.setdefault(address, deque(maxlen=MOST_PER_MINUTE)).append(now)
        self._tries.move_to_end(address)
        if len(self._tries) > _MOST_ADDRESSES:
            self._tries.popitem(last=False)
