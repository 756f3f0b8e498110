"""The request as one attempt sends it: each begins with the client's own words and dresses them for its target.

Nothing here is kept by the exchange until the attempt is adopted: of two that run side by side only one is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flumegate.exchange import Exchange
from flumegate.routing.plan import Plan
from flumegate.wire.headers import Headers

if TYPE_CHECKING:
    from flumegate.engine.translate import EmbeddingTranslation, Translation


class Outgoing:
    """What is sent to one target.

    Attributes:
        headers: of the client, as far as this target is to see them.
        body: for this target.
        withhold: the stream's usage event was asked for by us, and is not for the client.
        losses: what could not be said to this target, as codes.
        translation: what reads the answer where another dialect is spoken, else None.
    """

    __slots__ = ("body", "headers", "losses", "translation", "withhold")

    def __init__(self, exchange: Exchange) -> None:
        self.headers: Headers = exchange.headers
        self.body = exchange.body
        self.withhold = False
        self.losses: tuple[str, ...] = ()
        self.translation: Translation | EmbeddingTranslation | None = None


def adopt(exchange: Exchange, plan: Plan, outgoing: Outgoing) -> None:
    """Make an attempt the one whose answer the client gets."""
    exchange.plan = plan
    if exchange.attempts:
        _begin_anew(exchange)
    exchange.losses = outgoing.losses
    translation = outgoing.translation
    if translation is not None:
        exchange.lane = "translated"
        exchange.tap = translation.seen
    elif exchange.lane == "translated":
        exchange.lane = "verbatim"
        exchange.tap = None


def _begin_anew(exchange: Exchange) -> None:
    """Forget what an earlier attempt noted: its answer went to nobody."""
    exchange.tap = None
    exchange.first_byte = exchange.first_token = None
    exchange.usage_partial = False
    exchange.response_bytes = 0
    if exchange.response_body is not None:
        exchange.response_body = []
