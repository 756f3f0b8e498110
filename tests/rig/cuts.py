"""Ways to cut one stream of bytes, for laws of the form "any cut gives the same".

`law` is how property tests run here: no deadline, because the machine may be busy and a test must not fail for that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
short_law = settings(law, max_examples=25)

_Bytes = TypeVar("_Bytes", bytes, str)


def at(data: _Bytes, positions: Sequence[int]) -> list[_Bytes]:
    """Return the pieces between the positions, which may stand in any order and repeat; no piece is empty."""
    inside: list[int] = sorted({position for position in positions if 0 < position < len(data)})
    return [data[start:end] for start, end in pairwise([0, *inside, len(data)]) if end > start]


def bytewise(data: bytes) -> list[bytes]:
    """Return every byte on its own."""
    return at(data, range(len(data)))


def random_cuts(data: bytes, seed: str, rounds: int = 3) -> Iterator[list[bytes]]:
    """Yield some cuts that are the same on every run."""
    dice = random.Random(seed)
    for _ in range(rounds):
        count = dice.randint(1, max(1, len(data) // 20))
        yield at(data, [dice.randrange(len(data) + 1) for _ in range(count)])


POSITIONS = st.lists(st.integers(0, 400), max_size=40)
"""Where to cut, for `at`."""
