"""One request on one connection: the state that engine and connection share."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

from flumegate.errors import GatewayError
from flumegate.exchange import Source
from flumegate.snapshot import Timeouts
from flumegate.wire.headers import Headers


class AnswerSink(Protocol):
    """Who takes an answer's body as it comes; called from the connection, one `push` per read."""

    def push(self, data: bytes) -> None:
        """Take what one read held of the body."""

    def end(self) -> None:
        """The answer is complete."""

    def fail(self, error: GatewayError) -> None:
        """The answer broke off."""


class Call:
    """One request and its answer.

    Attributes:
        head: done when status and headers are there (with whatever of the body came in the same read), or failed.
        pieces: body that came before a sink was attached.
        ended: the whole answer was received.
        error: how the answer broke off after its head, until a sink was attached.
        unframed: neither length nor chunks told the end: the answer ended with its connection.
        nothing_received: the connection closed before any byte of an answer (a connect-class failure).
    """

    __slots__ = (
        "body_sent",
        "deadline",
        "ended",
        "error",
        "final_deadline",
        "head",
        "head_at",
        "headers",
        "headless",
        "nothing_received",
        "pieces",
        "provider",
        "reused",
        "sent_at",
        "sink",
        "status",
        "timeouts",
        "unframed",
        "upload_source",
    )

    def __init__(
        self,
        head: asyncio.Future[None],
        provider: str,
        timeouts: Timeouts,
        *,
        deadline: float = math.inf,
        headless: bool = False,
    ) -> None:
        self.head = head
        self.provider = provider
        """Its name, for error messages: connections may be shared by several."""
        self.timeouts = timeouts
        self.deadline = deadline
        """Loop time at which the call must have come so far: until the answer is passed on, to its beginning, so that
        time is left for another target; from then on, to its end."""
        self.final_deadline = deadline
        """Loop time at which the whole answer must be there."""
        self.sent_at = 0.0
        self.head_at = 0.0
        self.headless = headless
        """HEAD: the answer has no body, whatever its head announces."""
        self.status = 0
        self.headers: Headers = []
        self.pieces: list[bytes] = []
        self.ended = False
        self.unframed = False
        self.error: GatewayError | None = None
        self.sink: AnswerSink | None = None
        self.nothing_received = True
        self.reused = False
        self.body_sent = True
        self.upload_source: Source | None = None
