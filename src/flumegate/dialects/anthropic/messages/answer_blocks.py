"""What whole messages and streams are both made of: the envelope, the end, blocks with nothing in them yet."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.anthropic.messages.extras import DIALECT, TARGET, put_back
from flumegate.dialects.anthropic.messages.stops import write_stop
from flumegate.ir.answer import Asked, Finish
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Extras, Opaque, Thinking, ToolCall
from flumegate.ir.seal import seal
from flumegate.ir.turns import safe_id

NO_STATE = f"{TARGET} has no place for the state that a tool call gets at its end."
_OWN_ID = "msg_"


def message(identity: str, model: str, asked: Asked) -> dict[str, Any]:
    """Return the members that a message begins with; an id that Anthropic made is kept."""
    return {
        "id": identity if identity.startswith(_OWN_ID) else f"{_OWN_ID}{asked.seed}",
        "type": "message",
        "role": "assistant",
        "model": asked.request.model or model,
    }


def ending(
    members: dict[str, Any], losses: Losses, extras: Extras | None, finish: Finish, usage: dict[str, Any]
) -> None:
    """Add the end, the usage, and what a choice says beside them; a reason that only Anthropic knows wins."""
    report(losses, extras)
    put_back(members, extras)
    stop = write_stop(finish)
    if finish.detail and "stop_details" not in stop:
        losses.dropped("finish.detail", f"{TARGET} explains only refusals.")
    for name, value in (stop | {"usage": usage}).items():
        members[name] = _united(value, members.get(name))


def _united(value: Any, given: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a member that was written and may also have been given back; objects hold what both say."""
    if given is None:
        return value
    if not isinstance(value, dict) or not isinstance(given, dict):
        return given
    return value | {name: _united(value.get(name), inner) for name, inner in given.items()}


def report(losses: Losses, extras: Extras | None, at: str = "") -> None:
    """Report members that only another dialect knows."""
    losses.extras(extras, at, (DIALECT,), TARGET)


def open_call(call: ToolCall, identity: str) -> dict[str, Any]:
    """Return a call's block with no arguments yet."""
    name = f"{call.namespace}__{call.name}" if call.namespace else call.name
    return {"type": "tool_use", "id": identity, "name": name, "input": {}}


def call_id(call: ToolCall, seed: str, number: int) -> str:
    """Return a call's id as clients of Messages take it."""
    return safe_id(call.id) if call.id else f"toolu_{seed}{number}"


def open_thinking(thinking: Thinking) -> dict[str, Any]:
    """Return a thinking block with nothing in it yet, or a redacted one, which is whole."""
    if thinking.redacted:
        data = seal(thinking.signature, thinking.origin, own=DIALECT, redacted=True)
        return {"type": "redacted_thinking", "data": data}
    return {"type": "thinking", "thinking": "", "signature": ""}


def state_of(call: ToolCall) -> dict[str, Any]:
    """Return the thinking block that carries a call's state: it stands directly before the call and has no text."""
    return {"type": "thinking", "thinking": "", "signature": seal(call.signature, call.origin, own=DIALECT)}


def opaque(losses: Losses, part: Opaque, at: str) -> msgspec.Raw | None:
    """Return a block of our own as it is; report another's."""
    if part.dialect == DIALECT:
        return msgspec.Raw(part.raw)
    losses.opaque(msgspec.structs.replace(part, at=part.at or at), TARGET)
    return None
