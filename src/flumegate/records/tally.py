"""How a worker counts: one row per (endpoint, provider, status), one look-up per request.

The rows become `Counters` only when somebody asks, once a second.
"""

from __future__ import annotations

import bisect

from flumegate.records.counters import LATENCY_BUCKETS, Counters
from flumegate.records.request import Record

_BOUNDS_US = [int(bound * 1e6) for bound in LATENCY_BUCKETS]
_BUCKETS = len(LATENCY_BUCKETS) + 1
_SUM_US = _BUCKETS
_INPUT = _BUCKETS + 1
_OUTPUT = _BUCKETS + 2


class Tally:
    """Running totals of one worker."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, int], list[int]] = {}
        self.totals: dict[str, int] = {}
        """Named totals without labels; anybody in the worker may count here."""

    def count(self, record: Record) -> None:
        """Count one request."""
        key = (record.endpoint, record.provider, record.status)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = [0] * (_BUCKETS + 3)
        duration_us = record.duration_us
        row[bisect.bisect_left(_BOUNDS_US, duration_us)] += 1
        row[_SUM_US] += duration_us
        if record.input_tokens:
            row[_INPUT] += record.input_tokens
        if record.output_tokens:
            row[_OUTPUT] += record.output_tokens

    def counters(self) -> Counters:
        """Return everything counted so far."""
        counters = Counters(totals=dict(self.totals))
        for (endpoint, provider, status), row in self._rows.items():
            part = Counters(
                requests={(endpoint, provider, status): sum(row[:_BUCKETS])},
                latency={(endpoint, provider): row[:_BUCKETS]},
                latency_us={(endpoint, provider): row[_SUM_US]},
            )
            if row[_INPUT]:
                part.tokens[provider, "input"] = row[_INPUT]
            if row[_OUTPUT]:
                part.tokens[provider, "output"] = row[_OUTPUT]
            counters.add(part)
        return counters
