from __future__ import annotations

import json

from flumegate.config.schema import json_schema
from flumegate.providers.rows import BY_TYPE


def test_the_schema_forbids_what_the_loader_refuses() -> None:
    """Editors underline an unknown setting, an unknown provider type and a value out of bounds."""
    schema = json_schema()
    definitions = schema["$defs"]
    assert schema["additionalProperties"] is False
    assert all(definition["additionalProperties"] is False for definition in definitions.values())
    assert definitions["Provider"]["properties"]["type"]["enum"] == ["", *BY_TYPE]
    assert definitions["Server"]["properties"]["workers"]["minimum"] == 1


def test_the_schema_knows_the_short_form_of_a_model() -> None:
    """`gpt-4o: openai/gpt-4o` is valid, and so is a section left empty."""
    properties = json_schema()["properties"]
    short, long = properties["models"]["additionalProperties"]["anyOf"]
    assert short["type"] == "string"
    assert long == {"$ref": "#/$defs/Route"}
    targets = json_schema()["$defs"]["Route"]["properties"]["targets"]
    assert targets["items"]["anyOf"] == [short, {"$ref": "#/$defs/RouteTarget"}]
    assert {"type": "null"} in properties["server"]["anyOf"]


def test_the_schema_is_json() -> None:
    """It is printed as it is."""
    assert json.loads(json.dumps(json_schema())) == json_schema()
