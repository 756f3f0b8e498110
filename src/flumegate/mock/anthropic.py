"""Anthropic messages (Messages API, "Streaming messages" and "Errors"; shapes as in the Python SDK 2.11).

`message_start` → per block `content_block_start`, a `ping` after the first, deltas, `content_block_stop` →
`message_delta` with cumulative usage → `message_stop`. Input tokens are without what the cache served or took in.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from flumegate.mock.asked import Asked, Stamp, Tool, words_in
from flumegate.mock.faults import Faults
from flumegate.mock.frames import encode, named_event
from flumegate.mock.look import Json, count, items, mapping, text, texts
from flumegate.mock.openai_chat import argument_pieces
from flumegate.mock.openai_lists import MODELS
from flumegate.mock.script import Call, Script

_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_SILENT = frozenset({"", "disabled"})


def read(body: Json, model: str, variant: str) -> Asked:
    """Return what a messages request asks for."""
    messages = [mapping(message) for message in items(body.get("messages"))]
    said = [*texts(body.get("system"))]
    said += [words for message in messages for words in texts(message.get("content"))]
    users = [message for message in messages if message.get("role") == "user"]
    last = users[-1].get("content") if users else ""
    results = [part for part in items(last) if mapping(part).get("type") == "tool_result"]
    choice = mapping(body.get("tool_choice"))
    wanted = mapping(mapping(body.get("output_config")).get("format") or body.get("output_format"))
    tools = tuple(_tool(mapping(entry)) for entry in items(body.get("tools")))
    return Asked(
        model=model,
        body=body,
        last_text=" ".join(texts(last)),
        words=words_in(said),
        stream=body.get("stream") is True,
        tools=() if choice.get("type") == "none" else tools,
        must_call=choice.get("type") in {"any", "tool"},
        named=text(choice.get("name")),
        after_tool_result=bool(results),
        reasoning=text(mapping(body.get("thinking")).get("type")) not in _SILENT,
        word_limit=count(body.get("max_tokens")),
        stops=tuple(text(stop) for stop in items(body.get("stop_sequences")) if stop),
        schema=mapping(wanted.get("schema")) if wanted.get("type") == "json_schema" else None,
        variant=variant,
    )


def unary(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> bytes:
    """Return a `message`."""
    spent: Json | None = None if faults.no_usage else usage(script)
    message = _message(asked, stamp, spent, [block for block, _ in _blocks(asked, script, stamp)])
    return encode(message | _ending(script))


def usage(script: Script) -> Json:
    """Return the usage object."""
    return {
        "input_tokens": script.input_tokens - script.cached_tokens - script.cache_write_tokens,
        "cache_creation_input_tokens": script.cache_write_tokens,
        "cache_read_input_tokens": script.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": script.cache_write_tokens, "ephemeral_1h_input_tokens": 0},
        "output_tokens": script.output_tokens,
        "output_tokens_details": {"thinking_tokens": script.reasoning_tokens},
        "service_tier": "standard",
    }


def events(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> Iterator[bytes]:
    """Yield the events of a stream."""
    spent = usage(script)
    first: Json | None = None if faults.no_usage else spent | {"output_tokens": 1, "output_tokens_details": None}
    yield _event("message_start", {"message": _message(asked, stamp, first, [])})
    for index, (block, deltas) in enumerate(_blocks(asked, script, stamp)):
        yield _event("content_block_start", {"index": index, "content_block": _opened(block)})
        if index == 0:
            yield _event("ping", {})
        opening = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":' % index
        for delta in deltas:
            yield opening + delta + b"}\n\n"
        yield _event("content_block_stop", {"index": index})
    cumulative = {name: value for name, value in spent.items() if name not in {"cache_creation", "service_tier"}}
    ended: Json = {"delta": _ending(script)}
    yield _event("message_delta", ended if faults.no_usage else ended | {"usage": cumulative})
    if not faults.no_done:
        yield _event("message_stop", {})


def stream_error(asked: Asked, stamp: Stamp, emitted: int, failure: tuple[int, str, str]) -> Iterator[bytes]:
    """Yield what comes instead of the rest: an `error` event, and no `message_stop`."""
    del asked, emitted
    status, message, code = failure
    yield named_event("error", _failure(status, message, code, stamp.name("req_")))


def error(status: int, message: str, code: str = "") -> bytes:
    """Return the body of an error answer; `code` replaces the usual error type."""
    return encode(_failure(status, message, code, "req_mock"))


def count_tokens(asked: Asked) -> bytes:
    """Return the answer of `POST /v1/messages/count_tokens`."""
    return encode({"input_tokens": asked.words})


def models() -> bytes:
    """Return the list of models in Anthropic's shape."""
    rows = [_row(name) for name in MODELS]
    return encode({"data": rows, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})


def model(name: str) -> bytes:
    """Return one model, whatever its name."""
    return encode(_row(name))


def _row(name: str) -> Json:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "2025-01-01T00:00:00Z",
        "lifecycle": "active",
    }


def _event(name: str, fields: Json) -> bytes:
    return named_event(name, {"type": name} | fields)


def _failure(status: int, message: str, code: str, request_id: str) -> Json:
    kind = code or _KINDS.get(status) or ("api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def _message(asked: Asked, stamp: Stamp, spent: Json | None, content: list[Json]) -> Json:
    message: Json = {
        "id": stamp.name("msg_"),
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }
    return message if spent is None else message | {"usage": spent}


def _ending(script: Script) -> Json:
    if script.stopped_at:
        return {"stop_reason": "stop_sequence", "stop_sequence": script.stopped_at}
    return {"stop_reason": _FINISH[script.finish], "stop_sequence": None}


def _blocks(asked: Asked, script: Script, stamp: Stamp) -> Iterator[tuple[Json, Iterator[bytes]]]:
    """Yield each block of the answer, whole, with the deltas that it is streamed in."""
    if script.reasoning:
        said = "" if mapping(asked.body.get("thinking")).get("display") == "omitted" else script.reasoning.text()
        signature = base64.b64encode(hashlib.sha256(asked.last_text.encode(errors="surrogatepass")).digest()).decode()
        block: Json = {"type": "thinking", "thinking": said, "signature": signature}
        yield block, _thought(script if said else None, signature)
    for place, call in enumerate(script.calls):
        block = {"type": "tool_use", "id": stamp.name(f"toolu_{place}_"), "name": call.name, "input": call.arguments}
        yield block, _arguments(call)
    if not script.calls:
        yield {"type": "text", "text": script.speech.text()}, _text(script)


def _opened(block: Json) -> Json:
    zero: Json = {"text": "", "thinking": "", "signature": "", "input": {}}
    return block | {name: value for name, value in zero.items() if name in block}


def _thought(script: Script | None, signature: str) -> Iterator[bytes]:
    for piece in script.reasoning.pieces() if script else ():
        yield encode({"type": "thinking_delta", "thinking": piece})
    yield encode({"type": "signature_delta", "signature": signature})


def _arguments(call: Call) -> Iterator[bytes]:
    yield encode({"type": "input_json_delta", "partial_json": ""})
    for part in argument_pieces(call.arguments):
        yield encode({"type": "input_json_delta", "partial_json": part})


def _text(script: Script) -> Iterator[bytes]:
    for piece in script.speech.pieces():
        yield b'{"type":"text_delta","text":' + encode(piece) + b"}"


def _tool(entry: Json) -> Tool:
    return Tool(text(entry.get("name")), mapping(entry.get("input_schema")))
