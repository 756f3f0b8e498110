"""Gemini's `generateContent` request, read (dialects: §9). Model and stream stand in the path, not in the body."""

from __future__ import annotations

from typing import Any

from flumegate.dialects.gemini.members import NAME, Members, gathered
from flumegate.dialects.gemini.read_parts import Calls, read_part
from flumegate.dialects.gemini.read_settings import read_choice, read_output, read_reasoning, read_tools
from flumegate.dialects.node import ReadError
from flumegate.ir.parts import Extras, Text
from flumegate.ir.request import Request, Role, Turn

_ROLES: dict[str, Role] = {"": "user", "user": "user", "model": "assistant", "function": "tool", "tool": "tool"}
_VITAL = ("speechConfig",)


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> Request:
    """Return the request.

    Raises:
        ReadError: it is none.
    """
    return read_members(Members(body), model, stream=stream)


def read_members(node: Members, model: str, *, stream: bool) -> Request:
    """Do the same for a body that is already taken apart."""
    named = node.text("model").removeprefix("models/")
    turns = _read_system(node)
    calls = Calls()
    for content in node.lists("contents"):
        turns.append(_read_content(content, calls))
    tools = read_tools(node)
    tool_choice, tool_extras = read_choice(node)
    service_tier = node.text("serviceTier")
    settings, extras = _read_settings(node)
    left = gathered(node.left(("cachedContent",)), tool_extras, "toolConfig")
    return Request(
        dialect=NAME,
        model=model or named,
        turns=tuple(turns),
        stream=stream,
        tools=tools,
        tool_choice=tool_choice,
        service_tier=service_tier,
        extras=gathered(left, extras, "generationConfig"),
        **settings,
    )


def _read_system(node: Members) -> list[Turn]:
    if node.is_string("systemInstruction"):
        text = Text(node.text("systemInstruction"), at="systemInstruction")
        return [Turn("system", (text,), plain=True, at="systemInstruction")]
    content = node.node("systemInstruction")
    if content is None:
        return []
    content.raw("role")  # means nothing here, whatever it says
    return [_turn("system", content, Calls())]


def _read_content(content: Members, calls: Calls) -> Turn:
    name = content.text("role")
    role = _ROLES.get(name)
    if role is None:
        raise ReadError(content.at("role"), f"It must be 'user' or 'model', not {name[:40]!r}.")
    return _turn(role, content, calls)


def _turn(role: Role, content: Members, calls: Calls) -> Turn:
    place = content.at("parts")
    raws = [content.raw("parts")] if content.is_object("parts") else content.items("parts")
    parts = tuple(read_part(raw, calls, f"{place}[{number}]", f"{place}[{number}]") for number, raw in enumerate(raws))
    return Turn(role, parts, at=content.path, extras=content.left())


def _read_settings(node: Members) -> tuple[dict[str, Any], Extras | None]:
    config = node.node("generationConfig")
    if config is None:
        return {}, None
    output = read_output(config)
    reasoning = read_reasoning(config)
    settings = {
        "output": output,
        "reasoning": reasoning,
        "temperature": config.number("temperature"),
        "top_p": config.number("topP"),
        "top_k": config.whole_number("topK"),
        "candidates": config.whole_number("candidateCount"),
        "max_output_tokens": config.whole_number("maxOutputTokens"),
        "stop": config.strings("stopSequences"),
        "seed": config.whole_number("seed"),
        "presence_penalty": config.number("presencePenalty"),
        "frequency_penalty": config.number("frequencyPenalty"),
        "logprobs": config.boolean("responseLogprobs"),
        "top_logprobs": config.whole_number("logprobs"),
    }
    vital = _VITAL + (("responseModalities",) if _asks_more_than_text(config) else ())
    return settings, config.left(vital)


def _asks_more_than_text(config: Members) -> bool:
    """Tell whether the answer shall hold pictures or sound, without taking the member."""
    return config.peek_strings("responseModalities") not in ((), ("TEXT",))
