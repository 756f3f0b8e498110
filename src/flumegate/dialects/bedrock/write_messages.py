"""The conversation for Converse: `system`, and `messages` of user and assistant by turns.

Opaque state goes back where it came from: Bedrock's own, and Anthropic's where the model thinks as Claude does, as its
signatures count on all platforms (Anthropic, "Extended thinking"). Reasoning without state is not taken by any model.
"""

from __future__ import annotations

import base64
from typing import Any, assert_never

import msgspec

from flumegate.dialects.bedrock.names import NAME, TARGET
from flumegate.dialects.bedrock.write_parts import Files, write_cache
from flumegate.dialects.bedrock.write_tools import write_name
from flumegate.ir.arguments import object_of
from flumegate.ir.loss import Losses
from flumegate.ir.parts import CacheMark, Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Request, Turn
from flumegate.ir.turns import grouped, leading_system, note_as_user, refuse_unanswered, report_turn, safe_id
from flumegate.ir.written import Abilities

Members = dict[str, Any]
_ABILITY = {"image": "images", "audio": "audio", "file": "files"}
_ANTHROPIC = "messages"


class Messages:
    """The conversation for the wire.

    Attributes:
        system: the `system` blocks.
        written: the `messages`.
        stateless: reasoning was left out.
        unmarked: a cache breakpoint was left out.
        marked: how many cache breakpoints stand in it.
    """

    def __init__(self, request: Request, abilities: Abilities, losses: Losses) -> None:
        self.written: list[Members] = []
        self.stateless = self.unmarked = False
        self.marked = 0
        self._abilities = abilities
        self._losses = losses
        self._files = Files(losses)
        system, rest = leading_system(request.turns)
        self.system = self._write_system(system)
        turns = grouped(note_as_user(turn, losses, TARGET) for turn in rest)
        self._check(turns)
        for number, turn in enumerate(turns):
            self._write_turn(turn, is_last=number == len(turns) - 1)
        if not self.written:
            losses.refused("messages", "Bedrock needs at least one message that says something.")
        elif request.cache is not None and self._may_mark():
            self.written[-1]["content"].append(write_cache(request.cache))
            self.marked += 1

    def _check(self, turns: list[Turn]) -> None:
        refuse_unanswered(turns, self._losses)
        if turns and turns[0].role == "assistant":
            self._losses.refused(turns[0].at, "A conversation at Bedrock begins with the user.")
        if turns and turns[-1].role == "assistant" and self._abilities.prefill is False:
            self._losses.refused(turns[-1].at, "The model does not go on with an answer that was begun for it.")

    def _may_mark(self) -> bool:
        if self._abilities.cache_marks is False:
            self.unmarked = True
            return False
        return True

    def _write_system(self, turns: tuple[Turn, ...]) -> list[Members]:
        blocks: list[Members] = []
        for turn in turns:
            report_turn(turn, self._losses, NAME, TARGET)
            for part in turn.parts:
                if isinstance(part, Text | Opaque):
                    self._extend(blocks, part)
                else:
                    self._losses.refused(part.at, "Bedrock takes only text from the system.")
        return blocks

    def _write_turn(self, turn: Turn, *, is_last: bool) -> None:
        report_turn(turn, self._losses, NAME, TARGET)
        role = "assistant" if turn.role == "assistant" else "user"
        content: list[Members] = []
        for number, part in enumerate(turn.parts):
            prefill = is_last and role == "assistant" and number == len(turn.parts) - 1
            if prefill and isinstance(part, Text):
                # Models that go on with an answer refuse one that ends in white space.
                self._extend(content, msgspec.structs.replace(part, text=part.text.rstrip()))
            else:
                self._extend(content, part)
        if not content:
            if turn.parts:
                self._losses.dropped(turn.at, "Nothing is left of this message.")
            return
        if self.written and self.written[-1]["role"] == role:
            self.written[-1]["content"].extend(content)  # what stood between them had nothing that can be said
        else:
            self.written.append({"role": role, "content": content})

    def _extend(self, blocks: list[Members], part: Part) -> None:
        if isinstance(part, Opaque):
            self._losses.opaque(part, TARGET)
            return
        block = self._write_part(part)
        if block is not None:
            blocks.append(block)
        mark: CacheMark | None = None if isinstance(part, Refusal) else part.cache
        if isinstance(part, ToolResult) and mark is None:
            mark = next((inner.cache for inner in part.parts if isinstance(inner, Text | Media) and inner.cache), None)
        if mark is not None and self._may_mark() and blocks:
            blocks.append(write_cache(mark))
            self.marked += 1

    def _write_part(self, part: Text | Thinking | ToolCall | ToolResult | Media | Refusal) -> Members | None:
        match part:
            case Text():
                return self._write_text(part)
            case Thinking():
                return self._write_thinking(part)
            case ToolCall():
                return self._write_call(part)
            case ToolResult():
                return self._write_result(part)
            case Media():
                return self._write_media(part)
            case Refusal():
                self._losses.extras(part.extras, part.at, (NAME,), TARGET)
                self._losses.approximated(part.at, "Bedrock has no refusals; it is said as text.")
                return {"text": part.text} if part.text.strip() else None
            case _:  # pragma: no cover - the type checker proves that there is no other
                assert_never(part)

    def _write_text(self, text: Text) -> Members | None:
        self._losses.extras(text.extras, text.at, (NAME,), TARGET)
        if text.citations:
            self._losses.dropped(f"{text.at}.citations", "Bedrock takes no citations back.")
        return {"text": text.text} if text.text.strip() else None  # blank texts are refused, and say nothing

    def _write_thinking(self, part: Thinking) -> Members | None:
        claude = bool(self._abilities.adaptive_thinking or self._abilities.thinking_budget)
        thinks = claude or self._abilities.adaptive_thinking is None or self._abilities.thinking_budget is None
        own = part.origin == NAME and thinks
        if not part.signature or not (own or (part.origin == _ANTHROPIC and claude)):
            self.stateless = True
            return None
        self._losses.extras(part.extras, part.at, (NAME,), TARGET)
        if part.redacted:
            data = part.signature if own else base64.b64encode(part.signature.encode("utf-8", "replace")).decode()
            return {"reasoningContent": {"redactedContent": data}}
        text = {"text": "".join(part.texts), "signature": part.signature}
        return {"reasoningContent": {"reasoningText": text}}

    def _write_call(self, call: ToolCall) -> Members | None:
        self._losses.extras(call.extras, call.at, (NAME,), TARGET)
        if call.signature:
            self.stateless = True
        arguments = object_of(call)
        if arguments is None:
            self._losses.refused(call.at, "Bedrock takes arguments only as a JSON object, and these are none.")
            return None
        name = write_name(call.name, call.namespace)
        return {"toolUse": {"toolUseId": safe_id(call.id), "name": name, "input": arguments}}

    def _write_result(self, result: ToolResult) -> Members:
        self._losses.extras(result.extras, result.at, (NAME,), TARGET)
        content: list[Members] = []
        for part in result.parts:
            if isinstance(part, Opaque):
                self._losses.opaque(part, TARGET)
            elif isinstance(part, Text | Media | Refusal):
                block = self._write_part(part)
                if block is not None:
                    content.append(block)
            else:
                self._losses.refused(part.at, "Bedrock takes only text and files from tools.")
        members: Members = {"toolUseId": safe_id(result.call_id), "content": content}
        if result.is_error is not None:
            members["status"] = "error" if result.is_error else "success"
        return {"toolResult": members}

    def _write_media(self, media: Media) -> Members | None:
        if getattr(self._abilities, _ABILITY[media.kind]) is False:
            self._losses.refused(media.at, f"The model takes no {_ABILITY[media.kind]}.")
            return None
        return self._files.write(media)
