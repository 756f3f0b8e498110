"""OpenAI Responses and Open Responses (dialects: §4)."""

from flumegate.dialects.openai.responses.tap import ResponsesTap

__all__ = ["ResponsesTap"]
