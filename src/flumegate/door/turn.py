"""A request that was read, or that will be answered unread, and waits for its turn on its connection."""

from __future__ import annotations

from typing import NamedTuple

from flumegate.door.routes import Route
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange


class Turn(NamedTuple):
    """Answers leave in the order of the requests; `error` is how the door itself answers one that it turned away."""

    exchange: Exchange
    route: Route | None
    keep_alive: bool
    http11: bool
    """Spoken by this request; the reader may be at another by the time it is answered."""
    error: GatewayError | None = None
