"""Turns as Gemini's `contents` and `systemInstruction`.

Own requests keep their turns as they are; those of others are grouped, as Gemini wants the results of one step in one
content. Ids that a reader had minted are not written.
"""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from flumegate.dialects.gemini.members import NAME, give_back
from flumegate.dialects.gemini.read_parts import Calls
from flumegate.dialects.gemini.signature import BYPASS
from flumegate.dialects.gemini.write_parts import (
    TARGET,
    write_call,
    write_media,
    write_response,
    write_text,
)
from flumegate.dialects.gemini.write_tools import Tools
from flumegate.ir.arguments import as_object
from flumegate.ir.loss import Losses
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Request, Turn
from flumegate.ir.restore import pack_custom
from flumegate.ir.turns import (
    grouped,
    leading_system,
    note_as_user,
    refuse_unanswered,
    report_turn,
    text_of,
    tool_names,
    with_state_on_calls,
)
from flumegate.ir.written import Abilities

Members = dict[str, Any]
_ABILITY = {"image": "images", "audio": "audio", "file": "files"}


class Contents:
    """The conversation for the wire.

    Attributes:
        system: the `systemInstruction`, or nothing.
        written: the `contents`.
        marked: a cache breakpoint was left out.
        stateless: reasoning of another provider was left out.
        bypassed: a call got the value that stands for a missing signature.
    """

    def __init__(self, request: Request, abilities: Abilities, tools: Tools, losses: Losses) -> None:
        self.written: list[Members] = []
        self.marked = self.stateless = self.bypassed = False
        self._own = request.dialect == NAME
        self._abilities = abilities
        self._tools = tools
        self._losses = losses
        self._names = tool_names(request.turns)
        self._minted: set[str] = set()
        self._calls = Calls()
        self._behind: list[Media] = []
        """Files of tool results, for models that take none in a result: they follow the results."""
        system, rest = leading_system(request.turns)
        self.system = self._write_system(system)
        if not self._own:
            refuse_unanswered(rest, losses)
        turns = (
            list(rest)
            if self._own
            else with_state_on_calls(grouped(note_as_user(turn, losses, TARGET) for turn in rest), NAME)
        )
        if turns and turns[-1].role == "assistant" and abilities.prefill is False:
            losses.refused(turns[-1].at, "The model does not go on with an answer that was begun for it.")
        step = _current_turn(turns)
        for number, turn in enumerate(turns):
            self._write_turn(turn, signed=number >= step)

    def _write_system(self, turns: tuple[Turn, ...]) -> Members:
        parts: list[Members | msgspec.Raw] = []
        members: Members = {}
        for turn in turns:
            report_turn(turn, self._losses, NAME, TARGET)
            parts.extend(self._write_parts(turn, signed=False))
            give_back(members, turn.extras)
        return {"parts": parts} | members if parts or members else {}

    def _write_turn(self, turn: Turn, *, signed: bool) -> None:
        report_turn(turn, self._losses, NAME, TARGET)
        parts = self._write_parts(turn, signed=signed)
        if not parts and not self._own:
            return  # nothing is left of it, and Gemini refuses contents without parts
        role = "model" if turn.role == "assistant" else "function" if turn.role == "tool" else "user"
        members: Members = {"role": role}
        if parts:
            members["parts"] = parts
        give_back(members, turn.extras)
        self.written.append(members)

    def _write_parts(self, turn: Turn, *, signed: bool) -> list[Members | msgspec.Raw]:
        written: list[Members | msgspec.Raw] = []
        wants_signature = signed and turn.role == "assistant" and self._abilities.adaptive_thinking is True
        for part in turn.parts:
            members = self._write_part(part)
            if members is None:
                continue
            if wants_signature and isinstance(part, ToolCall) and isinstance(members, dict):
                wants_signature = False  # of parallel calls only the first bears one
                if "thoughtSignature" not in members:
                    members["thoughtSignature"] = BYPASS
                    self.bypassed = True
            written.append(members)
        behind = [self._write_media(media) for media in self._behind]
        self._behind.clear()
        return written + [media for media in behind if media is not None]

    def _write_part(self, part: Part) -> Members | msgspec.Raw | None:  # noqa: PLR0911 - one for every kind of part
        if not isinstance(part, Opaque | Refusal) and part.cache is not None:
            self.marked = True
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
                self._losses.approximated(part.at, "Gemini has no refusals; it is said as text.")
                return {"text": part.text}
            case Opaque():
                return self._write_opaque(part)
            case _:  # pragma: no cover - the type checker proves that there is no other
                assert_never(part)

    def _write_text(self, text: Text) -> Members | None:
        self._losses.extras(text.extras, text.at, (NAME,), TARGET)
        if text.citations:
            self._losses.dropped(f"{text.at}.citations", "Gemini takes no citations back.")
        return write_text(text) if text.text or self._own else None

    def _write_thinking(self, part: Thinking) -> Members | None:
        if part.origin != NAME and (part.signature or not self._own):
            self.stateless = True
            return None
        self._losses.extras(part.extras, part.at, (NAME,), TARGET)
        members: Members = {"text": "\n\n".join(part.texts)}
        if part.texts:
            members["thought"] = True
        if part.signature:
            members["thoughtSignature"] = part.signature
        give_back(members, part.extras)
        return members

    def _write_call(self, call: ToolCall) -> Members | None:
        self._losses.extras(call.extras, call.at, (NAME,), TARGET)
        if call.kind == "custom":
            call = msgspec.structs.replace(call, arguments=pack_custom(call.arguments))
        args = as_object(call.arguments)
        identity = self._calls.call(call.name, "")
        if args is None:
            self._losses.refused(call.at, "Gemini takes arguments only as a JSON object, and these are none.")
            return None
        if self._own and call.id == identity:
            self._minted.add(identity)
        name = self._tools.name_of(call.name, call.namespace)
        members = write_call(call, name, "" if call.id in self._minted else call.id, args)
        if call.signature and call.origin == NAME:
            members["thoughtSignature"] = call.signature
        elif call.signature:
            self.stateless = True
        return members

    def _write_result(self, result: ToolResult) -> Members | None:
        self._losses.extras(result.extras, result.at, (NAME,), TARGET)
        known = result.name or self._names.get(result.call_id, "")
        if not known:
            self._losses.refused(result.at, f"No call has the id {result.call_id[:80]!r}, so the tool has no name.")
            return None
        name = self._tools.name_of(known, "") if result.name else self._tools.name_of_call(result.call_id, known)
        identity = result.call_id
        if self._own and (identity in self._minted or identity == Calls().result(known, "")):
            identity = ""
        inner: Members = {"id": identity} if identity else {}
        inner["name"] = name
        inner["response"] = write_response(result, self._text_of(result))
        pieces = self._write_pieces(result)
        if pieces:
            inner["parts"] = pieces
        members: Members = {"functionResponse": inner}
        give_back(members, result.extras)
        return members

    def _text_of(self, result: ToolResult) -> str:
        for part in result.parts:
            if isinstance(part, Text):
                self._losses.extras(part.extras, part.at, (NAME,), TARGET)
                self.marked = self.marked or part.cache is not None
        return text_of(result.parts, "\n")

    def _write_pieces(self, result: ToolResult) -> list[Members | msgspec.Raw]:
        pieces: list[Members | msgspec.Raw] = []
        for part in result.parts:
            if isinstance(part, Media) and self._abilities.adaptive_thinking is False and not self._own:
                self._losses.approximated(part.at, "The model takes no files in results; it follows the results.")
                self._behind.append(part)
            elif isinstance(part, Media):
                media = self._write_media(part)
                if media is not None:
                    pieces.append(media)
            elif isinstance(part, Opaque):
                if part.dialect == NAME:
                    pieces.append(msgspec.Raw(part.raw))
                else:
                    self._losses.opaque(part, TARGET)
            elif not isinstance(part, Text):
                self._losses.refused(part.at, "Gemini takes only text and files from tools.")
        return pieces

    def _write_media(self, media: Media) -> Members | None:
        if getattr(self._abilities, _ABILITY[media.kind]) is False:
            self._losses.refused(media.at, f"The model takes no {_ABILITY[media.kind]}.")
            return None
        if media.cache is not None:
            self.marked = True
        return write_media(media, self._losses, own=self._own)

    def _write_opaque(self, part: Opaque) -> msgspec.Raw | None:
        if part.dialect == NAME:
            return msgspec.Raw(part.raw)
        self._losses.opaque(part, TARGET)
        return None


def _current_turn(turns: list[Turn]) -> int:
    """Return where the current turn begins: behind the last content of the user's that answers no call.

    Google checks the signatures from there on.
    """
    for number in range(len(turns) - 1, -1, -1):
        turn = turns[number]
        if turn.role == "user" and not any(isinstance(part, ToolResult) for part in turn.parts):
            return number
    return 0
