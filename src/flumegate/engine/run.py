"""The road of a request, as a straight line: gates, course, attempts, relay, settle.

Failures are values of this road: a GatewayError is answered in the caller's dialect, a cancelled task means that the
client has left, anything else is a bug and answered as 500. Each of them is recorded exactly once.
"""

from __future__ import annotations

import asyncio
import random

from flumegate import log
from flumegate.dialects.envelope import Envelope, Unbounded
from flumegate.engine import local
from flumegate.engine.asks import follow_rules, set_deadline
from flumegate.engine.checks import Checks
from flumegate.engine.coalesce import Flights, answer_with
from flumegate.engine.head import ENOUGH
from flumegate.engine.mirror import Mirrors
from flumegate.engine.overload import Overload
from flumegate.engine.request import read_envelope, read_path, read_target, undo_coding
from flumegate.engine.settle import Settlement
from flumegate.engine.stored_responses import Ask, nobody, serve
from flumegate.engine.transparent import lists_upstream, plan_transparent
from flumegate.engine.trip import Trip
from flumegate.engine.turns import Turns
from flumegate.errors import INTERNAL, GatewayError
from flumegate.exchange import Exchange
from flumegate.gates import GATES
from flumegate.gates.authorise import permit
from flumegate.gates.keyring import Keyring
from flumegate.records.manage import Forced, TargetState
from flumegate.routing.course import Course
from flumegate.routing.healths import Healths
from flumegate.routing.planner import Planner
from flumegate.snapshot import Snapshot
from flumegate.upstream.pool import Upstream

NOTHING_READ = Unbounded()


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
        self.loop = loop
        self.snapshot = snapshot
        self.healths = Healths()
        self.planner = Planner(snapshot, self.healths)
        self.keyring = Keyring()
        self.turns = Turns(loop)
        self.flights = Flights(loop)
        self.mirrors = Mirrors(self)
        self.checks = Checks(self)
        self.dice = random.Random()  # noqa: S311 - it spreads load; nothing is guarded by it
        self.upstream = upstream
        self.settlement = settlement
        self.overload = overload
        self.ask: Ask = nobody
        """How the store is asked."""

    def apply(self, snapshot: Snapshot) -> None:
        """Serve by a new Snapshot from the next request on; what is known of its targets stays known."""
        self.healths.keep_only(snapshot.providers)
        self.keyring.apply(snapshot)
        self.snapshot = snapshot
        self.planner = Planner(snapshot, self.healths)

    def close(self) -> None:
        """End what goes on beside requests."""
        self.mirrors.close()
        self.checks.close()

    def target_states(self, now: float) -> list[TargetState]:
        """Return how every target fares: those that are configured, and those that were asked for otherwise."""
        self.planner.meet_targets()
        return self.healths.states(now)

    def force_target(self, name: str, state: Forced) -> str:
        """Keep a target's breaker open or closed, or let it decide again; return what is wrong with its name, if so."""
        self.planner.meet_targets()
        if name in self.snapshot.providers:
            # Forced would be the requests that name no model, and who gives its name means all of them.
            own = ", ".join(health.name for health in self.healths.at(name) if health.name != name) or "none so far"
            return (
                f"{name!r} is a provider, and only targets are forced, each by its name as provider/model: {own[:500]}."
            )
        if not self.healths.force(name, state):
            return f"There is no target {name[:100]!r}; GET /manage/targets lists them, as provider/model."
        return ""

    def admit(self, exchange: Exchange) -> None:
        """Run the gates.

        Raises:
            GatewayError: a gate refused.
        """
        if not exchange.admitted:
            for gate in GATES:
                gate(exchange, self.keyring)
            exchange.admitted = True

    async def run(self, exchange: Exchange) -> None:
        """Serve one exchange to its end; never raises."""
        try:
            self.renew(exchange)
            self.admit(exchange)
            extra = cors_lines(exchange) if exchange.special else b""
            if exchange.kind in _ASIDE and (here := await self._answer_here(exchange, extra)) is not None:
                self.settlement.settle(exchange, here)
                return
            if exchange.special:
                set_deadline(exchange, None)
            if not self.overload.admit(exchange):
                await self.overload.wait(exchange)
                self.renew(exchange)
                self.admit(exchange)
            course, seen = self.find_course(exchange)
            access = exchange.access
            if (access is not None and not access.free) or exchange.snapshot.model_budgets:
                if access is None or not access.any_model:
                    permit(exchange)
                lines = self.settlement.meter.enter(exchange, access, course, seen)
                extra += lines if isinstance(lines, bytes) else await lines
            if exchange.special or course.timeout is not None:
                set_deadline(exchange, course.timeout)
            if not course.plain and (shared := await self._beside(exchange, course, seen, extra)):
                self.settlement.settle(exchange, shared)
                return
            await Trip(self, exchange, course, seen, extra).run()
        except GatewayError as error:
            self.refuse(exchange, error)
        except asyncio.CancelledError:
            self.abandon(exchange)
        except Exception as error:  # noqa: BLE001 - the top of the road: a bug must not take other requests along
            self.confess(exchange, error)
        finally:
            self.overload.leave(exchange)
            if exchange.flight is not None:
                exchange.flight.end(None)

    def renew(self, exchange: Exchange) -> None:
        """Give an exchange that has waited the newest Snapshot: a key may have been revoked meanwhile."""
        if exchange.snapshot is not self.snapshot:
            exchange.snapshot, exchange.admitted = self.snapshot, False

    def confess(self, exchange: Exchange, bug: Exception) -> None:
        """Answer 500 for a bug of ours, and log it."""
        log.event("error", "request failed", request_id=exchange.record_id, bug=repr(bug)[:300])
        message = f"The gateway failed; its log has more under {exchange.record_id}."
        self.refuse(exchange, GatewayError(INTERNAL, "internal_error", message, close=True))

    async def _answer_here(self, exchange: Exchange, extra: bytes) -> bytes | None:
        """Return the answer to a request that the gateway itself can tell; None = a provider is to be asked."""
        if exchange.kind == "transparent":
            return await serve(exchange, self.ask, extra)
        return None if lists_upstream(exchange) else _LOCAL[exchange.kind](exchange, extra)

    async def _beside(self, exchange: Exchange, course: Course, seen: Envelope, extra: bytes) -> bytes:
        """Do what a route asks for beside serving a request; return the answer if it shares another request's."""
        course.count()
        if course.mirror is not None:
            self.mirrors.send(exchange, course.mirror, seen)
        endpoint = exchange.endpoint
        if course.coalesce and endpoint is not None and endpoint.does == "embed":
            landed = await self.flights.join(exchange, course)
            if landed is not None:
                return answer_with(exchange, landed, extra)
        return b""

    def find_course(self, exchange: Exchange, followed: list[str] | None = None) -> tuple[Course, Envelope]:
        """Return where a request may go, and what was read of its body for that; `followed` takes rules' names.

        Raises:
            GatewayError: the request is not one that can be routed.
        """
        if self.settlement.policy.content == "full":
            exchange.response_body = []
        endpoint, planner = exchange.endpoint, self.planner
        if planner.varied and exchange.project:
            planner = planner.of(exchange.project)
        if endpoint is None or exchange.kind == "transparent":
            return planner.lone(plan_transparent(exchange, planner), exchange.model_requested), NOTHING_READ
        exchange.lane = "verbatim"
        if exchange.special:
            undo_coding(exchange, exchange.snapshot.door.max_body_bytes)
        seen = read_envelope(exchange) if endpoint.streams is None else read_path(exchange, endpoint)
        upstream = exchange.picked.get(b"x-upstream-name") if exchange.special else None
        if endpoint.always_translated and upstream is None:
            upstream = read_target(exchange.body)
        course = planner.known(endpoint.name, seen.model) if upstream is None else None
        if course is None:
            course = planner.course(endpoint, seen.model, upstream.decode("latin-1") if upstream else "")
        if course.rules:
            course = follow_rules(exchange, planner, course, followed)
        return course, seen

    def refuse(self, exchange: Exchange, error: GatewayError) -> None:
        """Answer an error, or cut the answer that has already begun."""
        exchange.reply.feed_from(None)
        error.__traceback__ = None  # its frames hold the error themselves, and the whole exchange
        if exchange.flight is not None:
            exchange.flight.end(error, retries_spent=exchange.retries_spent)
        if exchange.head_sent:
            exchange.outcome, exchange.error_code = "truncated", error.code
            self.settlement.settle(exchange, b"", cut=True)
        else:
            extra = cors_lines(exchange)
            if exchange.attempts:
                extra += b"x-flumegate-attempts: %d\r\n" % len(exchange.attempts)
            if exchange.retries_spent:
                extra += ENOUGH
            self.settlement.settle(exchange, local.refuse(exchange, error, extra))

    def abandon(self, exchange: Exchange) -> None:
        """Record that the client left; what its answer had cost so far is kept."""
        if exchange.flight is not None:
            exchange.flight.end(None)
        if exchange.settled:
            return
        exchange.client_abort = True
        exchange.outcome, exchange.error_code = "cancelled", "client_closed"
        if not exchange.head_sent:
            exchange.status = 499
        if exchange.tap is not None:
            exchange.tap.close()
            exchange.tap.estimate(exchange.body, exchange.response_bytes)
        self.settlement.settle(exchange, b"", cut=True)


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
        b"x-flumegate-model, x-flumegate-lane, x-flumegate-losses, x-flumegate-budget-warning, "
        b"x-upstream-response-time\r\n" % origin
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
_ASIDE = frozenset((*_LOCAL, "transparent"))
"""What need not have to do with any provider."""
