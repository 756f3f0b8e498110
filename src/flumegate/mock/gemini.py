"""Gemini's own API (ai.google.dev, "Generating content" and "Embeddings"): camelCase or snake_case in, camelCase out.

A stream is partial answers of the same shape, as server-sent events with `alt=sse` and as a JSON array without; it has
no end marker but the `finishReason`. Cached tokens stand inside the prompt tokens, thoughts beside the candidates'.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from flumegate.mock.asked import Asked, Stamp, Tool, words_in
from flumegate.mock.faults import Faults
from flumegate.mock.frames import encode, event
from flumegate.mock.look import Json, count, either, items, mapping, text, texts
from flumegate.mock.openai_lists import MODELS, vector
from flumegate.mock.script import Script

ARRAY = "array"
_WIDTH = 3072
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def read(body: Json, model: str, variant: str) -> Asked:
    """Return what a generateContent request asks for; `variant` is `array` for a stream without `alt=sse`."""
    contents = [mapping(content) for content in items(body.get("contents"))]
    system = mapping(either(body, "systemInstruction", "system_instruction"))
    users = [content for content in contents if content.get("role", "user") in {"user", "function"}]
    last = items(users[-1].get("parts")) if users else []
    results = [mapping(either(mapping(part), "functionResponse", "function_response")) for part in last]
    settings = mapping(either(body, "generationConfig", "generation_config"))
    thinking = mapping(either(settings, "thinkingConfig", "thinking_config"))
    calling = mapping(either(body, "toolConfig", "tool_config"))
    calling = mapping(either(calling, "functionCallingConfig", "function_calling_config"))
    allowed = items(either(calling, "allowedFunctionNames", "allowed_function_names"))
    said = [*texts(system.get("parts")), *(words for content in contents for words in texts(content.get("parts")))]
    results = [result for result in results if result]
    echoed = [*texts(last), *(encode(result.get("response")).decode() for result in results)]
    return Asked(
        model=model,
        body=body,
        last_text=" ".join(echoed),
        words=words_in(said),
        tools=() if calling.get("mode") == "NONE" else tuple(_tools(body)),
        must_call=calling.get("mode") == "ANY",
        named=text(allowed[0]) if allowed else "",
        after_tool_result=bool(results),
        reasoning=either(thinking, "includeThoughts", "include_thoughts") is True,
        word_limit=count(either(settings, "maxOutputTokens", "max_output_tokens")),
        stops=tuple(text(stop) for stop in items(either(settings, "stopSequences", "stop_sequences")) if stop),
        schema=_schema(settings),
        choices=min(8, max(1, count(either(settings, "candidateCount", "candidate_count")) or 1)),
        variant=variant,
    )


def unary(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> bytes:
    """Return a whole answer."""
    parts = list(_thought(asked, script.reasoning.text())) if script.reasoning else []
    parts += _calls(asked, script) if script.calls else [{"text": script.speech.text()}]
    return encode(_answer(asked, stamp, parts, script, usage(script, faults), finished=True))


def events(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> Iterator[bytes]:
    """Yield the partial answers of a stream, as events or as the pieces of an array."""
    opening = b"["
    for partial in _partials(asked, script, stamp, faults):
        if asked.variant == ARRAY:
            yield opening + partial
            opening = b",\r\n"
        else:
            yield b"data: " + partial + b"\n\n"
    if asked.variant == ARRAY and not faults.no_done:
        yield b"]"


def stream_error(asked: Asked, stamp: Stamp, emitted: int, failure: tuple[int, str, str]) -> Iterator[bytes]:
    """Yield what comes instead of the rest: an error object in the place of a partial answer."""
    del stamp
    if asked.variant == ARRAY:
        yield (b",\r\n" if emitted else b"[") + error(*failure) + b"]"
    else:
        yield event(_failure(*failure))


def usage(script: Script, faults: Faults) -> Json:
    """Return `{"usageMetadata": …}`, or nothing where the fault takes it away."""
    if faults.no_usage:
        return {}
    spent: Json = {
        "promptTokenCount": script.input_tokens,
        "candidatesTokenCount": script.output_tokens - script.reasoning_tokens,
        "totalTokenCount": script.total_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": script.input_tokens}],
    }
    if script.cached_tokens:
        spent["cachedContentTokenCount"] = script.cached_tokens
    if script.reasoning_tokens:
        spent["thoughtsTokenCount"] = script.reasoning_tokens
    return {"usageMetadata": spent}


def error(status: int, message: str, code: str = "") -> bytes:
    """Return the body of an error answer; `code` replaces the usual status word."""
    return encode(_failure(status, message, code))


def embed(body: Json) -> tuple[bytes, int]:
    """Return the answer of `:embedContent` and its input tokens."""
    said, tokens = _embedded(body)
    return encode({"embedding": {"values": said}}), tokens


def embed_batch(body: Json) -> tuple[bytes, int]:
    """Return the answer of `:batchEmbedContents` and its input tokens."""
    rows = [_embedded(mapping(request)) for request in items(body.get("requests"))]
    return encode({"embeddings": [{"values": values} for values, _ in rows]}), sum(tokens for _, tokens in rows)


def count_tokens(body: Json, model: str) -> tuple[bytes, int]:
    """Return the answer of `:countTokens` and its input tokens."""
    inner = mapping(either(body, "generateContentRequest", "generate_content_request"))
    tokens = read(inner or body, model, "").words
    counted = {"modality": "TEXT", "tokenCount": tokens}
    return encode({"totalTokens": tokens, "promptTokensDetails": [counted]}), tokens


def models() -> bytes:
    """Return the list of models in Gemini's shape."""
    return encode({"models": [_row(name) for name in MODELS]})


def model(name: str) -> bytes:
    """Return one model, whatever its name."""
    return encode(_row(name))


def _row(name: str) -> Json:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
    }


def _partials(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> Iterator[bytes]:
    spent = usage(script, faults)
    running: Json = {}
    if spent:
        running = {"usageMetadata": {"promptTokenCount": script.input_tokens, "totalTokenCount": script.input_tokens}}
    for piece in script.reasoning.pieces():
        yield encode(_answer(asked, stamp, [{"text": piece, "thought": True}], script, running, finished=False))
    if script.calls:
        yield encode(_answer(asked, stamp, _calls(asked, script), script, running, finished=False))
    mark: list[Json] = [{"text": "\x00"}]
    around = encode(_answer(asked, stamp, mark, script, running, finished=False)).split(b'"\\u0000"')
    for piece in script.speech.pieces():
        yield encode(piece).join(around)
    if not faults.no_done or asked.variant == ARRAY:
        yield encode(_answer(asked, stamp, [{"text": ""}], script, spent, finished=True))


def _answer(asked: Asked, stamp: Stamp, parts: list[Json], script: Script, spent: Json, *, finished: bool) -> Json:
    ended: Json = {"finishReason": _FINISH[script.finish]} if finished else {}
    content: Json = {"parts": parts, "role": "model"}
    return {
        "candidates": [{"content": content} | ended | {"index": index} for index in range(asked.choices)],
        **spent,
        "modelVersion": asked.model,
        "responseId": stamp.name(""),
    }


def _thought(asked: Asked, said: str) -> Iterator[Json]:
    yield {"text": said, "thought": True, "thoughtSignature": _signature(asked)}


def _calls(asked: Asked, script: Script) -> list[Json]:
    calls: list[Json] = [{"functionCall": {"name": call.name, "args": call.arguments}} for call in script.calls]
    calls[0]["thoughtSignature"] = _signature(asked)
    return calls


def _signature(asked: Asked) -> str:
    return base64.b64encode(hashlib.sha256(asked.last_text.encode(errors="surrogatepass")).digest()).decode()


def _failure(status: int, message: str, code: str = "") -> Json:
    word = code or _STATUS.get(status) or ("INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    failure: Json = {"code": status, "message": message, "status": word}
    if status == 429:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        failure["details"] = [{"@type": kind, "retryDelay": "1s"}]
    return {"error": failure}


def _embedded(body: Json) -> tuple[list[float], int]:
    said = " ".join(texts(mapping(body.get("content")).get("parts")))
    width = count(either(body, "outputDimensionality", "output_dimensionality")) or _WIDTH
    return vector(said, width), words_in([said])


def _tools(body: Json) -> Iterator[Tool]:
    for entry in items(body.get("tools")):
        for declared in items(either(mapping(entry), "functionDeclarations", "function_declarations")):
            function = mapping(declared)
            schema = either(function, "parametersJsonSchema", "parameters_json_schema", "parameters")
            yield Tool(text(function.get("name")), mapping(schema))


def _schema(settings: Json) -> Json | None:
    if text(either(settings, "responseMimeType", "response_mime_type")) != "application/json":
        return None
    names = ("responseJsonSchema", "response_json_schema", "responseSchema", "response_schema")
    return mapping(either(settings, *names))
