"""An Ollama server's answer in one piece."""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.ollama.calls import read_call
from flumegate.dialects.ollama.ending import read_extras, read_finish, read_time, read_usage
from flumegate.dialects.ollama.errors import message_of
from flumegate.dialects.ollama.images import media_type_of
from flumegate.dialects.ollama.names import CHAT
from flumegate.ir.answer import Answer, Choice
from flumegate.ir.parts import Media, Part, Text, Thinking, ToolCall

_decode = msgspec.json.Decoder().decode


def read_answer(body: bytes) -> Answer:
    """Return the answer.

    Raises:
        ReadError: the document is not of the dialect, or it is an error.
    """
    node = Node(body, CHAT)
    error = _decode(node.raw("error") or b"null")
    if error:
        raise ReadError("error", message_of(error))
    stamp = node.text("created_at")
    model = node.text("model")
    message = node.node("message")
    if message is None:
        raise ReadError("message", "It is required.")
    parts = _read_parts(message, stamp, node.raw("logprobs"))
    node.boolean("done")
    called = any(isinstance(part, ToolCall) for part in parts)
    finish = read_finish(node.text("done_reason"), called=called)
    usage = read_usage(node)
    message.raw("role")
    return Answer("", model, read_time(stamp), (Choice(parts, finish, read_extras(node, message)),), usage)


def _read_parts(message: Node, stamp: str, logprobs: bytes) -> tuple[Part, ...]:
    parts: list[Part] = []
    thinking = message.text("thinking")
    if thinking:
        parts.append(Thinking((thinking,)))
    content = message.text("content")
    if logprobs == b"[]":
        logprobs = b""
    if content or logprobs:
        parts.append(Text(content, logprobs=logprobs))
    parts += [Media("image", media_type_of(data), data=data) for data in message.strings("images")]
    calls = message.nodes("tool_calls")
    read = [read_call(call, position, stamp, lenient=True) for position, call in enumerate(calls)]
    return (*parts, *distinct(read))


def distinct(calls: list[ToolCall]) -> list[ToolCall]:
    """Return the calls without those that were said twice: some servers repeat them."""
    found: dict[str, ToolCall] = {}
    for call in calls:
        found.setdefault(call.id, msgspec.structs.replace(call, at=""))
    return list(found.values())
