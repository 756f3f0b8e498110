"""OpenAI Responses and Open Responses (dialects: §4)."""

from __future__ import annotations

from types import MappingProxyType

from flumegate.dialects.codecs import Codec
from flumegate.dialects.openai.responses.errors import read_error
from flumegate.dialects.openai.responses.names import NAME, TITLE
from flumegate.dialects.openai.responses.read_answer import read_answer
from flumegate.dialects.openai.responses.read_request import read_request
from flumegate.dialects.openai.responses.read_stream import ResponsesStreamReader
from flumegate.dialects.openai.responses.tap import ResponsesTap
from flumegate.dialects.openai.responses.write_answer import write_answer
from flumegate.dialects.openai.responses.write_request import write_request
from flumegate.dialects.openai.responses.write_stream import ResponsesStreamWriter

__all__ = ["CODEC", "ResponsesStreamReader", "ResponsesStreamWriter", "ResponsesTap"]

CODEC = Codec(
    name=NAME,
    title=TITLE,
    family="openai",
    read_request=read_request,
    write_request=write_request,
    read_answer=read_answer,
    write_answer=write_answer,
    stream_reader=ResponsesStreamReader,
    stream_writer=ResponsesStreamWriter,
    read_error=read_error,
    names=MappingProxyType(
        {
            "output": "text.format",
            "output.name": "text.format.name",
            "verbosity": "text.verbosity",
            "user": "safety_identifier",
            "cache_key": "prompt_cache_key",
            "candidates": "n",
            "logprobs": "include",
            "reasoning.budget_tokens": "reasoning.effort",
        }
    ),
)
