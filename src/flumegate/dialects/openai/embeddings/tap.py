"""OpenAI embeddings: what the tap reads of an answer (dialects: §5). There is no stream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec

from flumegate.dialects.openai.usage import WireUsage, read_usage
from flumegate.dialects.tap import Tap, is_no_json
from flumegate.wire import sse


class _Whole(msgspec.Struct, gc=False):
    model: str | None = None
    usage: WireUsage | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    error: object = None


_decode_whole = msgspec.json.Decoder(_Whole).decode


class EmbeddingsTap(Tap):
    """Tap on an embeddings answer."""

    def read_whole(self, body: bytes) -> None:
        """See `Tap.read_whole`."""
        try:
            whole = _decode_whole(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.unreadable = is_no_json(body, error)
            return
        self.model = whole.model or ""
        if whole.usage is not None:
            self.usage = read_usage(whole.usage)
        if whole.error and not whole.data:
            self.failed = True
        else:
            self.complete = True

    def look(self, events: Iterable[sse.Event]) -> None:
        """See `Tap.look`: a server that streams embeddings all the same is taken at its word."""
        for event in events:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.failed = self.failed or bool(_decode_whole(event.data).error)
            self.complete = not self.failed
