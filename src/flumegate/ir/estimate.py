"""An estimate of tokens, for dialects that ask before they send, and providers that cannot count or do not say."""

from __future__ import annotations

from typing import assert_never

from flumegate.ir.answer import Answer
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Request

CHARACTERS_PER_TOKEN = 4
"""Of English text in current tokenizers; other scripts have fewer, so their bytes are counted."""
TURN_TOKENS = 4
IMAGE_TOKENS = 1_200
"""About a picture of a megapixel."""
_DATA_BYTES = 4_096
"""A string beyond this without a single space is a picture or a file, not text."""


def input_tokens(request: Request) -> int:
    """Return about how many tokens a request will be charged for; never 0."""
    size = sum(
        len(tool.name) + len(tool.description) + len(tool.parameters) + len(tool.format) for tool in request.tools
    )
    tokens = 0
    for turn in request.turns:
        tokens += TURN_TOKENS
        for part in turn.parts:
            more, counted = _weigh(part)
            size += more
            tokens += counted
    if request.output is not None:
        size += len(request.output.schema)
    return max(1, tokens + -(-size // CHARACTERS_PER_TOKEN))


def document_tokens(document: bytes) -> int:
    """Return about how many tokens a request will be charged for, without reading it; never 0.

    Names and brackets count as the little text that they become in a model's own format.
    """
    size = len(document)
    files = 0
    if size > _DATA_BYTES:
        for piece in document.split(b'"'):
            if len(piece) > _DATA_BYTES and b" " not in piece:
                size -= len(piece)
                files += 1
    return max(1, files * IMAGE_TOKENS - (-size // CHARACTERS_PER_TOKEN))


def said_bytes(answer: Answer) -> int:
    """Return how many bytes of text an answer holds."""
    return sum(_weigh(part)[0] for choice in answer.choices for part in choice.parts)


def text_bytes(value: object) -> int:
    """Return how many bytes of text a JSON value holds, however deep; what is a picture or a file in it is none."""
    size = 0
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text) if not text.isascii():
                size += len(text.encode("utf-8", "surrogatepass"))
            case str(text) if len(text) <= _DATA_BYTES or " " in text:
                size += len(text)
            case list(items):
                waiting += items
            case dict(members):
                waiting += members.values()
    return size


def output_tokens(size: int) -> int:
    """Return about how many tokens so many bytes of text were."""
    return -(-size // CHARACTERS_PER_TOKEN)


def _weigh(part: Part) -> tuple[int, int]:
    """Return bytes of text, and tokens known otherwise."""
    match part:
        case Text() | Refusal():
            return len(part.text.encode("utf-8", "surrogatepass")), 0
        case Thinking():
            return sum(len(text.encode("utf-8", "surrogatepass")) for text in part.texts), 0
        case ToolCall():
            return len(part.name) + len(part.arguments.encode("utf-8", "surrogatepass")), 0
        case ToolResult():
            weights = [_weigh(inner) for inner in part.parts]
            return sum(size for size, _ in weights), sum(tokens for _, tokens in weights)
        case Media():
            return (len(part.text.encode("utf-8", "surrogatepass")), 0) if part.text else (0, IMAGE_TOKENS)
        case Opaque():
            return len(part.raw), 0
        case _:  # pragma: no cover - the type checker proves that nothing is left
            assert_never(part)
