"""A request made ready for one target: its own bytes with what must change spliced in, or written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flumegate.dialects.envelope import Envelope
from flumegate.dialects.openai.responses.stored import MENTION
from flumegate.engine.betas import apply_policy
from flumegate.engine.outgoing import Outgoing
from flumegate.engine.request import edit_body
from flumegate.engine.stored_responses import recall
from flumegate.engine.translate import begin
from flumegate.engine.transparent import rename_model
from flumegate.exchange import Exchange
from flumegate.routing import lanes
from flumegate.routing.plan import Plan

if TYPE_CHECKING:
    from flumegate.engine.run import Engine


async def prepare(engine: Engine, exchange: Exchange, plan: Plan, seen: Envelope) -> Outgoing:
    """Return what is sent to a plan's target.

    Raises:
        GatewayError: 400, the request is not of its dialect, or cannot be said in the target's; 503, the store that
            holds an earlier response cannot be asked now.
    """
    outgoing = Outgoing(exchange)
    if plan.codec:
        if plan.codec == lanes.ESTIMATE:
            return outgoing
        if exchange.kind == "responses" and not exchange.earlier and MENTION in exchange.body:
            await recall(exchange, engine.ask)
        translation = outgoing.translation = begin(exchange, plan)
        outgoing.body, outgoing.losses = translation.body, translation.losses
    elif exchange.lane == "transparent":
        if plan.splice:
            rename_model(exchange, outgoing, plan)
    else:
        if plan.provider.betas and exchange.family == "anthropic":
            apply_policy(exchange, outgoing, plan.provider)
        edit_body(exchange, outgoing, plan, seen)
    return outgoing
