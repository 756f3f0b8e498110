"""A request as Gemini's `generateContent` wants it (dialects: §13.7). The model and the stream go into the path."""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.gemini.members import NAME, give_back
from flumegate.dialects.gemini.write_contents import Contents
from flumegate.dialects.gemini.write_generation import write_generation
from flumegate.dialects.gemini.write_parts import TARGET
from flumegate.dialects.gemini.write_tools import Tools
from flumegate.ir.loss import Losses
from flumegate.ir.request import Request
from flumegate.ir.written import Abilities, Written

_encode = msgspec.json.Encoder().encode
_TIERS = {"flex": "flex", "priority": "priority", "default": "standard", "standard_only": "standard"}
_UNKNOWN: tuple[tuple[str, str], ...] = (
    ("verbosity", "Gemini has no setting for it."),
    ("min_p", "Gemini has no setting for it."),
    ("repeat_penalty", "Gemini has no setting for it."),
    ("logit_bias", "Gemini has no setting for it."),
    ("user", "Gemini takes no ids of end users."),
    ("metadata", "Gemini takes no notes."),
    ("cache_key", "Gemini finds shared beginnings itself."),
)


def write_request(request: Request, abilities: Abilities) -> Written:
    """Return the body, and what could not be said."""
    losses = Losses()
    own = request.dialect == NAME
    tools = Tools(request, abilities, losses)
    contents = Contents(request, abilities, tools, losses)
    members: dict[str, Any] = {}
    if contents.system:
        members["systemInstruction"] = contents.system
    if contents.written or not own:
        members["contents"] = contents.written
    if tools.written:
        members["tools"] = tools.written
    if tools.config:
        members["toolConfig"] = tools.config
    generation = write_generation(request, abilities, losses)
    if generation:
        members["generationConfig"] = generation
    _write_tier(members, request, losses)
    _report(request, contents, losses)
    losses.extras(request.extras, "", (NAME,), TARGET)
    give_back(members, request.extras)
    return Written(_encode(members), tuple(losses.found), tools.renames)


def _write_tier(members: dict[str, Any], request: Request, losses: Losses) -> None:
    tier = request.service_tier
    if not tier:
        return
    if request.dialect == NAME:
        members["serviceTier"] = tier
    elif tier in _TIERS:
        members["serviceTier"] = _TIERS[tier]
    elif tier != "auto":
        losses.dropped("service_tier", "Gemini has no tier of that name.")


def _report(request: Request, contents: Contents, losses: Losses) -> None:
    """Report the settings that Gemini does not know, and what was left out in more than one place."""
    for name, reason in _UNKNOWN:
        if getattr(request, name) not in (None, "", b""):
            losses.dropped(name, reason)
    if request.store is not None:
        losses.dropped("store", "Gemini stores no answers.")
    if request.parallel_tool_calls is False:
        losses.dropped("parallel_tool_calls", "Gemini calls tools in parallel when it likes.")
    if request.cache is not None or contents.marked or any(tool.cache is not None for tool in request.tools):
        losses.dropped("cache", "Gemini takes no cache breakpoints; it finds shared beginnings itself.")
    if contents.stateless:
        losses.dropped("reasoning", "Reasoning of another provider's model means nothing to Gemini.")
    if contents.bypassed:
        losses.invented("reasoning", "Gemini wants signatures on calls that it did not make; its bypass value is sent.")
