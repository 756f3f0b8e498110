"""A request that asks the model nothing is known as such, and answered as Ollama does."""

from __future__ import annotations

import json

import pytest

from flumegate.dialects.ollama.load import write_load


@pytest.mark.parametrize(
    ("codec", "body", "reason"),
    [
        ("ollama_chat", b'{"model":"m"}', "load"),
        ("ollama_chat", b'{"model":"m","messages":[],"keep_alive":"5m"}', "load"),
        ("ollama_chat", b'{"model":"m","messages":null,"keep_alive":0}', "unload"),
        ("ollama_generate", b'{"model":"m"}', "load"),
        ("ollama_generate", b'{"model":"m","prompt":"","keep_alive":"0s"}', "unload"),
    ],
)
def test_nothing_is_asked(codec: str, body: bytes, reason: str) -> None:
    """One document that is done, with the reason."""
    answer = write_load(codec, body, "m", 0)
    assert answer is not None
    said = json.loads(answer)
    assert (said["model"], said["done"], said["done_reason"]) == ("m", True, reason)
    assert said.get("response") == "" if codec == "ollama_generate" else said["message"]["content"] == ""


@pytest.mark.parametrize(
    ("codec", "body"),
    [
        ("ollama_chat", b'{"messages":[{}]}'),
        ("ollama_chat", b'{"messages":"hello"}'),
        ("ollama_generate", b'{"prompt":"a"}'),
        ("ollama_generate", b'{"images":["AAAA"]}'),
        ("ollama_generate", b"[" * 10_000),
        ("chat", b"{}"),
    ],
)
def test_something_is_asked(codec: str, body: bytes) -> None:
    """Or it is wrong in a way that its reader will name."""
    assert write_load(codec, body, "m", 0) is None
