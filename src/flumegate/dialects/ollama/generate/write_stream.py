"""A stream for a client of `POST /api/generate`: the lines have a response."""

from __future__ import annotations

from flumegate.dialects.ollama.write_stream import Form, LineStreamWriter
from flumegate.ir.answer import Asked

_FORM = Form((b'"response":', b""), (b'"response":"","thinking":', b""), messages=False)


class GenerateStreamWriter(LineStreamWriter):
    """Writes one stream."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked, _FORM)
