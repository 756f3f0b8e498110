from __future__ import annotations

import json
from collections.abc import Callable

from flumegate.config import effective
from flumegate.config.document import parse
from flumegate.config.load import Loaded

Load = Callable[..., Loaded]

_TEXT = """
server: {workers: 3}
auth: {static_keys: ["the-literal-key-01", "env:KEYS"]}
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
    timeouts = {"connect": 10.0, "first_byte": 60.0, "idle": 120.0, "total": 5.0, "first_token": 600.0}
    assert tree["providers"]["g"]["timeouts"] == timeouts
    assert tree["log"]["level"] == "debug"
    for secret in ("the-literal-key-01", "sk-hidden", "from-environment"):
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


def test_a_short_form_is_the_origin_of_what_it_says_only(load_text: Load) -> None:
    """The rest of a route is at its default, though the route has no other place."""
    text = "providers: {o: {type: ollama}}\nmodels: {a: o/x, b: {targets: [o/y, {use: o/z}]}}"
    loaded = load_text(text)
    places = {value.path: value.origin.rpartition("flumegate.yaml")[2] for value in effective.as_values(loaded)}
    assert (places["models.a.targets"], places["models.a.strategy"]) == (":2:13", "default")
    assert (places["models.b.targets"], places["models.b.timeout"]) == (":2:31", "default")
    assert loaded.origin(("models", "b", "targets", 0, "use")).endswith(":2:32")
    assert loaded.origin(("models", "b", "targets", 0, "weight")) == "default"


def test_what_is_shown_of_a_route_can_be_loaded_again(load_text: Load) -> None:
    """With every part of it, its origins beside it or not."""
    text = """
providers: {o: {type: ollama}, g: {type: ollama}}
models:
  b: g/b
  a:
    targets: [{use: o/x, max_concurrency: 3, max_queued: 9}, g/y, o/a-name-that-makes-the-line-too-long-to-be-one]
    fallback: [b]
    retry: {factor: 3}
    hedge: {after: 2}
    rules: [{when: {headers: {X-A: "b #*"}, hours: 22:00-06:00, days: [sat]}, use: b}, {when: {tags: [x, y]}, use: b}]
"""
    loaded = load_text(text)
    for origins in (False, True):
        assert load_text(effective.as_yaml(loaded, origins=origins)).config == loaded.config
