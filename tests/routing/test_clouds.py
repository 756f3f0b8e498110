"""Plans for the clouds that lend other vendors' models: Bedrock and Vertex AI."""

from __future__ import annotations

from typing import Any

import pytest

from flumegate.dialects.registry import ENDPOINTS
from flumegate.errors import GatewayError
from flumegate.providers.sigv4 import Credentials, Scope, Signer
from flumegate.routing import lanes
from flumegate.routing.plan import Plan
from flumegate.snapshot import Signing
from rig.exchanges import provider, snapshot
from rig.plans import plan_of, planner_of

BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
SIGNING = Signing("AKID", "very-secret", "eu-central-1", "bedrock", "token-1")


def planned(endpoint: str, model: str, **fields: Any) -> Plan:
    """Return the plan of a request at one provider, `up`."""
    known = snapshot(provider(**fields), default_provider="up")
    return plan_of(planner_of(known).course(BY_NAME[endpoint], model))


@pytest.mark.parametrize("endpoint", ["chat", "messages", "responses", "gemini", "ollama_chat"])
def test_bedrock_is_asked_in_converse_whoever_asks(endpoint: str) -> None:
    """The model stands in the path, encoded once, and the key in the head."""
    plan = planned(
        endpoint, "amazon.nova-lite-v1:0", type="bedrock", speaks=("bedrock",), base_path="", credential="key-1"
    )
    assert plan.codec == "bedrock"
    assert plan.path == b"/model/amazon.nova-lite-v1%3A0/converse"
    assert plan.stream_path == b"/model/amazon.nova-lite-v1%3A0/converse-stream"
    assert b"\r\nauthorization: Bearer key-1\r\n" in plan.head
    assert plan.signer is None


def test_a_signed_request_carries_no_secret() -> None:
    """The plan has who signs, and for which host; the head has no credential."""
    plan = planned("chat", "m", type="bedrock", speaks=("bedrock",), base_path="/gw", signing=SIGNING)
    credentials = Credentials("AKID", "very-secret", "token-1")
    assert plan.signer == Signer(credentials, Scope("eu-central-1", "bedrock"), "127.0.0.1:8080")
    assert plan.path == b"/gw/model/m/converse"
    assert b"secret" not in plan.head
    assert b"authorization" not in plan.head
    assert "secret" not in repr(SIGNING)


def test_what_must_be_signed_whole_is_not_passed_on_unread() -> None:
    """A body that is still on its way has no hash yet."""
    planner = planner_of(snapshot(provider(signing=SIGNING), default_provider="up"))
    with pytest.raises(GatewayError) as refused:
        planner.transparent("POST", b"/files")
    assert refused.value.code == "passthrough_not_available"


@pytest.mark.parametrize("endpoint", ["messages", "gemini", "chat"])
@pytest.mark.parametrize(
    ("model", "codec", "path"),
    [
        ("claude-haiku-4-5", "vertex_messages", b"/p/publishers/anthropic/models/claude-haiku-4-5:rawPredict"),
        ("claude-a@1", "vertex_messages", b"/p/publishers/anthropic/models/claude-a@1:rawPredict"),
        ("gemini-2.5-pro", "gemini", b"/p/publishers/google/models/gemini-2.5-pro:generateContent"),
        ("a/b", "gemini", b"/p/publishers/google/models/a%2Fb:generateContent"),
    ],
)
def test_vertex_is_asked_in_the_models_own_dialect(endpoint: str, model: str, codec: str, path: bytes) -> None:
    """Translated for every client: paths and bodies differ from the vendors' own."""
    plan = planned(endpoint, model, type="vertex", speaks=("vertex",), base_path="/p", credential="ya29.token")
    assert (plan.codec, plan.path) == (codec, path)
    assert b"\r\nauthorization: Bearer ya29.token\r\n" in plan.head
    assert plan.defaults == ()


@pytest.mark.parametrize("speaks", ["bedrock", "vertex"])
def test_neither_gives_embeddings_and_tokens_are_estimated(speaks: str) -> None:
    """The refusal names what to do; counting goes on here."""
    with pytest.raises(GatewayError) as refused:
        planned("embeddings", "m", speaks=(speaks,))
    assert refused.value.code == "translation_not_available"
    assert planned("count_tokens", "m", speaks=(speaks,)).codec == lanes.ESTIMATE
