"""Messages of a request, read into turns: one turn a message, order kept (dialects: §3.1).

`function` messages and `function_call` are the old form of tool results and calls: they had no ids, so ids are made of
the place of the call.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.names import CHAT, GEMINI_ORIGIN
from flumegate.dialects.openai.chat.read_parts import read_cache, read_content
from flumegate.dialects.openai.chat.thinking import read_thinking
from flumegate.ir.parts import Extras, Opaque, Part, Refusal, ToolCall, ToolResult
from flumegate.ir.request import Role, Turn
from flumegate.ir.seal import unseal

_ROLES = frozenset({"system", "developer", "user", "assistant"})
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read_messages(node: Node) -> tuple[Turn, ...]:
    """Take `messages`.

    Raises:
        ReadError: there are none, or one is not of the dialect.
    """
    messages = node.nodes("messages")
    if not messages:
        raise ReadError(node.at("messages"), "It must hold at least one message.")
    reader = _Reader()
    return tuple(reader.read(message) for message in messages)


class _Reader:
    def __init__(self) -> None:
        self._old_calls: dict[str, str] = {}
        """Name of a function called in the old form → id that its call got."""

    def read(self, message: Node) -> Turn:
        role = message.required("role")
        if role in _ROLES:
            return self._speech(message, cast("Role", role))
        if role in ("tool", "function"):
            return self._result(message, role)
        raise ReadError(message.at("role"), f"There is no role {role[:40]!r}.")

    def _speech(self, message: Node, role: Role) -> Turn:
        name = message.text("name")
        if role != "assistant":
            parts, plain = read_content(message)
            return Turn(role, parts, plain, name, message.path, message.left())
        thinking = read_thinking(message)
        parts, plain = read_content(message)
        refusal = message.text("refusal")
        refusals = (Refusal(refusal, message.at("refusal")),) if refusal else ()
        calls = self._calls(message)
        extras = message.left(vital=("audio",))
        return Turn(role, (*thinking, *parts, *refusals, *calls), plain, name, message.path, extras)

    def _calls(self, message: Node) -> tuple[Part, ...]:
        place = message.at("tool_calls")
        calls = tuple(read_call(raw, f"{place}[{number}]") for number, raw in enumerate(message.items("tool_calls")))
        old = message.node("function_call")
        if old is None:
            return calls
        name = old.required("name")
        made = f"call_{message.path.partition('[')[2].rstrip(']')}"
        self._old_calls[name] = made
        return (*calls, ToolCall(made, name, old.text("arguments"), at=old.path, extras=old.left()))

    def _result(self, message: Node, role: str) -> Turn:
        name = message.text("name")
        call_id = message.text("tool_call_id")
        if role == "function":
            call_id = self._old_calls.get(name, f"call_{name}")
        parts, plain = read_content(message)
        cache = read_cache(message)
        result = ToolResult(call_id, parts, plain, name, cache=cache, at=message.path)
        return Turn("tool", (result,), at=message.path, extras=message.left())


def read_call(raw: msgspec.Raw, at: str) -> ToolCall | Opaque:
    """Return one tool call of a message.

    Raises:
        ReadError: it is not of the dialect.
    """
    node = Node(raw, CHAT, at)
    kind = node.text("type") or "function"
    node.raw("index")  # some servers leave a stream's index in; the place says the same
    if kind == "custom":
        inner, member = node.node("custom"), "input"
        node.raw("function")
    elif kind == "function":
        inner, member = node.node("function"), "arguments"
        node.raw("custom")  # some servers fill the other form's members with empty strings
    else:
        return Opaque(CHAT, kind, bytes(raw), at=at)
    if inner is None:
        raise ReadError(node.at(kind), "It is required.")
    signature, origin, extras = _extra_content(node)
    arguments = _arguments(inner, member)
    return ToolCall(
        node.text("id"),
        inner.required("name"),
        arguments,
        "custom" if kind == "custom" else "function",
        signature=signature,
        origin=origin,
        cache=read_cache(node),
        at=at,
        extras=leftovers.add(_with(node, extras), kind, inner.left()),
    )


def _arguments(inner: Node, member: str) -> str:
    """Return a call's arguments; some servers send the object itself, not its JSON text."""
    if member not in inner or inner.is_string(member):
        return inner.text(member)
    return inner.raw(member).decode()


def _extra_content(node: Node) -> tuple[str, str, bytes]:
    """Take Google's thought signature; return it, its origin, and what else stood there."""
    raw = node.raw("extra_content")
    if not raw:
        return "", "", b""
    signature, rest = split_thought_signature(_decode(raw))
    sealed = unseal(signature, own=GEMINI_ORIGIN)
    return sealed.signature, sealed.origin, _encode(rest) if rest else b""


def split_thought_signature(content: Any) -> tuple[str, Any]:  # noqa: ANN401 - any JSON value
    """Return the thought signature of an `extra_content`, and the value without it (empty = nothing else)."""
    google = content.get("google") if isinstance(content, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    if not isinstance(signature, str) or google is None:
        return "", content
    rest = {name: value for name, value in google.items() if name != "thought_signature"}
    others = {name: value for name, value in content.items() if name != "google"}
    return signature, others | ({"google": rest} if rest else {})


def _with(node: Node, extra_content: bytes) -> Extras | None:
    extras = node.left(trivial=("index", "type"))
    return leftovers.add_raw(extras, "extra_content", extra_content) if extra_content else extras
