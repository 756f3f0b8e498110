"""The Record: what is kept of one request, exactly one for every request, refusals and aborts included.

It travels as a msgpack array (field order is the format), so fields are only ever appended, each with a default.
Durations are whole microseconds, times are Unix seconds, sizes are bytes, money is micro-dollars.
"""

from __future__ import annotations

import msgspec

COPY_MARK = "-m"
"""Stands between the id of a request and the number of a copy of it that a mirror got; no other id has a dash."""


class Attempt(msgspec.Struct, array_like=True, gc=False):
    """One try at one target."""

    target: str
    """`provider/model` as sent upstream."""
    started_us: int
    """Offset from the start of the request."""
    first_byte_us: int | None = None
    """Offset from the start of the request at which the answer's head arrived."""
    ended_us: int | None = None
    status: int | None = None
    """HTTP status of the upstream's answer; None if none came."""
    outcome: str = "ok"
    """`ok`, the code of the error, or `cancelled`."""


class Record(msgspec.Struct, array_like=True, gc=False):
    """One request, from door to settle. Empty string = not known; None = not reported."""

    id: str
    """Unique over all workers and restarts; the key under which the store keeps it."""
    request_id: str
    """What the client sees as `x-request-id`; its own value where it sent a valid one."""
    started_at: float
    method: str
    path: str
    """Without the query string, which may hold secrets."""
    endpoint: str = ""
    """`chat`, `completions`, `responses`, `embeddings`, `messages`, `count_tokens`, `models`, `transparent`, …"""
    dialect: str = ""
    """`openai`, `anthropic` or empty."""
    lane: str = ""
    """`verbatim`, `transparent`, or `local` for answers that the gateway made itself."""
    key_id: str = ""
    project: str = ""
    client: str = ""
    """Address of the client (of the nearest untrusted hop where trusted proxies are configured)."""
    provider: str = ""
    model_requested: str = ""
    model: str = ""
    """The model name sent upstream."""
    stream: bool = False
    status: int = 0
    """HTTP status sent to the client; 499 if it left before an answer began."""
    outcome: str = "ok"
    """`ok`; `refused` by us before any upstream; `upstream_error`: an error answer was relayed; `failed`: no usable
    answer from upstream; `truncated`: the upstream's answer broke off after the commit point; `cancelled`: the client
    left."""
    error_code: str = ""
    duration_us: int = 0
    upstream_us: int | None = None
    """From sending the request upstream to the last byte of its answer."""
    first_byte_us: int | None = None
    """From the start to the upstream's head."""
    first_token_us: int | None = None
    """From the start to the first meaningful event of a stream."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: str = ""
    """`upstream`, `partial` (the stream broke off), or empty where there was none."""
    finish_reason: str = ""
    request_bytes: int = 0
    """Body bytes received from the client."""
    response_bytes: int = 0
    """Body bytes handed to the client."""
    client_abort: bool = False
    tags: str = ""
    """As sent in `x-flumegate-tags`, and those of the key."""
    trace_id: str = ""
    attempts: tuple[Attempt, ...] = ()
    losses: tuple[str, ...] = ()
    cost_micros: int | None = None
    price_version: str = ""
    cache_status: str = ""

    @property
    def is_copy(self) -> bool:
        """Whether it is of a copy that a mirror got, which no client asked for."""
        return COPY_MARK in self.id

    @property
    def is_counted(self) -> bool:
        """Whether it counts for budgets and the requests of a key's life: a client's, that a provider was found for.

        So neither what the gateway answers by itself, as its list of models, nor a request whose client left before.
        """
        return bool(self.provider) and self.outcome != "refused" and not self.is_copy


class Content(msgspec.Struct, array_like=True, gc=False):
    """The bodies of one request, kept apart from its Record so that they can be dropped first and expire sooner."""

    id: str
    """The Record's id."""
    request_body: bytes = b""
    """Cut to `records.max_request_bytes`."""
    response_body: bytes = b""
    """Cut to `records.max_response_bytes`."""
