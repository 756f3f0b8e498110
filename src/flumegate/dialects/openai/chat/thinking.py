"""Thinking in a message: `thinking_blocks` with all state, and bare text in `reasoning_content` or `reasoning`.

OpenAI's reference knows none of them. Servers send one of the text fields; clients that must give signed thinking
back do so with the block list, whose entries are Anthropic's (`{type, thinking, signature}`, `{type, data}`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from flumegate.dialects.node import Node
from flumegate.dialects.openai.chat.names import CHAT, GEMINI_ORIGIN, MESSAGES_ORIGIN
from flumegate.ir.parts import Opaque, Thinking
from flumegate.ir.seal import seal, unseal

BETWEEN = "\n\n"
"""Between the pieces of a summary, which are one text here."""


def read_blocks(node: Node) -> tuple[Thinking | Opaque, ...]:
    """Take `thinking_blocks` of a message."""
    place = node.at("thinking_blocks")
    found: list[Thinking | Opaque] = []
    for number, raw in enumerate(node.items("thinking_blocks")):
        at = f"{place}[{number}]"
        block = Node(raw, CHAT, at)
        block.raw("index")  # of a streamed entry: its place in the list says it already
        kind = block.text("type")
        if kind == "thinking":
            text = block.text("thinking")
            sealed = unseal(block.text("signature"), own=MESSAGES_ORIGIN)
            texts = (text,) if text else ()
            found.append(Thinking(texts, sealed.signature, sealed.origin, sealed.redacted, at=at, extras=block.left()))
        elif kind == "redacted_thinking":
            sealed = unseal(block.text("data"), own=MESSAGES_ORIGIN)
            found.append(Thinking((), sealed.signature, sealed.origin, redacted=True, at=at, extras=block.left()))
        else:
            found.append(Opaque(CHAT, kind, bytes(raw), at=at))
    return tuple(found)


def read_thinking(node: Node) -> tuple[Thinking | Opaque, ...]:
    """Take all thinking of a message: the block list if there is one, else the text."""
    blocks = read_blocks(node)
    texts = [(name, node.text(name)) for name in ("reasoning_content", "reasoning") if node.is_string(name)]
    if blocks:
        return blocks
    return next(((Thinking((text,), at=node.at(name)),) for name, text in texts if text), ())


def write_block(part: Thinking) -> dict[str, Any]:
    """Return one entry of `thinking_blocks`, for a client."""
    signature = seal(part.signature, part.origin, own=MESSAGES_ORIGIN, redacted=part.redacted)
    if part.redacted:
        return {"type": "redacted_thinking", "data": signature}
    block = {"type": "thinking", "thinking": BETWEEN.join(part.texts)}
    return block | {"signature": signature} if signature else block


def write_thinking(parts: Iterable[Thinking]) -> dict[str, Any]:
    """Return the members that tell a client of an answer's thinking."""
    thoughts = list(parts)
    members: dict[str, Any] = {}
    if text := BETWEEN.join(text for part in thoughts for text in part.texts if text):
        members["reasoning_content"] = members["reasoning"] = text
    if any(part.signature or part.redacted for part in thoughts):
        members["thinking_blocks"] = [write_block(part) for part in thoughts]
    return members


def write_thought_signature(signature: str, origin: str) -> dict[str, Any]:
    """Return a tool call's `extra_content`, for a client."""
    return {"google": {"thought_signature": seal(signature, origin, own=GEMINI_ORIGIN)}}


class _Detail(msgspec.Struct, gc=False):
    text: str | None = None
    summary: str | None = None


_decode_details = msgspec.json.Decoder(list[_Detail]).decode


def details_text(raw: bytes) -> str:
    """Return the text in `reasoning_details`, OpenRouter's form of thinking."""
    try:
        details = _decode_details(raw) if raw else []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return "".join(detail.text or detail.summary or "" for detail in details)
