"""JSON objects of a dialect, read member by member: what a reader does not take is left over as extras, never lost.

One level is decoded at a time, so what nobody looks into (schemas, images) stays bytes. An explicit null is an absent
member. Every wrong type is a `ReadError` with the path of the member.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flumegate.ir.parts import Extras

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_decode_string = msgspec.json.Decoder(str | None).decode
_decode_strings = msgspec.json.Decoder(list[str] | None).decode
_decode_integer = msgspec.json.Decoder(int | None).decode
_decode_number = msgspec.json.Decoder(float | None).decode
_decode_boolean = msgspec.json.Decoder(bool | None).decode
_decode = msgspec.json.Decoder().decode
_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NULL = b"null"


class ReadError(ValueError):
    """A document that is not of its dialect.

    Attributes:
        path: of the member at fault, as in `messages[2].content`; empty = the document.
        detail: what is wrong, one sentence that ends with a full stop.
    """

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"{path}: {detail}" if path else detail)
        self.path = path
        self.detail = detail


class Node:
    """One JSON object. Taking a member removes it; `left` returns the others."""

    __slots__ = ("_members", "dialect", "path")

    def __init__(self, raw: bytes | msgspec.Raw, dialect: str, path: str = "") -> None:
        self.dialect = dialect
        self.path = path
        try:
            self._members = _decode_members(raw)
        except _FAILURES as error:
            raise ReadError(path, f"It must be a JSON object ({str(error)[:120]}).") from None

    def __contains__(self, name: str) -> bool:
        """Tell whether a member is there and not null."""
        raw = self._members.get(name)
        return raw is not None and bytes(raw) != _NULL

    def at(self, name: str) -> str:
        """Return the path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def raw(self, name: str) -> bytes:
        """Take a member as raw JSON; empty = absent or null."""
        raw = self._members.pop(name, None)
        if raw is None:
            return b""
        value = bytes(raw)
        return b"" if value == _NULL else value

    def member_names(self) -> tuple[str, ...]:
        """Return the names of the members that nobody has taken yet."""
        return tuple(self._members)

    def _typed(self, name: str, decode: Any, expected: str) -> Any:  # noqa: ANN401 - as typed as its decoder
        raw = self._members.pop(name)
        try:
            return decode(raw)  # undecoded members stay where they are: images are not copied to be looked at
        except _FAILURES:
            raise ReadError(self.at(name), f"It must be {expected}.") from None

    def string(self, name: str) -> str | None:
        """Take a string; None = absent or null."""
        if name not in self._members:
            return None  # here and below: most members are absent, and a call less each
        value: str | None = self._typed(name, _decode_string, "a string")
        return value

    def text(self, name: str) -> str:
        """Take a string; empty = absent or null."""
        return (self.string(name) or "") if name in self._members else ""

    def required(self, name: str) -> str:
        """Take a string that must be there."""
        value = self.string(name)
        if value is None:
            raise ReadError(self.at(name), "It is required.")
        return value

    def integer(self, name: str) -> int | None:
        """Take an integer; None = absent or null."""
        if name not in self._members:
            return None
        value: int | None = self._typed(name, _decode_integer, "an integer")
        return value

    def number(self, name: str) -> float | None:
        """Take a number; None = absent or null."""
        if name not in self._members:
            return None
        value: float | None = self._typed(name, _decode_number, "a number")
        return value

    def boolean(self, name: str) -> bool | None:
        """Take true or false; None = absent or null."""
        if name not in self._members:
            return None
        value: bool | None = self._typed(name, _decode_boolean, "true or false")
        return value

    def strings(self, name: str) -> tuple[str, ...]:
        """Take a list of strings; empty = absent or null."""
        if name not in self._members:
            return ()
        return tuple(self._typed(name, _decode_strings, "a list of strings") or ())

    def items(self, name: str) -> list[msgspec.Raw]:
        """Take a list, undecoded; empty = absent or null."""
        if name not in self._members:
            return []
        return self._typed(name, _decode_items, "a list") or []

    def node(self, name: str) -> Node | None:
        """Take an object; None = absent or null."""
        if name not in self._members:
            return None
        raw = self.raw(name)
        return Node(raw, self.dialect, self.at(name)) if raw else None

    def nodes(self, name: str) -> list[Node]:
        """Take a list of objects; empty = absent or null."""
        if name not in self._members:
            return []
        place = self.at(name)
        return [Node(raw, self.dialect, f"{place}[{number}]") for number, raw in enumerate(self.items(name))]

    def look(self, name: str) -> object:
        """Return a member, whatever it is, without taking it; None = absent, null, or nothing that can be read."""
        raw = self._members.get(name)
        try:
            return None if raw is None else _decode(raw)
        except _FAILURES:
            return None

    def is_string(self, name: str) -> bool:
        """Tell whether a member is a string, without taking it."""
        raw = self._members.get(name)
        return raw is not None and memoryview(raw)[0] == 0x22  # a quotation mark

    def is_list(self, name: str) -> bool:
        """Tell whether a member is a list, without taking it."""
        raw = self._members.get(name)
        return raw is not None and memoryview(raw)[0] == 0x5B  # a bracket

    def left(self, vital: tuple[str, ...] = (), trivial: tuple[str, ...] = ()) -> Extras | None:
        """Return what was not taken, nulls aside.

        `vital` names members without which the meaning changes, `trivial` those that nobody else can miss.
        """
        if not self._members:
            return None  # as in most nodes
        fields = {name: raw for name, raw in self._members.items() if bytes(raw) != _NULL}
        if not fields:
            return None
        return Extras(
            self.dialect,
            fields,
            tuple(name for name in vital if name in fields),
            tuple(name for name in trivial if name in fields),
        )


def give_back(members: dict[str, Any], extras: Extras | None, *own: str) -> None:
    """Put members that this dialect had left over into an object that is being written; `own` are its names."""
    if extras is not None and extras.dialect in own:
        for name, raw in extras.fields.items():
            members.setdefault(name, raw)
