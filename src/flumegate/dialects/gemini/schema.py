"""JSON Schema and Google's own subset of OpenAPI's, the one turned into the other.

Clients give tools and answers a schema in either; the neutral form is JSON Schema. Models without
`parametersJsonSchema` get the subset: `$ref` inlined, keywords that Google refuses left out.
"""

from __future__ import annotations

from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

_KEPT = frozenset(
    [
        "type",
        "format",
        "title",
        "description",
        "nullable",
        "enum",
        "maxItems",
        "minItems",
        "properties",
        "required",
        "minProperties",
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "example",
        "anyOf",
        "propertyOrdering",
        "default",
        "items",
        "minimum",
        "maximum",
    ]
)
_FORMATS = frozenset(("float", "double", "int32", "int64", "enum", "date-time"))
_MAX_INLINED = 512
"""References: each may hold several others, so that a small schema could grow without end."""


def from_openapi(raw: bytes) -> bytes:
    """Return the JSON Schema of a Google schema; what cannot be read stays as it is."""
    try:
        return _encode(_loosen(_decode(raw)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw


def _loosen(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    if not isinstance(schema, dict):
        return schema
    loose: dict[str, Any] = {}
    ordering = schema.get("propertyOrdering", schema.get("property_ordering"))
    for name, value in schema.items():
        if name == "type" and isinstance(value, str):
            if value != "TYPE_UNSPECIFIED":
                loose["type"] = value.lower()
        elif name == "properties" and isinstance(value, dict):
            loose["properties"] = {key: _loosen(value[key]) for key in _ordered(value, ordering)}
        elif name in ("anyOf", "any_of") and isinstance(value, list):
            loose["anyOf"] = [_loosen(item) for item in value]
        elif name in _LIMITS and isinstance(value, str) and value.isdigit():
            loose[name] = int(value)  # int64 travels as a string in Google's JSON
        elif name == "items":
            loose["items"] = _loosen(value)
        elif name not in ("propertyOrdering", "property_ordering", "nullable") and not (
            name == "format" and value == "enum"
        ):
            loose[name] = value
    return _nullable(loose) if schema.get("nullable") is True else loose


_LIMITS = frozenset(("maxItems", "minItems", "minProperties", "maxProperties", "minLength", "maxLength"))


def _ordered(properties: dict[str, Any], ordering: object) -> list[str]:
    first = [name for name in ordering if name in properties] if isinstance(ordering, list) else []
    return [*dict.fromkeys(first), *(name for name in properties if name not in first)]


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if isinstance(kind, str):
        wide = schema | {"type": [kind, "null"]}
        return wide | {"enum": [*schema["enum"], None]} if isinstance(schema.get("enum"), list) else wide
    if isinstance(schema.get("anyOf"), list):
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    return schema


class Cleaner:
    """Turns one JSON Schema into Google's subset; `dropped` names the keywords that were left out."""

    def __init__(self) -> None:
        self.dropped: dict[str, None] = {}
        self._root: Any = None
        self._chain: list[object] = []
        """References that are being inlined: one that comes again has no end."""
        self._inlined = 0

    def clean(self, raw: bytes) -> bytes:
        """Return the subset; what cannot be read stays as it is, for Google to judge."""
        try:
            self._root = _decode(raw)
            return _encode(self._clean(self._root))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return raw

    def _clean(self, schema: Any) -> Any:  # noqa: ANN401 - any JSON
        if not isinstance(schema, dict):
            return {} if schema is True else schema
        if "$ref" in schema:
            return self._inline(schema)
        clean: dict[str, Any] = {}
        for name, value in schema.items():
            if name in ("anyOf", "oneOf") and isinstance(value, list):
                self._choose(clean, value)
            elif name == "allOf" and isinstance(value, list) and len(value) == 1:
                clean = self._clean(value[0]) | clean
            elif name == "properties" and isinstance(value, dict):
                clean["properties"] = {key: self._clean(inner) for key, inner in value.items()}
            elif name == "items":
                clean["items"] = self._clean(value)
            elif name == "type" and isinstance(value, list):
                self._unite(clean, value)
            elif name == "const":
                clean |= {"enum": [value]} if isinstance(value, str) else {}
                self._drop(name, lost=not isinstance(value, str))
            elif name == "enum" and isinstance(value, list):
                self._list(clean, value)
            elif name in _KEPT and not (name == "format" and value not in _FORMATS):
                clean[name] = value
            else:
                self._drop(name, lost=name not in ("$schema", "$id", "$defs", "definitions", "$comment"))
        return clean

    def _drop(self, name: str, *, lost: bool) -> None:
        if lost:
            self.dropped[name] = None

    def _list(self, clean: dict[str, Any], values: list[Any]) -> None:
        strings = [value for value in values if isinstance(value, str)]
        if None in values:
            clean["nullable"] = True
        if len(strings) + (None in values) == len(values):
            clean["enum"] = strings
        else:
            self._drop("enum", lost=True)  # Google's enums are strings

    def _unite(self, clean: dict[str, Any], kinds: list[Any]) -> None:
        named = [kind for kind in kinds if kind != "null"]
        if len(named) < len(kinds):
            clean["nullable"] = True
        if len(named) == 1:
            clean["type"] = named[0]
        elif named:
            clean["anyOf"] = [{"type": kind} for kind in named]

    def _choose(self, clean: dict[str, Any], choices: list[Any]) -> None:
        named = [choice for choice in choices if not (isinstance(choice, dict) and choice.get("type") == "null")]
        if len(named) < len(choices):
            clean["nullable"] = True
        cleaned = [self._clean(choice) for choice in named]
        if len(cleaned) == 1 and isinstance(cleaned[0], dict):
            for name, value in cleaned[0].items():
                clean.setdefault(name, value)
        elif cleaned:
            clean["anyOf"] = cleaned

    def _inline(self, schema: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
        reference = schema["$ref"]
        target = None if reference in self._chain or self._inlined >= _MAX_INLINED else self._find(reference)
        if target is None:
            self.dropped["$ref"] = None
            return {"type": "object"}
        self._inlined += 1
        self._chain.append(reference)
        inlined = self._clean(target)
        self._chain.pop()
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        return inlined | self._clean(beside) if isinstance(inlined, dict) else inlined

    def _find(self, reference: object) -> Any:  # noqa: ANN401 - any JSON
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        place = self._root
        for step in reference[1:].split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(place, dict) or key not in place:
                return None
            place = place[key]
        return place
