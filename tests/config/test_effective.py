from __future__ import annotations

import json
from collections.abc import Callable

from flumegate.config import effective
from flumegate.config.document import parse
from flumegate.config.load import Loaded

Load = Callable[..., Loaded]

_TEXT = """
server: {workers: 3}
auth: {static_keys: ["the-literal-key", "env:KEYS"]}
providers: {g: {type: groq, api_key: sk-hidden, timeouts: {total: 5}, headers: {X-A: b}}}
models: {a: g/x}
"""


def test_what_is_shown_is_what_is_in_force_without_secrets(load_text: Load) -> None:
    """References stay, literals are masked, defaults are written out; it is YAML."""
    loaded = load_text(_TEXT, {"KEYS": "from-environment", "LOG_LEVEL": "debug"})
    text = effective.as_yaml(loaded, origins=False)
    tree = parse(text.encode(), "shown").tree
    assert tree == effective.as_tree(loaded)
    assert isinstance(tree, dict)
    assert tree["server"]["workers"] == 3
    assert tree["auth"]["static_keys"] == ["****", "env:KEYS"]
    timeouts = {"connect": 10.0, "first_byte": 60.0, "idle": 120.0, "total": 5.0, "first_token": None}
    assert tree["providers"]["g"]["timeouts"] == timeouts
    assert tree["log"]["level"] == "debug"
    for secret in ("the-literal-key", "sk-hidden", "from-environment"):
        assert secret not in text


def test_each_value_is_shown_with_its_origin(load_text: Load) -> None:
    """File and line, variable, or default, as a comment beside it."""
    loaded = load_text(_TEXT, {"KEYS": "from-environment", "LOG_LEVEL": "debug"})
    lines = effective.as_yaml(loaded, origins=True).splitlines()
    (workers,) = [line for line in lines if line.startswith("  workers: 3")]
    assert workers.endswith("flumegate.yaml:2:19")
    (level,) = [line for line in lines if line.startswith("  level: debug")]
    assert level.endswith("# $LOG_LEVEL")
    assert all("#" in line for line in lines if not line.endswith(":"))


def test_the_list_of_values_is_complete_json(load_text: Load) -> None:
    """Scripts read the same facts."""
    loaded = load_text(_TEXT, {"KEYS": "from-environment"})
    values = {value.path: value for value in effective.as_values(loaded)}
    assert values["server.max_headers"].origin == "default"
    assert values["providers.g.timeouts.total"].value == 5
    assert values["providers.g.api_key"].value == "****"
    assert "from-environment" not in json.dumps([value._asdict() for value in values.values()])
