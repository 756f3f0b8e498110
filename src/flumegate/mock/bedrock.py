"""Amazon Bedrock's Converse and ConverseStream (Bedrock API reference).

The model and whether it streams stand in the path. A stream is `messageStart` → per block `contentBlockStart` (calls
only), deltas, `contentBlockStop` → `messageStop` → `metadata` with the usage, each a binary frame; exceptions are
frames too. Input tokens are without what the cache served or took in.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import msgspec

from flumegate.mock.asked import Asked, Stamp, Tool, words_in
from flumegate.mock.faults import Faults
from flumegate.mock.frames import binary_event, encode
from flumegate.mock.look import Json, count, items, mapping, text
from flumegate.mock.openai_chat import argument_pieces
from flumegate.mock.script import Script

STREAM = "stream"
_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_KINDS = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}


def read(body: Json, model: str, variant: str) -> Asked:
    """Return what a request asks for; `variant` is `stream` at `/converse-stream`."""
    messages = [mapping(message) for message in items(body.get("messages"))]
    said = list(_texts(body.get("system")))
    said += [words for message in messages for words in _texts(message.get("content"))]
    users = [message for message in messages if message.get("role") == "user"]
    last = users[-1].get("content") if users else []
    settings = mapping(body.get("inferenceConfig"))
    calling = mapping(body.get("toolConfig"))
    choice = mapping(calling.get("toolChoice"))
    extra = mapping(body.get("additionalModelRequestFields"))
    return Asked(
        model=model,
        body=body,
        last_text=" ".join(_texts(last)),
        words=words_in(said),
        stream=variant == STREAM,
        tools=tuple(_tools(calling)),
        must_call="any" in choice or "tool" in choice,
        named=text(mapping(choice.get("tool")).get("name")),
        after_tool_result=any("toolResult" in mapping(part) for part in items(last)),
        reasoning=text(mapping(extra.get("thinking")).get("type")) in {"enabled", "adaptive"},
        word_limit=count(settings.get("maxTokens")),
        stops=tuple(text(stop) for stop in items(settings.get("stopSequences")) if stop),
        schema=_schema(body),
        variant=variant,
    )


def unary(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> bytes:
    """Return a whole answer."""
    content: list[Json] = []
    if script.reasoning:
        said = {"text": script.reasoning.text(), "signature": _signature(asked)}
        content.append({"reasoningContent": {"reasoningText": said}})
    for place, call in enumerate(script.calls):
        content.append({"toolUse": _call(stamp, place, call.name) | {"input": call.arguments}})
    if not script.calls:
        content.append({"text": script.speech.text()})
    message = {"role": "assistant", "content": content}
    return encode({"output": {"message": message}, "stopReason": _stop(script)} | _counted(script, faults))


def events(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> Iterator[bytes]:
    """Yield the frames of a stream."""
    yield _event("messageStart", {"role": "assistant"})
    block = 0
    if script.reasoning:
        for piece in script.reasoning.pieces():
            yield _delta(block, {"reasoningContent": {"text": piece}})
        yield _delta(block, {"reasoningContent": {"signature": _signature(asked)}})
        yield _event("contentBlockStop", {"contentBlockIndex": block})
        block += 1
    for place, call in enumerate(script.calls):
        start = {"toolUse": _call(stamp, place, call.name)}
        yield _event("contentBlockStart", {"contentBlockIndex": block, "start": start})
        for part in argument_pieces(call.arguments):
            yield _delta(block, {"toolUse": {"input": part}})
        yield _event("contentBlockStop", {"contentBlockIndex": block})
        block += 1
    if not script.calls:
        for piece in script.speech.pieces():
            yield _delta(block, {"text": piece})
        yield _event("contentBlockStop", {"contentBlockIndex": block})
    if not faults.no_done:
        yield _event("messageStop", {"stopReason": _stop(script)})
    yield _event("metadata", _counted(script, faults))


def stream_error(asked: Asked, stamp: Stamp, emitted: int, failure: tuple[int, str, str]) -> Iterator[bytes]:
    """Yield what comes instead of the rest: an exception."""
    del asked, stamp, emitted
    status, message, code = failure
    name = kind(status, code)
    headers = {":exception-type": name[0].lower() + name[1:], ":content-type": "application/json"}
    yield binary_event(headers | {":message-type": "exception"}, encode({"message": message}))


def error(status: int, message: str, code: str = "") -> bytes:
    """Return the body of an error answer; with a `code` it names its type, which else only the header does."""
    del status
    return encode({"__type": code, "message": message} if code else {"message": message})


def kind(status: int, code: str) -> str:
    """Return the type of an error, as `x-amzn-errortype` tells it; `code` replaces the usual one."""
    return code or _KINDS.get(status) or ("InternalServerException" if status >= 500 else "ValidationException")


def _event(name: str, fields: Json) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    # Bedrock fills each event up with letters, so that its length tells nothing of what it says.
    return binary_event(headers, encode(fields | {"p": "abcdefgh"}))


def _delta(block: int, delta: Json) -> bytes:
    return _event("contentBlockDelta", {"contentBlockIndex": block, "delta": delta})


def _call(stamp: Stamp, place: int, name: str) -> Json:
    return {"toolUseId": stamp.name(f"tooluse_{place}_"), "name": name}


def _stop(script: Script) -> str:
    return "stop_sequence" if script.stopped_at else _FINISH[script.finish]


def _counted(script: Script, faults: Faults) -> Json:
    metrics: Json = {"metrics": {"latencyMs": 7}}
    if faults.no_usage:
        return metrics
    spent: Json = {
        "inputTokens": script.input_tokens - script.cached_tokens - script.cache_write_tokens,
        "outputTokens": script.output_tokens,
        "totalTokens": script.total_tokens,
        "cacheReadInputTokens": script.cached_tokens,
        "cacheWriteInputTokens": script.cache_write_tokens,
    }
    return {"usage": spent} | metrics


def _signature(asked: Asked) -> str:
    return base64.b64encode(hashlib.sha256(asked.last_text.encode(errors="surrogatepass")).digest()).decode()


def _texts(content: object) -> Iterator[str]:
    for part in items(content):
        block = mapping(part)
        if "text" in block:
            yield text(block["text"])
        for told in items(mapping(block.get("toolResult")).get("content")):
            result = mapping(told)
            yield encode(result["json"]).decode() if "json" in result else text(result.get("text"))


def _tools(calling: Json) -> Iterator[Tool]:
    for entry in items(calling.get("tools")):
        described = mapping(mapping(entry).get("toolSpec"))
        if described:
            yield Tool(text(described.get("name")), mapping(mapping(described.get("inputSchema")).get("json")))


def _schema(body: Json) -> Json | None:
    """Return the schema that the answer must have; Converse takes it as JSON in a string."""
    form = mapping(mapping(body.get("outputConfig")).get("textFormat"))
    written = text(mapping(mapping(form.get("structure")).get("jsonSchema")).get("schema"))
    return mapping(msgspec.json.decode(written)) if written else None
