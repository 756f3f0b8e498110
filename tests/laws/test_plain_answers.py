"""A plain answer is no loss: what a provider adds of ids, echoes, verdicts and durations is missed by nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rig import goldens
from rig.goldens import CODECS, TARGETS, Question, Target

SAID = "Berth 4 is free."
CLIENTS = ("chat", "responses", "messages", "ollama_chat", "gemini")
"""Completions is left out: that its prompt is not gone on with is told with every answer."""

WHOLE: dict[str, dict[str, Any]] = {
    "chat": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_759_000_000,
        "model": "gannet-1",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        "obfuscation": "x1",
        "provider": "Harbour",
        "timings": {"prompt_ms": 4.2},
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": SAID, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": None,
                "matched_stop": 2,
                "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}},
            }
        ],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 1, "accepted_prediction_tokens": 3},
            "queue_time": 0.1,
        },
    },
    "responses": {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_759_000_000,
        "completed_at": 1_759_000_001,
        "status": "completed",
        "background": False,
        "billing": {"payer": "developer"},
        "error": None,
        "incomplete_details": None,
        "instructions": "Be brief.",
        "max_output_tokens": 64,
        "max_tool_calls": None,
        "model": "gannet-1",
        "output": [
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "phase": "final_answer",
                "content": [{"type": "output_text", "text": SAID, "annotations": [], "logprobs": []}],
            }
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": "quay",
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": "sailor",
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [{"type": "function", "name": "tide_table", "parameters": {"type": "object"}}],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 14,
            "cost": 0.1,
        },
        "user": "sailor",
        "metadata": {"trip": "7"},
    },
    "messages": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "curlew-3",
        "content": [{"type": "text", "text": SAID, "citations": None}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 1,
            "cache_read_input_tokens": 1,
            "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"thinking_tokens": 1},
            "service_tier": "standard",
            "inference_geo": "eu",
            "server_tool_use": {"web_search_requests": 0},
        },
    },
    "ollama_chat": {
        "model": "open-gannet:8b",
        "remote_model": "open-gannet",
        "remote_host": "https://harbour.example",
        "created_at": "2025-09-27T19:06:40Z",
        "message": {"role": "assistant", "content": SAID},
        "done": True,
        "done_reason": "stop",
        "total_duration": 5_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": 9,
        "prompt_eval_duration": 2_000_000,
        "eval_count": 5,
        "eval_duration": 3_000_000,
    },
    "gemini": {
        "responseId": "gem-1",
        "modelVersion": "plover-3",
        "candidates": [
            {
                "index": 0,
                "content": {"role": "model", "parts": [{"text": SAID}]},
                "finishReason": "STOP",
                "avgLogprobs": -0.1,
                "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}],
            }
        ],
        "promptFeedback": {"safetyRatings": []},
        "usageMetadata": {
            "promptTokenCount": 9,
            "cachedContentTokenCount": 2,
            "candidatesTokenCount": 4,
            "thoughtsTokenCount": 1,
            "totalTokenCount": 14,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
            "trafficType": "ON_DEMAND",
        },
    },
}
SENT_BACK = {
    "responses": {
        "model": "tern-2",
        "input": [
            {"type": "message", "role": "user", "id": "msg_0", "status": "completed", "content": "Which berth?"},
            {
                "type": "message",
                "role": "assistant",
                "id": "msg_1",
                "status": "completed",
                "phase": "commentary",
                "content": [{"type": "output_text", "text": "I ask.", "annotations": [], "logprobs": []}],
            },
            {
                "type": "function_call",
                "id": "fc_1",
                "status": "completed",
                "call_id": "call_1",
                "name": "tide_table",
                "arguments": "{}",
            },
            {"type": "function_call_output", "id": "fco_1", "status": "completed", "call_id": "call_1", "output": "4"},
        ],
        "tools": [],
        "include": [],
    },
    "messages": {
        "model": "tern-2",
        "max_tokens": 64,
        "system": [],
        "tools": [],
        "stop_sequences": [],
        "messages": [
            {"role": "user", "content": "Which berth?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I ask.", "citations": []},
                    {
                        "type": "tool_use",
                        "id": "call_1",
                        "name": "tide_table",
                        "input": {},
                        "caller": {"type": "direct"},
                    },
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "4"}]},
        ],
    },
    "chat": {
        "model": "tern-2",
        "tools": [],
        "stop": [],
        "messages": [
            {"role": "user", "content": "Which berth?"},
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "annotations": [],
                "audio": None,
                "function_call": None,
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "tide_table", "arguments": "{}"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "4"},
        ],
    },
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", WHOLE)
def test_a_plain_answer_loses_nothing(provider: str, client: str) -> None:
    """Whatever the provider tells beside the text, a client of any dialect gets it with an empty list of losses."""
    read, write = CODECS[provider].read_answer, CODECS[client].write_answer
    assert read is not None
    assert write is not None
    body, losses = write(read(json.dumps(WHOLE[provider], separators=(",", ":")).encode()), goldens.asked(client))
    assert SAID in body.decode()
    assert losses == ()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("given", [given for given in goldens.answers() if given.case == "text"], ids=lambda g: g.name)
def test_a_plain_stream_loses_nothing(given: goldens.Given, client: str) -> None:
    """Streamed, the list is empty too."""
    _, losses = goldens.rewritten(goldens.streamed(given), client)
    assert losses == ()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("client", SENT_BACK)
def test_a_conversation_sent_back_loses_nothing(client: str, target: Target) -> None:
    """Agents send back what they got, ids, states and empty lists included; that costs them nothing."""
    body = json.dumps(SENT_BACK[client], separators=(",", ":")).encode()
    write = CODECS[target.codec].write_request
    assert write is not None
    losses = write(Question("sent-back", client, body).read(), target.abilities).losses
    assert [loss for loss in losses if loss.kind != "invented"] == []


EMPTY = {
    "chat": {
        "messages": [{"role": "user", "content": "a"}],
        "tools": [{"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}],
        "stop": [],
        "modalities": [],
        "user": "",
    },
    "responses": {
        "input": [{"role": "user", "content": "a"}],
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "include": [],
        "prompt_cache_key": "",
    },
    "messages": {
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "a"}],
        "system": [],
        "tools": [],
        "tool_choice": {"type": "auto"},
        "stop_sequences": [],
        "mcp_servers": [],
    },
    "ollama_chat": {
        "messages": [{"role": "user", "content": "a", "images": [], "tool_calls": []}],
        "tools": [{"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}],
        "options": {"stop": []},
        "keep_alive": "",
    },
    "gemini": {
        "contents": [{"role": "user", "parts": [{"text": "a"}]}],
        "tools": [{"functionDeclarations": []}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": []}},
        "safetySettings": [],
        "generationConfig": {"stopSequences": [], "responseModalities": []},
    },
}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("client", EMPTY)
def test_what_is_empty_is_left_out(client: str, target: Target) -> None:
    """Several providers refuse empty lists (case 30); leaving them out is no loss."""
    body = json.dumps({"model": "tern-2"} | EMPTY[client], separators=(",", ":")).encode()
    write = CODECS[target.codec].write_request
    assert write is not None
    done = write(Question("empty", client, body).read(), target.abilities)
    assert [loss for loss in done.losses if loss.kind != "invented"] == []
    if target.codec != client:
        assert b"[]" not in done.body
        assert b'""' not in done.body
