"""Ollama's own API (ollama/docs/api.md): JSON lines, streamed unless the request says otherwise.

A tool call arrives whole in one line with its arguments as an object; the last line has `done`, its reason (`stop`
also after a call) and the counts. Durations are in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from flumegate.mock.asked import Asked, Stamp, Tool, words_in
from flumegate.mock.faults import Faults
from flumegate.mock.frames import encode, line
from flumegate.mock.look import Json, count, items, mapping, text, texts
from flumegate.mock.openai_lists import MODELS, embedded, vector
from flumegate.mock.script import Script

GENERATE = "generate"
VERSION = "0.12.0"
_WIDTH = 768
_FACTS: Json = {
    "parent_model": "",
    "format": "gguf",
    "family": "mock",
    "families": ["mock"],
    "parameter_size": "1B",
    "quantization_level": "Q4_0",
}


def read(body: Json, model: str, variant: str) -> Asked:
    """Return what a chat or generate request asks for; `variant` is `generate` for the latter."""
    if variant == GENERATE:
        messages: list[Json] = [{"role": "user", "content": text(body.get("prompt"))}]
        system = text(body.get("system"))
    else:
        messages = [mapping(message) for message in items(body.get("messages"))]
        system = ""
    echoed = [message for message in messages if message.get("role") in {"user", "tool"}]
    options = mapping(body.get("options"))
    wanted = body.get("format")
    limit = options.get("num_predict")
    return Asked(
        model=model,
        body=body,
        last_text=" ".join(texts(echoed[-1].get("content"))) if echoed else "",
        words=words_in([system, *(words for message in messages for words in texts(message.get("content")))]),
        stream=body.get("stream") is not False,
        tools=tuple(_tool(mapping(mapping(entry).get("function"))) for entry in items(body.get("tools"))),
        after_tool_result=bool(messages) and messages[-1].get("role") == "tool",
        reasoning=bool(body.get("think")),
        word_limit=count(limit),
        stops=tuple(text(stop) for stop in items(options.get("stop")) if stop),
        schema=mapping(wanted) if wanted == "json" or isinstance(wanted, dict) else None,
        variant=variant,
    )


def unary(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> bytes:
    """Return one line that holds the whole answer."""
    said: Json = {"content": script.speech.text()}
    if script.reasoning:
        said["thinking"] = script.reasoning.text()
    if script.calls:
        said["tool_calls"] = _calls(script)
    return encode(_line(asked, stamp, said) | _ending(script, faults))


def events(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> Iterator[bytes]:
    """Yield the lines of a stream."""
    for piece in script.reasoning.pieces():
        yield line(_line(asked, stamp, {"content": "", "thinking": piece}) | {"done": False})
    if script.calls:
        yield line(_line(asked, stamp, {"content": "", "tool_calls": _calls(script)}) | {"done": False})
    before, _, behind = line(_line(asked, stamp, {"content": "\x00"}) | {"done": False}).partition(b'"\\u0000"')
    for piece in script.speech.pieces():
        yield before + encode(piece) + behind
    if not faults.no_done:
        yield line(_line(asked, stamp, {"content": ""}) | _ending(script, faults))


def stream_error(asked: Asked, stamp: Stamp, emitted: int, failure: tuple[int, str, str]) -> Iterator[bytes]:
    """Yield what comes instead of the rest: one line with an error."""
    del asked, stamp, emitted
    yield line({"error": failure[1]})


def error(status: int, message: str, code: str = "") -> bytes:
    """Return the body of an error answer: a plain string."""
    del status, code
    return encode({"error": message})


def embed(body: Json, model: str, faults: Faults) -> tuple[bytes, int]:
    """Return the answer of `POST /api/embed` and its input tokens."""
    said = embedded(body.get("input"))
    tokens = words_in(said)
    width = count(body.get("dimensions")) or _WIDTH
    answer: Json = {
        "model": model,
        "embeddings": [vector(one, width) for one in said],
        "total_duration": 1_000_000,
        "load_duration": 100_000,
    }
    return encode(answer if faults.no_usage else answer | {"prompt_eval_count": tokens}), tokens


def old_embedding(body: Json) -> tuple[bytes, int]:
    """Return the answer of `POST /api/embeddings`, one vector, and its input tokens."""
    prompt = text(body.get("prompt"))
    return encode({"embedding": vector(prompt, _WIDTH)}), words_in([prompt])


def tags() -> bytes:
    """Return the installed models."""
    return encode({"models": [_row(name) for name in MODELS]})


def running() -> bytes:
    """Return the loaded models: none."""
    return encode({"models": []})


def version() -> bytes:
    """Return the version that the mock imitates."""
    return encode({"version": VERSION})


def show() -> bytes:
    """Return the facts of a model, the same for each."""
    return encode(
        {
            "modelfile": "FROM mock",
            "parameters": "",
            "template": "{{ .Prompt }}",
            "details": _FACTS,
            "model_info": {"general.architecture": "mock", "mock.context_length": 131_072},
            "capabilities": ["completion", "tools", "thinking"],
        }
    )


def _row(name: str) -> Json:
    return {
        "name": f"{name}:latest",
        "model": f"{name}:latest",
        "modified_at": "2025-01-01T00:00:00Z",
        "size": 1_000_000_000,
        "digest": "0" * 64,
        "details": _FACTS,
    }


def _line(asked: Asked, stamp: Stamp, said: Json) -> Json:
    created_at = datetime.fromtimestamp(stamp.time, UTC).isoformat().replace("+00:00", "Z")
    head: Json = {"model": asked.model, "created_at": created_at}
    if asked.variant == GENERATE:
        return head | {"response": said["content"]} | {name: value for name, value in said.items() if name != "content"}
    return head | {"message": {"role": "assistant"} | said}


def _ending(script: Script, faults: Faults) -> Json:
    ended: Json = {"done": True, "done_reason": "length" if script.finish == "length" else "stop"}
    if faults.no_usage:
        return ended
    return ended | {
        "total_duration": 1_000_000 * (1 + script.output_tokens),
        "load_duration": 100_000,
        "prompt_eval_count": script.input_tokens,
        "prompt_eval_duration": 500_000,
        "eval_count": script.output_tokens,
        "eval_duration": 1_000_000 * script.output_tokens,
    }


def _calls(script: Script) -> list[Json]:
    return [{"function": {"name": call.name, "arguments": call.arguments}} for call in script.calls]


def _tool(function: Json) -> Tool:
    return Tool(text(function.get("name")), mapping(function.get("parameters")))
