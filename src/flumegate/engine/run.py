"""The road of a request, as a straight line: gates, plan, attempt, relay, settle.

Failures are values of this road: a GatewayError is answered in the caller's dialect, a cancelled task means that the
client has left, anything else is a bug and answered as 500. Each of them is recorded exactly once.
"""

from __future__ import annotations

import asyncio

from flumegate import log
from flumegate.dialects.openai.responses.stored import MENTION
from flumegate.engine import local
from flumegate.engine.attempt import attempt
from flumegate.engine.betas import apply_policy
from flumegate.engine.head import AnswerHead
from flumegate.engine.overload import Overload
from flumegate.engine.relay import Relay, whole
from flumegate.engine.relay_translated import TranslatedRelay, whole_translated
from flumegate.engine.request import edit_body, read_envelope, read_path, read_target, undo_coding
from flumegate.engine.settle import Settlement
from flumegate.engine.stored_responses import Ask, nobody, recall, serve
from flumegate.engine.translate import EmbeddingTranslation, Translation, answer_here, begin, name_losses
from flumegate.engine.transparent import lists_upstream, plan_transparent
from flumegate.errors import INTERNAL, GatewayError
from flumegate.exchange import Exchange
from flumegate.gates import GATES
from flumegate.routing.plan import Plan, Planner
from flumegate.snapshot import Snapshot
from flumegate.upstream.call import Call
from flumegate.upstream.pool import Upstream


class Engine:
    """Serves exchanges with the Snapshot of the moment."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        snapshot: Snapshot,
        upstream: Upstream,
        settlement: Settlement,
        overload: Overload,
    ) -> None:
        self._loop = loop
        self.snapshot = snapshot
        self.planner = Planner(snapshot)
        self.upstream = upstream
        self.settlement = settlement
        self.overload = overload
        self.ask: Ask = nobody
        """How the store is asked."""

    def admit(self, exchange: Exchange) -> None:
        """Run the gates.

        Raises:
            GatewayError: a gate refused.
        """
        if not exchange.admitted:
            for gate in GATES:
                gate(exchange)
            exchange.admitted = True

    async def run(self, exchange: Exchange) -> None:  # noqa: C901, PLR0912 - the whole road, on one screen
        """Serve one exchange to its end; never raises."""
        try:
            if exchange.snapshot is not self.snapshot:
                exchange.snapshot, exchange.admitted = self.snapshot, False  # it waited: the newest word counts
            self.admit(exchange)
            extra = cors_lines(exchange) if exchange.special else b""
            if exchange.kind in _LOCAL and not lists_upstream(exchange):
                self.settlement.settle(exchange, _LOCAL[exchange.kind](exchange, extra))
                return
            if exchange.kind == "transparent" and (stored := await serve(exchange, self.ask, extra)) is not None:
                self.settlement.settle(exchange, stored)
                return
            if not self.overload.admit(exchange):
                await self.overload.wait(exchange)
            plan, withhold = self._plan(exchange)
            exchange.plan = plan
            if exchange.losses:
                extra += b"x-flumegate-losses: %b\r\n" % name_losses(exchange)
            if self.settlement.policy.content == "full":
                exchange.response_body = []
            if plan.codec and (here := answer_here(exchange, plan, extra)):
                self.settlement.settle(exchange, here)
                return
            translation = await self._begin(exchange, plan) if plan.codec else None
            call, connection = await attempt(exchange, plan, self.upstream)
            head = AnswerHead(call)
            piped = head.streamed or (translation is not None and exchange.stream)
            if call.ended and call.error is None and not piped:
                self.settlement.settle(exchange, _whole(exchange, plan, call, head, translation, extra))
                return
            try:
                relay = self._relay(exchange, plan, head, translation, withhold=withhold, extra=extra)
                await relay.start(call, connection)
            finally:
                if not call.ended:
                    connection.close()  # the client has left, or what comes cannot be used
            exchange.reply.feed_from(None)
            self.settlement.settle(exchange, relay.rest, cut=relay.cut)
        except GatewayError as error:
            self.refuse(exchange, error)
        except asyncio.CancelledError:
            self.abandon(exchange)
        except Exception as error:  # noqa: BLE001 - the top of the road: a bug must not take other requests along
            self._confess(exchange, error)
        finally:
            self.overload.leave(exchange)

    async def _begin(self, exchange: Exchange, plan: Plan) -> Translation | EmbeddingTranslation:
        if exchange.kind == "responses" and MENTION in exchange.body:
            await recall(exchange, self.ask)
        return begin(exchange, plan)

    def _relay(
        self,
        exchange: Exchange,
        plan: Plan,
        head: AnswerHead,
        translation: Translation | EmbeddingTranslation | None,
        *,
        withhold: bool,
        extra: bytes,
    ) -> Relay | TranslatedRelay:
        if translation is None:
            return Relay(self._loop, exchange, plan, head, withhold=withhold, extra=extra)
        return TranslatedRelay(self._loop, exchange, plan, head, translation, extra)

    def _confess(self, exchange: Exchange, bug: Exception) -> None:
        log.event("error", "request failed", request_id=exchange.record_id, bug=repr(bug)[:300])
        message = f"The gateway failed; its log has more under {exchange.record_id}."
        self.refuse(exchange, GatewayError(INTERNAL, "internal_error", message, close=True))

    def _plan(self, exchange: Exchange) -> tuple[Plan, bool]:
        """Return the plan, and whether the stream's usage event is to be withheld from the client."""
        endpoint = exchange.endpoint
        if endpoint is None or exchange.kind == "transparent":
            return plan_transparent(exchange, self.planner), False
        exchange.lane = "verbatim"
        if exchange.special:
            undo_coding(exchange, exchange.snapshot.door.max_body_bytes)
        seen = read_envelope(exchange) if endpoint.streams is None else read_path(exchange, endpoint)
        upstream = exchange.picked.get(b"x-upstream-name") if exchange.special else None
        if endpoint.always_translated and upstream is None:
            upstream = read_target(exchange.body)
        plan = self.planner.known(endpoint.name, seen.model) if upstream is None else None
        if plan is None:
            plan = self.planner.endpoint(endpoint, seen.model, upstream.decode("latin-1") if upstream else "")
        if plan.codec:
            exchange.lane = "translated"
            return plan, False
        if plan.provider.betas and endpoint.dialect == "anthropic":
            apply_policy(exchange, plan.provider)
        return plan, edit_body(exchange, plan, seen)

    def refuse(self, exchange: Exchange, error: GatewayError) -> None:
        """Answer an error, or cut the answer that has already begun."""
        exchange.reply.feed_from(None)
        if exchange.head_sent:
            exchange.outcome, exchange.error_code = "truncated", error.code
            self.settlement.settle(exchange, b"", cut=True)
        else:
            self.settlement.settle(exchange, local.refuse(exchange, error, cors_lines(exchange)))

    def abandon(self, exchange: Exchange) -> None:
        """Record that the client left; what its answer had cost so far is kept."""
        if exchange.settled:
            return
        exchange.client_abort = True
        exchange.outcome, exchange.error_code = "cancelled", "client_closed"
        if not exchange.head_sent:
            exchange.status = 499
        if exchange.tap is not None:
            exchange.tap.close()
        self.settlement.settle(exchange, b"", cut=True)


def _whole(
    exchange: Exchange,
    plan: Plan,
    call: Call,
    head: AnswerHead,
    translation: Translation | EmbeddingTranslation | None,
    extra: bytes,
) -> bytes:
    if translation is None:
        return whole(exchange, plan, call, head, extra)
    return whole_translated(translation, plan, call, head, extra)


def cors_lines(exchange: Exchange) -> bytes:
    """Return the header lines that let a browser read the answer; none where CORS is off or the origin is another."""
    origin = exchange.picked.get(b"origin")
    allowed = exchange.snapshot.door.cors_origins
    if origin is None or not allowed:
        return b""
    if "*" not in allowed and origin.decode("latin-1") not in allowed:
        return b""
    return (
        b"access-control-allow-origin: %b\r\nvary: origin\r\n"
        b"access-control-expose-headers: x-request-id, request-id, retry-after, x-flumegate-provider, "
        b"x-flumegate-model, x-flumegate-lane, x-flumegate-losses, x-upstream-response-time\r\n" % origin
    )


def _show_model(exchange: Exchange, extra: bytes) -> bytes:
    return local.show_model(exchange, exchange.path.decode("latin-1").partition("/models/")[2], extra)


_LOCAL = {
    "models": local.list_models,
    "model": _show_model,
    "upstreams": local.list_upstreams,
    "ollama_ps": local.show_ollama,
    "ollama_version": local.show_ollama,
}
