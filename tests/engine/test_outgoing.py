from __future__ import annotations

from flumegate.dialects.registry import ENDPOINTS
from flumegate.engine.outgoing import Outgoing, adopt
from flumegate.engine.translate import begin
from flumegate.exchange import Exchange
from flumegate.records.request import Attempt
from flumegate.routing.plan import Plan
from rig.exchanges import exchange, provider, snapshot
from rig.plans import plan_of, planner_of

CHAT = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "chat")
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
BEGUN = ("first_byte", "first_token", "usage_partial", "response_bytes", "response_body")
VERBATIM = plan_of(planner_of(snapshot(provider(), default_provider="up")).course(CHAT, "m"))
OTHER = plan_of(planner_of(snapshot(provider(speaks=("anthropic",)), default_provider="up")).course(CHAT, "m"))


def asked() -> Exchange:
    made = exchange(headers=[(b"content-type", b"application/json")], body=BODY)
    made.record_id, made.started_at = "rec-1", 0.0
    made.endpoint, made.kind, made.model_requested, made.lane = CHAT, "chat", "m", "verbatim"
    return made


def state(one: Exchange) -> list[object]:
    """Return what the adopted attempt has made of an exchange."""
    return [one.losses, one.lane, one.plan, one.tap]


def translated(one: Exchange, plan: Plan = OTHER) -> Outgoing:
    """Return the request written anew for a target of another dialect."""
    outgoing = Outgoing(one)
    outgoing.translation = begin(one, plan)
    outgoing.losses = ("dropped:seed",)
    return outgoing


def test_each_attempt_begins_with_the_clients_own_words() -> None:
    """Whatever an earlier one made of them."""
    one = asked()
    first = Outgoing(one)
    first.body, first.headers, first.withhold = b"{}", [], True
    second = Outgoing(one)
    assert (second.body, second.headers, second.withhold, second.losses) == (BODY, one.headers, False, ())


def test_what_an_attempt_lost_is_the_exchanges_once_it_is_adopted() -> None:
    """Not before, and not beyond the next one."""
    one = asked()
    outgoing = translated(one)
    assert state(one) == [(), "verbatim", None, None]
    adopt(one, OTHER, outgoing)
    assert outgoing.translation is not None
    assert state(one) == [("dropped:seed",), "translated", OTHER, outgoing.translation.seen]
    one.attempts = (Attempt("up/m", 0),)
    adopt(one, VERBATIM, Outgoing(one))
    assert state(one) == [(), "verbatim", VERBATIM, None]


def test_nothing_of_a_failed_attempt_is_left() -> None:
    """Its first byte, its usage and its content went to nobody."""
    one = asked()
    adopt(one, VERBATIM, Outgoing(one))
    one.attempts = (Attempt("up/m", 0),)
    one.first_byte, one.first_token, one.usage_partial, one.response_bytes = 1.0, 2.0, True, 9
    one.response_body = [b"old"]
    adopt(one, VERBATIM, Outgoing(one))
    assert [getattr(one, name) for name in BEGUN] == [None, None, False, 0, []]
    one.response_body = None
    adopt(one, VERBATIM, Outgoing(one))
    assert one.response_body is None, "content that is not recorded stays so"


def test_the_transparent_lane_stays_what_it_is() -> None:
    """It is no dialect's."""
    one = asked()
    one.lane = "transparent"
    adopt(one, VERBATIM, Outgoing(one))
    assert one.lane == "transparent"
