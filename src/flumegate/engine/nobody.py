"""The way back to nobody: for exchanges whose answer is looked at, or thrown away, but handed to no client."""

from __future__ import annotations

from flumegate.exchange import Exchange, Source
from flumegate.gates.authenticate import Known


class NoReply:
    """A `Reply` without a client."""

    http11 = True
    keep_alive = True
    known: Known | None = None

    def write(self, data: bytes) -> None:
        """See `Reply`."""

    def finish(self, data: bytes) -> None:
        """See `Reply`."""

    def abort(self) -> None:
        """See `Reply`."""

    def feed_from(self, source: Source | None) -> None:
        """See `Reply`."""


def copy_of(exchange: Exchange, number: str) -> Exchange:
    """Return the same request once more, as one that nobody waits for; `number` becomes its record's id."""
    made = Exchange(NoReply(), exchange.method, exchange.path, exchange.query)
    made.headers, made.picked, made.special = exchange.headers, exchange.picked, exchange.special
    made.snapshot = exchange.snapshot
    made.started, made.started_at = exchange.started, exchange.started_at
    made.record_id, made.request_id = number, exchange.request_id
    made.client = exchange.client
    made.body, made.request_bytes = exchange.body, exchange.request_bytes
    made.coding_undone = exchange.coding_undone
    made.kind, made.family, made.endpoint = exchange.kind, exchange.family, exchange.endpoint
    made.admitted, made.key_id, made.project = exchange.admitted, exchange.key_id, exchange.project
    made.model_requested, made.stream, made.lane = exchange.model_requested, exchange.stream, exchange.lane
    return made
