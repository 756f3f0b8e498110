"""JSON Schemas as Anthropic takes them: of tools, and of answers, where fewer keywords are known.

The list of keywords follows the transformation that the vendor's own client applies (SDK 2.11, `transform_schema`).
"""

from __future__ import annotations

from typing import Any

import msgspec

_EMPTY = b'{"type":"object","properties":{}}'
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid", "text"}
)
_LIMITS = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
        "pattern", "maxItems", "uniqueItems", "minProperties", "maxProperties", "patternProperties",
        "propertyNames", "contains", "minContains", "maxContains", "not", "if", "then", "else",
        "dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems",
    }
)  # fmt: skip
_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def of_tool(parameters: bytes) -> bytes:
    """Return a tool's parameters as an object schema: Anthropic demands the type."""
    if not parameters:
        return _EMPTY
    try:
        members = _decode_members(parameters)
    except _FAILURES:
        return _EMPTY  # `true` and its like: anything goes
    if "type" in members:
        return parameters
    return _encode({"type": "object", **members})


def of_answer(schema: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return a schema without the keywords that Anthropic refuses, and the names of what was changed."""
    try:
        decoded = msgspec.json.decode(schema)
        changed: dict[str, None] = {}
        plain = _simplify(decoded, changed)
    except _FAILURES:
        return schema, ()
    return (_encode(plain), tuple(changed)) if changed else (schema, ())


def _simplify(schema: Any, changed: dict[str, None]) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(schema, dict):
        return schema
    plain: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _MAPS and isinstance(value, dict):
            plain[name] = {key: _simplify(inner, changed) for key, inner in value.items()}
        elif name in _LISTS and isinstance(value, list):
            plain["anyOf" if name == "oneOf" else name] = [_simplify(inner, changed) for inner in value]
            if name == "oneOf":
                changed[name] = None
        elif name == "items":
            plain[name] = _simplify(value, changed)
        elif _is_refused(name, value):
            changed[name] = None
        else:
            plain[name] = value
    is_object = plain.get("type") == "object" or "properties" in plain
    if is_object and plain.get("additionalProperties") is not False:
        plain["additionalProperties"] = False
        changed["additionalProperties"] = None
    return plain


def _is_refused(name: str, value: object) -> bool:
    if name == "minItems":
        return value not in (0, 1)
    return name in _LIMITS or (name == "format" and value not in _FORMATS)
