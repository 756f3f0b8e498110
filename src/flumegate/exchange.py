"""The one typed object that a request carries from door to settle.

The door fills the first part, gates and plan the second, the attempt and the relay the third; settle turns it into
exactly one Record. It performs no I/O itself: `reply` is the way back to the client, `upload` the rest of a body that
is still on its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flumegate.ir.usage import Usage
from flumegate.records.request import Attempt

if TYPE_CHECKING:
    from flumegate.dialects.registry import Endpoint
    from flumegate.dialects.tap import Tap
    from flumegate.routing.plan import Plan
    from flumegate.snapshot import Snapshot
    from flumegate.wire.headers import Headers


class Reply(Protocol):
    """The way back to one client, for the exchange whose turn it is."""

    http11: bool
    """Chunked framing may be used."""
    keep_alive: bool
    """The connection serves further requests after this answer; may be set to False until the head is written."""

    def write(self, data: bytes) -> None:
        """Hand bytes to the client; nothing happens if it has left."""

    def finish(self, data: bytes) -> None:
        """Hand the last bytes to the client and end this exchange's turn."""

    def abort(self) -> None:
        """Cut the connection, so that the client cannot take what it got for a whole answer."""

    def feed_from(self, source: Source | None) -> None:
        """Name who is to be paused while the client reads slowly; None = nobody any more."""


class Source(Protocol):
    """Something that produces bytes and can be told to wait."""

    def pause(self) -> None:
        """Stop producing soon."""

    def resume(self) -> None:
        """Go on."""


class Sink(Protocol):
    """Where the pieces of an upload go."""

    def write_body(self, piece: bytes) -> None:
        """Take one piece."""

    def end_body(self) -> None:
        """There are no more pieces."""


class Upload(Protocol):
    """The body of a request that is passed on while it arrives."""

    length: int | None
    """As announced; None = chunked."""
    ended: bool

    def attach(self, sink: Sink) -> None:
        """Hand over what has arrived and go on piece by piece."""

    def peek(self) -> bytes:
        """Return what has arrived so far and was not handed over yet."""


class Exchange:
    """One request. Times are seconds of the event loop's clock; `started_at` is Unix time."""

    __slots__ = (
        "attempts",
        "body",
        "client",
        "client_abort",
        "coding_undone",
        "endpoint",
        "error_code",
        "family",
        "finish_reason",
        "first_byte",
        "first_token",
        "head_sent",
        "headers",
        "key_id",
        "kind",
        "lane",
        "method",
        "model_requested",
        "outcome",
        "path",
        "picked",
        "plan",
        "project",
        "query",
        "record_id",
        "reply",
        "request_bytes",
        "request_id",
        "response_body",
        "response_bytes",
        "sent",
        "settled",
        "snapshot",
        "started",
        "started_at",
        "status",
        "stream",
        "tap",
        "upload",
        "upstream_ended",
        "usage",
        "usage_partial",
    )

    def __init__(self, reply: Reply, method: bytes, path: bytes, query: bytes) -> None:
        # Filled by the door.
        self.reply = reply
        self.method = method
        self.path = path
        self.query = query
        """With its question mark, or empty."""
        self.headers: Headers = []
        self.picked: dict[bytes, bytes] = {}
        """The few fields that the gateway itself reads, by lower-case name."""
        self.body: bytes = b""
        self.upload: Upload | None = None
        self.request_bytes = 0
        self.client = ""
        self.started = 0.0
        self.started_at = 0.0
        self.record_id = ""
        self.request_id = b""
        self.kind = ""
        """What the path asks for: an endpoint's name, or `transparent`, `models`, `upstreams`, …"""
        self.family = "openai"
        """Whose error shape the caller understands."""
        self.endpoint: Endpoint | None = None
        self.snapshot: Snapshot
        # Filled by gates and plan.
        self.key_id = ""
        self.project = ""
        self.model_requested = ""
        self.stream = False
        self.plan: Plan | None = None
        self.lane = ""
        self.coding_undone = False
        """The request body arrived compressed and is sent on plain."""
        # Filled by attempt and relay.
        self.attempts: list[Attempt] = []
        self.sent: float | None = None
        self.first_byte: float | None = None
        self.first_token: float | None = None
        self.upstream_ended: float | None = None
        self.tap: Tap | None = None
        self.usage: Usage | None = None
        self.usage_partial = False
        self.finish_reason = ""
        self.status = 0
        self.head_sent = False
        """The commit point: from here on there is no other answer than this one."""
        self.outcome = "ok"
        self.error_code = ""
        self.response_bytes = 0
        self.response_body: list[bytes] | None = None
        self.client_abort = False
        self.settled = False
