"""State of a Gemini call goes through every client that gives back what it got, and comes back onto its call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.ir.fold import fold
from rig import goldens
from rig.goldens import CODECS, TARGETS, Question

SIGNED = {
    "responseId": "gem-1",
    "modelVersion": "plover-3",
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "I look.", "thought": True},
                    {"text": "One moment."},
                    {
                        "functionCall": {"id": "c1", "name": "tide_table", "args": {"port": "A"}},
                        "thoughtSignature": "c2lnbmVk",
                    },
                    {"functionCall": {"id": "c2", "name": "tide_table", "args": {"port": "B"}}},
                ],
            },
            "finishReason": "STOP",
        }
    ],
}
TOOL = {"name": "tide_table", "description": "Tides.", "parameters": {"type": "object"}}


def responses(answer: Any) -> dict[str, Any]:
    """Return what a Responses client sends next."""
    results = [{"type": "function_call_output", "call_id": name, "output": "4"} for name in ("c1", "c2")]
    question = {"type": "message", "role": "user", "content": "Which berth?"}
    return {
        "model": "tern-2",
        "input": [question, *answer["output"], *results],
        "tools": [{"type": "function"} | TOOL],
    }


def messages(answer: Any) -> dict[str, Any]:
    """Return what a Messages client sends next."""
    results = [{"type": "tool_result", "tool_use_id": name, "content": "4"} for name in ("c1", "c2")]
    turns = [
        {"role": "user", "content": "Which berth?"},
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": results},
    ]
    tool = {"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]}
    return {"model": "tern-2", "max_tokens": 64, "messages": turns, "tools": [tool]}


def chat(answer: Any) -> dict[str, Any]:
    """Return what a chat client sends next."""
    results = [{"role": "tool", "tool_call_id": name, "content": "4"} for name in ("c1", "c2")]
    turns = [{"role": "user", "content": "Which berth?"}, answer["choices"][0]["message"], *results]
    return {"model": "tern-2", "messages": turns, "tools": [{"type": "function", "function": TOOL}]}


CLIENTS = {"responses": responses, "messages": messages, "chat": chat}


def written(client: str, *, streamed: bool) -> Any:
    """Return the answer as a client has it, whole or put together from a stream."""
    codec = CODECS[client]
    read = CODECS["gemini"].read_answer
    assert read is not None
    assert codec.write_answer is not None
    body = json.dumps(SIGNED, separators=(",", ":")).encode()
    answer = read(body)
    if streamed:
        events = goldens.events("gemini", [b"data: " + body + b"\r\n\r\n"])
        text, losses = goldens.rewritten(events, client)
        assert [loss for loss in losses if loss.kind != "invented"] == []
        answer = fold(goldens.events(client, [text]))
        body, _ = codec.write_answer(answer, goldens.asked(client))
        return json.loads(body)
    body, losses = codec.write_answer(answer, goldens.asked(client))
    assert [loss for loss in losses if loss.kind != "invented"] == []
    return json.loads(body)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_signature_comes_back_onto_its_call(client: str, *, streamed: bool) -> None:
    """Never as a part of its own, and never with Google's value for a missing one."""
    body = json.dumps(CLIENTS[client](written(client, streamed=streamed)), separators=(",", ":")).encode()
    target = next(target for target in TARGETS if target.name == "gemini")
    write = CODECS["gemini"].write_request
    assert write is not None
    done = write(Question("signed", client, body).read(), target.abilities)
    parts = json.loads(done.body)["contents"][1]["parts"]
    calls = [part for part in parts if "functionCall" in part]
    assert [part.get("thoughtSignature") for part in calls] == ["c2lnbmVk", None]
    assert [part for part in parts if "functionCall" not in part and "thoughtSignature" in part] == []
    assert [loss.code for loss in done.losses if loss.kind == "invented"] == []
