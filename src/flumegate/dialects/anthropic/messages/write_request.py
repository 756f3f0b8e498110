"""A request as Anthropic Messages (dialects: §6, §13.1). Sections are written in the order in which the model reads."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from flumegate.dialects.anthropic.messages import schema
from flumegate.dialects.anthropic.messages.draft import Draft
from flumegate.dialects.anthropic.messages.extras import TARGET, write_cache
from flumegate.dialects.anthropic.messages.write_thinking import write_thinking
from flumegate.dialects.anthropic.messages.write_tools import write_tools
from flumegate.dialects.anthropic.messages.write_turns import arrange, write_messages, write_system
from flumegate.ir.request import Output, Request
from flumegate.ir.written import Abilities, Written

MAX_TOKENS = 32_000
"""Said where nobody says a limit: Anthropic demands one, and a small one would cut answers (dialects: §16, 20)."""
_MAX_USER = 64
_KNOBS = (
    ("min_p", "sampling by a least probability"),
    ("seed", "seeds"),
    ("presence_penalty", "penalties"),
    ("frequency_penalty", "penalties"),
    ("repeat_penalty", "penalties"),
    ("logit_bias", "biases of tokens"),
    ("verbosity", "levels of verbosity"),
    ("metadata", "notes of the client"),
    ("cache_key", "cache keys"),
    ("store", "stored answers"),
)

_encode = msgspec.json.Encoder().encode


def write_request(request: Request, abilities: Abilities) -> Written:
    """Return the request for the wire; see `codecs.Codec.write_request`."""
    draft = Draft(request, abilities)
    members: dict[str, Any] = {"model": abilities.model, "max_tokens": _max_tokens(draft)}
    if request.stream:
        members["stream"] = True
    write_tools(draft, members)
    leading, turns = arrange(draft)
    instruction = _write_output(draft, members, request.output)
    write_system(draft, members, leading, instruction)
    members["messages"] = write_messages(draft, turns)
    _write_sampling(draft, members)
    write_thinking(draft, members, turns)
    _settle_sampling(draft, members)
    _write_rest(draft, members)
    draft.limit_marks()
    draft.extras(members, request.extras, "")
    return Written(_encode(members), tuple(draft.losses.found), draft.renames)


def write_count(tokens: int) -> bytes:
    """Return the answer of `count_tokens`."""
    return b'{"input_tokens":%d}' % tokens


def _max_tokens(draft: Draft) -> int:
    most = draft.abilities.max_output_tokens
    wish = draft.request.max_output_tokens
    if wish is None:
        if most is not None:
            return most
        draft.losses.invented("max_output_tokens", f"{TARGET} demands a limit; {MAX_TOKENS} tokens are named.")
        return MAX_TOKENS
    if most is not None and wish > most:
        draft.losses.approximated("max_output_tokens", f"The model says at most {most} tokens.")
        return most
    return wish


def _write_output(draft: Draft, members: dict[str, Any], output: Output | None) -> str:
    """Write the form of the answer, or return the instruction that stands for it."""
    if output is None or output.kind == "text":
        if output is not None:
            draft.losses.extras(output.extras, "output", (), TARGET)
        return ""
    if output.description:
        draft.losses.dropped("output.description", f"{TARGET} describes a schema only inside it.")
    form: dict[str, Any] = {}
    draft.extras(form, output.extras, "output")
    if output.kind == "json":
        draft.losses.approximated("output", f"{TARGET} has no mode for any JSON; the model is told to answer in it.")
        return "Answer with one JSON object and nothing else: no other text, no code fence."
    if draft.abilities.json_schema is False:
        draft.losses.approximated("output", "The model cannot be held to a schema; it is told to follow it.")
        text = output.schema.decode("utf-8", "replace")
        return f"Answer with one JSON object and nothing else: no other text, no code fence. Its JSON Schema:\n{text}"
    wanted, changed = (output.schema, ()) if draft.own else schema.of_answer(output.schema)
    if changed:
        names = ", ".join(changed)
        draft.losses.approximated("output.schema", f"{TARGET} does not enforce these keywords as given: {names}.")
    form |= {"type": "json_schema", "schema": msgspec.Raw(wanted or b"{}")}
    members.setdefault("output_config", {})["format"] = form
    return ""


def _write_sampling(draft: Draft, members: dict[str, Any]) -> None:
    request, abilities = draft.request, draft.abilities
    given = {"temperature": request.temperature, "top_p": request.top_p, "top_k": request.top_k}
    for name, value in given.items():
        if value is None:
            continue
        if abilities.sampling is False:
            draft.losses.dropped(name, "The model takes no settings of sampling.")
        elif name == "top_p" and abilities.temperature_and_top_p is False and request.temperature is not None:
            draft.losses.dropped(name, "The model takes one of temperature and top_p.")
        elif name == "temperature" and value > 1:
            draft.losses.approximated(name, f"{TARGET} takes a temperature of at most 1.")
            members[name] = 1.0
        else:
            members[name] = value


def _settle_sampling(draft: Draft, members: dict[str, Any]) -> None:
    """Leave out what a model that thinks does not allow beside it."""
    if draft.own or members.get("thinking", {}).get("type", "disabled") == "disabled":
        return
    refused = {"temperature": members.get("temperature", 1) != 1, "top_k": "top_k" in members}
    for name in [name for name, is_refused in refused.items() if is_refused]:
        del members[name]
        draft.losses.dropped(name, "The model takes it only where it does not think.")
    if members.get("top_p", 1) < 0.95:
        del members["top_p"]
        draft.losses.dropped("top_p", "The model takes no less than 0.95 where it thinks.")


def _write_rest(draft: Draft, members: dict[str, Any]) -> None:
    request = draft.request
    stops = tuple(stop for stop in request.stop if stop.strip())
    if len(stops) < len(request.stop):
        draft.losses.dropped("stop", f"{TARGET} takes no stop sequence of white space alone.")
    if stops:
        members["stop_sequences"] = stops
    if request.user:
        members["metadata"] = {"user_id": _user_id(draft, request.user)}
    if request.cache is not None:
        members["cache_control"] = write_cache(request.cache)
    if request.service_tier == "auto":
        members["service_tier"] = "auto"
    elif request.service_tier:
        draft.losses.dropped("service_tier", f"{TARGET} has other tiers.")
    if (request.candidates or 1) > 1:
        draft.losses.refused("candidates", f"{TARGET} gives one answer at a time.")
    for name in ("logprobs", "top_logprobs"):
        if getattr(request, name):
            draft.losses.refused(name, f"{TARGET} tells no probabilities.")
    for name, what in _KNOBS:
        if getattr(request, name) not in (None, "", b""):
            draft.losses.dropped(name, f"{TARGET} has no {what}.")


def _user_id(draft: Draft, user: str) -> str:
    """Return an id that tells nothing of a person: Anthropic wants neither names nor addresses."""
    if draft.own or ("@" not in user and len(user) <= _MAX_USER):
        return user
    draft.losses.approximated("user", "The id may tell who it is; its hash is sent.")
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()
