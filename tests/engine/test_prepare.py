from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from flumegate.dialects import envelope
from flumegate.dialects.registry import ENDPOINTS
from flumegate.engine.outgoing import Outgoing
from flumegate.engine.overload import Overload
from flumegate.engine.prepare import prepare
from flumegate.engine.run import Engine
from flumegate.engine.settle import Settlement
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.records.tally import Tally
from flumegate.routing.plan import Plan
from flumegate.snapshot import Route, Snapshot, Target
from flumegate.spool.append import SpoolWriter
from flumegate.upstream.pool import Upstream
from rig.exchanges import exchange, provider, snapshot
from rig.plans import plan_of

BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
BODY = b'{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'


def prepared(folder: Path, one: Exchange, name: str, **fields: Any) -> tuple[Outgoing, Plan]:
    """Prepare a request as an engine does, for one provider, `up`, that calls the model `real`."""
    known: Snapshot = snapshot(provider(**fields), models={"m": Route((Target("up", "real"),))})

    async def run() -> tuple[Outgoing, Plan]:
        loop = asyncio.get_running_loop()
        settlement = Settlement(loop, SpoolWriter(folder, "w", max_bytes=1 << 20), Tally())
        upstream = Upstream(loop)
        engine = Engine(loop, known, upstream, settlement, Overload(loop, {}))
        try:
            one.record_id, one.started_at = "rec-1", 0.0
            one.kind, one.endpoint = name, BY_NAME.get(name)
            one.family = "anthropic" if name == "messages" else "openai"
            if one.endpoint is None:
                one.lane = "transparent"
                plan = engine.planner.transparent("POST", b"/audio", model=one.model_requested, upstream="up")
            else:
                one.lane = "verbatim"
                plan = plan_of(engine.planner.course(one.endpoint, "m"))
            seen = envelope.read(one.body, model_required=False)
            one.model_requested, one.stream = seen.model, bool(seen.stream)
            return await prepare(engine, one, plan, seen), plan
        finally:
            engine.close()
            upstream.close()
            settlement.close()

    return asyncio.run(run())


def test_a_target_of_the_same_dialect_gets_the_clients_bytes(tmp_path: Path) -> None:
    """With its own name of the model, and usage asked for where the client said nothing of it."""
    one = exchange(body=BODY)
    outgoing, _ = prepared(tmp_path, one, "chat")
    expected = BODY.replace(b'"m"', b'"real"', 1)[:-1] + b',"stream_options":{"include_usage":true}}'
    assert (outgoing.body, outgoing.withhold, outgoing.translation) == (expected, True, None)
    assert one.body == BODY


def test_betas_are_the_targets_policy(tmp_path: Path) -> None:
    """Another target may have another: the exchange keeps what the client said."""
    headers = [(b"anthropic-beta", b"fast-mode-2026")]
    one = exchange(headers=headers, body=BODY[:-1] + b',"speed":"fast"}')
    outgoing, _ = prepared(tmp_path, one, "messages", speaks=("anthropic",), betas={"*": "drop"})
    assert (outgoing.headers, outgoing.losses) == ([], ("dropped:anthropic-beta.fast-mode-2026",))
    assert json.loads(outgoing.body) == {**json.loads(BODY), "model": "real"}
    assert (one.headers, one.losses) == (headers, ())


def test_a_target_of_another_dialect_gets_the_request_written_anew(tmp_path: Path) -> None:
    """With who reads the answer; what is lost is the attempt's."""
    one = exchange(body=BODY[:-1] + b',"logit_bias":{"1":2}}')
    outgoing, plan = prepared(tmp_path, one, "chat", speaks=("anthropic",))
    assert plan.codec == "messages"
    assert outgoing.translation is not None
    assert outgoing.body == outgoing.translation.body
    assert json.loads(outgoing.body)["model"] == "real"
    assert outgoing.losses == outgoing.translation.losses != ()
    assert one.losses == ()


def test_what_is_only_estimated_is_not_written(tmp_path: Path) -> None:
    """Nothing is sent."""
    outgoing, _ = prepared(tmp_path, exchange(body=BODY), "count_tokens")
    assert (outgoing.body, outgoing.translation) == (BODY, None)


@pytest.mark.parametrize(
    ("body", "model", "sent"),
    [
        (BODY, "m", BODY.replace(b'"m"', b'"real"', 1)),
        (b'{"a":1}', "m", b'{"a":1}'),
        (BODY, "", BODY),
    ],
)
def test_what_is_passed_on_as_it_is_is_renamed_at_most(tmp_path: Path, body: bytes, model: str, sent: bytes) -> None:
    """Where it names a model, and that was looked for."""
    one = exchange(body=body)
    one.model_requested = model
    outgoing, _ = prepared(tmp_path, one, "transparent")
    assert outgoing.body == sent


def test_an_earlier_response_is_asked_for_before_a_translation(tmp_path: Path) -> None:
    """A response that was not stored here cannot be continued elsewhere; its own provider is asked as it is."""
    body = b'{"model":"m","input":"hi","previous_response_id":"resp_1"}'
    with pytest.raises(GatewayError) as refused:
        prepared(tmp_path, exchange(body=body), "responses", speaks=("anthropic",))
    assert refused.value.kind.origin == "client"
    outgoing, _ = prepared(tmp_path, exchange(body=body), "responses")
    assert outgoing.body == body.replace(b'"m"', b'"real"', 1)
