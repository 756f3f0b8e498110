"""Parts as content of a message: text, images, sounds and files as far as chat has them (dialects: §3.1)."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.names import CHAT, OPENAI_SERVERS, TARGET
from flumegate.ir.loss import Losses
from flumegate.ir.parts import CacheMark, Media, Opaque, Part, Refusal, Text, Thinking
from flumegate.ir.written import Abilities

_SOUNDS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
_FAMILY = frozenset({CHAT, "responses"})
"""Dialects whose file ids mean the same files."""

Json = dict[str, Any]


class PartWriter:
    """Writes parts for one request and notes what they lose."""

    def __init__(self, abilities: Abilities, losses: Losses) -> None:
        self.abilities = abilities
        self.losses = losses
        self._cache_lost = False
        self._state_lost = False

    def part(self, part: Part) -> Json | msgspec.Raw | None:
        """Return a content part; None where it cannot be said, and then the loss is noted."""
        match part:
            case Text():
                return self._done({"type": "text", "text": part.text}, part)
            case Refusal():
                return self._done({"type": "text", "text": part.text}, part)
            case Media():
                return self._media(part)
            case Opaque():
                return self._opaque(part)
            case Thinking():
                self.state_lost()
            case _:
                self.losses.refused(part.at, f"{TARGET} has no place for it in this message.")
        return None

    def _done(self, members: Json, part: Text | Media | Refusal) -> Json:
        if not isinstance(part, Refusal):
            self.mark(members, part.cache)
        leftovers.give_back(members, part.extras)
        self.losses.extras(part.extras, part.at, (CHAT,), TARGET)
        return members

    def _opaque(self, part: Opaque) -> msgspec.Raw | None:
        if part.dialect == CHAT:
            return msgspec.Raw(part.raw)
        self.losses.opaque(part, TARGET)
        return None

    def mark(self, members: Json, cache: CacheMark | None) -> None:
        """Write a cache breakpoint where the server knows one."""
        if cache is None:
            return
        server = self.abilities.server
        ttl = {"ttl": cache.ttl} if cache.ttl else {}
        if server == "openrouter":
            members["cache_control"] = {"type": "ephemeral"} | ttl
        elif server in OPENAI_SERVERS:
            # Anthropic's lifetimes are none of OpenAI's: its default is meant
            members["prompt_cache_breakpoint"] = {"mode": "explicit"} | (ttl if cache.ttl in ("30m", "12h") else {})
        else:
            self.cache_lost()

    def cache_lost(self) -> None:
        """Note, once, that cache breakpoints were left out."""
        if not self._cache_lost:
            self._cache_lost = True
            self.losses.dropped("cache", "The server has no prompt-cache breakpoints.")

    def state_lost(self) -> None:
        """Note, once, that reasoning was left out."""
        if not self._state_lost:
            self._state_lost = True
            self.losses.dropped(
                "reasoning", "Earlier reasoning and its state go back only to the provider they are of."
            )

    def _media(self, part: Media) -> Json | None:
        able = {"image": self.abilities.images, "audio": self.abilities.audio, "file": self.abilities.files}[part.kind]
        if part.text:
            self.losses.approximated(part.at, f"{TARGET} takes a document given as text as plain text.")
            return self._done({"type": "text", "text": part.text}, part)
        if able is False:
            self.losses.refused(part.at, f"The model takes no part of kind {part.kind}.")
            return None
        if part.kind == "image":
            return self._image(part)
        return self._audio(part) if part.kind == "audio" else self._file(part)

    def _image(self, part: Media) -> Json | None:
        if part.file_id:
            self.losses.refused(part.at, f"{TARGET} takes no image by file id.")
            return None
        inner = {"url": _data_url(part, "image/png") if part.data else part.url}
        if part.detail:
            inner["detail"] = part.detail
        return self._done({"type": "image_url", "image_url": inner}, part)

    def _audio(self, part: Media) -> Json | None:
        if not part.data:
            self.losses.refused(part.at, f"{TARGET} takes sounds only as base64.")
            return None
        sound = _SOUNDS.get(part.media_type) or part.media_type.partition("/")[2] or "wav"
        return self._done({"type": "input_audio", "input_audio": {"data": part.data, "format": sound}}, part)

    def _file(self, part: Media) -> Json | None:
        inner: Json = {"filename": part.filename} if part.filename else {}
        if part.file_id:
            if part.dialect not in _FAMILY:
                self.losses.refused(part.at, "The file is known only to the provider that it was uploaded to.")
                return None
            inner["file_id"] = part.file_id
        elif part.data:
            inner["file_data"] = _data_url(part, "application/pdf") if part.media_type else part.data
            if not part.filename and self.abilities.server in OPENAI_SERVERS:
                inner["filename"] = "document.pdf"
                self.losses.invented(f"{part.at}.filename", f"{TARGET} demands a file's name beside its data.")
        elif self.abilities.server == "openrouter":
            inner["file_data"] = part.url
        else:
            self.losses.refused(part.at, f"{TARGET} takes no file by URL.")
            return None
        return self._done({"type": "file", "file": inner}, part)


def _data_url(part: Media, default: str) -> str:
    return f"data:{part.media_type or default};base64,{part.data}"
