"""What would become of a request, and why: the road up to the moment of sending, with the very code of the road.

Nothing is sent, counted or changed: the dice are a copy of those that the next request will throw, so what is told here
is what that request does, if nothing else comes between.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlunsplit

import msgspec

from flumegate.catalog.rates import cost_micros
from flumegate.dialects.needs import lacks
from flumegate.engine.asks import ask_of, expected_tokens, set_deadline
from flumegate.engine.outgoing import Outgoing
from flumegate.engine.prepare import prepare
from flumegate.engine.request import write_head
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.gates import GATES
from flumegate.gates.authorise import permit
from flumegate.routing.course import Candidate, Choice, Course
from flumegate.routing.health import FULL, READY, SHUT, SOFT
from flumegate.routing.plan import Plan
from flumegate.routing.tries import Ask, Tries

if TYPE_CHECKING:
    from flumegate.engine.run import Engine

MOST_BODY_BYTES = 65_536
"""Of the request as it would be sent."""
MASK = b"[credential]"
_RANKS = {
    READY: "ready",
    FULL: "at its limit of concurrent requests",
    SOFT: "limited or without a valid credential of late: only if nothing else is left",
    SHUT: "left alone after failures, or because it asked for it",
}
_encode = msgspec.json.Encoder().encode


async def explain(engine: Engine, exchange: Exchange) -> bytes:
    """Return what would become of an exchange, as a JSON object; the exchange is one that nobody waits for."""
    gates = Gates(exchange)
    told: dict[str, object] = {"endpoint": exchange.kind, "gates": gates.verdicts, "refusal": None}
    for gate in GATES:
        with gates.ask(gate.__name__):
            gate(exchange, engine.keyring)
    with gates.ask("route"):
        await _follow(engine, exchange, gates, told)
    told["refusal"] = gates.refusal
    return _encode(told)


class Gates:
    """What each gate says of a request; one that refuses does not keep the rest from being told.

    Attributes:
        verdicts: in the order of the road.
        refusal: the first of them, which is what the client would get; None = all let it pass.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.verdicts: list[dict[str, object]] = []
        self.refusal: dict[str, object] | None = None
        self._exchange = exchange

    @contextlib.contextmanager
    def ask(self, name: str) -> Iterator[None]:
        """Enter the verdict of what is done within."""
        try:
            yield
        except GatewayError as error:
            refusal = _refusal(error)
            self.refusal = self.refusal or refusal
            self.verdicts.append({"gate": name, "passes": False, **refusal})
        else:
            who = {"key": self._exchange.key_id, "project": self._exchange.project}
            self.verdicts.append({"gate": name, "passes": True, **who})


def _refusal(error: GatewayError) -> dict[str, object]:
    return {
        "status": error.status,
        "code": error.code,
        "message": error.message,
        "retry_after": error.retry_after,
    }


async def _follow(engine: Engine, exchange: Exchange, gates: Gates, told: dict[str, object]) -> None:
    followed: list[str] = []
    if exchange.special:
        set_deadline(exchange, None)
    course, seen = engine.find_course(exchange, followed)
    if gates.refusal is None:  # of a key that is refused, it does not matter what else it may not
        with gates.ask("model"):
            permit(exchange)
        with gates.ask("limits"):
            await engine.settlement.meter.look(exchange, exchange.access, course, seen)
    if exchange.special or course.timeout is not None:
        set_deadline(exchange, course.timeout)
    told["resolution"] = _resolution(engine, exchange, course, followed)
    told["limits"] = _limits(exchange, course)
    if exchange.lane == "transparent":
        choice: Choice = course.straight
        ask = Ask()
    else:
        input_tokens, output_tokens = expected_tokens(exchange)
        ask = ask_of(exchange, course)._replace(input_tokens=input_tokens, output_tokens=output_tokens)
        now = monotonic()
        dice = copy.copy(engine.dice)
        drawn = None if course.only is not None else course.quick(dice, exchange.body)
        tries = Tries(course, ask, dice)
        try:
            choice = drawn or tries.first(now)
        finally:
            ranked = tries.in_order()
            if drawn is not None:
                ranked.sort(key=lambda candidate: candidate is not drawn.candidate)
            told["targets"] = [_target(each, ask, now) for each in ranked]
    told["chosen"] = choice.candidate.health.name
    told["estimate"] = _estimate(choice.candidate, ask)
    plan = choice.candidate.plans[choice.account]
    outgoing = await prepare(engine, exchange, plan, seen)
    told["lane"] = "translated" if plan.codec else exchange.lane
    told["losses"] = list(outgoing.losses)
    told["upstream"] = _upstream(exchange, outgoing, plan)


def _resolution(engine: Engine, exchange: Exchange, course: Course, followed: list[str]) -> dict[str, object]:
    upstream = exchange.picked.get(b"x-upstream-name", b"").decode("latin-1")
    transparent = exchange.lane == "transparent"
    return {
        "model": exchange.model_requested,
        "how": "passed on as it is" if transparent else engine.planner.how(exchange.model_requested, upstream),
        "rules": followed,
        "stages": [
            {
                "name": stage.name,
                "strategy": stage.strategy,
                "targets": [candidate.health.name for candidate in stage.candidates],
            }
            for stage in course.stages
        ],
    }


def _limits(exchange: Exchange, course: Course) -> dict[str, object]:
    left = exchange.deadline - exchange.started
    return {
        "seconds": left if left < 1e9 else None,
        "retries": course.retry.max_retries,
        "retried_status": list(course.retry.on_status),
    }


def _target(candidate: Candidate, ask: Ask, now: float) -> dict[str, object]:
    health = candidate.health
    rank, until = health.availability(now)
    return {
        "target": health.name,
        "ready": rank == READY,
        "because": _RANKS[rank],
        "seconds_until": round(until - now, 3) if rank in (SOFT, SHUT) else 0,
        "weight": candidate.target.weight,
        "tier": candidate.target.tier,
        "in_flight": health.in_flight,
        "latency_ms": None if health.latency is None else round(health.latency * 1000, 1),
        "cost_micros": _cost(candidate, ask),
        "share": health.ramp(now),
        "lacks": sorted(lacks(candidate.abilities, ask.needs)),
    }


def _cost(candidate: Candidate, ask: Ask) -> int | None:
    price = candidate.plans[0].price
    return None if price is None else cost_micros(price, ask.input_tokens, ask.output_tokens)


def _estimate(candidate: Candidate, ask: Ask) -> dict[str, object]:
    return {
        "input_tokens": ask.input_tokens,
        "output_tokens": ask.output_tokens,
        "cost_micros": _cost(candidate, ask),
    }


def _upstream(exchange: Exchange, outgoing: Outgoing, plan: Plan) -> dict[str, object]:
    """Return the request as it would be sent, without the credential."""
    body = outgoing.body
    head = write_head(exchange, outgoing, plan, b"\r\ncontent-length: %d\r\n\r\n" % len(body))
    provider = plan.provider
    if provider.credential:
        head = head.replace(provider.credential.encode("latin-1"), MASK)
    request_line, *fields = head.removesuffix(b"\r\n\r\n").decode("latin-1").split("\r\n")
    method, target, _ = request_line.split(" ")
    secret = {name.lower() for name, _ in provider.headers}
    return {
        "provider": provider.name,
        "model": plan.model,
        "method": method,
        "url": urlunsplit((provider.scheme, f"{provider.host}:{provider.port}", target, "", "")),
        "headers": [
            [name, MASK.decode() if name.lower() in secret else value]
            for name, _, value in (field.partition(": ") for field in fields)
        ],
        "signed": plan.signer is not None,
        "body": body[:MOST_BODY_BYTES].decode("utf-8", "replace"),
        "body_bytes": len(body),
    }
