"""Promise: what one target cannot answer the next one does, and the client sees one clean answer.

Nothing of an attempt that failed reaches it, and what the winner sent reaches it as it was sent. Once an answer has
begun nobody else is asked.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rig import raw, road, routes
from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock
from rig.rows import row_of
from rig.scripted import ScriptedUpstream, answer, scripted_upstream

WHOLE = (
    b'{"id":"winner","object":"chat.completion","model":"good",\t"choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"winner"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
)
EVENTS = (
    b'data: {"id":"winner","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
    b': a comment\n\ndata: {"id":"winner",  "choices":[{"index":0,"delta":{"content":"win"}}]}\n\n'
    b'data: {"id":"winner","choices":[{"index":0,"delta":{"content":"ner"}}]}\n\n'
    b'data: {"id":"winner","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)
)
DIALECTS = ("openai_compatible", "anthropic", "ollama")
"""In which the first target is asked: the first as it came, the others translated."""


class Case(NamedTuple):
    """How a first target fails: the fault, the status in the attempt, and the outcome there; see docs/mock.md.

    `translated`: the outcome where the answer had to be read to know that it is a failure.
    """

    fault: str
    status: int | None
    outcome: str
    translated: str = ""


EITHER = {
    "closed": Case("close_before_head", None, "upstream_closed"),
    "reset": Case("close_before_head,rst=0", None, "upstream_closed"),
    "server": Case("status=500", 500, "upstream_500", "upstream_failed"),
    "gateway": Case("status=502,retry_after=1", 502, "upstream_502", "upstream_failed"),
    "overloaded": Case("status=529", 529, "upstream_529", "upstream_overloaded"),
    "limited": Case("status=429", 429, "upstream_429", "upstream_rate_limited"),
    "credential": Case("status=401", 401, "upstream_401", "upstream_credential_refused"),
    "forbidden": Case("status=403", 403, "upstream_403", "upstream_credential_refused"),
    "missing": Case("status=404", 404, "upstream_404", "model_not_found"),
    "garbage": Case("garbage", None, "upstream_garbage"),
    "page": Case("html", 200, "upstream_garbage"),
    "slow": Case("latency=60000", None, "upstream_first_byte_timeout"),
}
STREAMED = {
    "nothing": Case("empty", 200, "upstream_cut"),
    "error": Case("error_in_stream=0", 200, "error_in_stream", "upstream_failed"),
    "no-token": Case("first_byte=60000", 200, "upstream_first_token_timeout"),
    "stall": Case("hang=1", 200, "upstream_first_token_timeout"),
    "cut": Case("cut=0", 200, "upstream_cut"),
    "bodiless": Case("status=204", 204, "upstream_cut", "upstream_garbage"),
}
UNARY = {
    "nothing": Case("empty", 200, "upstream_garbage"),
    "bodiless": Case("status=204", 204, "upstream_garbage"),
}
READ_WHOLE = {"half": Case("cut=9", 200, "upstream_cut")}
"""Where nothing is translated, the first half of an answer has reached the client by then."""
CASES = [
    pytest.param(dialect, streamed, case, id=f"{dialect}-{'stream' if streamed else 'whole'}-{name}")
    for dialect in DIALECTS
    for streamed, cases in (
        # The first event of Ollama's streams is meaningful: one that stalls behind it has begun to answer.
        (True, EITHER | {name: each for name, each in STREAMED.items() if (dialect, name) != ("ollama", "stall")}),
        (False, EITHER | UNARY | (READ_WHOLE if dialect != DIALECTS[0] else {})),
    )
    for name, case in cases.items()
]


class Place(NamedTuple):
    """A gateway, the mock behind every first target, and the upstream behind every second one."""

    gateway: Gateway
    mock: Mock
    good: ScriptedUpstream

    def asked(self) -> list[bytes]:
        """Return what the second target was asked, and forget it."""
        asked, self.good.requests[:] = list(self.good.requests), []
        return asked


def _provider(dialect: str, port: int) -> dict[str, Any]:
    timeouts = {"first_byte": 0.5, "first_token": 1}
    if dialect == "anthropic":
        return road.anthropic(port, timeouts=timeouts)
    if dialect == "ollama":
        return {"type": "ollama", "base_url": f"http://127.0.0.1:{port}", "timeouts": timeouts}
    return road.compatible(port, timeouts=timeouts)


def _config(mock: int, good: int) -> dict[str, Any]:
    providers: dict[str, Any] = {"good": road.compatible(good)}
    models: dict[str, Any] = {}
    for case in CASES:
        dialect, _, fault = case.values
        providers[str(case.id)] = _provider(str(dialect), mock)
        assert isinstance(fault, Case)
        models[f"to-{case.id}"] = {"targets": [f"{case.id}/mock-fault:{fault.fault}", "good/good"]}
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = closed.getsockname()[1]
    for name in ("chat", "claude", "llama", "gone"):
        dialect = {"claude": "anthropic", "llama": "ollama"}.get(name, "openai_compatible")
        providers[name] = _provider(dialect, gone if name == "gone" else mock)
    failing = ["gone/m", "chat/mock-fault:status=500", "claude/mock-fault:status=529", "llama/mock-fault:garbage"]
    for name in ("chat", "claude", "llama"):
        models[f"refusing-{name}"] = {"targets": [f"{name}/mock-fault:status=400", "good/good"]}
    sick = {name: f"chat/mock-fault:status=500,code={name}" for name in ("first", "second", "third", "lone")}
    models |= {
        # Targets of their own: those that other tests fail at, too, may be left alone when it is their turn here.
        "mixed": {"targets": ["gone/mixed", *(f"{target},code=mixed" for target in failing[1:]), "good/good"]},
        "mixed-claude": {"targets": [*failing[:2], "claude/winner"]},
        "committed": {"targets": ["chat/mock-fault:cut=600", "good/good"]},
        "committed-claude": {"targets": ["claude/mock-fault:cut=900", "good/good"]},
        "hosting": {"targets": ["claude/picky", "good/good"]},
        "picky": {"targets": ["claude/picky", "claude/picky-too"]},
        "chain": {"targets": [sick["first"]], "fallback": ["link"]},
        "link": {"targets": [sick["second"], sick["third"]], "fallback": ["end", "never"]},
        "end": "good/good",
        "never": "good/never",
        "all-fail": {"targets": ["chat/mock-fault:status=500,code=one", "chat/mock-fault:status=502,code=two"]},
        "vectors": {"targets": ["chat/mock-fault:status=500,code=vectors", "chat/vectors"]},
        "counts": {"targets": ["claude/mock-fault:status=500,code=counts", "claude/counts"]},
        "stored": {"targets": ["chat/mock-fault:status=500,code=stored", "claude/stored"]},
        "odd": {"targets": ["good/odd", "good/good"]},
        "odd-alone": {"targets": ["good/odd-alone"]},
        "half-said": {"targets": ["claude/mock-fault:hang=1", "chat/counted"]},
        "half-said-too": {"targets": ["chat/mock-fault:hang=1", "claude/counted"]},
        "half-said-same": {"targets": ["claude/mock-fault:error_in_stream=1", "claude/counted"]},
        "off": {"targets": [sick["lone"]], "fallback": ["end"]},
    }
    return routes.settings(providers, models) | {"records": {"content": "full"}}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with run_mock() as mock, scripted_upstream() as good, run_gateway(config=_config(mock.port, good.port)) as gateway:
        yield Place(gateway, mock, good)


@pytest.mark.parametrize(("dialect", "streamed", "case"), CASES)
def test_the_next_target_answers_as_if_it_had_been_the_first(
    place: Place, request: pytest.FixtureRequest, dialect: str, streamed: bool, case: Case
) -> None:
    """Whatever becomes of the first one: the winner's bytes come, and one record tells all of it."""
    name = request.node.callspec.id
    place.good.play(STREAM if streamed else answer(WHOLE))
    got = routes.ask(place.gateway, f"to-{name}", stream=streamed)
    assert (got.status, got.complete) == (200, True), got.body
    assert got.body == (EVENTS if streamed else WHOLE)
    assert got.attempts == 2
    assert got.headers["x-flumegate-provider"] == "good"
    row = row_of(place.gateway, got.name)
    assert (row["provider"], row["model"], row["outcome"], row["status"]) == ("good", "good", "ok", 200)
    assert (row["error_code"], row["input_tokens"]) == ("", None if streamed else 3)
    assert row["usage_source"] == ("" if streamed else "upstream")
    first, second = routes.tried(place.gateway, got.name)
    outcome = case.translated if case.translated and dialect != DIALECTS[0] else case.outcome
    assert first == (f"{name}/mock-fault:{case.fault}", case.status, outcome)
    assert second == ("good/good", 200, "ok")
    # A kept connection that is closed without a byte is replaced by a new one: nobody can tell that from a late close.
    assert len(place.mock.ended(f"nonce-{got.name}")) <= (2 if outcome == "upstream_closed" else 1)
    assert len(place.asked()) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_lanes_mix_in_one_route(place: Place, streamed: bool) -> None:
    """One target is not there, the next fail in three dialects; the last one's answer comes byte for byte."""
    place.good.play(STREAM if streamed else answer(WHOLE))
    got = routes.ask(place.gateway, "mixed", stream=streamed)
    assert (got.status, got.complete, got.body) == (200, True, EVENTS if streamed else WHOLE)
    assert got.attempts == 5
    assert got.headers["x-flumegate-lane"] == "verbatim"
    assert [each.outcome != "ok" for each in routes.tried(place.gateway, got.name)] == [True] * 4 + [False]


@pytest.mark.parametrize("kind", sorted(routes.PATHS))
@pytest.mark.parametrize("streamed", [False, True])
def test_a_translated_winner_answers_in_the_dialect_of_the_client(place: Place, kind: str, streamed: bool) -> None:
    """Behind failures in another dialect, too: the answer is whole, and of the target that gave it."""
    got = routes.ask(place.gateway, "mixed-claude", kind=kind, stream=streamed)
    assert (got.status, got.complete) == (200, True)
    assert got.body.count(b"nonce-") >= 1
    assert got.headers["x-flumegate-lane"] == ("verbatim" if kind == "messages" else "translated")
    assert got.headers["x-flumegate-provider"] == "claude"
    assert [each.target for each in routes.tried(place.gateway, got.name)][-1] == "claude/winner"
    row = row_of(place.gateway, got.name)
    assert (row["outcome"], row["model"], bool(row["output_tokens"])) == ("ok", "winner", True)


@pytest.mark.parametrize("model", ["half-said", "half-said-too", "half-said-same"])
@pytest.mark.parametrize("kind", sorted(routes.PATHS))
def test_what_is_counted_is_the_winners(place: Place, model: str, kind: str) -> None:
    """A stream that began with its usage and failed before it said anything leaves nothing in the record."""
    got = routes.ask(place.gateway, model, kind=kind, stream=True)
    assert (got.status, got.complete, got.attempts) == (200, True, 2)
    assert got.body.count(b'"type":"message_start"') == (1 if kind == "messages" else 0)
    row = row_of(place.gateway, got.name)
    (call,) = [each for each in place.mock.ended(f"nonce-{got.name}", calls=2) if each["model"] == "counted"]
    counted = (row["input_tokens"], row["output_tokens"], row["usage_source"])
    assert counted == (call["input_tokens"], call["output_tokens"], "upstream")
    assert (row["outcome"], row["error_code"]) == ("ok", "")


def test_an_error_with_status_200_is_no_answer(place: Place) -> None:
    """Another target is asked; where there is none it is passed on as it came, and recorded as what it is."""
    error = b'{"error": {"message":"out of order", "type":"server_error","code":null}}'
    place.good.play(answer(WHOLE))
    place.good.play_once(answer(error))
    got = routes.ask(place.gateway, "odd")
    assert (got.status, got.body, got.attempts) == (200, WHOLE, 2)
    row = row_of(place.gateway, got.name)
    assert (row["outcome"], row["error_code"], row["input_tokens"]) == ("ok", "", 3)
    place.good.play(answer(error))
    alone = routes.ask(place.gateway, "odd-alone")
    assert (alone.status, alone.body, alone.attempts) == (200, error, 1)
    row = row_of(place.gateway, alone.name)
    assert (row["outcome"], row["error_code"]) == ("upstream_error", "error_in_answer")


@pytest.mark.parametrize("model", ["committed", "committed-claude"])
def test_an_answer_that_has_begun_is_the_last_attempt(place: Place, model: str) -> None:
    """It broke off after content: the client is told so in its dialect, and nobody else is asked."""
    place.asked()
    got = routes.ask(place.gateway, model, stream=True, messages=[{"role": "user", "content": "w " * 99}])
    assert (got.status, got.complete) == (200, True)
    assert b'"upstream_cut"' in got.body
    assert b'"finish_reason":"stop"' not in got.body
    assert not place.asked()
    row = row_of(place.gateway, got.name)
    assert (row["outcome"], row["error_code"], len(row["attempts"])) == ("truncated", "upstream_cut", 1)


def test_what_one_target_cannot_be_asked_the_next_one_is(place: Place) -> None:
    """A request that cannot be said in a target's dialect goes to one that can take it; if there is none it is 400."""
    place.good.play(answer(WHOLE))
    more = {"n": 3}
    got = routes.ask(place.gateway, "hosting", **more)
    assert (got.status, got.body) == (200, WHOLE)
    assert got.headers["x-flumegate-provider"] == "good"
    assert b'"n": 3' in place.asked()[0]
    row = row_of(place.gateway, got.name)
    assert (row["outcome"], row["provider"]) == ("ok", "good")
    refused = routes.ask(place.gateway, "picky", **more)
    assert (refused.status, refused.code) == (400, "not_translatable")
    assert refused.headers.get("x-should-retry") is None
    row = row_of(place.gateway, refused.name)
    assert (row["status"], row["outcome"], row["error_code"]) == (400, "refused", "not_translatable")
    assert not place.mock.ledger(tag=f"nonce-{refused.name}")


@pytest.mark.parametrize("target", ["chat", "claude", "llama"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_that_is_refused_is_asked_nowhere_else(place: Place, target: str, streamed: bool) -> None:
    """400 is the client's to mend, in whichever dialect it is said: one call, and no word of retries."""
    place.asked()
    got = routes.ask(place.gateway, f"refusing-{target}", stream=streamed)
    assert (got.status, "x-should-retry" in got.headers) == (400, False)
    assert len(routes.tried(place.gateway, got.name)) == 1
    assert not place.asked()


def test_a_fallback_has_fallbacks_of_its_own(place: Place) -> None:
    """Nearest first, each target once, and none behind the one that answers."""
    place.good.play(answer(WHOLE))
    got = routes.ask(place.gateway, "chain")
    assert (got.status, got.body, got.attempts) == (200, WHOLE, 4)
    targets = [each.target for each in routes.tried(place.gateway, got.name)]
    assert [target.rpartition("=")[2] for target in targets] == ["first", "second", "third", "good/good"]
    assert row_of(place.gateway, got.name)["model_requested"] == "chain"


def test_a_client_can_refuse_other_targets(place: Place) -> None:
    """`x-flumegate-fallback: off`: the first target's answer comes as it is."""
    place.asked()
    got = routes.ask(place.gateway, "off", headers={"x-flumegate-fallback": "off"})
    assert (got.status, got.code, got.attempts) == (500, "lone", 1)
    assert not place.asked()
    place.good.play(answer(WHOLE))
    assert routes.ask(place.gateway, "off", headers={"x-flumegate-fallback": "on"}).status == 200


def test_the_last_answer_comes_as_it_came(place: Place) -> None:
    """Where every target fails the last one's answer is the client's, byte for byte."""
    got = routes.ask(place.gateway, "all-fail")
    assert (got.status, got.code, got.attempts) == (502, "two", 2)
    (call,) = [row for row in place.mock.ended(f"nonce-{got.name}", calls=2) if row["status"] == 502]
    assert len(got.body) == call["bytes_out"]
    row = row_of(place.gateway, got.name)
    assert (row["outcome"], row["error_code"], row["status"]) == ("upstream_error", "upstream_502", 502)
    assert [each.outcome for each in routes.tried(place.gateway, got.name)] == ["upstream_500", "upstream_502"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "vectors", "input": "hello"}),
        ("/v1/messages/count_tokens", {"model": "counts", "messages": [{"role": "user", "content": "one two"}]}),
    ],
)
def test_other_endpoints_have_fallbacks_too(place: Place, path: str, body: dict[str, Any]) -> None:
    """Vectors and counts come from the next target where the first fails."""
    headers = [("anthropic-version", "2023-06-01")]
    got = raw.ask(place.gateway.port, raw.request(path, body, key=road.KEY, headers=headers))
    assert (got.status, got.headers["x-flumegate-attempts"]) == (200, "2")
    assert "data" in got.json() or got.json()["input_tokens"] == 2


def test_a_stored_conversation_goes_on_at_another_target(place: Place) -> None:
    """`previous_response_id` leads to the same answers whoever gave them and whoever is asked next."""
    first = routes.ask(place.gateway, "stored", kind="responses")
    identity = raw.Answer(*first[1:]).json()["id"]
    row_of(place.gateway, first.name)
    second = routes.ask(place.gateway, "stored", kind="responses", previous_response_id=identity)
    assert (second.status, second.attempts) == (200, 2)
    (call,) = [each for each in place.mock.ended(f"nonce-{second.name}") if each["model"] == "stored"]
    assert call["input_tokens"] > 1


def test_routes_are_listed_once(place: Place) -> None:
    """The list of models names each route by the name under which it is asked for, and once."""
    names = [each["id"] for each in place.gateway.request("GET", "/v1/models", key=road.KEY).json()["data"]]
    assert names.count("chain") == names.count("mixed") == names.count("end") == 1


def test_a_circle_of_fallbacks_does_not_start() -> None:
    """The message names the circle; nothing is served."""
    models = {
        "one": {"targets": ["a/m"], "fallback": ["two"]},
        "two": {"targets": ["a/n"], "fallback": ["three"]},
        "three": {"targets": ["a/o"], "fallback": ["one"]},
    }
    config = routes.settings({"a": road.compatible(9)}, models)
    with run_gateway(config=config, wait=False) as gateway:
        assert gateway.process.wait(30) != 0
        gateway.output.wait_for("leads in a circle")
        assert "flumegate ready on" not in gateway.logs()
