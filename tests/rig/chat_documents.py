"""Chat documents as tests compare them: documented normalisations applied, streams put together naively.

The accumulator here knows nothing of the product's: it adds deltas up as OpenAI's own client does.
"""

from __future__ import annotations

import json
from typing import Any

from flumegate.wire import sse

Json = dict[str, Any]


def bare(value: Any) -> Any:
    """Return a JSON value without nulls and empty lists, objects and strings in objects."""
    if isinstance(value, dict):
        return {name: inner for name, raw in value.items() if (inner := bare(raw)) not in (None, [], {}, "")}
    if isinstance(value, list):
        return [bare(inner) for inner in value]
    return value


def request(body: Json) -> Json:
    """Return a request after the documented normalisations."""
    body = json.loads(json.dumps(body))
    body.pop("stream", None)  # false is the default; true is told by the request itself
    options = body.get("stream_options") or {}
    options.pop("include_usage", None)  # always asked for
    if "max_tokens" in body:
        body.setdefault("max_completion_tokens", body.pop("max_tokens"))
    if isinstance(body.get("stop"), str):
        body["stop"] = [body["stop"]]
    if body.get("tool_choice") == "any":
        body["tool_choice"] = "required"
    if "safety_identifier" in body:
        body.setdefault("user", body.pop("safety_identifier"))
    for message in body["messages"]:
        for call in message.get("tool_calls") or ():
            call.setdefault("type", "function")
            call.pop("index", None)
    for tool in body.get("tools") or ():
        tool.setdefault("type", "function")
    found: Json = bare(body)
    return found


def answer(body: Json) -> Json:
    """Return an answer after the documented normalisations."""
    body = json.loads(json.dumps(body))
    for choice in body["choices"]:
        choice["message"] = message(choice["message"])
        if choice["message"].get("tool_calls") and choice["finish_reason"] == "stop":
            choice["finish_reason"] = "tool_calls"
        for number, call in enumerate(choice["message"]["tool_calls"]):
            call["id"] = call["id"] or f"call_seed_{number}"
        if not choice["finish_reason"]:
            choice["finish_reason"] = "tool_calls" if choice["message"]["tool_calls"] else "stop"
    body["id"] = body["id"] or "chatcmpl-seed"
    body["usage"] = _usage(body.get("usage") or {})
    found: Json = bare(body)
    return found


def _usage(usage: Json) -> Json:
    """Zeros are absent; cached tokens stand in one place; reasoning counted beside the completion is inside it."""
    details = dict(usage.get("prompt_tokens_details") or {})
    for name in ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens"):
        if usage.get(name) is not None:
            details.setdefault("cached_tokens", usage[name])
    out = dict(usage.get("completion_tokens_details") or {})
    beside = usage["total_tokens"] - usage["prompt_tokens"] - usage["completion_tokens"]
    if beside:
        out["reasoning_tokens"] = beside
        usage = usage | {"completion_tokens": usage["completion_tokens"] + beside}
    return _without_zeros(usage | {"prompt_tokens_details": details, "completion_tokens_details": out})


def _without_zeros(value: Json) -> Json:
    return {name: _without_zeros(inner) if isinstance(inner, dict) else inner for name, inner in value.items() if inner}


def message(found: Json) -> Json:
    """Return an answer's message: one field of reasoning, content as text, calls without what streams leave in."""
    found = dict(found)
    thought = found.pop("reasoning_content", None) or found.pop("reasoning", None) or ""
    found.pop("reasoning", None)
    if not thought:
        details = found.get("reasoning_details") or ()
        thought = "".join(detail.get("text") or detail.get("summary") or "" for detail in details)
    if isinstance(found.get("content"), list):
        parts = found["content"]
        found["content"] = "".join(part.get("text", "") for part in parts)
        thought += "".join(inner["text"] for part in parts for inner in part.get("thinking") or ())
    if thought:
        found["reasoning"] = thought
    calls = []
    for call in found.get("tool_calls") or ():
        kind = call.get("type") or "function"
        inner = dict(call[kind])
        if kind == "function":
            inner["arguments"] = inner.get("arguments") or "{}"
        extra = {"extra_content": call["extra_content"]} if "extra_content" in call else {}
        calls.append({"id": call.get("id") or "", "type": kind, kind: inner} | extra)
    found["tool_calls"] = calls
    old = found.get("function_call") or {}
    if not old.get("name"):
        found.pop("function_call", None)
    return found


def accumulate(stream: bytes) -> Json:
    """Return the `chat.completion` that well-behaved deltas add up to."""
    whole: Json = {"choices": []}
    choices: dict[int, Json] = {}
    for event in sse.read(stream):
        if event.data == b"[DONE]":
            continue
        chunk = json.loads(event.data)
        whole |= {name: chunk[name] for name in ("id", "model", "created") if chunk.get(name) and name not in whole}
        if chunk.get("usage"):
            whole["usage"] = chunk["usage"]
        for piece in chunk.get("choices") or ():
            number = piece.get("index", 0)
            choice = choices.setdefault(number, {"index": number, "message": {"role": "assistant"}})
            if piece.get("finish_reason"):
                choice["finish_reason"] = piece["finish_reason"]
            _add(choice["message"], piece.get("delta") or {})
    whole["choices"] = [choices[number] for number in sorted(choices)]
    return whole


def _add(whole: Json, delta: Json) -> None:
    for name in ("content", "reasoning", "reasoning_content", "refusal"):
        value = delta.get(name)
        if isinstance(value, list):
            whole[name] = [*whole.get(name, []), *value]
        elif value and isinstance(whole.get(name), list):
            whole[name].append({"type": "text", "text": value})
        elif value:
            whole[name] = whole.get(name, "") + value
    for name in ("reasoning_details", "annotations", "images"):
        if delta.get(name):
            whole[name] = whole.get(name, []) + delta[name]
    calls = whole.setdefault("tool_calls", [])
    for piece in delta.get("tool_calls") or ():
        place = piece.get("index", len(calls))
        if place == len(calls):
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[place]
        call["id"] = call["id"] or piece.get("id") or ""
        inner = piece.get("function") or {}
        call["function"]["name"] = call["function"]["name"] or inner.get("name") or ""
        call["function"]["arguments"] += inner.get("arguments") or ""
