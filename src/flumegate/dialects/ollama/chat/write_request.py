"""A request for an Ollama server's `POST /api/chat` (fates: §13.6).

A server that is not told its window cuts the beginning of a long prompt without a word: where the window is known it is
asked for, and a prompt beyond it shall be an error.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.node import give_back
from flumegate.dialects.ollama.chat.write_messages import Messages
from flumegate.dialects.ollama.chat.write_tools import write_tools
from flumegate.dialects.ollama.names import CHAT, GENERATE
from flumegate.dialects.ollama.settings import option_members, take_options, write_format
from flumegate.dialects.ollama.think import write_think
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Extras
from flumegate.ir.request import Request
from flumegate.ir.turns import refuse_no_answer
from flumegate.ir.written import Abilities, Rename, Written

_TARGET = "Ollama"
_encode = msgspec.json.Encoder().encode
_HINTS = {
    "parallel_tool_calls": "Ollama cannot limit a model to one tool call.",
    "verbosity": "Ollama has no such knob.",
    "logit_bias": "Ollama has no such knob.",
    "user": "Ollama knows no end users.",
    "metadata": "Ollama keeps no notes.",
    "service_tier": "Ollama has one tier.",
    "cache_key": "Ollama has no cache that could be steered.",
    "store": "Ollama stores nothing.",
}
_HARMLESS: dict[str, object] = {"parallel_tool_calls": True, "store": False}
"""Values that say what Ollama does anyway."""


def write_request(request: Request, abilities: Abilities) -> Written:
    """Return the request in Ollama's form; what it cannot say is among the losses."""
    losses = Losses()
    renames: dict[str, Rename] = {}
    members: dict[str, Any] = {
        "model": abilities.model,
        "messages": Messages(request, abilities, losses).write(),
        "stream": request.stream,
    }
    tools = write_tools(request, abilities, losses, renames)
    if tools:
        members["tools"] = tools
    shape = write_format(request.output)
    if shape is not None:
        members["format"] = shape
    if request.output is not None and request.output.description:
        losses.dropped("output.description", "Ollama takes the schema alone.")
    think = write_think(request.reasoning, abilities, losses)
    if think is not None:
        members["think"] = think
    for name in ("logprobs", "top_logprobs"):
        value = getattr(request, name)
        if value is not None:
            members[name] = value
    _write_options(members, request, abilities, losses)
    _note_hints(request, losses)
    return Written(_encode(members), tuple(losses.found), renames)


def _write_options(members: dict[str, Any], request: Request, abilities: Abilities, losses: Losses) -> None:
    """Put the options, and what only this dialect knows, into the request."""
    options = option_members(request)
    if request.dialect not in (CHAT, GENERATE):
        refuse_no_answer(request, losses)
        _clean(options, abilities, losses)
    own = _own_extras(request, losses)
    if own is not None:
        fields = dict(own.fields)
        options |= take_options(fields)
        give_back(members, Extras(CHAT, fields), CHAT)
    if abilities.num_ctx is not None:
        options.setdefault("num_ctx", abilities.num_ctx)
        members.setdefault("truncate", False)
    if options:
        members["options"] = options


def _own_extras(request: Request, losses: Losses) -> Extras | None:
    """Return the members that Ollama's chat knows; report the others."""
    extras = request.extras
    if extras is None or extras.dialect == CHAT:
        return extras
    if extras.dialect == GENERATE:
        shared = {name: raw for name, raw in extras.fields.items() if name not in extras.vital}
        rest = {name: raw for name, raw in extras.fields.items() if name in extras.vital}
        losses.extras(Extras(GENERATE, rest, extras.vital), "", (), "Ollama's chat")
        return Extras(CHAT, shared)
    losses.extras(extras, "", (CHAT,), _TARGET)
    return None


def _clean(options: dict[str, Any], abilities: Abilities, losses: Losses) -> None:
    """Take out what would not mean the same here, or is not taken."""
    stop = options.pop("stop", ())
    kept = [one for one in stop if one]
    if len(kept) < len(stop):
        losses.dropped("stop", "An empty stop sequence would end every answer at once.")
    if kept:
        options["stop"] = kept
    if abilities.sampling is False:
        for name in ("temperature", "top_p", "top_k"):
            if options.pop(name, None) is not None:
                losses.dropped(name, "The model does not take it.")
    if abilities.temperature_and_top_p is False and "temperature" in options and options.pop("top_p", None) is not None:
        losses.dropped("top_p", "The model does not take it together with a temperature.")


def _note_hints(request: Request, losses: Losses) -> None:
    if request.candidates is not None and request.candidates > 1:
        losses.refused("candidates", "Ollama gives one answer.")
    if request.cache is not None:
        losses.dropped("cache", "Ollama has no cache that could be steered.")
    for name, reason in _HINTS.items():
        value = getattr(request, name)
        if value not in (None, "", b"", _HARMLESS.get(name)):
            losses.dropped(name, reason)
