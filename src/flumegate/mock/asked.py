"""What a request asks for, in nobody's dialect: each dialect's `read` makes one, the script is written from it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from flumegate.mock.look import Json

_NONCE = re.compile(r"nonce-[A-Za-z0-9_-]+")


class Tool(NamedTuple):
    """A tool that may be called, with the JSON schema of its arguments."""

    name: str
    schema: Json


class Stamp(NamedTuple):
    """What makes one answer different from the next: its number in the ledger and the Unix time in seconds."""

    number: int
    time: int

    def name(self, prefix: str) -> str:
        """Return an id of this answer, such as `chatcmpl-mock00000001`."""
        return f"{prefix}mock{self.number:08x}"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request for words.

    Attributes:
        body: the request as it came, for answers that repeat its fields.
        last_text: the text that is echoed: the last user message, or the last tool result where that came later.
        words: words in all texts of the prompt; they are the input tokens.
        tools: what may be called, in the request's order; empty where the request forbids calls.
        must_call: the request leaves no choice; `named` is the tool it wants, if it wants one.
        after_tool_result: the prompt ends with a tool's result, so an optional call would go round in circles.
        word_limit: the most words of an answer, None = no limit.
        schema: the answer is to be JSON of this schema; None = plain text.
        with_usage: the stream is to end with a usage event (OpenAI chat and completions only).
        variant: what a dialect wants to remember (an operation, a flag of its wire).
    """

    model: str
    body: Json
    last_text: str
    words: int
    stream: bool = False
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    named: str = ""
    after_tool_result: bool = False
    reasoning: bool = False
    word_limit: int | None = None
    stops: tuple[str, ...] = ()
    schema: Json | None = None
    choices: int = 1
    with_usage: bool = False
    variant: str = ""


def words_in(texts: Iterable[str]) -> int:
    """Return how many words stand in these texts; one token each, and never none at all."""
    return max(1, sum(len(text.split()) for text in texts))


def nonce_in(text: str) -> str:
    """Return the first `nonce-…` of a text, or an empty string."""
    found = _NONCE.search(text)
    return found.group() if found else ""
