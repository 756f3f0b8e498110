"""Gemini's answer in one piece, read (dialects: §9)."""

from __future__ import annotations

from datetime import datetime

import msgspec

from flumegate.dialects.gemini.finish import PROMPT, broken, minted, read_finish
from flumegate.dialects.gemini.grounding import read_citations
from flumegate.dialects.gemini.logprobs import read_logprobs
from flumegate.dialects.gemini.members import ANSWER_TRIVIAL, CANDIDATE_TRIVIAL, Members, gathered
from flumegate.dialects.gemini.read_parts import Calls, read_part
from flumegate.dialects.gemini.usage import WireUsage, read_usage
from flumegate.dialects.node import ReadError
from flumegate.ir.answer import Answer, Choice, Finish
from flumegate.ir.parts import Part, Text, ToolCall
from flumegate.ir.usage import Usage

_decode_usage = msgspec.json.Decoder(WireUsage).decode


def read_answer(body: bytes) -> Answer:
    """Return the answer.

    Raises:
        ReadError: it is none, or the model's output was broken.
    """
    node = Members(body)
    if "error" in node:
        raise ReadError("error", "It is an error, not an answer.")
    identity = node.text("responseId")
    calls = Calls(minted(identity, 0)[:-1])
    candidates = node.lists("candidates")
    usage = _read_usage(node)
    choices = tuple(_read_candidate(candidate, calls) for candidate in candidates)
    if not candidates:
        blocked = blocked_by(node)
        if blocked is None:
            raise ReadError("candidates", "There is none, and no reason why.")
        choices = (Choice(finish=blocked),)
    return Answer(
        identity,
        node.text("modelVersion"),
        _read_created(node),
        choices,
        usage,
        node.left(trivial=ANSWER_TRIVIAL),
    )


def blocked_by(node: Members) -> Finish | None:
    """Return the finish of an answer that a filter of the prompt prevented; what tells of it is taken."""
    feedback = node.node("promptFeedback")
    reason = feedback.text("blockReason") if feedback is not None else ""
    if feedback is None or not reason:
        return None
    detail = feedback.text("blockReasonMessage")
    left = feedback.left()
    if left is not None:
        node.put("promptFeedback", left)
    return Finish("filter", PROMPT + reason, detail=detail)


def _read_usage(node: Members) -> Usage | None:
    raw = node.raw("usageMetadata")
    if not raw:
        return None
    try:
        return read_usage(_decode_usage(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ReadError("usageMetadata", "It cannot be read.") from None


def _read_created(node: Members) -> int:
    """Return Vertex's `createTime` in seconds; one that cannot be read stays in the extras."""
    created = created_at(node.peek_string("createTime"))
    if created:
        node.raw("createTime")
    return created


def created_at(moment: str) -> int:
    """Return the Unix seconds of a moment in RFC 3339; 0 = none."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return 0
    return int(parsed.timestamp()) if parsed.tzinfo is not None else 0


def _read_candidate(node: Members, calls: Calls) -> Choice:
    node.raw("index")  # candidates stand in their order
    raw, detail = node.text("finishReason"), node.text("finishMessage")
    failure = broken(raw, detail)
    if failure is not None:
        raise ReadError(node.at("finishReason"), failure.message)
    content = node.node("content")
    parts: list[Part] = []
    content_extras = None
    if content is not None:
        content.raw("role")
        path = content.at("parts")
        items = content.items("parts")
        parts = [read_part(part, calls, "", f"{path}[{number}]") for number, part in enumerate(items)]
        content_extras = content.left()
    parts = with_sources(parts, _take_logprobs(node, parts), node)
    called = any(isinstance(part, ToolCall) for part in parts)
    return Choice(
        tuple(parts),
        read_finish(raw or "STOP", detail, called=called),
        gathered(node.left(trivial=CANDIDATE_TRIVIAL), content_extras, "content"),
    )


def _take_logprobs(node: Members, parts: list[Part]) -> bytes:
    if not any(isinstance(part, Text) and part.text for part in parts) or "logprobsResult" not in node:
        return b""
    return read_logprobs(node.raw("logprobsResult"))


def with_sources(parts: list[Part], logprobs: bytes, node: Members) -> list[Part]:
    """Return the parts with log probabilities on the first text and citations on the last."""
    places = [number for number, part in enumerate(parts) if isinstance(part, Text) and part.text]
    if not places:
        return parts
    first, last = places[0], places[-1]
    if logprobs:
        parts[first] = msgspec.structs.replace(parts[first], logprobs=logprobs)
    cited = parts[last]
    if "groundingMetadata" in node and isinstance(cited, Text):
        citations = read_citations(node.peek_raw("groundingMetadata"), cited.text)
        parts[last] = msgspec.structs.replace(cited, citations=citations)
    return parts
