from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.registry import ENDPOINTS
from flumegate.errors import FORBIDDEN, INVALID_REQUEST, METHOD_NOT_ALLOWED, GatewayError
from flumegate.routing.plan import Planner, _json_string
from flumegate.snapshot import Route, Target
from rig import cuts
from rig.exchanges import provider, snapshot

BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
CHAT = BY_NAME["chat"]


def planner(**fields: Any) -> Planner:
    """Plan for one provider, `up`, that takes every model."""
    return Planner(
        snapshot(provider(**fields), default_provider="up", models={"alias": Route((Target("up", "real"),))})
    )


def test_a_plan_names_path_host_and_credential_of_one_provider() -> None:
    """Host and credential come from one value, so they cannot be mixed up."""
    plan = planner(credential="sk-up", headers=(("X-Team", "a"),)).endpoint(CHAT, "m")
    assert plan.path == b"/v1/chat/completions"
    assert plan.head == (
        b"host: 127.0.0.1:8080\r\naccept-encoding: identity\r\nauthorization: Bearer sk-up\r\nX-Team: a\r\n"
    )
    assert plan.verdicts[b"x-team"] == b""
    assert (plan.model, plan.target_name, plan.splice) == ("m", "up/m", b"")
    assert plan.marks == (
        b"x-flumegate-provider: up\r\nx-flumegate-model: m\r\nx-flumegate-lane: verbatim\r\n"
        b"x-flumegate-attempts: 1\r\nx-cache-status: bypass\r\n"
    )


def test_a_provider_without_credential_gets_none() -> None:
    """A local server needs no key, and the client's never travels."""
    plan = planner(default_headers=(("Anthropic-Version", "2023-06-01"),)).endpoint(CHAT, "m")
    assert b"authorization" not in plan.head.lower()
    assert plan.verdicts[b"authorization"] == b""
    assert plan.defaults == ((b"anthropic-version", b"Anthropic-Version: 2023-06-01\r\n"),)


@pytest.mark.parametrize(
    ("scheme", "host", "port", "line"),
    [
        ("http", "h", 80, b"host: h\r\n"),
        ("https", "h", 443, b"host: h\r\n"),
        ("https", "h", 80, b"host: h:80\r\n"),
        ("http", "h", 443, b"host: h:443\r\n"),
        ("http", "::1", 80, b"host: [::1]\r\n"),
        ("http", "::1", 81, b"host: [::1]:81\r\n"),
    ],
)
def test_the_host_field(scheme: str, host: str, port: int, line: bytes) -> None:
    """The scheme's own port is left out; IPv6 addresses stand in brackets (RFC 9110 §7.2)."""
    assert planner(scheme=scheme, host=host, port=port).endpoint(CHAT, "m").head.startswith(line)


def test_an_alias_is_spliced() -> None:
    """The upstream reads its own name for the model, whatever the client calls it."""
    plan = planner().endpoint(CHAT, "alias")
    assert (plan.model, plan.splice) == ("real", b'"real"')
    assert planner().endpoint(CHAT, "up/m").splice == b'"m"'


@cuts.law
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_spliced_names_are_json(name: str) -> None:
    """Whatever a model is called, the spliced value reads as that name."""
    assert json.loads(_json_string(name)) == name


def test_plans_are_remembered_by_endpoint_and_model() -> None:
    """The hot path makes no plan twice."""
    plans = planner()
    assert plans.known("chat", "m") is None
    plan = plans.endpoint(CHAT, "m")
    assert plans.known("chat", "m") is plan
    assert plans.known("completions", "m") is None


def test_plans_for_a_named_upstream_are_not_remembered() -> None:
    """They would answer for requests that name no upstream."""
    plans = planner()
    plans.endpoint(CHAT, "m", "up")
    assert plans.known("chat", "m") is None


def test_memory_for_plans_is_bounded() -> None:
    """Made-up model names cannot fill the memory; they are planned all the same."""
    plans = planner()
    for number in range(4200):
        assert plans.endpoint(CHAT, f"m{number}").model == f"m{number}"
    assert sum(plans.known("chat", f"m{number}") is not None for number in range(4200)) <= 4096
    assert plans.known("chat", "m4199") is not None


def test_a_provider_that_speaks_nothing_is_refused() -> None:
    """Nothing is sent to a server that would not understand it; the answer says what to do."""
    with pytest.raises(GatewayError, match="nothing that is known") as refused:
        planner(speaks=()).endpoint(CHAT, "m")
    assert (refused.value.kind, refused.value.code) == (INVALID_REQUEST, "translation_not_available")


def test_a_provider_of_another_dialect_is_asked_in_its_own() -> None:
    """The plan names the codec and its path, and lets only what belongs to no dialect travel on."""
    plan = planner(speaks=("anthropic",), credential="sk-up").endpoint(CHAT, "m")
    assert (plan.codec, plan.path, plan.stream_path) == ("messages", b"/v1/messages", b"/v1/messages")
    assert b"x-flumegate-lane: translated\r\n" in plan.marks
    assert b"content-type: application/json\r\n" in plan.head
    assert (b"anthropic-version", b"anthropic-version: 2023-06-01\r\n") in plan.defaults
    assert plan.verdicts[b"traceparent"] == b"traceparent: "
    assert (plan.verdicts[b"openai-organization"], plan.verdicts[b"authorization"]) == (b"", b"")
    assert plan.abilities is not None
    assert plan.abilities.model == "m"


def test_gemini_is_asked_at_its_native_place() -> None:
    """The model and the verb stand in the path, the key in Google's own field."""
    gemini = planner(
        speaks=("gemini",),
        base_path="/v1beta/openai",
        native_path="/v1beta",
        native_credential_header="x-goog-api-key",
        credential="key",
    )
    plan = gemini.endpoint(CHAT, "models/g 1")
    assert plan.path == b"/v1beta/models/g%201:generateContent"
    assert plan.stream_path == b"/v1beta/models/g%201:streamGenerateContent?alt=sse"
    assert b"x-goog-api-key: key\r\n" in plan.head
    assert b"authorization" not in plan.head


@pytest.mark.parametrize(
    ("allowed", "endpoint", "passes"),
    [
        ((), "chat", True),
        (("/v1/chat/completions",), "chat", True),
        (("/chat/completions",), "chat", True),
        (("/chat",), "chat", True),
        (("/v1/chat/",), "chat", True),
        (("/v1/",), "chat", True),
        (("/ch",), "chat", False),
        (("/embeddings", "/responses"), "chat", False),
        (("/embeddings", "/responses"), "responses", True),
    ],
)
def test_allowed_endpoints_are_path_prefixes(allowed: tuple[str, ...], endpoint: str, passes: bool) -> None:
    """Whole segments count, with and without `/v1`."""
    plans = planner(allowed_endpoints=allowed)
    if passes:
        assert plans.endpoint(BY_NAME[endpoint], "m").model == "m"
    else:
        with pytest.raises(GatewayError, match="allowed_endpoints") as refused:
            plans.endpoint(BY_NAME[endpoint], "m")
        assert (refused.value.kind, refused.value.code) == (FORBIDDEN, "endpoint_not_allowed")
        assert plans.known(endpoint, "m") is None


def test_allowed_methods() -> None:
    """A provider that takes only some methods gets no others, on either lane."""
    plans = planner(allowed_methods=("GET",))
    assert plans.transparent("GET", b"/files").path == b"/v1/files"
    with pytest.raises(GatewayError, match="takes only GET") as refused:
        plans.transparent("DELETE", b"/files")
    assert (refused.value.kind, refused.value.code) == (METHOD_NOT_ALLOWED, "method_not_allowed")
    with pytest.raises(GatewayError, match="takes only GET"):
        plans.endpoint(CHAT, "m")


def test_a_transparent_plan_says_so() -> None:
    """Path, lane and target of a request that is passed on as it is."""
    plan = planner(base_path="/openai/v1").transparent("POST", b"/images/generations", model="alias")
    assert (plan.path, plan.model, plan.splice) == (b"/openai/v1/images/generations", "real", b'"real"')
    assert b"x-flumegate-lane: transparent\r\n" in plan.marks
    modelless = planner().transparent("GET", b"/files/\xff")
    assert (modelless.path, modelless.model, modelless.target_name) == (b"/v1/files/\xff", "", "up")
    assert b"x-flumegate-model" not in modelless.marks


def test_a_transparent_request_may_name_its_upstream() -> None:
    """`X-Upstream-Name` selects; an endpoint that is not allowed stays so."""
    plans = Planner(snapshot(provider("a"), provider("b", allowed_endpoints=("/files",))))
    assert plans.transparent("GET", b"/files", upstream="b").provider.name == "b"
    with pytest.raises(GatewayError, match="allowed_endpoints"):
        plans.transparent("GET", b"/batches", upstream="b")


@pytest.mark.parametrize(
    ("suffix", "model", "path"),
    [
        (b"/images/generations", "paint 1", b"/openai/deployments/paint%201/images/generations?api-version=2024-10-21"),
        (b"/files", "", b"/openai/files?api-version=2024-10-21"),
        (b"/files", "m", b"/openai/files?api-version=2024-10-21"),
        (b"/responses", "m", b"/openai/responses?api-version=2024-10-21"),
    ],
)
def test_azure_paths_name_deployment_and_version(suffix: bytes, model: str, path: bytes) -> None:
    """The deployment names the model in the path, but for operations that stand outside (dialects: §8)."""
    plans = planner(base_path="/openai", azure_api_version="2024-10-21")
    assert plans.transparent("POST", suffix, model=model).path == path


def test_azure_endpoints() -> None:
    """Chat goes to the deployment."""
    plan = planner(base_path="/openai", azure_api_version="2024-10-21").endpoint(CHAT, "a/b")
    assert plan.path == b"/openai/deployments/a%2Fb/chat/completions?api-version=2024-10-21"


def test_the_dialects_with_a_place_of_their_own_are_passed_on_there() -> None:
    """Ollama's and Gemini's own endpoints stand before the compatible ones; Gemini's body names no model to replace."""
    by_name = {endpoint.name: endpoint for endpoint in ENDPOINTS}
    ollama = planner(speaks=("ollama",), base_path="/v1", native_path="").endpoint(by_name["ollama_chat"], "m")
    assert (ollama.path, ollama.codec) == (b"/api/chat", "")
    gemini = planner(speaks=("gemini",), base_path="/v1beta/openai", native_path="/v1beta")
    plan = gemini.endpoint(by_name["gemini_stream"], "m")
    assert (plan.path, plan.splice) == (b"/v1beta/models/m:streamGenerateContent", b"")


def test_azure_is_asked_below_its_deployment_in_translation_too() -> None:
    """The deployment names the model, whoever asks."""
    by_name = {endpoint.name: endpoint for endpoint in ENDPOINTS}
    azure = planner(base_path="/openai", azure_api_version="2024-10-21").endpoint(by_name["messages"], "gpt")
    assert azure.path == b"/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    assert azure.stream_path == azure.path
