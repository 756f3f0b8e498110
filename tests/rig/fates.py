"""What became of everything that a request says: the rows of the table of losses.

A thing that was said is kept if no loss names it; otherwise the losses tell its fate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flumegate.ir.loss import Loss
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Request, Tool

_NOT_ROWS = {"dialect", "model", "turns", "stream", "include_usage", "tools", "extras", "cache"}
SETTINGS = tuple(name for name in Request.__struct_fields__ if name not in _NOT_ROWS)
_DEFAULTS = Request(dialect="", model="")


def fates(request: Request, losses: Iterable[Loss]) -> dict[str, list[str]]:
    """Return for each thing said its fates: `kept`, or the kinds of its losses, sorted."""
    losses = list(losses)
    found: dict[str, set[str]] = {}
    for row, places in _said(request):
        is_in = _is_inside if row.startswith("`") else _is_at
        found.setdefault(row, set()).update({loss.kind for loss in losses if is_in(loss.path, places)} or {"kept"})
    for loss in losses:
        if loss.kind == "invented" and "[" not in loss.path:
            found.setdefault(f"(not said) {loss.path}", set()).add("invented")
    return {row: sorted(kinds) for row, kinds in sorted(found.items())}


def _is_at(path: str, places: tuple[str, ...]) -> bool:
    return path in places


def _is_inside(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith((f"{place}.", f"{place}[")) for place in places if place)


def _said(request: Request) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield row and the places where a loss would name it."""
    has_history = any(isinstance(part, Thinking) for turn in request.turns for part in turn.parts)
    for name in SETTINGS:
        if getattr(request, name) != getattr(_DEFAULTS, name) and not (name == "reasoning" and has_history):
            yield f"`{name}`", (name,)
    if request.cache is not None:
        yield "cache mark of the whole request", ("cache",)
    for name in request.extras.fields if request.extras is not None else ():
        yield "members that only the client's dialect has", (name,)
    for tool in request.tools:
        yield from _said_of_tool(tool)
    leading = True
    for turn in request.turns:
        leading = leading and turn.role in ("system", "developer")
        if turn.role in ("system", "developer"):
            yield ("leading system text" if leading else "system text in mid-conversation"), (turn.at,)
        if turn.name:
            yield "name of a speaker", (f"{turn.at}.name",)
        for part in turn.parts:
            yield from _said_of_part(part, "")


def _said_of_tool(tool: Tool) -> Iterator[tuple[str, tuple[str, ...]]]:
    kind = "tool in a namespace" if tool.namespace else f"{tool.kind} tool"
    yield kind, (tool.at,)
    if tool.strict is not None:
        yield "`strict` of a tool", _members(tool.at, "strict", "function.strict")
    if tool.cache is not None:
        yield "cache mark", _marks(tool.at)


def _marks(at: str) -> tuple[str, ...]:
    return ("cache", "cache_control", *_members(at, "cache", "cache_control", "prompt_cache_breakpoint"))


def _members(at: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{at}.{name}" for name in names)


def _said_of_part(part: Part, where: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    match part:
        case Text():
            if part.text.strip():
                yield f"text{where}", (part.at,)
        case Media():
            yield f"{part.kind} by {_form(part)}{where}", (part.at,)
            if part.detail:
                yield "`detail` of an image", _members(part.at, "detail", "image_url.detail")
            if part.filename:
                yield "name or title of a document", _members(part.at, "filename", "file.filename", "title")
        case Thinking():
            yield ("reasoning with opaque state" if part.signature else "reasoning"), (part.at, "reasoning")
        case ToolCall():
            yield f"call of a {part.kind} tool", (part.at,)
        case ToolResult():
            yield "result of a tool", (part.at,)
            for inner in part.parts:
                yield from _said_of_part(inner, " in a tool result")
            if part.is_error is not None:
                yield "`is_error` of a tool result", (f"{part.at}.is_error",)
        case Refusal():
            yield "refusal in the history", (part.at,)
        case Opaque():
            yield "block that only the client's dialect has", (part.at,)
    if getattr(part, "cache", None) is not None:
        yield "cache mark", _marks(part.at)
    for name in _extras(part):
        yield "members that only the client's dialect has", (f"{part.at}.{name}",)


def _extras(part: Part) -> Iterable[str]:
    extras = None if isinstance(part, Opaque) else part.extras
    return extras.fields if extras is not None else ()


def _form(media: Media) -> str:
    for form in ("data", "url", "file_id", "text"):
        if getattr(media, form):
            return form.replace("_", " ")
    return "nothing"
