"""A stream for a client of `POST /api/chat`: the lines have a message."""

from __future__ import annotations

from flumegate.dialects.ollama.write_stream import Form, LineStreamWriter
from flumegate.ir.answer import Asked

_FORM = Form(
    (b'"message":{"role":"assistant","content":', b"}"),
    (b'"message":{"role":"assistant","content":"","thinking":', b"}"),
    messages=True,
)


class ChatStreamWriter(LineStreamWriter):
    """Writes one stream."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked, _FORM)
