"""OpenAI responses (API reference, "Responses"; Open Responses 2026-04-24): the complete object, the event grammar.

`sequence_number` starts at 0 without gaps; a reasoning item comes first, then calls or one message; exactly one
terminal event with the full object, and no `[DONE]` behind it, as OpenAI's own service does it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from flumegate.mock import openai_errors
from flumegate.mock.asked import Asked, Stamp, Tool, words_in
from flumegate.mock.faults import Faults
from flumegate.mock.frames import encode, named_event
from flumegate.mock.look import Json, count, items, mapping, text, texts
from flumegate.mock.openai_chat import argument_pieces
from flumegate.mock.script import Script

ENCRYPTED = "reasoning.encrypted_content"
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output"})
_DEFAULTS: Json = {
    "previous_response_id": None,
    "instructions": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "temperature": 1.0,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": True,
    "background": False,
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
"""What the object repeats from the request, or says instead; every key must be there."""


def read(body: Json, model: str, variant: str) -> Asked:
    """Return what a responses request asks for."""
    given = body.get("input")
    entries: list[Json] = [{"role": "user", "content": given}] if isinstance(given, str) else []
    entries += [mapping(entry) for entry in items(given)]
    said = [text(body.get("instructions"))]
    said += [words for entry in entries for words in texts(entry.get("content") or entry.get("output"))]
    echoed = [entry for entry in entries if entry.get("role") == "user" or entry.get("type") in _RESULTS]
    choice = body.get("tool_choice")
    reasoning = mapping(body.get("reasoning"))
    return Asked(
        model=model,
        body=body,
        last_text=" ".join(texts(echoed[-1].get("content") or echoed[-1].get("output"))) if echoed else "",
        words=words_in(said),
        stream=body.get("stream") is True,
        tools=() if choice == "none" else tuple(_tools(body.get("tools"))),
        must_call=choice == "required" or isinstance(choice, dict),
        named=text(mapping(choice).get("name")),
        after_tool_result=bool(entries) and entries[-1].get("type") in _RESULTS,
        reasoning=bool(reasoning) and reasoning.get("effort") != "none",
        word_limit=count(body.get("max_output_tokens")),
        schema=_schema(mapping(mapping(body.get("text")).get("format"))),
        variant=variant,
    )


def unary(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> bytes:
    """Return a finished `response`."""
    return encode(finished(asked, script, stamp, faults))


def finished(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> Json:
    """Return the response object as it stands at the end."""
    status = "incomplete" if script.finish == "length" else "completed"
    answer = _object(asked, stamp, status)
    answer["output"] = [_item(asked, script, stamp, place) for place in range(_count(script))]
    answer["completed_at"] = stamp.time if status == "completed" else None
    if status == "incomplete":
        answer["incomplete_details"] = {"reason": "max_output_tokens"}
    answer["usage"] = None if faults.no_usage else usage(script)
    return answer


def usage(script: Script) -> Json:
    """Return the usage object; both detail objects are required."""
    return {
        "input_tokens": script.input_tokens,
        "input_tokens_details": {
            "cached_tokens": script.cached_tokens,
            "cache_write_tokens": script.cache_write_tokens,
        },
        "output_tokens": script.output_tokens,
        "output_tokens_details": {"reasoning_tokens": script.reasoning_tokens},
        "total_tokens": script.total_tokens,
    }


def events(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> Iterator[bytes]:
    """Yield the events of a stream, numbered from 0."""
    for number, (name, fields) in enumerate(_events(asked, script, stamp, faults)):
        yield named_event(name, {"type": name, "sequence_number": number} | fields)


def stream_error(asked: Asked, stamp: Stamp, emitted: int, failure: tuple[int, str, str]) -> Iterator[bytes]:
    """Yield what comes instead of the rest: an `error` event, then `response.failed`."""
    error = openai_errors.fields(*failure)
    yield named_event("error", {"type": "error", "sequence_number": emitted, "error": error})
    failed = _object(asked, stamp, "failed")
    failed["error"] = {"code": error["code"] or "server_error", "message": error["message"]}
    name = "response.failed"
    yield named_event(name, {"type": name, "sequence_number": emitted + 1, "response": failed})


def input_tokens(asked: Asked) -> bytes:
    """Return the answer of `POST /v1/responses/input_tokens`."""
    return encode({"object": "response.input_tokens", "input_tokens": asked.words})


def _events(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> Iterator[tuple[str, Json]]:
    begun = _object(asked, stamp, "in_progress")
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for place in range(_count(script)):
        item = _item(asked, script, stamp, place)
        where: Json = {"item_id": item["id"], "output_index": place}
        yield "response.output_item.added", {"output_index": place, "item": _opened(item)}
        match item["type"]:
            case "reasoning":
                yield from _reasoning(script, where)
            case "function_call":
                for part in argument_pieces(script.calls[place - bool(script.reasoning)].arguments):
                    yield "response.function_call_arguments.delta", where | {"delta": part}
                whole = {"arguments": item["arguments"], "name": item["name"]}
                yield "response.function_call_arguments.done", where | whole
            case _:
                yield from _message(script, where)
        yield "response.output_item.done", {"output_index": place, "item": item}
    end = finished(asked, script, stamp, faults)
    if not faults.no_done:
        yield f"response.{end['status']}", {"response": end}


def _reasoning(script: Script, where: Json) -> Iterator[tuple[str, Json]]:
    here = where | {"summary_index": 0}
    yield "response.reasoning_summary_part.added", here | {"part": {"type": "summary_text", "text": ""}}
    for piece in script.reasoning.pieces():
        yield "response.reasoning_summary_text.delta", here | {"delta": piece}
    said = script.reasoning.text()
    yield "response.reasoning_summary_text.done", here | {"text": said}
    yield "response.reasoning_summary_part.done", here | {"part": {"type": "summary_text", "text": said}}


def _message(script: Script, where: Json) -> Iterator[tuple[str, Json]]:
    here = where | {"content_index": 0}
    yield "response.content_part.added", here | {"part": _part("")}
    for piece in script.speech.pieces():
        yield "response.output_text.delta", here | {"delta": piece, "logprobs": []}
    said = script.speech.text()
    yield "response.output_text.done", here | {"text": said, "logprobs": []}
    yield "response.content_part.done", here | {"part": _part(said)}


def _object(asked: Asked, stamp: Stamp, status: str) -> Json:
    body = asked.body
    repeated = {name: body[name] if body.get(name) is not None else usual for name, usual in _DEFAULTS.items()}
    spoken = mapping(body.get("text"))
    return {
        "id": stamp.name("resp_"),
        "object": "response",
        "created_at": stamp.time,
        "completed_at": None,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": asked.model,
        "output": [],
        "usage": None,
        **repeated,
        "text": {"format": {"type": "text"}, "verbosity": "medium"} | spoken,
        "reasoning": {"effort": None, "summary": None} | mapping(body.get("reasoning")),
        "service_tier": "default",
        "user": None,
    }


def _count(script: Script) -> int:
    return bool(script.reasoning) + (len(script.calls) or 1)


def _item(asked: Asked, script: Script, stamp: Stamp, place: int) -> Json:
    if script.reasoning and place == 0:
        said = script.reasoning.text()
        item: Json = {
            "id": stamp.name("rs_"),
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": said}],
        }
        if ENCRYPTED in items(asked.body.get("include")):
            item["encrypted_content"] = base64.b64encode(hashlib.sha256(said.encode()).digest()).decode()
        return item
    index = place - bool(script.reasoning)
    if script.calls:
        return {
            "id": stamp.name(f"fc_{index}_"),
            "type": "function_call",
            "status": "completed",
            "call_id": stamp.name(f"call_{index}_"),
            "name": script.calls[index].name,
            "arguments": encode(script.calls[index].arguments).decode(),
        }
    return {
        "id": stamp.name("msg_"),
        "type": "message",
        "role": "assistant",
        "status": "incomplete" if script.finish == "length" else "completed",
        "content": [_part(script.speech.text())],
    }


def _opened(item: Json) -> Json:
    """Return an item as it is announced: the same ids, nothing in it yet."""
    zero: Json = {"status": "in_progress", "content": [], "arguments": "", "summary": [], "encrypted_content": ""}
    return item | {name: value for name, value in zero.items() if name in item}


def _part(said: str) -> Json:
    return {"type": "output_text", "text": said, "annotations": [], "logprobs": []}


def _tools(given: object) -> Iterator[Tool]:
    for entry in items(given):
        fields = mapping(entry)
        if fields.get("type") == "namespace":
            yield from _tools(fields.get("tools"))
        elif fields.get("type") == "function":
            yield Tool(text(fields.get("name")), mapping(fields.get("parameters")))


def _schema(wanted: Json) -> Json | None:
    match wanted.get("type"):
        case "json_object":
            return {}
        case "json_schema":
            return mapping(wanted.get("schema"))
    return None
