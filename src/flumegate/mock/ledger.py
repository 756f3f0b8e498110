"""What was served, as the oracle of every other test: one row a call, counters, and who is still connected.

Memory is bounded: 20,000 rows, 64 KiB of each body, 64 MiB of all bodies together; what falls out is counted. Times are
Unix seconds for moments, milliseconds for spans.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, deque

import msgspec

from flumegate.mock.look import Json

ROWS_MAX = 20_000
BODY_BYTES_MAX = 64 << 10
ALL_BODIES_BYTES_MAX = 64 << 20
MARKS_MAX = 10_000

OPEN = "open"


class Row(msgspec.Struct, gc=False, kw_only=True):
    """One call. `outcome` is `open` while it runs, then how it ended (see docs/mock.md)."""

    seq: int
    method: str
    target: str
    dialect: str
    operation: str
    started_at: float
    headers: list[tuple[bytes, bytes]]
    connection: int = 0
    model: str = ""
    stream: bool = False
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    nonce: str = ""
    tag: str = ""
    body_sha256: str = ""
    body: bytes | None = b""
    outcome: str = OPEN
    ended_at: float | None = None
    eof_at: float | None = None
    abort_to_eof_ms: float | None = None


class Ledger:
    """The rows of one mock, and its counters."""

    def __init__(self) -> None:
        self.rows: deque[Row] = deque()
        self.calls = 0
        self.in_flight = 0
        self.older = 0
        self.outcomes: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self._seq = 0
        self._bodies: deque[Row] = deque()
        self._bodies_bytes = 0
        self._marks: dict[str, float] = {}

    def begin(self, row: Row) -> Row:
        """Take in a row for a call that starts now, number it and return it."""
        self._seq += 1
        row.seq = self._seq
        self.calls += 1
        self.in_flight += 1
        self.rows.append(row)
        if len(self.rows) > ROWS_MAX:
            self._forget(self.rows.popleft())
            self.older += 1
        return row

    def keep_body(self, row: Row, body: bytes, sha256: str | None = None, size: int | None = None) -> None:
        """Note a request's body: its whole hash and size, and its first 64 KiB."""
        row.bytes_in = len(body) if size is None else size
        row.body_sha256 = sha256 or hashlib.sha256(body).hexdigest()
        row.body = body[:BODY_BYTES_MAX]
        if row.body:
            self._bodies.append(row)
            self._bodies_bytes += len(row.body)
        while self._bodies_bytes > ALL_BODIES_BYTES_MAX:
            self._forget(self._bodies.popleft())

    def end(self, row: Row, outcome: str, now: float) -> None:
        """Note how a call ended; a second end of the same call changes nothing."""
        if row.outcome != OPEN:
            return
        row.outcome = outcome
        row.ended_at = now
        self.in_flight -= 1
        self.outcomes[outcome] += 1
        self.statuses[row.status] += 1

    def eof(self, row: Row, now: float) -> None:
        """Note that the caller's end of the connection was seen to close while the call ran."""
        row.eof_at = now
        marked = self._marks.get(row.tag or row.nonce)
        if marked is not None:
            row.abort_to_eof_ms = round((now - marked) * 1000, 3)

    def mark(self, name: str, now: float) -> None:
        """Note the moment at which a tester is about to abort the call with this tag or nonce."""
        if len(self._marks) >= MARKS_MAX:
            del self._marks[next(iter(self._marks))]
        self._marks[name] = now

    def clear(self) -> None:
        """Forget every row that has ended, all marks and all counters; numbers go on."""
        kept = [row for row in self.rows if row.outcome == OPEN]
        self.rows = deque(kept)
        self._bodies = deque(row for row in kept if row.body)
        self._bodies_bytes = sum(len(row.body or b"") for row in kept)
        self.calls = len(kept)
        self.older = 0
        self.outcomes.clear()
        self.statuses.clear()
        self._marks.clear()

    def listing(self, since: int = 0, tag: str = "") -> Json:
        """Return the rows after number `since`, with `tag` (or that nonce) only where one is given."""
        rows = (row for row in self.rows if row.seq > since and (not tag or tag in {row.tag, row.nonce}))
        return {"last": self._seq, "older": self.older, "calls": [_shown(row) for row in rows]}

    def counts(self) -> Json:
        """Return the counters."""
        return {
            "calls": self.calls,
            "in_flight": self.in_flight,
            "older": self.older,
            "kept": len(self.rows),
            "outcomes": dict(self.outcomes),
            "statuses": {str(status): count for status, count in self.statuses.items()},
        }

    def _forget(self, row: Row) -> None:
        if row.body:
            self._bodies_bytes -= len(row.body)
        row.body = None
        while self._bodies and self._bodies[0].body is None:
            self._bodies.popleft()


def _shown(row: Row) -> Json:
    path, _, query = row.target.partition("?")
    shown: Json = {
        name: getattr(row, name) for name in row.__struct_fields__ if name not in {"target", "headers", "body"}
    }
    shown["path"], shown["query"] = path, query
    shown["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in row.headers]
    shown["body"] = None if row.body is None else base64.b64encode(row.body).decode()
    shown["duration_ms"] = None if row.ended_at is None else round((row.ended_at - row.started_at) * 1000, 3)
    return shown
