"""The dialect's own words, in one place: its name, how people call it, and what kinds of items it has."""

from __future__ import annotations

import msgspec

from flumegate.ir.parts import Extras

NAME = "responses"
"""Codec name, `Extras.dialect`, and origin of opaque state."""
TITLE = "OpenAI Responses"
TARGET = "The Responses API"
"""In sentences of losses."""

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"

ITEM = "item"
"""Among the extras of a message's first part: the message's own members, so that messages stay apart."""
RAW_TEXT = "content"
"""Among the extras of thinking: its texts are raw reasoning text, not a summary."""
EMPTY_LIST = msgspec.Raw(b"[]")

TRIVIAL = ("id", "status", "phase", "created_by", "usage", "incomplete_details", ITEM)
"""Of items and ends: how this API itself finds its way, and what it counts more finely."""
ECHOES = (
    "background",
    "billing",
    "completed_at",
    "conversation",
    "error",
    "frequency_penalty",
    "incomplete_details",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "presence_penalty",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "usage",
    "user",
)
"""Of a response object: the client's own settings said again, and what only this API keeps about an answer."""

INSIDE = ".content["
"""In the path of an opaque part: it stood in a message, not beside it."""

TRACES = frozenset(
    {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_list_tools",
        "mcp_call",
        "tool_search_call",
        "tool_search_output",
    }
)
"""Items that tell of work done at the provider: the conversation can be understood without them."""

_encode = msgspec.json.Encoder().encode


def own(extras: Extras | None) -> dict[str, msgspec.Raw]:
    """Return the members that this dialect had left over; empty for another dialect's."""
    return extras.fields if extras is not None and extras.dialect == NAME else {}


def with_more(extras: Extras | None, more: dict[str, msgspec.Raw], vital: tuple[str, ...] = ()) -> Extras | None:
    """Return extras with further members."""
    if not more:
        return extras
    trivial = tuple(name for name in more if name in TRIVIAL)
    if extras is None:
        return Extras(NAME, more, vital, trivial)
    return Extras(NAME, extras.fields | more, extras.vital + vital, extras.trivial + trivial)


def raw_object(fields: dict[str, msgspec.Raw]) -> msgspec.Raw:
    """Return members as one JSON object."""
    return msgspec.Raw(_encode(fields))
