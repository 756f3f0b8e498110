"""Promise: whatever a client sends, it is answered or refused in its own dialect; never a failure of the gateway."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rig import raw
from rig.road import chat, record
from rig.translation import KEY, PROVIDERS, Stage, run_stage

TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "hello"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": TOOL}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": TOOL}},
        "stop": ["x"],
        "temperature": 0.5,
        "stream": False,
        "stream_options": {"include_usage": True},
        "reasoning_effort": "low",
        "metadata": {"a": "b"},
    },
    "/v1/completions": {"prompt": ["hello"], "suffix": "", "max_tokens": 5, "logprobs": 1, "echo": False, "n": 1},
    "/v1/responses": {
        "instructions": "Be brief.",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "t"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        ],
        "tools": [{"type": "function", "name": "f", "description": "d", "parameters": TOOL}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": TOOL}},
        "reasoning": {"effort": "low"},
        "include": ["reasoning.encrypted_content"],
        "max_output_tokens": 5,
    },
    "/response": {"target": "gemini", "input": "hello", "tools": [], "stop": "x", "user": "u", "metadata": {"a": "b"}},
    "/v1/messages": {
        "max_tokens": 9,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "rain"}]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": TOOL}],
        "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "stop_sequences": ["x"],
        "metadata": {"user_id": "u"},
    },
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "hello"}], "tools": []},
    "/api/chat": {
        "messages": [
            {"role": "user", "content": "hello", "images": []},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
            {"role": "tool", "tool_name": "f", "content": "rain"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": TOOL}}],
        "options": {"temperature": 0.5, "stop": ["x"], "num_predict": 5},
        "format": TOOL,
        "think": True,
        "keep_alive": "5m",
        "stream": False,
    },
    "/api/generate": {"prompt": "hello", "system": "Be brief.", "options": {"seed": 1}, "context": [], "stream": False},
    "/api/embed": {"input": ["a", "b"], "truncate": True, "dimensions": 4, "options": {}},
    "/v1/embeddings": {"input": ["a", "b"], "dimensions": 4, "encoding_format": "float"},
    "generateContent": {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "hello"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "rain"}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": TOOL}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {"temperature": 0.5, "stopSequences": ["x"], "thinkingConfig": {"thinkingBudget": 5}},
        "safetySettings": [],
    },
    "countTokens": {"generateContentRequest": {"model": "models/m", "contents": [{"parts": [{"text": "hello"}]}]}},
    "embedContent": {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 4, "taskType": "RETRIEVAL_QUERY"},
    "batchEmbedContents": {"requests": [{"model": "models/m", "content": {"parts": [{"text": "a"}]}}]},
}
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**53 + 1, 10**40, 1e308, "", "hello", "\x00", "\ud800", "a" * 100_000),
    *([], {}, [[]], [{}], [None], [1], ["a"], {"a": {}}, {"type": "unknown"}, {"type": None}, [{"type": 5}]),
)
"""Values that a member may not expect."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every member of a document."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in members:
        yield (*path, name)
        yield from places(inner, (*path, name))


def changed(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return the document with one member replaced."""
    made = copy.deepcopy(body)
    inner: Any = made
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return made


def sent_to(path: str, body: dict[str, Any], provider: str) -> tuple[str, dict[str, Any]]:
    """Return path and body that name a model of a provider."""
    model = f"{provider}/m1"
    if path.startswith("/"):
        return path, {"model": model} | body
    return f"/v1beta/models/{quote(model, safe='')}:{path}", body


anything = st.one_of(
    st.sampled_from(ODD),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    ),
)


@pytest.mark.parametrize("path", BODIES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_odd_member(stage: Stage, path: str, data: st.DataObject) -> None:
    """A request of the dialect's shape with one member replaced by anything is answered, or refused as the client's."""
    body = BODIES[path]
    place = data.draw(st.sampled_from(list(places(body))))
    value = data.draw(anything)
    provider = data.draw(st.sampled_from(PROVIDERS))
    target, sent = sent_to(path, changed(body, place, value), provider)
    answer = stage.gateway.request("POST", target, raw=json.dumps(sent).encode(), key=KEY)
    # The fake provider has its limits, too: what it does not answer is its failure, and told as such.
    assert answer.status in (200, 400) or b"upstream_" in answer.body.lower() or f"'{provider}'".encode() in answer.body


@pytest.mark.parametrize("path", [path for path in BODIES if path.startswith("/")])
@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"gemini/m1","messages":%b,"input":"a","prompt":"a","max_tokens":1}' % (b"[" * 60_000),
        b'{"model":"gemini/m1","tools":%b%b,"input":"a","prompt":"a","messages":[]}' % (b"[" * 900, b"]" * 900),
        b'{"model":"gemini/m1","messages":[{"role":"user","content":NaN}],"input":NaN,"prompt":NaN,"max_tokens":1}',
        b'{"model":"gemini/m1","messages":[{"role":"user","content":"\xff"}],"input":"\xff","prompt":"\xff"}',
        b'{"model":"gemini/m1","messages":[{"role":"user","content":"\\ud800"}],"input":"\\ud800","prompt":"\\ud800"}',
        b'{"model":"gemini/m1","max_tokens":1,"max_tokens":2,"messages":[],"messages":[],"input":"a","prompt":"a"}',
        b"[]",
        b"null",
        b"{",
        b"",
    ],
    ids=["bomb", "deep", "nan", "latin-1", "surrogate", "twice", "list", "null", "half", "empty"],
)
def test_bodies_that_are_none(stage: Stage, path: str, body: bytes) -> None:
    """Depth bombs, numbers that JSON has not, bytes that are no text: 400 in the client's dialect, at worst."""
    answer = stage.gateway.request("POST", path, raw=body, key=KEY)
    assert answer.status in (200, 400), answer.body[:300]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_large_names_and_many_items(stage: Stage, provider: str) -> None:
    """A tool's name of 100 KB, ten thousand tools, ten thousand messages."""
    name = "n" * 100_000
    tool = {"type": "function", "function": {"name": name, "parameters": TOOL}}
    bodies = [
        chat(f"{provider}/m1", tools=[tool]),
        chat(f"{provider}/m1", tools=[{"type": "function", "function": {"name": f"n{i}"}} for i in range(10_000)]),
        {"model": f"{provider}/m1", "messages": [{"role": "user", "content": "hello"}] * 10_000},
    ]
    for body in bodies:
        answer = stage.gateway.request("POST", "/v1/chat/completions", body=body, key=KEY)
        assert answer.status in (200, 400), answer.body[:300]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/chat", "authorization"),
        ("/v1beta/models/gemini%2Fm1:generateContent", "x-goog-api-key"),
        ("/v1/messages", "x-api-key"),
        ("/v1/chat/completions", "authorization"),
    ],
)
def test_no_key_and_every_carrier(stage: Stage, path: str, field: str) -> None:
    """Without a key 401 in the dialect's own shape; with one in the dialect's own header it is let in."""
    body: dict[str, Any] = {"model": "gemini/m1", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}]}
    if "v1beta" in path:
        body = {"contents": [{"parts": [{"text": "a"}]}]}
    refused = stage.gateway.request("POST", path, body=body)
    assert refused.status == 401
    error = json.loads(refused.body)["error"]
    match path:
        case "/api/chat":
            assert isinstance(error, str)
        case "/v1/messages":
            assert error["type"] == "authentication_error"
        case "/v1/chat/completions":
            assert error["code"] == "missing_api_key"
        case _:
            assert (error["code"], error["status"]) == (401, "UNAUTHENTICATED")
    value = f"Bearer {KEY}" if field == "authorization" else KEY
    assert stage.gateway.request("POST", path, body=body, fields={field: value}).status == 200


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/response", "/v1beta/models/gemini%2Fm1:countTokens"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_other_methods(stage: Stage, path: str, method: str) -> None:
    """Endpoints take POST: everything else is refused, and the connection serves on."""
    answer = stage.gateway.request(method, path, key=KEY)
    assert answer.status in (404, 405)
    assert method == "HEAD" or "error" in json.loads(answer.body)


@pytest.mark.parametrize("name", ["", "%00", "%0d%0ax-a:b", "%ff", "a:b:c", "..%2f..", "m" * 600, "gemini%2F", "%2f"])
def test_odd_names_in_paths(stage: Stage, name: str) -> None:
    """Names that no provider has are refused; none of them breaks out of its place."""
    body = {"contents": [{"parts": [{"text": "a"}]}]}
    answer = stage.gateway.request("POST", f"/v1beta/models/{name}:generateContent", body=body, key=KEY)
    assert answer.status in (400, 404), answer.body
    assert "x-a" not in answer.headers


def test_a_stream_without_alt_is_an_array(stage: Stage, provider: str) -> None:
    """Gemini's default form of a stream, translated or passed on: one JSON array of partial answers."""
    path = f"/v1beta/models/{provider}%2Fm1:streamGenerateContent"
    body = {"contents": [{"parts": [{"text": "hello there"}]}]}
    answer = stage.gateway.request("POST", path, body=body, key=KEY)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("application/json")
    items = json.loads(answer.body)
    said = [part["text"] for item in items for part in item["candidates"][0]["content"]["parts"] if "text" in part]
    assert "".join(said) == "echo: hello there"
    kept = record(stage.gateway, answer.headers["x-request-id"])
    assert (kept["outcome"], kept["output_tokens"], kept["usage_source"]) == ("ok", 3, "upstream")
    broken = stage.gateway.request("POST", path.replace("m1", "m1+error_in_stream=2"), body=body, key=KEY)
    assert "error" in (json.loads(broken.body)[-1] if broken.status == 200 else json.loads(broken.body))


def test_a_key_in_the_query_goes_nowhere(stage: Stage) -> None:
    """However it is spelled, it stays here; other parameters travel with the client's own bytes."""
    path = "/v1beta/models/gemini%2Fm1:generateContent?key=sk-secret&k%65y=sk-secret&KEY=sk-secret&$fields=x"
    body = {"contents": [{"parts": [{"text": "hello nonce-query1"}]}]}
    assert stage.gateway.request("POST", path, body=body, key=KEY).status == 200
    (row,) = stage.mock.ended("nonce-query1")
    assert "sk-secret" not in json.dumps(row)
    assert "$fields=x" in json.dumps(row)


def test_nothing_was_a_failure_of_the_gateway(stage: Stage) -> None:
    """After all of the above its log knows of no bug, and it serves on."""
    answer = stage.gateway.request("POST", "/v1/chat/completions", body=chat("gemini/m1"), key=KEY)
    assert answer.status == 200
    assert "request failed" not in stage.gateway.output.text
    assert "Traceback" not in stage.gateway.output.text


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/chat/completions", lambda body: body["error"]["code"] == "body_too_large"),
        ("/response", lambda body: body["error"]["code"] == "body_too_large"),
        ("/v1/messages", lambda body: (body["type"], body["error"]["type"]) == ("error", "request_too_large")),
        ("/api/chat", lambda body: isinstance(body["error"], str)),
        ("/v1beta/models/gemini%2Fm1:generateContent", lambda body: body["error"]["code"] == 413),
    ],
)
def test_too_large(stage: Stage, path: str, says: Callable[[Any], bool]) -> None:
    """A body beyond the limit is refused before it is read, in the dialect's own shape."""
    head = raw.request(path, key=KEY, method="POST", headers=[("content-length", str(1 << 40))])
    (answer,) = raw.talk(stage.gateway.port, head).answers
    assert answer.status == 413
    assert says(answer.json()), answer.body


@pytest.fixture(scope="module")
def browsed() -> Iterator[Stage]:
    with run_stage(server={"cors_origins": ["https://app.example"]}) as running:
        yield running


@pytest.mark.parametrize("path", ["/api/chat", "/response", "/v1beta/models/gemini%2Fm1:generateContent"])
def test_browsers(browsed: Stage, path: str) -> None:
    """A preflight needs no key; the answer says which of our fields a page may read, losses among them."""
    asks = {"origin": "https://app.example", "access-control-request-method": "POST"}
    before = browsed.gateway.request("OPTIONS", path, fields=asks)
    assert (before.status, before.headers["access-control-allow-origin"]) == (204, "https://app.example")
    body = chat("gemini/m1", seed=7)
    answer = browsed.gateway.request("POST", "/v1/messages", body={**body, "max_tokens": 5}, key=KEY, fields=asks)
    assert answer.status == 200
    assert "x-flumegate-losses" in answer.headers["access-control-expose-headers"]
    refused = browsed.gateway.request("POST", path, body={}, fields=asks)
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "https://app.example")
