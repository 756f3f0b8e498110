"""Anthropic Messages: requests, answers and streams, in both directions (dialects: §6, §13 to §15)."""

from __future__ import annotations

from flumegate.dialects.anthropic.errors import read_error
from flumegate.dialects.anthropic.messages.read_answer import read_answer
from flumegate.dialects.anthropic.messages.read_request import read_request
from flumegate.dialects.anthropic.messages.read_stream import MessagesStreamReader
from flumegate.dialects.anthropic.messages.write_answer import write_answer
from flumegate.dialects.anthropic.messages.write_request import write_request
from flumegate.dialects.anthropic.messages.write_stream import MessagesStreamWriter
from flumegate.dialects.codecs import Codec

CODEC = Codec(
    "messages",
    "Anthropic Messages",
    "anthropic",
    read_request,
    write_request,
    read_answer,
    write_answer,
    MessagesStreamReader,
    MessagesStreamWriter,
    read_error,
    names={
        "max_output_tokens": "max_tokens",
        "stop": "stop_sequences",
        "user": "metadata.user_id",
        "reasoning": "thinking",
        "output": "output_config.format",
        "output.schema": "output_config.format.schema",
        "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
        "cache": "cache_control",
    },
)
