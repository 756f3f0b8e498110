"""What a worker counts, as a value that can be sent and summed.

Workers count in memory and report the running totals once a second; control sums them and hands each worker the sum of
all the others, so that `/metrics` on any worker speaks for the whole installation, also while control is away.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

_Key = TypeVar("_Key")

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds; one further bucket takes the rest."""


class Counters(msgspec.Struct):
    """Running totals since the start of one worker, or the sum over several."""

    requests: dict[tuple[str, str, int], int] = msgspec.field(default_factory=dict)
    """(endpoint, provider, status) → count."""
    latency: dict[tuple[str, str], list[int]] = msgspec.field(default_factory=dict)
    """(endpoint, provider) → count per bucket of LATENCY_BUCKETS, then the rest."""
    latency_us: dict[tuple[str, str], int] = msgspec.field(default_factory=dict)
    """(endpoint, provider) → sum in microseconds."""
    tokens: dict[tuple[str, str], int] = msgspec.field(default_factory=dict)
    """(provider, `input` | `output`) → count."""
    totals: dict[str, int] = msgspec.field(default_factory=dict)
    """Named totals without labels: `records_dropped`, `connections_accepted`, …"""
    gauges: dict[str, int] = msgspec.field(default_factory=dict)
    """Named values of the moment: `connections_open`, `requests_active`, `spool_bytes`, …"""

    def add(self, other: Counters) -> None:
        """Add another worker's totals to these."""
        _sum_into(self.requests, other.requests)
        _sum_into(self.latency_us, other.latency_us)
        _sum_into(self.tokens, other.tokens)
        _sum_into(self.totals, other.totals)
        _sum_into(self.gauges, other.gauges)
        for key, buckets in other.latency.items():
            own = self.latency.get(key)
            if own is None:
                self.latency[key] = list(buckets)
                continue
            for index, count in enumerate(buckets):
                own[index] += count


def _sum_into(mine: dict[_Key, int], theirs: dict[_Key, int]) -> None:
    for key, value in theirs.items():
        mine[key] = mine.get(key, 0) + value
