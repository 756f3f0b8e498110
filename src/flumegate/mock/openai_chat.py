"""OpenAI chat completions (API reference, "Chat"; stream order as seen on the wire).

role chunk → content and tool deltas → a chunk with the finish reason → usage with empty `choices`, if asked for →
`[DONE]`. Reasoning text travels as `reasoning_content`, as vLLM and DeepSeek send it. Azure's first chunk has no
choices but the prompt's filter results.
"""

from __future__ import annotations

from collections.abc import Iterator

from flumegate.mock import openai_errors
from flumegate.mock.asked import Asked, Stamp, Tool, words_in
from flumegate.mock.faults import Faults
from flumegate.mock.frames import DONE, encode, event
from flumegate.mock.look import Json, count, items, mapping, text, texts
from flumegate.mock.script import Script

FINGERPRINT = "fp_mock000000"
AZURE = "azure"
_SAFE = {kind: {"filtered": False, "severity": "safe"} for kind in ("hate", "self_harm", "sexual", "violence")}
_ECHOED = frozenset({"user", "tool", "function"})


def read(body: Json, model: str, variant: str) -> Asked:
    """Return what a chat completion request asks for; `variant` is `azure` on Azure's paths."""
    messages = [mapping(message) for message in items(body.get("messages"))]
    echoed = [message for message in messages if message.get("role") in _ECHOED]
    said = [words for message in messages for words in texts(message.get("content"))]
    choice = body.get("tool_choice")
    effort = text(body.get("reasoning_effort")) or mapping(body.get("reasoning")).get("effort")
    limit = count(body.get("max_completion_tokens"))
    return Asked(
        model=model,
        body=body,
        last_text=" ".join(texts(echoed[-1].get("content"))) if echoed else "",
        words=words_in(said),
        stream=body.get("stream") is True,
        tools=() if choice == "none" else _tools(body),
        must_call=choice == "required" or isinstance(choice, dict),
        named=text(mapping(mapping(choice).get("function")).get("name")),
        after_tool_result=bool(messages) and messages[-1].get("role") in {"tool", "function"},
        reasoning=bool(effort) and effort != "none",
        word_limit=limit if limit is not None else count(body.get("max_tokens")),
        stops=stops(body.get("stop")),
        schema=_schema(mapping(body.get("response_format"))),
        choices=min(128, max(1, count(body.get("n")) or 1)),
        with_usage=mapping(body.get("stream_options")).get("include_usage") is True,
        variant=variant,
    )


def stops(value: object) -> tuple[str, ...]:
    """Return the stop texts of `stop`: a string or up to four."""
    return (value,) if isinstance(value, str) and value else tuple(text(stop) for stop in items(value) if stop)


def usage(script: Script) -> Json:
    """Return the usage object; cached tokens stand inside the prompt tokens, reasoning inside the completion."""
    return {
        "prompt_tokens": script.input_tokens,
        "completion_tokens": script.output_tokens,
        "total_tokens": script.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": script.cached_tokens,
            "cache_write_tokens": script.cache_write_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": script.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def unary(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> bytes:
    """Return a `chat.completion`."""
    message: Json = {
        "role": "assistant",
        "content": None if script.calls else script.speech.text(),
        "refusal": None,
        "annotations": [],
    }
    if script.reasoning:
        message["reasoning_content"] = script.reasoning.text()
    if script.calls:
        message["tool_calls"] = [
            {
                "id": stamp.name(f"call_{place}_"),
                "type": "function",
                "function": {"name": call.name, "arguments": encode(call.arguments).decode()},
            }
            for place, call in enumerate(script.calls)
        ]
    choice: Json = {"message": message, "logprobs": None, "finish_reason": script.finish}
    if asked.variant == AZURE:
        choice["content_filter_results"] = _SAFE
    answer: Json = {
        "id": stamp.name("chatcmpl-"),
        "object": "chat.completion",
        "created": stamp.time,
        "model": asked.model,
        "choices": [{"index": index, **choice} for index in range(asked.choices)],
    }
    if not faults.no_usage:
        answer["usage"] = usage(script)
    if asked.variant == AZURE:
        answer["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": _SAFE}]
    return encode(answer | {"service_tier": "default", "system_fingerprint": FINGERPRINT})


def events(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> Iterator[bytes]:
    """Yield the chunks of a stream."""
    head: Json = {
        "id": stamp.name("chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": stamp.time,
        "model": asked.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }
    with_usage = asked.with_usage and not faults.no_usage
    no_usage: Json = {"usage": None} if with_usage else {}
    if asked.variant == AZURE:
        empty: Json = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
        yield event(empty | {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _SAFE}]})
    opening = b"data: " + encode(head)[:-1] + b',"choices":[{"index":'
    closing = b',"logprobs":null,"finish_reason":null}]' + (b',"usage":null' if with_usage else b"") + b"}\n\n"
    for index in range(asked.choices):
        before = opening + str(index).encode() + b',"delta":'
        for delta in _deltas(script, stamp):
            yield before + delta + closing
        finish: Json = {"index": index, "delta": {}, "logprobs": None, "finish_reason": script.finish}
        yield event(head | {"choices": [finish]} | no_usage)
    if with_usage:
        yield event(head | {"choices": [], "usage": usage(script)})
    if not faults.no_done:
        yield DONE


def stream_error(asked: Asked, stamp: Stamp, emitted: int, failure: tuple[int, str, str]) -> Iterator[bytes]:
    """Yield what comes instead of the rest of a stream: one error, no `[DONE]`. `failure` is status, message, code."""
    del asked, stamp, emitted
    yield event({"error": openai_errors.fields(*failure)})


def _deltas(script: Script, stamp: Stamp) -> Iterator[bytes]:
    content = b"null" if script.calls else b'""'
    yield b'{"role":"assistant","content":' + content + b',"refusal":null}'
    for piece in script.reasoning.pieces():
        yield b'{"reasoning_content":' + encode(piece) + b"}"
    for place, call in enumerate(script.calls):
        yield encode(
            {
                "tool_calls": [
                    {
                        "index": place,
                        "id": stamp.name(f"call_{place}_"),
                        "type": "function",
                        "function": {"name": call.name, "arguments": ""},
                    }
                ]
            }
        )
        for part in argument_pieces(call.arguments):
            yield encode({"tool_calls": [{"index": place, "function": {"arguments": part}}]})
    for piece in script.speech.pieces():
        yield b'{"content":' + encode(piece) + b"}"


def argument_pieces(arguments: Json) -> Iterator[str]:
    """Yield the JSON text of a call's arguments in pieces of 12 characters: they split names, escapes and numbers."""
    written = encode(arguments).decode()
    for start in range(0, len(written), 12):
        yield written[start : start + 12]


def _tools(body: Json) -> tuple[Tool, ...]:
    found: list[Tool] = []
    for entry in items(body.get("tools")):
        function = mapping(mapping(entry).get("function") or mapping(entry).get("custom"))
        if function:
            found.append(Tool(text(function.get("name")), mapping(function.get("parameters"))))
    return tuple(found)


def _schema(response_format: Json) -> Json | None:
    match response_format.get("type"):
        case "json_object":
            return {}
        case "json_schema":
            return mapping(mapping(response_format.get("json_schema")).get("schema"))
    return None
