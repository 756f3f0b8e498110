"""Arguments of a call that come value by value: `partialArgs`, each with a JSON path to where it belongs (RFC 9535)."""

from __future__ import annotations

import re

import msgspec

from flumegate.dialects.node import ReadError

Json = dict[str, "Json"] | list["Json"] | str | float | bool | None

_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_ESCAPE = re.compile(r"\\(.)")
_MAX_DEPTH = 64
_encode = msgspec.json.Encoder().encode


class PartialArg(msgspec.Struct, gc=False):
    """One value, or a piece of a string."""

    jsonPath: str = ""  # noqa: N815 - named as on the wire
    stringValue: str | None = None  # noqa: N815 - named as on the wire
    numberValue: float | int | None = None  # noqa: N815 - named as on the wire
    boolValue: bool | None = None  # noqa: N815 - named as on the wire

    def value(self) -> Json:
        """Return the value; null where none is set."""
        if self.stringValue is not None:
            return self.stringValue
        return self.numberValue if self.numberValue is not None else self.boolValue


class Arguments:
    """An object that is put together from its pieces."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: dict[str, Json] = {}

    def __bool__(self) -> bool:
        return bool(self._root)

    def put(self, arg: PartialArg) -> None:
        """Put a value in its place; a string that is already there goes on.

        Raises:
            ReadError: there is no such place.
        """
        steps = _steps(arg.jsonPath)
        place: Json = self._root
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if following is None:
                known = _get(place, step, arg.jsonPath)
                value = arg.value()
                if isinstance(known, str) and isinstance(value, str):
                    value = known + value
                _set(place, step, value)
            else:
                inner = _get(place, step, arg.jsonPath)
                if inner is None:
                    inner = [] if isinstance(following, int) else {}
                    _set(place, step, inner)
                place = inner

    def text(self) -> str:
        """Return the JSON text."""
        return _encode(self._root).decode()


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            break
        name, index, single, double = match.groups()
        if index is not None:
            steps.append(int(index))
        else:
            steps.append(name if name is not None else _ESCAPE.sub(r"\1", single if single is not None else double))
        at = match.end()
    if not path.startswith("$") or not steps or at < len(path) or len(steps) > _MAX_DEPTH:
        raise ReadError("partialArgs.jsonPath", f"It cannot be read: {path[:80]!r}.")
    return steps


def _get(place: Json, step: str | int, path: str) -> Json:
    if isinstance(place, dict) and isinstance(step, str):
        return place.get(step)
    if isinstance(place, list) and isinstance(step, int) and step <= len(place):
        return place[step] if step < len(place) else None
    raise ReadError("partialArgs.jsonPath", f"It leads nowhere: {path[:80]!r}.")


def _set(place: Json, step: str | int, value: Json) -> None:
    if isinstance(place, dict) and isinstance(step, str):
        place[step] = value
    else:
        assert isinstance(place, list)  # noqa: S101 - `_get` has gone the same way
        assert isinstance(step, int)  # noqa: S101 - likewise
        place[step:] = [value, *place[step + 1 :]]
