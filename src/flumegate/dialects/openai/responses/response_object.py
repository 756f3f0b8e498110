"""The response object that a client gets (dialects: §4.2): every key, every time, with the request's settings repeated.

A provider of this dialect has said what it did, and its word stands; for others the request is repeated, `store` is
true only where it was asked for (the engine asks for what it keeps), and `completed_at` stays null because nobody told.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.openai.responses.names import NAME, own
from flumegate.dialects.openai.responses.write_settings import write_reasoning, write_text
from flumegate.dialects.openai.responses.write_tools import Names, write_tool_choice, write_tools
from flumegate.ir.answer import Asked, Finish
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Extras, Text
from flumegate.ir.request import Request
from flumegate.ir.usage import Usage
from flumegate.ir.written import Abilities

_STATUSES = frozenset({"queued", "in_progress", "cancelled"})
_PAUSES = frozenset({"max_messages", "steered"})
_REPEATED: dict[str, object] = {
    "previous_response_id": None,
    "truncation": "disabled",
    "max_tool_calls": None,
    "background": False,
}
"""Members of a request that only this dialect has, and what stands there otherwise."""
_FUNCTION: dict[str, object] = {"description": None, "parameters": None, "strict": None}
_ANYTHING = Abilities("")

_encode = msgspec.json.Encoder().encode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def response_object(asked: Asked, answer_id: str, created: int, extras: Extras | None) -> dict[str, Any]:
    """Return the object as it stands at the start: in progress, with no output."""
    request = asked.request
    said = own(extras)
    mine = extras is not None and extras.dialect == NAME
    members: dict[str, Any] = {
        "id": answer_id if mine and answer_id else f"resp_{asked.seed}",
        "object": "response",
        "created_at": created or asked.created,
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": request.model,
        "output": [],
        "usage": None,
    }
    members |= _settings(request)
    members |= {name: raw for name, raw in said.items() if name != "usage"}
    return members


def _settings(request: Request) -> dict[str, Any]:
    nowhere = Losses()
    names = Names(request)
    tools = [_FUNCTION | tool if tool["type"] == "function" else tool for tool in write_tools(request, names, nowhere)]
    first = request.turns[0] if request.turns else None
    instructions = None
    if first is not None and first.at == "instructions":
        instructions = "".join(part.text for part in first.parts if isinstance(part, Text))
    repeated = own(request.extras)
    return {
        "instructions": instructions,
        "tools": msgspec.Raw(_encode(tools)),
        "tool_choice": write_tool_choice(request, names, nowhere) or "auto",
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "text": {"format": {"type": "text"}} | write_text(request, nowhere),
        "reasoning": {"effort": None, "summary": None} | write_reasoning(request, _ANYTHING, nowhere),
        "temperature": _number(request.temperature, 1.0),
        "top_p": _number(request.top_p, 1.0),
        "presence_penalty": _number(request.presence_penalty, 0.0),
        "frequency_penalty": _number(request.frequency_penalty, 0.0),
        "top_logprobs": request.top_logprobs or 0,
        "max_output_tokens": request.max_output_tokens,
        "store": request.store is True,
        "service_tier": "default",
        "metadata": msgspec.Raw(request.metadata) if request.metadata else {},
        "safety_identifier": request.user or None,
        "prompt_cache_key": request.cache_key or None,
    } | {name: repeated.get(name, usual) for name, usual in _REPEATED.items()}


def _number(given: float | None, usual: float) -> float:
    return usual if given is None else given


def ending(finish: Finish, *, refused: bool) -> tuple[str, dict[str, str] | None]:
    """Return status and `incomplete_details`; `refused`: a refusal part says why."""
    match finish.reason:
        case "stop" | "stop_sequence" | "tool":
            return "completed", None
        case "length" | "context_full":
            return "incomplete", {"reason": "max_output_tokens"}
        case "refusal" if refused:
            return "completed", None
        case "filter" | "refusal":
            return "incomplete", {"reason": "content_filter"}
        case _:
            return _pause(finish.raw)


def _pause(raw: str) -> tuple[str, dict[str, str] | None]:
    if raw in _STATUSES:
        return raw, None
    if raw == "incomplete":
        return raw, None
    return "incomplete", {"reason": raw if raw in _PAUSES else "max_messages"}


def write_usage(usage: Usage | None, extras: Extras | None) -> dict[str, Any] | None:
    """Return `usage` with both details; what nobody counted is 0."""
    if usage is None:
        return None
    into, out = usage.input_tokens or 0, usage.output_tokens or 0
    members: dict[str, Any] = {
        "input_tokens": into,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": out,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": into + out,
    }
    left = own(extras).get("usage")
    for name, raw in _decode_members(left).items() if left is not None else ():
        if isinstance(members.get(name), dict):
            members[name] |= _decode_members(raw)
        else:
            members[name] = raw
    return members
