"""Writes what items are made of: content parts, sources, reasoning texts; shared by requests and answers."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import give_back
from flumegate.dialects.openai.responses.names import ITEM, NAME, RAW_TEXT, TARGET, own
from flumegate.ir.loss import Losses
from flumegate.ir.parts import CacheMark, Citation, Media, Text, Thinking

_SIGNS = (("/9j/", "image/jpeg"), ("iVBOR", "image/png"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"))
"""How the base64 of an image begins whose type nobody named."""
_EXTENSIONS = {"application/pdf": "pdf", "text/plain": "txt", "text/markdown": "md", "text/html": "html"}


class Marks:
    """Writes cache breakpoints where the server takes them; reports once where it does not."""

    def __init__(self, losses: Losses, *, taken: bool) -> None:
        self._losses = losses
        self._taken = taken
        self._reported = False

    def write(self, members: dict[str, Any], mark: CacheMark | None) -> None:
        """Put a breakpoint into a content part."""
        if mark is None:
            return
        if not self._taken:
            self.report(mark)
            return
        members["prompt_cache_breakpoint"] = {"mode": "explicit"}
        if mark.ttl.endswith("m") is not mark.ttl.endswith("h"):
            members["prompt_cache_breakpoint"]["ttl"] = mark.ttl

    def report(self, mark: CacheMark | None) -> None:
        """Report a breakpoint that cannot be said, all of them under one loss."""
        if mark is not None and not self._reported:
            self._reported = True
            self._losses.dropped("cache", "Cache breakpoints cannot be said at this place.")


def output_text(text: str, annotations: list[Any], logprobs: bytes) -> dict[str, Any]:
    """Return an `output_text` part with all members that readers expect."""
    return {
        "type": "output_text",
        "text": text,
        "annotations": annotations,
        "logprobs": msgspec.Raw(logprobs) if logprobs else [],
    }


def part_extras(members: dict[str, Any], part: Text) -> None:
    """Give back what stood in the part itself, not what its message carried."""
    for name, raw in own(part.extras).items():
        if name != ITEM:
            members.setdefault(name, raw)


def write_citation(citation: Citation, length: int, losses: Losses, at: str = "") -> dict[str, Any] | None:
    """Return an annotation of a text of `length` characters; None if the source has no URL."""
    fields = own(citation.extras)
    if "type" in fields:
        return dict(fields)
    losses.extras(citation.extras, at or "citations", (NAME,), TARGET)
    if not citation.url:
        losses.dropped(at or "citations", f"{TARGET} cites URLs only.")
        return None
    if citation.quote:
        losses.dropped(f"{at or 'citations'}.quote", f"{TARGET} does not repeat what was cited.")
    members: dict[str, Any] = {
        "type": "url_citation",
        "start_index": citation.start if citation.start is not None else 0,
        "end_index": citation.end if citation.end is not None else length,
        "url": citation.url,
        "title": citation.title,
    }
    give_back(members, citation.extras, NAME)
    return members


def write_texts(thinking: Thinking) -> dict[str, Any]:
    """Return `summary`, and `content` where the texts came from there."""
    fields = own(thinking.extras)
    if bytes(fields.get(RAW_TEXT, b"")) == b"[]":
        return {"summary": [], RAW_TEXT: [{"type": "reasoning_text", "text": text} for text in thinking.texts]}
    if "summary" in fields:
        return {"summary": fields["summary"]}
    return {"summary": [{"type": "summary_text", "text": text} for text in thinking.texts]}


def write_media(part: Media, losses: Losses) -> dict[str, Any] | None:
    """Return an image or file part; None if it cannot be said, which is reported."""
    if part.text:
        losses.approximated(part.at, "A document given as text is sent as text.")
        return {"type": "input_text", "text": part.text}
    if part.kind == "audio":
        losses.refused(part.at, f"{TARGET} takes no audio.")
        return None
    if part.file_id and part.dialect != NAME:
        losses.refused(part.at, "The file is known only to the provider that stored it.")
        return None
    return _write_image(part) if part.kind == "image" else _write_file(part, losses)


def _write_image(part: Media) -> dict[str, Any]:
    members: dict[str, Any] = {"type": "input_image"}
    if part.file_id:
        members["file_id"] = part.file_id
    else:
        members["image_url"] = data_url(part, _sniff(part.data)) if part.data else part.url
    if part.detail:
        members["detail"] = part.detail
    return members


def _sniff(data: str) -> str:
    return next((media_type for sign, media_type in _SIGNS if data.startswith(sign)), "image/png")


def data_url(part: Media, otherwise: str) -> str:
    """Return a `data:` URL; `otherwise` is the media type if nobody named one."""
    return f"data:{part.media_type or otherwise};base64,{part.data}"


def _write_file(part: Media, losses: Losses) -> dict[str, Any]:
    members: dict[str, Any] = {"type": "input_file"}
    if part.file_id:
        members["file_id"] = part.file_id
    elif part.url:
        members["file_url"] = part.url
    else:
        members["file_data"] = data_url(part, "") if part.media_type else part.data
    if part.filename:
        members["filename"] = part.filename
    elif part.data and part.extras is None and part.media_type:
        members["filename"] = f"document.{_EXTENSIONS.get(part.media_type, 'bin')}"
        losses.invented(f"{part.at}.filename", f"{TARGET} wants a name for a file.")
    return members
