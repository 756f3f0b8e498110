"""Gemini's own API by plain HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rig.mock import Mock

MODEL = "/v1beta/models/gemini-2.5-flash"
TOOLS = [
    {"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {"q": {"type": "STRING"}}}}]}
]


def ask(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], **fields}


def stream(mock: Mock, body: dict[str, Any], *, sse: bool) -> list[Any]:
    reply = mock.post(f"{MODEL}:streamGenerateContent" + ("?alt=sse" if sse else ""), body)
    if not sse:
        assert reply.headers["content-type"] == "application/json"
        found: list[Any] = reply.json()
        return found
    assert reply.headers["content-type"].startswith("text/event-stream")
    return [json.loads(event.removeprefix(b"data: ")) for event in reply.body.split(b"\n\n") if event]


def test_answer_repeats_the_prompt(mock: Mock) -> None:
    """Text, reason, model and words."""
    body = ask("hello nonce-g1", systemInstruction={"parts": [{"text": "be brief"}]})
    answer = mock.post(f"{MODEL}:generateContent", body).json()
    [candidate] = answer["candidates"]
    assert candidate["content"] == {"parts": [{"text": "echo: hello nonce-g1"}], "role": "model"}
    assert candidate["finishReason"] == "STOP"
    assert answer["modelVersion"] == "gemini-2.5-flash"
    usage = answer["usageMetadata"]
    assert (usage["promptTokenCount"], usage["candidatesTokenCount"], usage["totalTokenCount"]) == (4, 3, 7)


@pytest.mark.parametrize("sse", [True, False])
def test_stream_is_partial_answers(mock: Mock, sse: bool) -> None:
    """Events or an array: the texts join, only the last one has a reason, and it has the whole usage."""
    partials = stream(mock, ask("hello you"), sse=sse)
    texts = [partial["candidates"][0]["content"]["parts"][0]["text"] for partial in partials]
    assert "".join(texts) == "echo: hello you"
    assert ["finishReason" in partial["candidates"][0] for partial in partials] == [False] * (len(texts) - 1) + [True]
    assert partials[-1]["usageMetadata"]["candidatesTokenCount"] == 3


@pytest.mark.parametrize("snake", [True, False])
def test_function_is_called(mock: Mock, snake: bool) -> None:
    """Mode ANY calls the allowed function, in either spelling of the request; the call carries a signature."""
    names = ("tool_config", "function_calling_config") if snake else ("toolConfig", "functionCallingConfig")
    body = ask("find it", tools=TOOLS, **{names[0]: {names[1]: {"mode": "ANY"}}})
    for answer in (mock.post(f"{MODEL}:generateContent", body).json(), stream(mock, body, sse=True)[0]):
        [part] = answer["candidates"][0]["content"]["parts"]
        assert part["functionCall"] == {"name": "f", "args": {"q": "find it"}}
        assert part["thoughtSignature"]


def test_function_response_is_echoed(mock: Mock) -> None:
    """After a function's result nothing is called again."""
    body = ask("use tool", tools=TOOLS)
    body["contents"].append({"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"x": 1}}}]})
    answer = mock.post(f"{MODEL}:generateContent", body).json()
    assert answer["candidates"][0]["content"]["parts"] == [{"text": 'echo: {"x":1}'}]


def test_thoughts_come_when_asked_for(mock: Mock) -> None:
    """Thoughts are parts of their own, counted beside the candidates' tokens."""
    body = ask("why", generationConfig={"thinkingConfig": {"includeThoughts": True}})
    answer = mock.post(f"{MODEL}:generateContent", body).json()
    parts = answer["candidates"][0]["content"]["parts"]
    assert [part.get("thought", False) for part in parts] == [True, False]
    usage = answer["usageMetadata"]
    assert (usage["thoughtsTokenCount"], usage["candidatesTokenCount"]) == (4, 2)
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + 6


def test_counts_and_vectors(mock: Mock) -> None:
    """countTokens, embedContent and batchEmbedContents."""
    assert mock.post(f"{MODEL}:countTokens", ask("one two")).json()["totalTokens"] == 2
    content = {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 8}
    one = mock.post(f"{MODEL}:embedContent", content).json()["embedding"]["values"]
    many = mock.post(f"{MODEL}:batchEmbedContents", {"requests": [content, content]}).json()["embeddings"]
    assert [row["values"] for row in many] == [one, one]
    assert len(one) == 8


def test_models_are_listed_in_its_shape(mock: Mock) -> None:
    """By path or by key header; the OpenAI-compatible path below it answers as OpenAI."""
    assert mock.get("/v1beta/models").json()["models"][0]["name"].startswith("models/")
    assert "models" in mock.get("/v1/models", x_goog_api_key="k").json()
    assert mock.get("/v1beta/openai/models").json()["object"] == "list"


def test_errors_have_code_and_status(mock: Mock) -> None:
    """429 carries RetryInfo; an error inside a stream has the same object, in an array too."""
    reply = mock.post(f"{MODEL}+status=429:generateContent", ask("x"))
    assert reply.status == 429
    assert reply.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert "RetryInfo" in reply.json()["error"]["details"][0]["@type"]
    reply = mock.post(f"{MODEL}:streamGenerateContent", ask("x"), x_mock_fault="error_in_stream=1")
    assert reply.json()[-1]["error"]["code"] == 500
