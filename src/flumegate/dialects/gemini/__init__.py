"""Gemini's own API: `generateContent`, `streamGenerateContent`, `countTokens` and the embeddings (dialects: §9)."""

from __future__ import annotations

from types import MappingProxyType

from flumegate.dialects.codecs import Codec
from flumegate.dialects.gemini.embeddings import EMBEDDING_CODEC
from flumegate.dialects.gemini.errors import read_error
from flumegate.dialects.gemini.members import NAME
from flumegate.dialects.gemini.read_answer import read_answer
from flumegate.dialects.gemini.read_request import read_request
from flumegate.dialects.gemini.read_stream import GeminiStreamReader
from flumegate.dialects.gemini.write_answer import write_answer
from flumegate.dialects.gemini.write_request import write_request
from flumegate.dialects.gemini.write_stream import GeminiArrayWriter, GeminiStreamWriter

_CONFIG = "generationConfig"
CODEC = Codec(
    name=NAME,
    title="Gemini generateContent",
    family=NAME,
    read_request=read_request,
    write_request=write_request,
    read_answer=read_answer,
    write_answer=write_answer,
    stream_reader=GeminiStreamReader,
    stream_writer=GeminiStreamWriter,
    read_error=read_error,
    names=MappingProxyType(
        {
            "tool_choice": "toolConfig.functionCallingConfig",
            "output": f"{_CONFIG}.responseMimeType",
            "reasoning": f"{_CONFIG}.thinkingConfig",
            "reasoning.effort": f"{_CONFIG}.thinkingConfig.thinkingLevel",
            "reasoning.budget_tokens": f"{_CONFIG}.thinkingConfig.thinkingBudget",
            "max_output_tokens": f"{_CONFIG}.maxOutputTokens",
            "temperature": f"{_CONFIG}.temperature",
            "top_p": f"{_CONFIG}.topP",
            "top_k": f"{_CONFIG}.topK",
            "stop": f"{_CONFIG}.stopSequences",
            "seed": f"{_CONFIG}.seed",
            "presence_penalty": f"{_CONFIG}.presencePenalty",
            "frequency_penalty": f"{_CONFIG}.frequencyPenalty",
            "candidates": f"{_CONFIG}.candidateCount",
            "logprobs": f"{_CONFIG}.responseLogprobs",
            "top_logprobs": f"{_CONFIG}.logprobs",
            "service_tier": "serviceTier",
        }
    ),
)
ARRAY_CODEC = CODEC._replace(
    title="Gemini generateContent, streamed as an array",
    stream_writer=GeminiArrayWriter,
    media_type="application/json",
)
"""For clients that stream without `alt=sse`."""

__all__ = ["ARRAY_CODEC", "CODEC", "EMBEDDING_CODEC"]
