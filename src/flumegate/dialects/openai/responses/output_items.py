"""Output items as a client gets them, for answers in one piece and for streams; ids are the provider's or minted."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.openai.responses.names import ITEM, NAME, RAW_TEXT, own
from flumegate.dialects.openai.responses.write_parts import write_texts
from flumegate.ir.parts import Media, Refusal, Text, Thinking, ToolCall
from flumegate.ir.seal import seal

_decode_members = msgspec.json.Decoder(dict[str, Any]).decode


def begins_message(part: Text | Refusal) -> bool:
    """Tell whether a part is the first of its own message, by what its provider said."""
    return ITEM in own(part.extras)


def message_item(part: Text | Refusal, seed: str, number: int, status: str) -> dict[str, Any]:
    """Return an empty message."""
    said = own(part.extras).get(ITEM)
    members: dict[str, Any] = {"id": f"msg_{seed}_{number}", "type": "message", "role": "assistant", "status": status}
    if said is not None:
        members |= _decode_members(said)
    members["content"] = []
    return members


def call_item(part: ToolCall, arguments: str, seed: str, number: int, status: str) -> dict[str, Any]:
    """Return a call."""
    custom = part.kind == "custom"
    members: dict[str, Any] = {
        "id": f"{'ctc' if custom else 'fc'}_{seed}_{number}",
        "type": "custom_tool_call" if custom else "function_call",
        "status": status,
        "call_id": part.id or f"call_{seed}_{number}",
        "name": part.name,
        "input" if custom else "arguments": arguments,
    }
    if part.namespace:
        members["namespace"] = part.namespace
    return members | own(part.extras)


def thinking_item(part: Thinking, seed: str, number: int, *, as_summary: bool = False) -> dict[str, Any]:
    """Return reasoning; `as_summary`: raw text too, because streams know no other event that all clients take."""
    members: dict[str, Any] = {"id": f"rs_{seed}_{number}", "type": "reasoning"}
    fields = dict(own(part.extras))
    if as_summary:
        fields.pop(RAW_TEXT, None)
        fields.pop("summary", None)
        members["summary"] = [{"type": "summary_text", "text": text} for text in part.texts]
    else:
        members |= write_texts(part)
    if part.signature:
        members["encrypted_content"] = seal(part.signature, part.origin, own=NAME, redacted=part.redacted)
    return fields | members | {"id": fields.get("id", members["id"])}


def state_item(part: ToolCall, seed: str, number: int) -> dict[str, Any]:
    """Return reasoning that carries the opaque state of the call behind it, which calls have no member for."""
    return thinking_item(Thinking(signature=part.signature, origin=part.origin), seed, number)


def image_item(part: Media, seed: str, number: int) -> dict[str, Any]:
    """Return a picture that the model made, in the form of the tool that makes them here."""
    return {"id": f"ig_{seed}_{number}", "type": "image_generation_call", "status": "completed", "result": part.data}
