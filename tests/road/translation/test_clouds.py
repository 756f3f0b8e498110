"""Bedrock with signed requests, and Vertex AI: what the provider sees, and what its failures mean to a client."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock
from rig.road import chat
from rig.translation import KEY, UPSTREAM_KEY, WEATHER_PARAMETERS, Stage

ACCESS = {"aws_access_key_id": "AKIDCANARY", "aws_secret_access_key": "aws-secret-canary"}
TOKEN = "aws-token-canary/+="
ARN = "arn:aws:bedrock:eu-west-3:123456789012:inference-profile/eu.anthropic.claude-haiku-4-5-v1:0"
VERTEX_MODELS = ("gemini-2.5-flash", "claude-haiku-4-5@20251001")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Everything behind one mock that verifies signatures, and takes a bearer token too."""
    with run_mock("--key", UPSTREAM_KEY, "--aws-key", f"AKIDCANARY:aws-secret-canary:{TOKEN}") as mock:
        bedrock = {"type": "bedrock", "base_url": mock.url, "region": "eu-west-3", **ACCESS}
        vertex = {"type": "vertex", "base_url": mock.url, "project": "my-project", "location": "europe-west4"}
        providers = {
            "signed": bedrock | {"aws_session_token": TOKEN},
            "wrong": bedrock | {"aws_secret_access_key": "another", "aws_session_token": TOKEN},
            "compatible": bedrock | {"aws_session_token": TOKEN, "dialects": ["openai"], "base_url": f"{mock.url}/v1"},
            "keyed": {"type": "bedrock", "base_url": mock.url, "api_key": UPSTREAM_KEY},
            "vertex": vertex | {"api_key": UPSTREAM_KEY},
        }
        with run_gateway(config={"auth": {"static_keys": [KEY]}, "providers": providers}) as gateway:
            yield Stage(gateway, mock)


def ask(gateway: Gateway, body: dict[str, Any], path: str = "/v1/chat/completions") -> Any:
    """Return the answer to a POST of a client."""
    return gateway.request("POST", path, body=body, key=KEY)


def sent(mock: Mock, nonce: str) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """Return the row of a call in the ledger, its header fields and its body."""
    (row,) = mock.ended(nonce)
    return row, dict(row["headers"]), json.loads(base64.b64decode(row["body"]))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["amazon.nova-lite-v1:0", ARN, "mock-fault:tokens=3"])
def test_the_signature_holds(stage: Stage, model: str, streamed: bool) -> None:
    """For colons, slashes and commas in the model's name, whole and streamed; the secret itself never travels."""
    nonce = f"nonce-signed-{len(model)}-{streamed}"
    answer = ask(stage.gateway, chat(f"signed/{model}", f"hello {nonce}", stream=streamed))
    assert answer.status == 200, answer.body
    assert b"echo:" in answer.body
    (row,) = stage.mock.ended(nonce) if "fault" not in model else [stage.mock.ledger()[-1]]
    fields = dict(row["headers"])
    assert fields["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDCANARY/")
    assert fields["x-amz-security-token"] == TOKEN
    assert row["model"] == model
    assert "aws-secret-canary" not in json.dumps(row)


def test_a_kept_connection_is_signed_anew(stage: Stage) -> None:
    """Each request has a signature of its own."""
    for number in range(3):
        assert ask(stage.gateway, chat("signed/m", f"hello nonce-anew-{number}")).status == 200
    signatures = {sent(stage.mock, f"nonce-anew-{number}")[1]["authorization"] for number in range(3)}
    assert len(signatures) == 3


def test_a_wrong_secret_is_the_gateways_own_fault(stage: Stage) -> None:
    """A 502 in the client's dialect that holds nothing of the credential."""
    answer = ask(stage.gateway, chat("wrong/m"))
    assert answer.status == 502
    assert json.loads(answer.body)["error"]["code"] == "upstream_credential_refused"
    assert b"canary" not in answer.body


def test_bedrocks_compatible_endpoint_takes_the_clients_bytes(stage: Stage) -> None:
    """With `dialects: [openai]` the body travels as it came, and is signed as well."""
    answer = ask(stage.gateway, chat("compatible/m", "hello nonce-compatible"))
    assert answer.status == 200, answer.body
    assert answer.headers["x-flumegate-lane"] == "verbatim"
    _, fields, _ = sent(stage.mock, "nonce-compatible")
    assert fields["authorization"].startswith("AWS4-HMAC-SHA256 ")


def test_what_cannot_be_signed_is_not_passed_on(stage: Stage) -> None:
    """A request that nobody reads is refused, and says why; with a key it goes through."""
    for name, status in (("signed", 400), ("keyed", 200)):
        path = "/proxy/v1/model/m/converse"
        body = {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}
        answer = stage.gateway.request("POST", path, body=body, key=KEY, fields={"x-upstream-name": name})
        assert answer.status == status, answer.body


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("status=429", 429, "upstream_rate_limited"),
        ("status=403", 502, "upstream_credential_refused"),
        ("status=404", 404, "model_not_found"),
        ("error_in_stream=0,code=ThrottlingException", 429, "upstream_rate_limited"),
        ("malformed=1", 502, "upstream_garbage"),
        ("cut=10", 502, "upstream_cut"),
        ("html", 502, "upstream_garbage"),
    ],
)
def test_failures_before_the_first_word_are_answered(stage: Stage, fault: str, status: int, code: str) -> None:
    """As an error with a status of its own, although the client asked for a stream."""
    answer = ask(stage.gateway, chat(f"keyed/m+{fault}", stream=True))
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)


@pytest.mark.parametrize("fault", ["error_in_stream=3", "malformed=3", "no_done", "cut=600"])
def test_a_broken_stream_never_ends_cleanly(stage: Stage, fault: str) -> None:
    """An exception, damage or a missing end behind the first word: the client is told."""
    answer = ask(stage.gateway, chat(f"keyed/m+{fault}", "one two three four five six", stream=True))
    assert answer.status == 200
    assert b'"error"' in answer.body
    assert b'"finish_reason":"' not in answer.body


@pytest.mark.parametrize("model", VERTEX_MODELS)
def test_openais_client_at_vertex(stage: Stage, model: str) -> None:
    """Whole, streamed and with a call."""
    with openai.OpenAI(base_url=stage.gateway.url + "/v1", api_key=KEY, max_retries=0) as client:
        name = f"vertex/{model}"
        done = client.chat.completions.create(model=name, messages=[{"role": "user", "content": "hello there"}])
        assert done.choices[0].message.content == "echo: hello there"
        with client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "hello there"}], stream=True
        ) as stream:
            texts = [choice.delta.content or "" for chunk in stream for choice in chunk.choices]
        assert "".join(texts) == "echo: hello there"
        called = client.chat.completions.create(
            model=name,
            messages=[{"role": "user", "content": "use tool for rain"}],
            tools=[{"type": "function", "function": {"name": "weather", "parameters": WEATHER_PARAMETERS}}],
        )
        assert called.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("model", VERTEX_MODELS)
def test_anthropics_client_at_vertex(stage: Stage, model: str) -> None:
    """Whole and streamed."""
    with anthropic.Anthropic(base_url=stage.gateway.url, api_key=KEY, max_retries=0) as client:
        said: list[Any] = [{"role": "user", "content": "hello there"}]
        done = client.messages.create(model=f"vertex/{model}", max_tokens=50, messages=said)
        assert [block.text for block in done.content if block.type == "text"] == ["echo: hello there"]
        with client.messages.stream(model=f"vertex/{model}", max_tokens=50, messages=said) as stream:
            assert "".join(stream.text_stream) == "echo: hello there"


@pytest.mark.parametrize("model", VERTEX_MODELS)
def test_geminis_client_at_vertex(stage: Stage, model: str) -> None:
    """Whole and streamed."""
    options = types.HttpOptions(base_url=stage.gateway.url)
    with genai.Client(api_key=KEY, http_options=options) as client:
        name = f"vertex/{model}"
        assert client.models.generate_content(model=name, contents="hello there").text == "echo: hello there"
        pieces = client.models.generate_content_stream(model=name, contents="hello there")
        assert "".join(piece.text or "" for piece in pieces) == "echo: hello there"


def test_what_vertex_sees(stage: Stage) -> None:
    """The publisher's path below project and location, the token as bearer, and Anthropic's members as they came."""
    body = {
        "model": f"vertex/{VERTEX_MODELS[1]}",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello nonce-vertex-1"}]}],
        "container": "c-1",
        "stream": True,
    }
    answer = ask(stage.gateway, body, "/v1/messages")
    assert answer.status == 200, answer.body
    assert "x-flumegate-losses" not in answer.headers
    row, fields, seen = sent(stage.mock, "nonce-vertex-1")
    place = "/v1/projects/my-project/locations/europe-west4/publishers"
    assert row["path"] == f"{place}/anthropic/models/{VERTEX_MODELS[1]}:streamRawPredict"
    assert fields["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert (seen["anthropic_version"], seen["container"], seen["stream"]) == ("vertex-2023-10-16", "c-1", True)
    assert "model" not in seen
    assert ask(stage.gateway, chat(f"vertex/{VERTEX_MODELS[0]}", "hello nonce-vertex-2", stream=True)).status == 200
    row, fields, _ = sent(stage.mock, "nonce-vertex-2")
    assert row["path"] == f"{place}/google/models/{VERTEX_MODELS[0]}:streamGenerateContent"
    assert row["query"] == "alt=sse"
    assert "x-goog-api-key" not in fields
