"""Documents of Ollama's own API, made for these tests: requests that must survive unchanged, lines of streams."""

from __future__ import annotations

import json
from typing import Any

from flumegate.dialects.ollama.chat.read_stream import ChatStreamReader
from flumegate.ir import events as e
from flumegate.ir.answer import Asked
from flumegate.ir.grammar import Grammar
from flumegate.ir.request import Request

PNG = "iVBORw0KGgoAAAANSUhEUg=="
CALL = {"function": {"name": "tide", "arguments": {"port": "Husum", "days": 2}}}
CALL_WITH_ID = {"id": "c7", "type": "function", "function": {"name": "moon", "arguments": {}, "x_trace": 1}}
SCHEMA = {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "integer"}}}
STAMP = "2026-03-04T05:06:07Z"
SECONDS = 1772600767

REQUESTS: dict[str, dict[str, Any]] = {
    "a question": {"messages": [{"role": "user", "content": "How high?"}]},
    "the model is only loaded": {"messages": [], "keep_alive": "10m"},
    "empty texts": {"messages": [{"role": "user", "content": ""}, {"role": "assistant"}]},
    "every role": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "No jokes."},
            {"role": "user", "content": "And?", "x_note": [1]},
            {"role": "assistant", "content": "Well", "thinking": "so"},
            {"role": "control", "content": "thinking"},
            {"role": "system", "content": "Later."},
        ]
    },
    "images": {
        "messages": [
            {"role": "user", "content": "What?", "images": [PNG, "/9j/AAAA"]},
            {"role": "user", "images": ["R0lGODlh", "UklGRg", "Qk0", "AAAA"]},
        ]
    },
    "calls without ids": {
        "messages": [
            {"role": "assistant", "content": "", "thinking": "two", "tool_calls": [CALL, CALL]},
            {"role": "tool", "content": "2 m", "tool_name": "tide"},
            {"role": "tool", "content": "3 m", "tool_name": "tide", "images": [PNG]},
            {"role": "tool", "content": "of nobody", "tool_name": "tide"},
        ]
    },
    "calls with ids": {
        "messages": [
            {"role": "assistant", "tool_calls": [CALL_WITH_ID, {**CALL_WITH_ID, "id": "c8"}]},
            {"role": "tool", "content": "half", "tool_name": "moon", "tool_call_id": "c8"},
            {"role": "tool", "tool_call_id": "c7"},
            {"role": "tool", "content": "?", "tool_call_id": "unknown"},
        ]
    },
    "a call out of its place": {
        "messages": [{"role": "assistant", "tool_calls": [{"function": {"index": 3, "name": "f", "arguments": {}}}]}]
    },
    "tools": {
        "messages": [],
        "tools": [
            {"type": "function", "function": {"name": "tide", "description": "Of a port", "parameters": SCHEMA}},
            {"type": "function", "function": {"name": "bare", "x_more": True}, "items": {"a": 1}},
            {"type": "browser", "depth": 2},
        ],
    },
    "every setting": {
        "messages": [],
        "format": SCHEMA,
        "think": True,
        "logprobs": True,
        "top_logprobs": 3,
        "keep_alive": -1,
        "truncate": True,
        "shift": False,
        "x_new": {"a": [1.5]},
        "tool_choice": "auto",
        "options": {
            "num_ctx": 8192,
            "num_predict": 64,
            "temperature": 0.5,
            "top_k": 40,
            "top_p": 0.9,
            "min_p": 0.05,
            "seed": 9007199254740993,
            "stop": ["\n\n", ""],
            "repeat_penalty": 1.1,
            "presence_penalty": 0.25,
            "frequency_penalty": -0.25,
            "repeat_last_n": 64,
            "mirostat": 1,
            "num_keep": 5,
            "typical_p": 0.7,
            "penalize_newline": False,
            "num_gpu": 1,
            "num_thread": 8,
        },
    },
    "without a limit": {"messages": [], "format": "json", "think": False, "options": {"num_predict": -1}},
    "a level": {"messages": [], "think": "max"},
}


def packed(document: object) -> bytes:
    """Return a document as compact JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def line(done: bool = False, stamp: str = STAMP, **message: Any) -> dict[str, Any]:
    """Return one line of a stream."""
    said = {"role": "assistant", "content": "", **message}
    return {"model": "heron:8b", "created_at": stamp, "message": said, "done": done}


ENDING = {
    "done_reason": "stop",
    "total_duration": 912,
    "load_duration": 12,
    "prompt_eval_count": 21,
    "prompt_eval_duration": 300,
    "eval_count": 13,
    "eval_duration": 600,
}
TOKEN = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}

STREAMS: dict[str, list[dict[str, Any]]] = {
    "nothing but the end": [line(True) | ENDING],
    "all at once": [line(True, content="Wörd \u2028 😀", thinking="hm", tool_calls=[CALL]) | ENDING],
    "text": [line(content="Hi"), line(content=" you"), line(True) | ENDING],
    "text with the end": [line(content="Hi"), line(True, content=" you") | ENDING],
    "thinking, text, calls": [
        line(thinking="let me"),
        line(thinking=" see"),
        line(content="So"),
        line(tool_calls=[{**CALL, "function": {**CALL["function"], "index": 0}}]),
        line(tool_calls=[CALL_WITH_ID]),
        line(True) | ENDING,
    ],
    "an image": [line(content="Look"), line(images=[PNG]), line(True) | ENDING],
    "log probabilities": [
        line(thinking="a") | {"logprobs": [TOKEN]},
        line(content="Hi") | {"logprobs": [TOKEN, TOKEN]},
        line(content="!"),
        line(True) | ENDING,
    ],
    "log probabilities of a call": [
        line() | {"logprobs": [TOKEN]},
        line(tool_calls=[CALL]),
        line(True) | ENDING,
    ],
    "log probabilities of nothing": [line() | {"logprobs": [TOKEN]}, line(True) | ENDING],
    "cut at the limit": [line(content="Hi"), line(True) | {"done_reason": "length"}],
    "loaded": [line(True) | {"done_reason": "load"}],
    "a reason that nobody knows": [line(content="x"), line(True, x_more=1) | {"done_reason": "odd", "x_top": [1]}],
}


def whole(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer in one piece that a stream amounts to."""
    last = dict(lines[-1])
    message = dict(last["message"])
    for name in ("thinking", "content"):
        text = "".join(one["message"].get(name, "") for one in lines)
        if text or name in message:
            message[name] = text
    for name in ("tool_calls", "images"):
        found = [item for one in lines for item in one["message"].get(name, [])]
        if found:
            message[name] = found
    probabilities = [item for one in lines for item in one.get("logprobs", [])]
    return last | {"message": message} | ({"logprobs": probabilities} if probabilities else {})


def streamed(lines: list[dict[str, Any]]) -> bytes:
    """Return the lines as they come."""
    return b"".join(packed(one) + b"\n" for one in lines)


def read(pieces: list[bytes]) -> list[e.Event]:
    """Return the events of a stream, held to the grammar."""
    reader = ChatStreamReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    events += reader.close()
    assert reader.feed(b'{"done":true}\n') == reader.close() == []
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    assert grammar.ended
    return events


def asked(stream: bool = False, model: str = "heron") -> Asked:
    """Return a question by a client who knows the model as `heron`."""
    return Asked(Request(dialect="ollama_chat", model=model, stream=stream), "seed7", SECONDS)
