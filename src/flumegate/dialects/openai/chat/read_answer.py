"""A `chat.completion`, read into ours, whoever wrote it: OpenAI, Azure, or a server beside them (§3.2, §11)."""

from __future__ import annotations

import msgspec

from flumegate.dialects.node import Node, ReadError
from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.citations import read_annotations
from flumegate.dialects.openai.chat.finish import BROKEN, read_finish
from flumegate.dialects.openai.chat.names import ANSWER_TRIVIAL, CHAT, CHOICE_TRIVIAL
from flumegate.dialects.openai.chat.read_messages import read_call
from flumegate.dialects.openai.chat.read_parts import read_content, read_part
from flumegate.dialects.openai.chat.thinking import details_text, read_thinking
from flumegate.dialects.openai.errors import read_error
from flumegate.dialects.openai.usage import decode_usage
from flumegate.ir.answer import Answer, Choice
from flumegate.ir.parts import Citation, Opaque, Part, Refusal, Text, Thinking, ToolCall

_MAPPED = frozenset(
    {"prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"}
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def read_answer(body: bytes) -> Answer:
    """Return the answer.

    Raises:
        ReadError: the document is no chat completion, or tells of a failure.
    """
    node = Node(body, CHAT)
    if node.raw("error"):
        raise ReadError("error", read_error(0, body).message or "The answer is an error.")
    if not node.is_list("choices"):
        raise ReadError("choices", "It is required.")
    name, model, when = _text(node, "id"), _text(node, "model"), read_created(node)
    choices = tuple(_choice(choice) for choice in node.nodes("choices"))
    node.raw("object")
    raw = node.raw("usage")
    usage = decode_usage(raw) if raw else None
    extras = node.left(trivial=ANSWER_TRIVIAL)
    rest = _usage_rest(raw) if usage is not None else raw
    if rest:
        extras = leftovers.add_raw(extras, "usage", rest, trivial=True)
    return Answer(name, model, when, choices, usage, extras)


def _text(node: Node, name: str) -> str:
    return node.text(name) if node.is_string(name) else ""


def read_created(node: Node) -> int:
    """Take `created`; some servers give a float, some none."""
    raw = node.raw("created")
    try:
        return max(0, int(msgspec.json.decode(raw, type=float))) if raw else 0
    except (msgspec.DecodeError, OverflowError, ValueError):
        return 0


def _usage_rest(raw: bytes) -> bytes:
    """Return what a usage object counts beside what we know; zeros say nothing."""
    rest = _unmapped(_decode(raw))
    return _encode(rest) if rest else b""


def _unmapped(members: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in members.items():
        if isinstance(value, dict):
            value = _unmapped(value)  # noqa: PLW2901 - what is left of it
        if value and name not in _MAPPED:
            found[name] = value
    return found


def _choice(node: Node) -> Choice:
    node.raw("index")  # the place says it
    message = node.node("message")
    if message is None:
        raise ReadError(node.at("message"), "It is required.")
    details = message.raw("reasoning_details")
    parts = _parts(message, details, _logprobs(node))
    raw = node.text("finish_reason")
    if raw in BROKEN:
        raise ReadError(node.at("finish_reason"), f"The server broke off ({raw}).")
    met = node.text("stop_reason") if node.is_string("stop_reason") else ""
    called = any(isinstance(part, ToolCall) for part in parts)
    rest = message.left()
    if details:  # its state belongs to the server in between, which wants the list back unchanged
        rest = leftovers.add_raw(rest, "reasoning_details", details)
    return Choice(
        parts, read_finish(raw, met, called=called), leftovers.united(node.left(trivial=CHOICE_TRIVIAL), rest)
    )


def _logprobs(node: Node) -> bytes:
    inner = node.node("logprobs")
    return inner.raw("content") if inner is not None else b""


def _parts(message: Node, details: bytes, logprobs: bytes) -> tuple[Part, ...]:
    message.raw("role")
    thinking: tuple[Part, ...] = read_thinking(message)
    if not thinking and (text := details_text(details)):
        thinking = (Thinking((text,)),)
    content, _ = read_content(message)
    citations, others = read_annotations(message)
    said = [_bare(part) for part in content]
    if citations or logprobs:
        _attach(said, citations, logprobs)
    said += [_bare(read_part(raw, "")) for raw in message.items("images")]
    if others:
        said.append(Opaque(CHAT, "annotations", others, vital=False))
    if refusal := message.text("refusal"):
        said.append(Refusal(refusal))
    if audio := message.raw("audio"):
        said.append(Opaque(CHAT, "audio", audio))
    calls = [_bare(read_call(raw, "")) for raw in message.items("tool_calls")]
    old = message.node("function_call")
    if old is not None and (name := old.text("name")):
        calls.append(ToolCall("", name, old.text("arguments")))
    return (*(_bare(part) for part in thinking), *said, *calls)


def _bare(part: Part) -> Part:
    """Return a part without its path: an answer is nobody's document."""
    return msgspec.structs.replace(part, at="") if part.at else part


def _attach(said: list[Part], citations: tuple[Citation, ...], logprobs: bytes) -> None:
    """Put citations and log probabilities on the text they belong to: the first one."""
    for place, part in enumerate(said):
        if isinstance(part, Text):
            said[place] = msgspec.structs.replace(part, citations=citations, logprobs=logprobs)
            return
    said.append(Text("", citations=citations, logprobs=logprobs))
