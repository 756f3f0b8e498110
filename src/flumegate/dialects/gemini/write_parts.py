"""Parts of a content, written: the same in requests and in answers."""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec

from flumegate.dialects.gemini.members import NAME, give_back
from flumegate.ir.arguments import as_object
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Extras, Media, Text, ToolCall, ToolResult

TARGET = "Gemini"
_BEGINNINGS = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi0", "application/pdf"),
)
"""How files begin, in base64: for those whose type nobody names."""
_ENDINGS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/mov",
}
_ENDING = re.compile(r"^[^?#]*\.([A-Za-z0-9]{2,5})(?:[?#]|$)")


def write_call(call: ToolCall, name: str, identity: str, args: msgspec.Raw) -> dict[str, Any]:
    """Return the part of a call, without its signature."""
    inner: dict[str, Any] = {"id": identity} if identity else {}
    inner["name"] = name
    if call.arguments:
        inner["args"] = args
    members = {"functionCall": inner}
    give_back(members, call.extras)
    return members


def write_text(text: Text) -> dict[str, Any]:
    """Return the part of a text."""
    members: dict[str, Any] = {"text": text.text}
    give_back(members, text.extras)
    return members


def write_media(media: Media, losses: Losses, *, own: bool) -> dict[str, Any] | None:
    """Return the part of a file; None where it cannot be said, which is then refused."""
    losses.extras(media.extras, media.at, (NAME,), TARGET)
    members = _write_source(media, losses)
    if members is None:
        return None
    if media.filename and own:
        next(iter(members.values()))["displayName"] = media.filename
    elif media.filename:
        losses.dropped(f"{media.at}.filename", "Gemini takes no names of files.")
    if media.detail not in ("", "auto"):
        losses.dropped(f"{media.at}.detail", "Gemini takes its resolution for the whole request.")
    give_back(members, media.extras)
    return members


def _write_source(media: Media, losses: Losses) -> dict[str, Any] | None:
    if media.text:
        data = base64.b64encode(media.text.encode("utf-8", "surrogatepass")).decode()
        return {"inlineData": {"mimeType": media.media_type or "text/plain", "data": data}}
    if media.file_id:
        if media.dialect != NAME:
            losses.refused(media.at, "The file is known only to the provider that it was uploaded to.")
            return None
        return _file(media.media_type, media.file_id)
    if media.url:
        return _file(media.media_type or _type_by_url(media.url), media.url)
    media_type = media.media_type or next(
        (kind for beginning, kind in _BEGINNINGS if media.data.startswith(beginning)), ""
    )
    if not media_type and not isinstance(media.extras, Extras):
        losses.refused(media.at, "Gemini must be told the media type of the data.")
        return None
    return {"inlineData": ({"mimeType": media_type} if media_type else {}) | {"data": media.data}}


def _file(media_type: str, uri: str) -> dict[str, Any]:
    return {"fileData": ({"mimeType": media_type} if media_type else {}) | {"fileUri": uri}}


def _type_by_url(url: str) -> str:
    match = _ENDING.match(url)
    return _ENDINGS.get(match.group(1).lower(), "") if match is not None else ""


def write_response(result: ToolResult, text: str) -> dict[str, Any] | msgspec.Raw:
    """Return a tool's output as the object that Gemini wants."""
    whole = _object(text)
    if result.is_error:
        return {"error": text if whole is None else whole}
    if not text:
        return {}
    return {"output": text} if whole is None else whole


def _object(text: str) -> msgspec.Raw | None:
    if not text.lstrip().startswith("{"):
        return None
    return as_object(text)
