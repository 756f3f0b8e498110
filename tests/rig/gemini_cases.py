"""Ways to look at Gemini's documents, for its codec's tests: what counts as the same, how a stream is one answer."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from flumegate.dialects.gemini.read_stream import GeminiStreamReader
from flumegate.ir.answer import Answer, Asked
from flumegate.ir.events import Event
from flumegate.ir.fold import fold
from flumegate.ir.grammar import Grammar
from flumegate.ir.request import Request

_CAMEL = {
    "file_uri": "fileUri",
    "mime_type": "mimeType",
    "file_data": "fileData",
    "inline_data": "inlineData",
    "function_call": "functionCall",
    "function_response": "functionResponse",
    "thought_signature": "thoughtSignature",
    "parameters_json_schema": "parametersJsonSchema",
}


def asked(model: str = "river-1") -> Asked:
    """Return what a writer of answers is told of the question."""
    return Asked(Request(dialect="gemini", model=model), "seed1", 1_700_000_000)


def read_whole(pieces: Iterable[bytes]) -> list[Event]:
    """Return the events of a stream in these pieces."""
    reader = GeminiStreamReader()
    return [event for piece in pieces for event in reader.feed(piece)] + reader.close()


def grammatical(events: Iterable[Event]) -> None:
    """Check that the events stand in a legal order and come to an end."""
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    assert grammar.ended


def plain(value: Any) -> Any:
    """Return a neutral value as JSON values, so that the white space of raw texts does not count."""
    if isinstance(value, msgspec.Struct):
        return {name: _plain_member(name, getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return json.loads(bytes(value)) if isinstance(value, msgspec.Raw | bytes) and bytes(value) else value


def _plain_member(name: str, value: Any) -> Any:
    return json.loads(value) if name == "arguments" and value else plain(value)


def folded(pieces: Iterable[bytes]) -> Answer:
    """Return the answer that a stream amounts to."""
    return fold(read_whole(pieces))


def normal_request(value: Any) -> Any:
    """Return a request without what our writer normalises.

    Names are camelCase; functions in a row share an entry of `tools`; the role of a system instruction, which means
    nothing, and modalities that JSON implies are left out, and so are empty objects of settings.
    """
    body = _camel(value)
    body.get("systemInstruction", {}).pop("role", None)
    config = body.get("generationConfig", {})
    if config.get("responseMimeType") == "application/json":
        config.pop("responseModalities", None)
    if not config:
        body.pop("generationConfig", None)
    tools: list[Any] = []
    for entry in body.get("tools", []):
        if tools and list(tools[-1]) == list(entry) == ["functionDeclarations"]:
            tools[-1]["functionDeclarations"] += entry["functionDeclarations"]
        else:
            tools.append(entry)
    return body | ({"tools": tools} if tools else {})


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {_CAMEL.get(name, name): _camel(inner) for name, inner in value.items()}
    return [_camel(inner) for inner in value] if isinstance(value, list) else value


def normal_answer(value: Any) -> Any:
    """Return an answer without what our writer normalises.

    Usage keeps only the totals; candidates always bear index and role; times have whole seconds.
    """
    body = copy.deepcopy(value)
    usage = body.pop("usageMetadata", {})
    body["into"] = usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0)
    body["out"] = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    body["cached"] = usage.get("cachedContentTokenCount")
    for number, candidate in enumerate(body.get("candidates", [])):
        candidate["index"] = number
        candidate.setdefault("content", {})["role"] = "model"
    if "createTime" in body:
        body["createTime"] = body["createTime"][:19] + "Z"
    return body


def merged(chunks: list[Any]) -> Any:
    """Return the answer in one piece that the partial answers of one candidate amount to."""
    whole: dict[str, Any] = {}
    candidate: dict[str, Any] = {}
    parts: list[Any] = []
    for chunk in chunks:
        whole |= {name: value for name, value in chunk.items() if name != "candidates"}
        for partial in chunk.get("candidates", []):
            for part in partial.get("content", {}).get("parts", []):
                _add(parts, copy.deepcopy(part))
            candidate |= {name: value for name, value in partial.items() if name != "content"}
    candidate["content"] = {"role": "model", "parts": [part for part in parts if part != {"text": ""}]}
    return whole | {"candidates": [candidate]}


def _add(parts: list[Any], part: Any) -> None:
    last = parts[-1] if parts else {}
    call = part.get("functionCall")
    if call is not None and "name" not in call:
        _continue(last["functionCall"], call)
    elif call is not None:
        call.pop("willContinue", None)
        parts.append(part)
    elif _is_signed_thought(part) and _is_thought(last):
        parts[-1] = {"text": last["text"] + part["text"]} | {key: part[key] for key in ("thought", "thoughtSignature")}
    elif set(part) <= {"text", "thought"} and set(last) <= {"text", "thought"} and last:
        if part["text"]:
            if last.get("thought") == part.get("thought"):
                last["text"] += part["text"]
            else:
                parts.append(part)
    elif part != {"text": ""}:
        parts.append(part)


def _is_thought(part: Any) -> bool:
    return set(part) == {"text", "thought"}


def _is_signed_thought(part: Any) -> bool:
    return set(part) == {"text", "thought", "thoughtSignature"}


def _continue(call: Any, more: Any) -> None:
    for partial in more.get("partialArgs", []):
        name = partial["jsonPath"].removeprefix("$.")
        args = call.setdefault("args", {})
        args[name] = args.get(name, "") + partial["stringValue"]
