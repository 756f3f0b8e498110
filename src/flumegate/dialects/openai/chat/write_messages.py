"""Turns as messages: one slot each for text, reasoning and calls, tool results in messages of their own (§13.2).

Order within a turn is lost where chat has none. Results stand directly behind the calls they answer, and what is no
text in them follows in a user message.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.dialects.openai.chat import leftovers
from flumegate.dialects.openai.chat.names import (
    CHAT,
    GEMINI_ORIGIN,
    GOOGLE_SERVERS,
    NAMELESS_SERVERS,
    OPENAI_SERVERS,
    TARGET,
)
from flumegate.dialects.openai.chat.thinking import BETWEEN
from flumegate.dialects.openai.chat.write_parts import Json, PartWriter
from flumegate.dialects.openai.chat.write_tools import ToolWriter
from flumegate.ir.parts import Media, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult
from flumegate.ir.request import Request, Turn
from flumegate.ir.turns import leading_system, refuse_unanswered, with_calls_together


class MessageWriter:
    """Writes the messages of one request."""

    def __init__(self, request: Request, parts: PartWriter, tools: ToolWriter) -> None:
        self._request = request
        self._parts = parts
        self._tools = tools
        self._abilities = parts.abilities
        self._losses = parts.losses
        self._own = request.dialect == CHAT
        self._messages: list[Json] = []
        self._media: list[tuple[ToolResult, Media]] = []
        """Of tool results, for the user message behind them."""

    def write(self) -> list[Json]:
        """Return `messages`."""
        turns = self._request.turns
        if self._abilities.server in OPENAI_SERVERS:
            refuse_unanswered(turns, self._losses)
        if turns and turns[-1].role == "assistant" and self._abilities.prefill is False:
            self._losses.refused(turns[-1].at, "The model does not continue an assistant message.")
        if not self._own:
            turns = tuple(with_calls_together(turns))
        system, rest = leading_system(turns)
        for turn in system:
            self._plain_turn(turn, leading=True)
        for turn in self._results_first(rest):
            self._turn(turn)
        self._flush()
        return self._messages

    def _results_first(self, turns: tuple[Turn, ...]) -> list[Turn]:
        """Return the turns with results directly behind their calls: nothing may stand between them."""
        ordered: list[Turn] = []
        behind: list[Turn] = []
        calling = False
        for turn in turns:
            if turn.role == "assistant":
                ordered += behind
                behind = []
                calling = any(isinstance(part, ToolCall) for part in turn.parts)
            elif calling and not any(isinstance(part, ToolResult) for part in turn.parts):
                behind.append(turn)
                continue
            elif behind:
                self._losses.approximated(behind[-1].at, "It is moved behind the tool's result, which must come first.")
            ordered.append(turn)
        return ordered + behind

    def _turn(self, turn: Turn) -> None:
        results = [part for part in turn.parts if isinstance(part, ToolResult)]
        for result in results:
            self._result(result, turn)
        if results:
            rest = tuple(part for part in turn.parts if not isinstance(part, ToolResult))
            if not rest:
                if turn.role != "tool":
                    self._losses.extras(turn.extras, turn.at, (), TARGET)
                return
            extras = None if turn.role == "tool" else turn.extras
            role = "user" if turn.role == "tool" else turn.role
            turn = msgspec.structs.replace(turn, parts=rest, extras=extras, role=role, plain=False)
        self._flush()
        if turn.role == "assistant":
            self._assistant(turn)
        else:
            self._plain_turn(turn)

    def _add(self, turn: Turn, members: Json) -> None:
        if turn.name and members["role"] != "tool":
            if self._abilities.server in NAMELESS_SERVERS:
                self._losses.dropped(f"{turn.at}.name", "The server takes no names of speakers.")
            else:
                members["name"] = turn.name
        leftovers.give_back(members, turn.extras)
        self._losses.extras(turn.extras, turn.at, (CHAT,), TARGET)
        self._messages.append(members)

    def _plain_turn(self, turn: Turn, *, leading: bool = False) -> None:
        """Write a system, developer or user message."""
        role: str = turn.role
        if role == "developer" and self._abilities.developer_role is False:
            role = "system"
        if role in ("system", "developer") and not leading and self._abilities.system_anywhere is False:
            role = "user"
            self._losses.approximated(turn.at, "The model takes system messages only at the start; the user says it.")
        content = self._content(turn, turn.parts, text_only=role in ("system", "developer"))
        if content or turn.plain or not turn.parts:
            self._add(turn, {"role": role, "content": content})

    def _content(self, turn: Turn, parts: tuple[Part, ...], *, text_only: bool = False) -> Any:  # noqa: ANN401 - string or list
        """Return content: as it came if the client speaks chat, else in the simplest form that says it all."""
        texts = [part for part in parts if isinstance(part, Text | Refusal)]
        marked = any(isinstance(part, Text) and part.cache is not None for part in texts)
        if text_only:
            for part in parts:
                if isinstance(part, Media):
                    self._losses.refused(part.at, f"{TARGET} takes only text in a message of this role.")
            parts = tuple(part for part in parts if not isinstance(part, Media))
        bare = len(texts) == len(parts) and not marked and (turn.plain or not self._own)
        if bare and (text_only or len(texts) < 2):
            for part in texts:
                self._losses.extras(part.extras, part.at, (), TARGET)
            return BETWEEN.join(part.text for part in texts)
        written = [self._parts.part(part) for part in parts]
        return [part for part in written if part is not None]

    def _assistant(self, turn: Turn) -> None:
        members: Json = {"role": "assistant"}
        self._think(members, [part for part in turn.parts if isinstance(part, Thinking)])
        said = tuple(part for part in turn.parts if isinstance(part, Text | Media | Opaque))
        calls = [part for part in turn.parts if isinstance(part, ToolCall)]
        refusal = "".join(part.text for part in turn.parts if isinstance(part, Refusal))
        members["content"] = self._said(turn, said)
        if refusal:
            members["refusal"] = refusal
        if calls:
            members["tool_calls"] = [self._call(call) for call in calls]
        if not members["content"] and not calls and not refusal and len(members) == 2:
            if turn.parts and not any(isinstance(part, Text) for part in turn.parts):
                return  # nothing is left of it
            members["content"] = "" if turn.parts else None
        self._add(turn, members)

    def _said(self, turn: Turn, said: tuple[Text | Media | Opaque, ...]) -> Any:  # noqa: ANN401 - string, list or null
        for part in said:
            if isinstance(part, Media):
                self._losses.refused(part.at, f"{TARGET} takes only text in an assistant's message.")
            if isinstance(part, Text) and part.citations:
                self._losses.dropped(f"{part.at}.citations", f"{TARGET} takes no citations back.")
        kept = tuple(part for part in said if not isinstance(part, Media))
        texts = [part for part in kept if isinstance(part, Text)]
        if (self._own and not turn.plain) or any(part.cache is not None for part in texts):
            written = [self._parts.part(part) for part in kept]
            return [part for part in written if part is not None] or None
        for part in kept:
            if isinstance(part, Opaque):
                self._losses.opaque(part, TARGET)
            else:
                self._losses.extras(part.extras, part.at, (), TARGET)
        return "".join(part.text for part in texts) if texts else None

    def _think(self, members: Json, thoughts: list[Thinking]) -> None:
        field = self._abilities.reasoning_field
        texts = [text for part in thoughts if not part.origin for text in part.texts]
        if field and texts:
            members[field] = BETWEEN.join(texts)
        if any(part.signature or part.origin or not field for part in thoughts):
            self._parts.state_lost()

    def _call(self, call: ToolCall) -> Json:
        members = self._tools.call(call)
        self._parts.mark(members, call.cache)
        if call.signature:
            if call.origin == GEMINI_ORIGIN and self._abilities.server in GOOGLE_SERVERS:
                given = members.setdefault("extra_content", {})
                if isinstance(given, msgspec.Raw):
                    given = members["extra_content"] = msgspec.json.decode(given)
                given.setdefault("google", {})["thought_signature"] = call.signature
            else:
                self._parts.state_lost()
        return members

    def _result(self, result: ToolResult, turn: Turn) -> None:
        said: list[Part] = []
        for part in result.parts:
            if isinstance(part, Media) and not part.text:
                self._media.append((result, part))
            else:
                said.append(part)
        if result.is_error:
            said.insert(0, Text("[error] "))
            self._losses.approximated(f"{result.at}.is_error", f"{TARGET} tells of a tool's error only in words.")
        members: Json = {"role": "tool", "tool_call_id": self._tools.id(result.call_id)}
        members["content"] = self._result_content(result, said)
        if result.name and self._own and self._abilities.server not in NAMELESS_SERVERS:
            members["name"] = result.name
        self._parts.mark(members, result.cache)
        leftovers.give_back(members, result.extras)
        self._losses.extras(result.extras, result.at, (CHAT,), TARGET)
        self._add(msgspec.structs.replace(turn, name="", extras=turn.extras if turn.role == "tool" else None), members)

    def _result_content(self, result: ToolResult, said: list[Part]) -> Any:  # noqa: ANN401 - string or list
        if self._own and not result.plain and not result.is_error:
            written = [self._parts.part(part) for part in said]
            return [part for part in written if part is not None] or ""
        texts = []
        for part in said:
            if isinstance(part, Text):
                texts.append(part.text)
                self._losses.extras(part.extras, part.at, (), TARGET)
                if part.cache is not None:
                    self._parts.cache_lost()
            elif isinstance(part, Media):
                texts.append(part.text)
            else:
                self._parts.part(part)
        return "\n".join(texts).replace("[error] \n", "[error] ", 1) if result.is_error else "\n".join(texts)

    def _flush(self) -> None:
        """Write the user message that shows what tools gave beside text."""
        if not self._media:
            return
        content: list[Any] = []
        for result, part in self._media:
            written = self._parts.part(part)
            if written is not None:
                self._losses.approximated(part.at, f"{TARGET} takes only text from tools; the user shows it.")
                call = self._tools.id(result.call_id)
                content += [{"type": "text", "text": f"Given by the tool call {call}:"}, written]
        self._media = []
        if content:
            self._messages.append({"role": "user", "content": content})
