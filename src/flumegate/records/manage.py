"""What control asks of a worker on an operator's behalf, and what it is told.

All of it travels as tagged msgpack arrays over the link. A worker knows things that no database does: how each target
fares at this moment, and what it would make of a request.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Forced = Literal["open", "closed", "auto"]
TargetStanding = Literal["closed", "open", "half_open", "forced_open", "forced_closed"]


class Explain(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="explain"):
    """What would become of this request?"""

    method: str
    path: str
    """With the query, as it would stand in the request line."""
    headers: list[tuple[str, str]]
    body: bytes


class ForceTarget(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="force"):
    """Keep a target's breaker as it is told here; `auto`: let it decide again, from a fresh start."""

    name: str
    """`provider/model`."""
    state: Forced


class ListTargets(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="list"):
    """How do the targets fare?"""


Question = Explain | ForceTarget | ListTargets


class TargetState(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How one target fares in one worker, or, after merging, in all of them."""

    name: str
    """`provider/model`, or `provider` where each request names the model."""
    state: TargetStanding
    in_flight: int = 0
    queued: int = 0
    failures: int = 0
    """In a row."""
    until_seconds: float = 0.0
    """How much longer it is left alone, open or cooling."""
    cooling: bool = False
    credentials: int = 0
    credentials_out: int = 0
    """Of them, those that the provider has refused lately."""
    latency_ms: float | None = None
    """To the first meaningful piece of an answer, smoothed; None = not measured yet."""
    ramp: float = 1.0
    """Which part of its share it gets: less than 1 soon after an outage."""
    last_error: str = ""


class Explained(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="explained"):
    """What would become of the request, as a JSON object."""

    json: bytes


class TargetList(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="targets"):
    """How the targets fare: all of them, or the one that was forced."""

    targets: list[TargetState]


class Refused(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="refused"):
    """The question has no answer."""

    code: str
    message: str


Answer = Explained | TargetList | Refused

UNAVAILABLE = Refused("worker_unavailable", "No worker answered in time: it may be starting, or too busy. Try again.")
