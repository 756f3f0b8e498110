"""No recording is left out by oversight: each dialect has its checks, or a reason why it has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.recordings import FOLDER

CHECKED = {
    "anthropic.messages": "test_messages_codec.py",
    "bedrock.converse": "test_bedrock_codec.py",
    "gemini.count_tokens": "test_gemini_codec.py",
    "gemini.embed": "test_gemini_codec.py",
    "gemini.generate": "test_gemini_codec.py",
    "openai.chat": "test_chat_codec.py",
    "openai.completions": "test_taps.py",
    "openai.embeddings": "test_embeddings_codec.py",
    "openai.responses": "test_responses_codec.py",
}
LEFT_OUT = {
    "cohere.chat": "Cohere's own dialect is spoken by neither clients nor providers here",
    "openai.models": "lists are passed on, or written from the configuration: nothing of them is translated",
}


def test_every_recorded_dialect_is_checked_or_explained() -> None:
    """A new folder of recordings asks for a decision."""
    if not FOLDER.is_dir():
        pytest.skip(f"no recordings: the folder {FOLDER.name} is absent")
    recorded = {folder.name for folder in FOLDER.iterdir() if folder.is_dir() and any(folder.glob("*.json"))}
    assert recorded == CHECKED.keys() | LEFT_OUT.keys()
    here = Path(__file__).parent
    for dialect, name in CHECKED.items():
        assert dialect in (here / name).read_text("utf-8"), f"{name} does not load {dialect}"
