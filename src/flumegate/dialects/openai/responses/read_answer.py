"""Reads a response object (dialects: §4.2): one output item is one part, a message one part per content entry.

A message's own members (id, phase) ride in its first part under `ITEM`, so that two messages stay two. The status of
an item follows from the answer's end, so it is kept only where it does not.
"""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.responses.names import ECHOES, ITEM, NAME, raw_object, with_more
from flumegate.dialects.openai.responses.read_parts import read_call, read_part, read_thinking
from flumegate.dialects.openai.usage import WireUsage, read_usage
from flumegate.ir.answer import Answer, Choice, Finish, FinishReason, finish_of
from flumegate.ir.parts import Extras, Opaque, Part, Refusal, Text, Thinking, ToolCall
from flumegate.ir.usage import Usage

REASONS: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "filter"}
"""Of `incomplete_details`; others are a pause."""
_COUNTS = frozenset({"input_tokens", "output_tokens", "total_tokens", "input_tokens_details", "output_tokens_details"})
_DETAILS = frozenset({"cached_tokens", "cache_write_tokens", "reasoning_tokens"})
_COMPLETE = frozenset({"completed", "complete", ""})
"""The second is careless servers' spelling."""
_DONE = (b"", b'"completed"', b'"incomplete"', b'"in_progress"')
_decode_usage = msgspec.json.Decoder(WireUsage).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_answer(body: bytes) -> Answer:
    """Return the answer.

    Raises:
        ReadError: it is no response object, or one that failed.
    """
    node = Node(body, NAME)
    if "output" not in node and "status" not in node:
        raise ReadError("output", "It is required.")
    status = node.text("status")
    if status == "failed":
        error = node.node("error")
        raise ReadError("error", error.text("message") if error is not None else "The response failed.")
    parts: list[Part] = []
    for number, raw in enumerate(node.items("output")):
        parts += read_item(raw, f"output[{number}]")
    usage, more = read_counts(node.raw("usage"))
    details = node.raw("incomplete_details")
    finish = finish_from(
        status,
        details,
        called=any(isinstance(part, ToolCall) for part in parts),
        refused=any(isinstance(part, Refusal) for part in parts),
    )
    if details and finish.reason == "pause":
        more["incomplete_details"] = msgspec.Raw(details)
    name, model, created = node.text("id"), node.text("model"), read_time(node)
    return Answer(name, model, created, (Choice(tuple(parts), finish),), usage, with_more(left_of(node), more))


def read_time(node: Node) -> int:
    """Take `created_at`, whole seconds; 0 = not said."""
    return int(node.number("created_at") or 0)


def left_of(node: Node) -> Extras:
    """Return what else an answer says; there even if it is nothing, for it tells whose answer it is."""
    node.raw("object")
    return node.left(trivial=ECHOES) or Extras(NAME, {})


def read_counts(raw: bytes) -> tuple[Usage | None, dict[str, msgspec.Raw]]:
    """Return the usage, and under `usage` the members of it that have no neutral form."""
    if not raw:
        return None, {}
    try:
        usage = read_usage(_decode_usage(raw))
        members = _decode_members(raw)
    except _FAILURES:
        return None, {"usage": msgspec.Raw(raw)}
    left = {name: value for name, value in members.items() if name not in _COUNTS}
    for name in ("input_tokens_details", "output_tokens_details"):
        details = members.get(name)
        inner = _decode_members(details) if details is not None and bytes(details)[:1] == b"{" else {}
        unknown = {key: value for key, value in inner.items() if key not in _DETAILS}
        if unknown:
            left[name] = raw_object(unknown)
    return usage, {"usage": raw_object(left)} if left else {}


def finish_from(status: str, details: bytes, *, called: bool, refused: bool) -> Finish:
    """Return why an answer ended."""
    if status == "incomplete":
        reason = Node(details, NAME, "incomplete_details").text("reason") if details[:1] == b"{" else ""
        return Finish(REASONS.get(reason, "pause"), reason or status)
    if status not in _COMPLETE:
        return Finish("pause", status)
    if refused and not called:
        return Finish("refusal", "completed")
    return finish_of("stop", "completed", called=called)


def read_item(raw: msgspec.Raw | bytes, place: str) -> list[Part]:
    """Return the parts of one output item.

    Raises:
        ReadError: a member is missing or has the wrong type.
    """
    node = Node(raw, NAME, place)
    kind = node.text("type")
    if kind == "message":
        content = node.items("content")
        parts = [read_part(one, f"{place}.content[{number}]", "") for number, one in enumerate(content)]
        if parts and isinstance(parts[0], Text | Refusal):
            return [mark(parts[0], read_message_item(node)), *parts[1:]]
    elif kind in ("function_call", "custom_tool_call"):
        return [read_call_item(node, kind)]
    elif kind == "reasoning":
        return [read_thinking_item(node)]
    return [Opaque(NAME, kind, bytes(raw), vital=False)]


def read_message_item(node: Node) -> dict[str, msgspec.Raw]:
    """Return what a message says of itself, for `mark`."""
    for name in ("role", "content"):
        node.raw(name)
    status = node.raw("status")
    left = with_more(node.left(), {} if status in _DONE else {"status": msgspec.Raw(status)})
    return {ITEM: raw_object(left.fields if left is not None else {})}


def mark(part: Text | Refusal, item: dict[str, msgspec.Raw]) -> Text | Refusal:
    """Return a message's first part with what the message says of itself."""
    return msgspec.structs.replace(part, extras=with_more(part.extras, item))


def read_call_item(node: Node, kind: str) -> ToolCall:
    """Return a call whose `type` was taken.

    Raises:
        ReadError: a member is missing or has the wrong type.
    """
    status = node.raw("status")
    call = read_call(node, kind, "")
    if status in _DONE:
        return call
    return msgspec.structs.replace(call, extras=with_more(call.extras, {"status": msgspec.Raw(status)}))


def read_thinking_item(node: Node) -> Thinking:
    """Return a reasoning item whose `type` was taken; some servers give it a status.

    Raises:
        ReadError: a member has the wrong type.
    """
    status = node.raw("status")
    thinking = read_thinking(node, "", sealed=False)
    if not status:
        return thinking
    said = b'"completed"' if status in _DONE else status
    return msgspec.structs.replace(thinking, extras=with_more(thinking.extras, {"status": msgspec.Raw(said)}))
