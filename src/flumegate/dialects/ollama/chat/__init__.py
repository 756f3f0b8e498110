"""Ollama's `POST /api/chat`, as a provider's dialect and as a client's (dialects: §7, §13.6)."""

from __future__ import annotations

from flumegate.dialects.codecs import Codec
from flumegate.dialects.ollama.chat.read_answer import read_answer
from flumegate.dialects.ollama.chat.read_request import read_request
from flumegate.dialects.ollama.chat.read_stream import ChatStreamReader
from flumegate.dialects.ollama.chat.write_answer import write_answer
from flumegate.dialects.ollama.chat.write_request import write_request
from flumegate.dialects.ollama.chat.write_stream import ChatStreamWriter
from flumegate.dialects.ollama.errors import read_error
from flumegate.dialects.ollama.names import CHAT, FAMILY, MEDIA_TYPE
from flumegate.dialects.ollama.settings import NAMES

CODEC = Codec(
    CHAT,
    "Ollama chat",
    FAMILY,
    read_request=read_request,
    write_request=write_request,
    read_answer=read_answer,
    write_answer=write_answer,
    stream_reader=ChatStreamReader,
    stream_writer=ChatStreamWriter,
    read_error=read_error,
    media_type=MEDIA_TYPE,
    names=NAMES,
)
