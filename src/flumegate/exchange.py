"""The one typed object that a request carries from door to settle.

The door fills the first part, gates and plan the second, the attempt and the relay the third; settle turns it into
exactly one Record. It performs no I/O itself: `reply` is the way back to the client, `upload` the rest of a body that
is still on its way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from flumegate.records.request import Attempt

if TYPE_CHECKING:
    from flumegate.dialects.registry import Endpoint
    from flumegate.dialects.tap import Tap
    from flumegate.engine.coalesce import Flight
    from flumegate.engine.passage import Passage
    from flumegate.gates.authenticate import Known
    from flumegate.gates.keyring import Access
    from flumegate.ir.request import Turn
    from flumegate.quota.stay import Stay
    from flumegate.routing.plan import Plan
    from flumegate.snapshot import Snapshot
    from flumegate.wire.headers import Headers


_LATER: Any = None
"""Stands for what the door fills in at once."""


class Reply(Protocol):
    """The way back to one client, for the exchange whose turn it is."""

    http11: bool
    """Chunked framing may be used."""
    keep_alive: bool
    """The connection serves further requests after this answer; may be set to False until the head is written."""
    known: Known | None
    """Who used this connection last."""

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

    def attach(self, sink: Sink) -> Source:
        """Hand over what has arrived and go on piece by piece; return who is to be paused when the sink is full."""

    def peek(self) -> bytes:
        """Return what has arrived so far and was not handed over yet."""

    def splice(self, start: int, end: int, value: bytes) -> None:
        """Replace bytes of what `peek` returns; the announced length follows."""


class Exchange(msgspec.Struct, eq=False):
    """One request. Times are seconds of the event loop's clock; `started_at` is Unix time.

    A structure, because a plain object with more than thirty attributes gets a dictionary of its own.
    """

    # Filled by the door.
    reply: Reply
    method: bytes
    path: bytes
    query: bytes
    """With its question mark, or empty."""
    headers: Headers = _LATER
    picked: dict[bytes, bytes] = _LATER
    """The few fields that the gateway itself reads, by lower-case name."""
    special: bool = False
    """One of those fields asks for more than any request does; where it is False, none need be looked for."""
    snapshot: Snapshot = _LATER
    started: float = 0.0
    started_at: float = 0.0
    record_id: str = ""
    request_id: bytes = b""
    client: str = ""
    body: bytes = b""
    """As the client sent it, without its coding; every attempt has a body of its own (see `engine.outgoing`)."""
    upload: Upload | None = None
    request_bytes: int = 0
    kind: str = ""
    """What the path asks for: an endpoint's name, or `transparent`, `models`, `upstreams`, …"""
    family: str = "openai"
    """Whose error shape the caller understands."""
    endpoint: Endpoint | None = None

    # Filled by gates and plan.
    admitted: bool = False
    """The gates have agreed; they are asked once, for a large body before it is read."""
    placed_for: str | None = None
    """The key id that it had when it got one of the worker's places; None = it has none."""
    access: Access | None = None
    """What its key may do; None = no key is asked for."""
    stay: Stay | None = None
    """What it holds of limits and budgets."""
    passage: Passage | None = None
    """What hands its answer on, while it does."""
    key_id: str = ""
    project: str = ""
    model_requested: str = ""
    stream: bool = False
    plan: Plan | None = None
    lane: str = "local"
    deadline: float = math.inf
    """Loop time at which the request must have ended, whatever attempts it takes."""
    coding_undone: bool = False
    """The request body arrived compressed and is sent on plain."""

    earlier: tuple[Turn, ...] = ()
    """What the request leaves to an earlier response, as turns."""

    # Filled by attempt and relay.
    attempts: tuple[Attempt, ...] = ()
    flight: Flight | None = None
    """It travels for others, too, which share its answer."""
    cache_status: str = ""
    retries_spent: bool = False
    """We have tried as often as may be: the client need not."""
    sent: float | None = None
    first_byte: float | None = None
    first_token: float | None = None
    tap: Tap | None = None
    usage_partial: bool = False
    status: int = 0
    head_sent: bool = False
    """The commit point: from here on there is no other answer than this one."""
    outcome: str = "ok"
    error_code: str = ""
    losses: tuple[str, ...] = ()
    """What could not be said in the other dialect, as codes."""
    response_bytes: int = 0
    response_body: list[bytes] | None = None
    """The answer's pieces where content is recorded, else None."""
    client_abort: bool = False
    settled: bool = False
    ended: float = 0.0

    def __repr__(self) -> str:
        """Name it: all of it holds credentials and bodies, which no log is to see."""
        return f"<Exchange {self.record_id}>"

    @property
    def is_answered(self) -> bool:
        """Whether a provider was asked and answers with success: else a request costs only what the provider says."""
        return self.sent is not None and 200 <= self.status < 300
