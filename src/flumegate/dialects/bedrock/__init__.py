"""Bedrock's Converse, in which only providers are asked: what its wire format means."""

from __future__ import annotations

from types import MappingProxyType

from flumegate.dialects.bedrock.errors import read_error
from flumegate.dialects.bedrock.names import NAME
from flumegate.dialects.bedrock.read_answer import read_answer
from flumegate.dialects.bedrock.read_stream import BedrockStreamReader
from flumegate.dialects.bedrock.write_request import write_request
from flumegate.dialects.codecs import Codec

CODEC = Codec(
    name=NAME,
    title="Bedrock Converse",
    family="bedrock",
    write_request=write_request,
    read_answer=read_answer,
    stream_reader=BedrockStreamReader,
    read_error=read_error,
    media_type="application/vnd.amazon.eventstream",
    names=MappingProxyType(
        {
            "max_output_tokens": "inferenceConfig.maxTokens",
            "temperature": "inferenceConfig.temperature",
            "top_p": "inferenceConfig.topP",
            "top_k": "additionalModelRequestFields.top_k",
            "stop": "inferenceConfig.stopSequences",
            "tools": "toolConfig.tools",
            "tool_choice": "toolConfig.toolChoice",
            "output": "outputConfig.textFormat",
            "reasoning": "additionalModelRequestFields.thinking",
            "service_tier": "serviceTier.type",
            "metadata": "requestMetadata",
        }
    ),
)
