"""Ollama's `POST /api/generate`: one prompt, one text. Only clients speak it; providers are asked in chat."""

from __future__ import annotations

from flumegate.dialects.codecs import Codec
from flumegate.dialects.ollama.generate.read_request import read_request
from flumegate.dialects.ollama.generate.write_answer import write_answer
from flumegate.dialects.ollama.generate.write_stream import GenerateStreamWriter
from flumegate.dialects.ollama.names import FAMILY, GENERATE, MEDIA_TYPE
from flumegate.dialects.ollama.settings import NAMES

CODEC = Codec(
    GENERATE,
    "Ollama generate",
    FAMILY,
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=GenerateStreamWriter,
    media_type=MEDIA_TYPE,
    names=NAMES,
)
