"""OpenAI's old completions (API reference, "Completions"): a prompt in, a text out, chunks of the same object name."""

from __future__ import annotations

from collections.abc import Iterator

from flumegate.mock.asked import Asked, Stamp, words_in
from flumegate.mock.faults import Faults
from flumegate.mock.frames import DONE, encode, event
from flumegate.mock.look import Json, count, items, mapping, text
from flumegate.mock.openai_chat import FINGERPRINT, stops, stream_error, usage
from flumegate.mock.script import Script

__all__ = ["events", "read", "stream_error", "unary"]


def read(body: Json, model: str, variant: str) -> Asked:
    """Return what a completion request asks for; token ids in a prompt count as one word each."""
    prompt = body.get("prompt")
    prompts = [prompt] if isinstance(prompt, str) else [text(one) for one in items(prompt)]
    ids = sum(len(items(one)) or (0 if isinstance(one, str) else 1) for one in items(prompt))
    return Asked(
        model=model,
        body=body,
        last_text=prompts[-1] if prompts else "",
        words=max(ids, words_in(prompts)),
        stream=body.get("stream") is True,
        word_limit=count(body.get("max_tokens")),
        stops=stops(body.get("stop")),
        choices=min(128, max(1, count(body.get("n")) or 1)),
        with_usage=mapping(body.get("stream_options")).get("include_usage") is True,
        variant=variant,
    )


def unary(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> bytes:
    """Return a `text_completion`."""
    said = script.speech.text()
    answer = _head(asked, stamp) | {
        "choices": [
            {"text": said, "index": index, "logprobs": None, "finish_reason": script.finish}
            for index in range(asked.choices)
        ]
    }
    return encode(answer if faults.no_usage else answer | {"usage": usage(script)})


def events(asked: Asked, script: Script, stamp: Stamp, faults: Faults) -> Iterator[bytes]:
    """Yield the chunks of a stream."""
    head = _head(asked, stamp)
    with_usage = asked.with_usage and not faults.no_usage
    opening = b"data: " + encode(head)[:-1] + b',"choices":[{"text":'
    null = b',"usage":null' if with_usage else b""
    for index in range(asked.choices):
        for piece in script.speech.pieces():
            yield (
                opening
                + encode(piece)
                + b',"index":%d,"logprobs":null,"finish_reason":null}]' % index
                + null
                + b"}\n\n"
            )
        finish = b'"","index":%d,"logprobs":null,"finish_reason":%b}]' % (index, encode(script.finish))
        yield opening + finish + null + b"}\n\n"
    if with_usage:
        yield event(head | {"choices": [], "usage": usage(script)})
    if not faults.no_done:
        yield DONE


def _head(asked: Asked, stamp: Stamp) -> Json:
    return {
        "id": stamp.name("cmpl-"),
        "object": "text_completion",
        "created": stamp.time,
        "model": asked.model,
        "system_fingerprint": FINGERPRINT,
    }
