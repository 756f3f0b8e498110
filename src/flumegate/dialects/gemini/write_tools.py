"""Tools and tool choice for Gemini's wire, and the names that it does not take."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from flumegate.dialects.gemini.members import NAME, give_back
from flumegate.dialects.gemini.schema import Cleaner
from flumegate.dialects.gemini.write_parts import TARGET
from flumegate.ir.loss import Losses
from flumegate.ir.parts import ToolCall
from flumegate.ir.request import Request, Tool, ToolChoice
from flumegate.ir.restore import CUSTOM_PARAMETERS, packed_description
from flumegate.ir.turns import safe_name
from flumegate.ir.written import Abilities, Rename

_LEGAL = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}


def write_name(name: str, namespace: str) -> str:
    """Return a tool's name for the wire: flattened, and legal."""
    flat = f"{namespace}__{name}" if namespace else name
    if _LEGAL.fullmatch(flat):
        return flat
    safe = safe_name(flat)
    return safe if _LEGAL.fullmatch(safe) else safe_name(f"_{flat}")


class Tools:
    """The tools for the wire.

    Attributes:
        written: the `tools`.
        config: the `toolConfig`, or nothing.
        renames: see `Written`.
    """

    def __init__(self, request: Request, abilities: Abilities, losses: Losses) -> None:
        self.written: list[dict[str, Any]] = []
        self.renames: dict[str, Rename] = {}
        self._own = request.dialect == NAME
        self._losses = losses
        self._plain = abilities.json_schema is False
        self._calls = {
            part.id: self.name_of(part.name, part.namespace)
            for turn in request.turns
            for part in turn.parts
            if isinstance(part, ToolCall)
        }
        others = any(tool.kind != "hosted" for tool in request.tools)
        self._forced = request.tool_choice is not None and request.tool_choice.mode == "required" and not others
        if request.tools and abilities.tools is False:
            losses.refused("tools", "The model takes no tools.")
        for number, tool in enumerate(request.tools):
            self._add(tool, tool.at or f"tools[{number}]")
        self.config = self._write_choice(request.tool_choice)

    def name_of(self, name: str, namespace: str) -> str:
        """Return the name on the wire of a tool of this request."""
        return name if self._own else write_name(name, namespace)

    def name_of_call(self, call_id: str, name: str) -> str:
        """Return the name on the wire of the tool that was called."""
        return self._calls.get(call_id) or self.name_of(name, "")

    def _add(self, tool: Tool, at: str) -> None:
        if tool.kind == "hosted":
            self._add_hosted(tool, at)
            return
        self._losses.extras(tool.extras, at, (NAME,), TARGET)
        if tool.strict:
            self._losses.dropped(f"{at}.strict", "Gemini promises no strict arguments.")
        name = self.name_of(tool.name, tool.namespace)
        if name != tool.name or tool.kind == "custom":
            self.renames[name] = Rename(tool.name, tool.namespace, tool.kind)
        function: dict[str, Any] = {"name": name}
        description = tool.description
        if tool.kind == "custom":
            description = packed_description(tool, self._losses, at, TARGET)
        if description or self._own:
            function["description"] = description
        parameters = CUSTOM_PARAMETERS if tool.kind == "custom" else tool.parameters
        if parameters:
            function |= self._write_parameters(parameters, at)
        give_back(function, tool.extras)
        last = self.written[-1] if self.written else {}
        if "functionDeclarations" in last:
            last["functionDeclarations"].append(function)
        else:
            self.written.append({"functionDeclarations": [function]})

    def _write_parameters(self, parameters: bytes, at: str) -> dict[str, Any]:
        if not self._plain:
            return {"parametersJsonSchema": msgspec.Raw(parameters)}
        cleaner = Cleaner()
        cleaned = cleaner.clean(parameters)
        if cleaner.dropped:
            self._losses.approximated(f"{at}.parameters", _without(cleaner))
        return {"parameters": msgspec.Raw(cleaned)}

    def _add_hosted(self, tool: Tool, at: str) -> None:
        if tool.dialect == NAME:
            config: dict[str, Any] = {}
            give_back(config, tool.extras)
            self.written.append({tool.name: config})
        elif self._forced:
            self._losses.refused(at, f"Gemini has no tool {tool.name[:60]!r}, and a tool must be called.")
        else:
            self._losses.dropped(at, f"Gemini has no tool {tool.name[:60]!r}.")

    def _write_choice(self, choice: ToolChoice | None) -> dict[str, Any]:
        if choice is None:
            return {}
        self._losses.extras(choice.extras, "tool_choice", (NAME,), TARGET)
        if choice.kind == "hosted":
            self._losses.refused("tool_choice", "Gemini can be made to call functions only.")
            return {}
        if not self.written and not self._own:
            if choice.mode in ("required", "named"):
                self._losses.refused("tool_choice", "There is no tool that could be called.")
            return {}
        calling: dict[str, Any] = {}
        give_back(calling, choice.extras)
        if choice.mode == "allowed":
            calling["mode"] = "ANY" if choice.required else "VALIDATED"
        else:
            calling.setdefault("mode", _MODES[choice.mode])
        if choice.names:
            calling["allowedFunctionNames"] = [self._name_of_choice(name) for name in choice.names]
        return {"functionCallingConfig": calling}

    def _name_of_choice(self, name: str) -> str:
        for wire, rename in self.renames.items():
            if rename.name == name:
                return wire
        return self.name_of(name, "")


def _without(cleaner: Cleaner) -> str:
    return f"The model's schemas have no {', '.join(sorted(cleaner.dropped))[:120]}."
