from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.registry import ENDPOINTS
from flumegate.routing.plan import _json_string
from flumegate.routing.planner import Planner
from flumegate.snapshot import Route, Target
from rig import cuts
from rig.exchanges import provider, snapshot
from rig.plans import plan_of, planner_of

BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
CHAT = BY_NAME["chat"]


def planner(**fields: Any) -> Planner:
    """Plan for one provider, `up`, that takes every model."""
    return planner_of(
        snapshot(provider(**fields), default_provider="up", models={"alias": Route((Target("up", "real"),))})
    )


def test_a_plan_names_path_host_and_credential_of_one_provider() -> None:
    """Host and credential come from one value, so they cannot be mixed up."""
    plan = plan_of(planner(credential="sk-up", headers=(("X-Team", "a"),)).course(CHAT, "m"))
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
    plan = plan_of(planner(default_headers=(("Anthropic-Version", "2023-06-01"),)).course(CHAT, "m"))
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
    assert plan_of(planner(scheme=scheme, host=host, port=port).course(CHAT, "m")).head.startswith(line)


def test_an_alias_is_spliced() -> None:
    """The upstream reads its own name for the model, whatever the client calls it."""
    plan = plan_of(planner().course(CHAT, "alias"))
    assert (plan.model, plan.splice) == ("real", b'"real"')
    assert plan_of(planner().course(CHAT, "up/m")).splice == b'"m"'


@cuts.law
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_spliced_names_are_json(name: str) -> None:
    """Whatever a model is called, the spliced value reads as that name."""
    assert json.loads(_json_string(name)) == name


def test_a_provider_of_another_dialect_is_asked_in_its_own() -> None:
    """The plan names the codec and its path, and lets only what belongs to no dialect travel on."""
    plan = plan_of(planner(speaks=("anthropic",), credential="sk-up").course(CHAT, "m"))
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
    plan = plan_of(gemini.course(CHAT, "models/g 1"))
    assert plan.path == b"/v1beta/models/g%201:generateContent"
    assert plan.stream_path == b"/v1beta/models/g%201:streamGenerateContent?alt=sse"
    assert b"x-goog-api-key: key\r\n" in plan.head
    assert b"authorization" not in plan.head


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
    plan = plan_of(planner(base_path="/openai", azure_api_version="2024-10-21").course(CHAT, "a/b"))
    assert plan.path == b"/openai/deployments/a%2Fb/chat/completions?api-version=2024-10-21"


def test_the_dialects_with_a_place_of_their_own_are_passed_on_there() -> None:
    """Ollama's and Gemini's own endpoints stand before the compatible ones; Gemini's body names no model to replace."""
    by_name = {endpoint.name: endpoint for endpoint in ENDPOINTS}
    ollama = plan_of(planner(speaks=("ollama",), base_path="/v1", native_path="").course(by_name["ollama_chat"], "m"))
    assert (ollama.path, ollama.codec) == (b"/api/chat", "")
    gemini = planner(speaks=("gemini",), base_path="/v1beta/openai", native_path="/v1beta")
    plan = plan_of(gemini.course(by_name["gemini_stream"], "m"))
    assert (plan.path, plan.splice) == (b"/v1beta/models/m:streamGenerateContent", b"")


def test_azure_is_asked_below_its_deployment_in_translation_too() -> None:
    """The deployment names the model, whoever asks."""
    by_name = {endpoint.name: endpoint for endpoint in ENDPOINTS}
    azure = plan_of(planner(base_path="/openai", azure_api_version="2024-10-21").course(by_name["messages"], "gpt"))
    assert azure.path == b"/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    assert azure.stream_path == azure.path
