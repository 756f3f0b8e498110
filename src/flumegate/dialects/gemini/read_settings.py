"""Tools, tool choice, form of the answer and thinking, as a Gemini client says them."""

from __future__ import annotations

from typing import cast, get_args

import msgspec

from flumegate.dialects.gemini.members import NAME, Members
from flumegate.dialects.gemini.schema import from_openapi
from flumegate.dialects.node import ReadError
from flumegate.ir.parts import Extras
from flumegate.ir.request import Effort, Output, Reasoning, Tool, ToolChoice

_JSON = "application/json"
_MODES = ("AUTO", "ANY", "NONE", "VALIDATED")


def read_tools(node: Members) -> tuple[Tool, ...]:
    """Return the functions and Google's own tools, in order."""
    tools: list[Tool] = []
    for entry in node.lists("tools"):
        tools.extend(_read_function(declared) for declared in entry.lists("functionDeclarations"))
        entry.raw("functionDeclarations")
        for name in entry.names():
            config = entry.node(name)
            if config is not None:  # pragma: no branch - `names` leaves nulls out, which mypy cannot know
                tools.append(Tool(name, "hosted", dialect=NAME, at=entry.at(name), extras=config.left()))
    return tuple(tools)


def _read_function(declared: Members) -> Tool:
    schema = declared.raw("parametersJsonSchema")
    old = declared.raw("parameters")
    return Tool(
        declared.required("name"),
        description=declared.text("description"),
        parameters=schema or (from_openapi(old) if old else b""),
        at=declared.path,
        extras=declared.left(),
    )


def read_choice(node: Members) -> tuple[ToolChoice | None, Extras | None]:
    """Return what must be called, and what else `toolConfig` says."""
    config = node.node("toolConfig")
    if config is None:
        return None, None
    calling = config.node("functionCallingConfig")
    return None if calling is None else _read_calling(calling), config.left()


def _read_calling(calling: Members) -> ToolChoice:
    names = calling.strings("allowedFunctionNames")
    place, mode = calling.at("mode"), calling.text("mode").upper()
    extras = calling.left()
    match mode:
        case "ANY" if names:
            return ToolChoice("allowed" if len(names) > 1 else "named", names, required=len(names) > 1, extras=extras)
        case "ANY":
            return ToolChoice("required", extras=extras)
        case "NONE":
            return ToolChoice("none", names, extras=extras)
        case "VALIDATED":  # by itself a promise on the arguments' form, which other dialects keep or not
            return _validated(names, extras)
        case "" | "AUTO" | "MODE_UNSPECIFIED":
            return ToolChoice("auto", names, extras=extras)
        case _:
            raise ReadError(place, f"It must be one of {', '.join(_MODES)}, not {mode[:40]!r}.")


def _validated(names: tuple[str, ...], extras: Extras | None) -> ToolChoice:
    if names:
        return ToolChoice("allowed", names, extras=extras)
    fields = extras.fields if extras is not None else {}
    return ToolChoice("auto", extras=Extras(NAME, fields | {"mode": msgspec.Raw(b'"VALIDATED"')}))


def read_output(config: Members) -> Output | None:
    """Return the form of the answer; text is said by `responseModalities` where nothing else is said."""
    kind = config.peek_string("responseMimeType")
    schema = config.raw("responseJsonSchema")
    old = config.raw("responseSchema")
    if kind == _JSON:
        config.raw("responseMimeType")
        if config.peek_strings("responseModalities") == ("TEXT",):
            config.raw("responseModalities")  # JSON is text
        if schema or old:
            return Output("schema", schema=schema or from_openapi(old))
        return Output("json")
    if schema or old:
        place = config.at("responseJsonSchema" if schema else "responseSchema")
        raise ReadError(place, f"It needs 'responseMimeType': {_JSON!r}.")
    if config.peek_strings("responseModalities") == ("TEXT",):
        config.raw("responseModalities")
        return Output("text")
    return None


def read_reasoning(config: Members) -> Reasoning | None:
    """Return how much the model shall think."""
    thinking = config.node("thinkingConfig")
    if thinking is None:
        return None
    budget = thinking.whole_number("thinkingBudget")
    place, level = thinking.at("thinkingLevel"), thinking.text("thinkingLevel").lower()
    if level == "thinking_level_unspecified":
        level = ""
    if level and level not in get_args(Effort):
        raise ReadError(place, f"No level is called {level[:40]!r}.")
    reasoning = Reasoning(
        effort=cast("Effort", level) if level else None,
        budget_tokens=budget if budget is not None and budget > 0 else None,
        enabled=None if budget is None or budget > 0 else budget < 0,
        visible=thinking.boolean("includeThoughts"),
        extras=thinking.left(),
    )
    return None if reasoning == Reasoning() else reasoning
