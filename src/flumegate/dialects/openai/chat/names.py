"""Names that the chat codec's modules share: its own, its settings', and the few servers that differ in a field.

What a *model* can do stands in `Abilities`; here is only what a kind of server understands on the wire.
"""

from __future__ import annotations

from types import MappingProxyType

CHAT = "chat"
TARGET = "OpenAI chat completions"
"""In sentences for people."""

MESSAGES_ORIGIN = "messages"
"""`thinking_blocks` are Anthropic's blocks: their signatures travel bare."""
GEMINI_ORIGIN = "gemini"
"""`extra_content.google.thought_signature` is Google's field."""

OPENAI_SERVERS = frozenset({"openai", "azure", ""})
"""Servers that know every field of OpenAI's reference; an unnamed one is taken for OpenAI's own."""
SAMPLING_SERVERS = frozenset(
    {"vllm", "sglang", "llamacpp", "llama.cpp", "lmstudio", "ollama", "openrouter", "together", "fireworks", "custom"}
)
"""Servers that take `top_k`, `min_p` and `repetition_penalty`."""
NAMELESS_SERVERS = frozenset({"groq", "mistral", "xai", "cerebras"})
"""Servers that refuse `name` on a message."""
REASONING_OBJECT_SERVERS = frozenset({"openrouter", "snowflake"})
"""Servers that take `reasoning: {effort, max_tokens, …}` instead of `reasoning_effort`."""
GOOGLE_SERVERS = frozenset({"gemini", "google", "vertex"})

SETTINGS = MappingProxyType(
    {
        "max_output_tokens": "max_completion_tokens",
        "candidates": "n",
        "cache_key": "prompt_cache_key",
        "output": "response_format",
        "reasoning": "reasoning_effort",
        "reasoning.effort": "reasoning_effort",
        "repeat_penalty": "repetition_penalty",
        "include_usage": "stream_options.include_usage",
    }
)
"""Neutral name of a setting → path in a request of this dialect."""

ANSWER_TRIVIAL = (
    "system_fingerprint",
    "service_tier",
    "obfuscation",
    "provider",
    "timings",
    "prompt_filter_results",
    "prompt_token_ids",
    "kv_transfer_params",
    "usage_breakdown",
    "x_groq",
)
"""Of an answer: how and where the provider made it."""
CHOICE_TRIVIAL = ("stop_reason", "content_filter_results", "matched_stop", "native_finish_reason", "token_ids")
"""Of a choice: the same end in other words, and verdicts of a filter that let it pass."""
