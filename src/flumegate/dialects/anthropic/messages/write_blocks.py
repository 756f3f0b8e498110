"""Parts of a request as content blocks (dialects: §13.1). What cannot be said is refused: it is content."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from flumegate.dialects.anthropic.messages.citations import is_own, write_citation
from flumegate.dialects.anthropic.messages.draft import Draft
from flumegate.dialects.anthropic.messages.extras import DIALECT, TARGET
from flumegate.ir.arguments import object_of
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.turns import safe_id

_PICTURES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
Block = dict[str, Any] | msgspec.Raw


def write_parts(draft: Draft, parts: Iterable[Part], at: str) -> list[Block]:
    """Return content blocks; `at` is the place of what holds them."""
    blocks = []
    for part in parts:
        block = _write_part(draft, part, part.at or at)
        if block is not None:
            blocks.append(block)
    return blocks


def _write_part(draft: Draft, part: Part, at: str) -> Block | None:  # noqa: PLR0911 - one kind of part a return
    match part:
        case Text():
            return _write_text(draft, part, at)
        case ToolCall():
            return _write_call(draft, part, at)
        case ToolResult():
            return _write_result(draft, part, at)
        case Media():
            return _write_media(draft, part, at)
        case Thinking():
            return _write_thinking(draft, part, at)
        case Refusal():
            draft.losses.approximated(at, f"{TARGET} has no refusals in a conversation; it is sent as text.")
            draft.losses.extras(part.extras, at, (DIALECT,), TARGET)
            return {"type": "text", "text": part.text} if part.text.strip() else None
        case Opaque():
            if part.dialect == DIALECT:
                return msgspec.Raw(part.raw)
            draft.losses.opaque(msgspec.structs.replace(part, at=at), TARGET)
            return None
        case _:  # pragma: no cover - the union is exhausted
            assert_never(part)


def _write_text(draft: Draft, text: Text, at: str) -> Block:
    block: dict[str, Any] = {"type": "text", "text": text.text}
    citations = [write_citation(citation, text.text) for citation in text.citations if is_own(citation)]
    if citations:
        block["citations"] = citations
    if len(citations) < len(text.citations):
        draft.losses.dropped(f"{at}.citations", f"{TARGET} takes back only sources that it named itself.")
    draft.mark(block, text.cache, at)
    draft.extras(block, text.extras, at)
    return block


def _write_thinking(draft: Draft, thinking: Thinking, at: str) -> Block:
    block: dict[str, Any]
    if thinking.redacted:
        block = {"type": "redacted_thinking", "data": thinking.signature}
    else:
        block = {"type": "thinking", "thinking": "\n\n".join(thinking.texts), "signature": thinking.signature}
    draft.extras(block, thinking.extras, at)
    return block


def _write_call(draft: Draft, call: ToolCall, at: str) -> Block:
    block: dict[str, Any] = {
        "type": "tool_use",
        "id": safe_id(call.id),
        "name": draft.name_of(call.namespace, call.name),
        "input": _input_of(draft, call, at),
    }
    draft.mark(block, call.cache, at)
    draft.extras(block, call.extras, at)
    return block


def _input_of(draft: Draft, call: ToolCall, at: str) -> msgspec.Raw:
    raw = object_of(call)
    if raw is None:
        draft.losses.refused(f"{at}.arguments", "The arguments of a tool call must be a JSON object.")
        return msgspec.Raw(b"{}")
    return raw


def _write_result(draft: Draft, result: ToolResult, at: str) -> Block:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": safe_id(result.call_id)}
    parts = result.parts
    if not draft.own:
        parts = tuple(part for part in parts if not (isinstance(part, Text) and not part.text.strip()))
    first = parts[0] if len(parts) == 1 else None
    if result.plain and isinstance(first, Text) and first.cache is None and first.extras is None:
        block["content"] = first.text
    elif parts:
        block["content"] = write_parts(draft, parts, at)
    if result.is_error is not None:
        block["is_error"] = result.is_error
    draft.mark(block, result.cache, at)
    draft.extras(block, result.extras, at)
    return block


def _write_media(draft: Draft, media: Media, at: str) -> Block | None:
    block: dict[str, Any] = {"type": "image" if media.kind == "image" else "document"}
    draft.extras(block, media.extras, at)
    if not isinstance(block.get("source"), msgspec.Raw):
        source = _source_of(draft, media, at)
        if source is None:
            return None
        block["source"] = {**source, **block.get("source", {})}
    if media.filename and media.kind == "file":
        block["title"] = media.filename
    if media.detail not in ("", "auto"):
        draft.losses.dropped(f"{at}.detail", f"{TARGET} chooses the resolution itself.")
    draft.mark(block, media.cache, at)
    return block


def _source_of(draft: Draft, media: Media, at: str) -> dict[str, str] | None:  # noqa: PLR0911 - one source a return
    """Return a `source`; None where there is no way to say it, which is refused."""
    able = {"image": draft.abilities.images, "file": draft.abilities.files, "audio": False}[media.kind]
    if able is False:
        draft.losses.refused(at, f"The model takes no {media.kind}.")
        return None
    if media.file_id:
        if media.dialect == DIALECT:
            return {"type": "file", "file_id": media.file_id}
        draft.losses.refused(at, "The file is known only to the provider that keeps it.")
        return None
    if media.url:
        return {"type": "url", "url": media.url}
    if media.text:
        return {"type": "text", "media_type": media.media_type or "text/plain", "data": media.text}
    if draft.own:
        return {"type": "base64", "media_type": media.media_type, "data": media.data}
    return _base64_source(draft, media, at)


def _base64_source(draft: Draft, media: Media, at: str) -> dict[str, str] | None:
    kind = media.media_type.partition(";")[0].strip().lower()
    if media.kind == "image" and kind in _PICTURES:
        return {"type": "base64", "media_type": kind, "data": media.data}
    if media.kind == "file" and kind == "application/pdf":
        return {"type": "base64", "media_type": kind, "data": media.data}
    if media.kind == "file" and kind.startswith("text/"):
        try:
            text = base64.b64decode(media.data, validate=True).decode()
        except (binascii.Error, ValueError):
            draft.losses.refused(at, "The document's data is no base64 of UTF-8 text.")
            return None
        return {"type": "text", "media_type": "text/plain", "data": text}
    draft.losses.refused(at, f"{TARGET} takes no data of type {kind[:60]!r}.")
    return None
