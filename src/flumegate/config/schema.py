"""The JSON Schema of the configuration file, for editors and other tools (draft 2020-12)."""

from __future__ import annotations

from typing import Any

from flumegate.config.sections import Config
from flumegate.providers.rows import BY_TYPE


def json_schema() -> dict[str, Any]:
    """Return the schema: every setting with its type, bounds, default and help, short forms included."""
    schema = Config.model_json_schema()
    definitions = schema["$defs"]
    short = {"type": "string", "pattern": "^[^/]+/.+$", "description": "provider/model"}
    models = schema["properties"]["models"]
    models["additionalProperties"] = {"anyOf": [short, models["additionalProperties"]]}
    targets = definitions["Route"]["properties"]["targets"]
    targets["items"] = {"anyOf": [short, targets["items"]]}
    definitions["Provider"]["properties"]["type"]["enum"] = ["", *BY_TYPE]
    # A section left empty means its defaults.
    for name, entry in schema["properties"].items():
        if "$ref" in entry:
            schema["properties"][name] = {"anyOf": [entry, {"type": "null"}]}
    del schema["title"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Flumegate configuration", **schema}
