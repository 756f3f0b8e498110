"""Bedrock's Converse by plain HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.wire import eventstream
from rig.mock import Mock, Reply, run_mock

MODEL = "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0"
TOOLS = {
    "tools": [
        {
            "toolSpec": {
                "name": "f",
                "inputSchema": {"json": {"type": "object", "properties": {"q": {"type": "string"}}}},
            }
        }
    ]
}


def ask(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"text": prompt}]}], **fields}


def frames(reply: Reply) -> list[tuple[str, dict[str, Any]]]:
    assert reply.headers["content-type"] == "application/vnd.amazon.eventstream"
    reader = eventstream.Reader()
    found = reader.feed(reply.body)
    assert (reader.fault, reader.is_between()) == ("", True)
    return [
        (frame.headers.get(":event-type") or frame.headers[":exception-type"], json.loads(frame.payload))
        for frame in found
    ]


def test_answer_repeats_the_prompt(mock: Mock) -> None:
    """Text, reason and words; the model is the path's, its colon decoded."""
    answer = mock.post(f"{MODEL}/converse", ask("hello nonce-b1", system=[{"text": "be brief"}])).json()
    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": "echo: hello nonce-b1"}]}
    assert answer["stopReason"] == "end_turn"
    assert (answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]) == (4, 3)
    (row,) = mock.ended("nonce-b1")
    assert (row["dialect"], row["model"]) == ("bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0")


def test_stream_is_frames(mock: Mock) -> None:
    """One frame a word, in Bedrock's order, the usage last."""
    told = frames(mock.post(f"{MODEL}/converse-stream", ask("hello you")))
    names = [name for name, _ in told]
    delta = ["contentBlockDelta"] * 3
    assert names == ["messageStart", *delta, "contentBlockStop", "messageStop", "metadata"]
    assert "".join(event["delta"]["text"] for name, event in told if name == "contentBlockDelta") == "echo: hello you"
    assert told[-1][1]["usage"]["outputTokens"] == 3


def test_tool_is_called_and_its_result_read(mock: Mock) -> None:
    """A demanded call has the prompt in its arguments, whole and in pieces; a result is echoed."""
    body = ask("find it", toolConfig=TOOLS | {"toolChoice": {"any": {}}})
    answer = mock.post(f"{MODEL}/converse", body).json()
    [block] = answer["output"]["message"]["content"]
    assert (block["toolUse"]["name"], block["toolUse"]["input"]) == ("f", {"q": "find it"})
    assert answer["stopReason"] == "tool_use"
    told = frames(mock.post(f"{MODEL}/converse-stream", body))
    pieces = [event["delta"]["toolUse"]["input"] for name, event in told if name == "contentBlockDelta"]
    assert json.loads("".join(pieces)) == {"q": "find it"}
    results = [{"text": "rain"}, {"json": {"more": 1}}]
    again = {"messages": [{"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": results}}]}]}
    said = mock.post(f"{MODEL}/converse", again).json()["output"]["message"]["content"]
    assert said == [{"text": 'echo: rain {"more":1}'}]


def test_reasoning_comes_signed(mock: Mock) -> None:
    """A thinking budget brings reasoning with its signature before the text."""
    body = ask("why so", additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 1024}})
    thought, spoken = mock.post(f"{MODEL}/converse", body).json()["output"]["message"]["content"]
    assert thought["reasoningContent"]["reasoningText"]["text"] == "The prompt says: why so"
    assert thought["reasoningContent"]["reasoningText"]["signature"]
    assert spoken == {"text": "echo: why so"}
    deltas = [event["delta"] for name, event in frames(mock.post(f"{MODEL}/converse-stream", body)) if "Delta" in name]
    assert "".join(d["reasoningContent"].get("text", "") for d in deltas if "reasoningContent" in d) == (
        "The prompt says: why so"
    )


def test_settings_are_kept(mock: Mock) -> None:
    """Limits, stop texts and schemas count; usage tells what the cache did."""
    body = ask("a b c d", inferenceConfig={"maxTokens": 2})
    assert mock.post(f"{MODEL}/converse", body).json()["stopReason"] == "max_tokens"
    body = ask("a b c d", inferenceConfig={"stopSequences": ["c"]})
    assert mock.post(f"{MODEL}/converse", body).json()["stopReason"] == "stop_sequence"
    schema = json.dumps({"type": "object", "properties": {"q": {"type": "string"}}})
    form = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}}
    said = mock.post(f"{MODEL}/converse", ask("x", outputConfig=form)).json()["output"]["message"]["content"]
    assert said == [{"text": '{"q":"x"}'}]
    usage = mock.post("/model/m+cached=2,cache_write=1/converse", ask("a b c d")).json()["usage"]
    assert (usage["inputTokens"], usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"]) == (1, 2, 1)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [("status=429", 429, "ThrottlingException"), ("status=400,code=OddException", 400, "OddException")],
)
def test_errors_are_bedrocks(mock: Mock, fault: str, status: int, kind: str) -> None:
    """The type stands in the header, the words in the body."""
    reply = mock.post(f"/model/mock-fault%3A{fault}/converse", ask("x"))
    assert (reply.status, reply.headers["x-amzn-errortype"]) == (status, kind)
    assert "message" in reply.json()


def test_faults_in_streams(mock: Mock) -> None:
    """An exception is a frame; broken JSON stands in a whole frame; ends and usage can be left out."""
    told = frames(mock.post("/model/m+error_in_stream=2,crlf/converse-stream", ask("hello you")))
    assert [name for name, _ in told][-1] == "internalServerException"
    reply = mock.post("/model/m+malformed=1/converse-stream", ask("hello you"))
    reader = eventstream.Reader()
    payload = reader.feed(reply.body)[1].payload
    assert reader.fault == ""
    with pytest.raises(json.JSONDecodeError):
        json.loads(payload)
    told = frames(mock.post("/model/m+no_done,no_usage/converse-stream", ask("hello you")))
    assert "messageStop" not in [name for name, _ in told]
    assert "usage" not in told[-1][1]


def test_other_methods_and_paths_are_refused_in_its_shape(mock: Mock) -> None:
    """405 and 404 are Bedrock's errors, too; a request without messages is none."""
    assert mock.get(f"{MODEL}/converse").status == 405
    reply = mock.post(f"{MODEL}/invoke-nothing", {})
    assert (reply.status, reply.headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")
    assert mock.post(f"{MODEL}/converse", {}).status == 400


def test_a_demanded_key_is_a_bearer_token() -> None:
    """A wrong key is a 403, as at Bedrock."""
    with run_mock("--key", "k-1") as mock:
        assert mock.post(f"{MODEL}/converse", ask("x"), authorization="Bearer k-2").status == 403
        assert mock.post(f"{MODEL}/converse", ask("x"), authorization="Bearer k-1").status == 200
