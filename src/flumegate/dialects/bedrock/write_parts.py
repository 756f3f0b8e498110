"""Blocks of a Converse request: texts, files, calls and results."""

from __future__ import annotations

import base64
import re
from typing import Any

from flumegate.dialects.bedrock.names import AUDIO_FORMATS, DOCUMENT_FORMATS, IMAGE_FORMATS, NAME, TARGET
from flumegate.ir.loss import Losses
from flumegate.ir.parts import CacheMark, Media

Members = dict[str, Any]
_BEGINNINGS = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi0", "application/pdf"),
)
"""How files begin, in base64: for those whose type nobody names."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9 ()\[\]-]+")
_SPACES = re.compile(r" {2,}")
_MAX_NAME = 200


def write_cache(mark: CacheMark) -> Members:
    """Return the block that stands behind what is to be cached."""
    point: Members = {"type": "default"}
    if mark.ttl:
        point["ttl"] = mark.ttl
    return {"cachePoint": point}


class Files:
    """Writes files, and gives each document a name of its own: Bedrock wants one, and refuses two of the same."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._names: set[str] = set()

    def write(self, media: Media) -> Members | None:
        """Return the block of a file; None where it cannot be said, which is then refused."""
        losses = self._losses
        losses.extras(media.extras, media.at, (NAME,), TARGET)
        if media.detail not in ("", "auto"):
            losses.dropped(f"{media.at}.detail", "Bedrock takes no wish for a resolution.")
        if media.file_id:
            losses.refused(media.at, "The file is known only to the provider that it was uploaded to.")
            return None
        source = _write_source(media)
        if source is None:
            losses.refused(media.at, "Bedrock fetches no URLs but those of S3.")
            return None
        media_type = (media.media_type or _type_of(media)).partition(";")[0].strip().lower()
        if media.kind == "file" and not media_type.startswith("image/"):
            return self._write_document(media, media_type, source)
        kind, formats = ("audio", AUDIO_FORMATS) if media.kind == "audio" else ("image", IMAGE_FORMATS)
        word = formats.get(media_type)
        if word is None:
            losses.refused(media.at, f"Bedrock takes no {kind} of type {media_type[:60]!r}.")
            return None
        return {kind: {"format": word, "source": source}}

    def _write_document(self, media: Media, media_type: str, source: Members) -> Members | None:
        word = DOCUMENT_FORMATS.get(media_type)
        if word is None and media_type.startswith("text/"):
            word = "txt"
        if word is None:
            self._losses.refused(media.at, f"Bedrock takes no documents of type {media_type[:60]!r}.")
            return None
        return {"document": {"format": word, "name": self._name_of(media), "source": source}}

    def _name_of(self, media: Media) -> str:
        stem = media.filename.rpartition(".")[0] or media.filename
        plain = _SPACES.sub(" ", _NOT_IN_NAMES.sub("-", stem)).strip()[:_MAX_NAME] or "document"
        name = plain
        count = 1
        while name in self._names:
            count += 1
            name = f"{plain}-{count}"
        self._names.add(name)
        if media.filename and name != media.filename:
            self._losses.approximated(f"{media.at}.filename", "Bedrock takes names of plain letters, each once.")
        return name


def _write_source(media: Media) -> Members | None:
    if media.url:
        return {"s3Location": {"uri": media.url}} if media.url.startswith("s3://") else None
    if media.text:
        return {"bytes": base64.b64encode(media.text.encode("utf-8", "replace")).decode()}
    return {"bytes": media.data}


def _type_of(media: Media) -> str:
    """Return the type of a file that nobody names, as its beginning or its name tells."""
    if media.text:
        return "text/plain"
    ending = (media.filename or media.url).rpartition(".")[2].lower()
    endings = {"jpg": "image/jpeg"}
    for formats in (IMAGE_FORMATS, DOCUMENT_FORMATS, AUDIO_FORMATS):
        for media_type, word in formats.items():
            endings.setdefault(word, media_type)
    begun = next((kind for beginning, kind in _BEGINNINGS if media.data.startswith(beginning)), "")
    return begun or endings.get(ending, "")
