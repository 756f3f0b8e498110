"""JSON Schema and Google's subset of OpenAPI's, in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.gemini.schema import Cleaner, from_openapi


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
            {"type": "object", "properties": {"a": {"type": "string"}}},
        ),
        ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
        (
            {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        ({"anyOf": [{"type": "NUMBER"}], "nullable": True}, {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        ({"nullable": True}, {}),
        ({"type": "TYPE_UNSPECIFIED", "nullable": False, "format": "int32"}, {"format": "int32"}),
        (
            {"type": "ARRAY", "items": {"type": "INTEGER"}, "maxItems": "3", "minItems": 1},
            {"type": "array", "items": {"type": "integer"}, "maxItems": 3, "minItems": 1},
        ),
        ({"any_of": [True], "property_ordering": []}, {"anyOf": [True]}),
    ],
)  # fmt: skip - one line a row
def test_googles_schemas_become_json_schema(schema: Any, expected: Any) -> None:
    """Types in small letters, nullable as a type, numbers as numbers."""
    assert json.loads(from_openapi(json.dumps(schema).encode())) == expected


def test_the_order_of_properties_is_kept() -> None:
    """As the order itself, which is how JSON Schema says it."""
    schema = {"properties": {"a": {}, "b": {}, "c": {}}, "propertyOrdering": ["c", "a", "x", "c"]}
    assert list(json.loads(from_openapi(json.dumps(schema).encode()))["properties"]) == ["c", "a", "b"]
    assert from_openapi(b"{oops") == b"{oops"


@pytest.mark.parametrize(
    ("schema", "expected", "dropped"),
    [
        (
            {"$schema": "s", "type": "object", "additionalProperties": False},
            {"type": "object"},
            ["additionalProperties"],
        ),
        ({"type": ["string", "null"], "format": "uri"}, {"type": "string", "nullable": True}, ["format"]),
        (
            {"type": ["string", "integer"], "format": "int32"},
            {"anyOf": [{"type": "string"}, {"type": "integer"}], "format": "int32"},
            [],
        ),
        ({"type": ["null"]}, {"nullable": True}, []),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d"},
            {"type": "string", "nullable": True, "description": "d"},
            [],
        ),
        (
            {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            [],
        ),
        ({"anyOf": [{"type": "null"}]}, {"nullable": True}, []),
        ({"allOf": [{"type": "string"}], "title": "t"}, {"type": "string", "title": "t"}, []),
        ({"allOf": [{"$ref": "#/none"}, {}]}, {}, ["allOf"]),
        ({"const": "a"}, {"enum": ["a"]}, []),
        ({"const": 3}, {}, ["const"]),
        ({"enum": ["a", None]}, {"enum": ["a"], "nullable": True}, []),
        ({"enum": [1, 2]}, {}, ["enum"]),
        ({"type": "array", "items": True}, {"type": "array", "items": {}}, []),
        ({"items": [3]}, {"items": [3]}, []),
        (
            {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}, "description": "d"},
            {"type": "string", "description": "d"},
            [],
        ),
        ({"$ref": "#/$defs/yes", "$defs": {"yes": False}}, False, []),
        ({"$ref": "https://river.example/s"}, {"type": "object"}, ["$ref"]),
        ({"$ref": 3}, {"type": "object"}, ["$ref"]),
        ({"$ref": "#/type/x", "type": "a"}, {"type": "object"}, ["$ref"]),
        ({"properties": {"$ref": {"type": "string"}}}, {"properties": {"$ref": {"type": "string"}}}, []),
    ],
)  # fmt: skip - one line a row
def test_json_schema_becomes_googles(schema: Any, expected: Any, dropped: list[str]) -> None:
    """References inlined, unions and nulls in Google's words; what is left out is named."""
    cleaner = Cleaner()
    assert json.loads(cleaner.clean(json.dumps(schema).encode())) == expected
    assert list(cleaner.dropped) == dropped


def test_a_schema_that_refers_to_itself_ends() -> None:
    """Loops are cut at a depth, and told."""
    cleaner = Cleaner()
    loop = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    cleaned = cleaner.clean(json.dumps(loop).encode())
    assert len(cleaned) < 4_000
    assert list(cleaner.dropped) == ["$ref"]
    defs = {f"d{n}": {"properties": {name: {"$ref": f"#/$defs/d{n + 1}"} for name in "abcd"}} for n in range(20)}
    assert len(Cleaner().clean(json.dumps({"$ref": "#/$defs/d0", "$defs": defs}).encode())) < 100_000
    deep = b'{"items":' * 700 + b"{}" + b"}" * 700
    assert Cleaner().clean(deep)
    assert from_openapi(deep)
    assert Cleaner().clean(b"{oops") == b"{oops"
