from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flumegate.config.load import Loaded, load
from flumegate.config.secret import Secret
from flumegate.config.sections import Config, Provider
from flumegate.config.settings import as_yaml, is_nullable, kind_of, rows, section_at, walk

ROOT = Path(__file__).parents[2]
Load = Callable[..., Loaded]


def test_every_setting_has_a_line_of_help() -> None:
    """A setting that nobody can explain is not ready."""
    assert [setting.path for setting in rows() if len(setting.help) < 5 and setting.is_available] == []


def test_no_two_settings_share_a_variable() -> None:
    """Else one could not be set."""
    variables = [setting.variable for setting in rows() if setting.variable]
    assert len(variables) == len(set(variables)) > 50


def test_the_variable_of_each_setting_sets_it(load_text: Load) -> None:
    """Each row's variable with the row's own default as its value is accepted, and is where the value comes from."""
    tried = 0
    for setting in rows():
        if not setting.variable or setting.default == "required" or setting.path in {"providers", "models"}:
            continue
        variable = setting.variable.replace("<name>", "P").replace("<model>", "M")
        base = {
            "FLUMEGATE_PROVIDERS__P__TYPE": "ollama",
            "FLUMEGATE_MODELS__M__TARGETS": "p/x, p/y",
            "FLUMEGATE_MODELS__M__HEDGE__AFTER": "1",
            "FLUMEGATE_MODELS__M__MIRROR__USE": "p/y",
        }
        if variable in base:
            continue
        loaded = load_text(None, base | {variable: setting.default.strip('"')})
        path = tuple(setting.path.replace("<name>", "p").replace("<model>", "m").split("."))
        assert loaded.origin(path) == f"${variable}"
        tried += 1
    assert tried > 40


def test_the_generated_pages_are_not_stale() -> None:
    """The reference, the provider table and the example file say what the code does."""
    command = [sys.executable, str(ROOT / "scripts" / "generate_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_file_is_valid_as_it_is_and_with_all_of_it_switched_on(tmp_path: Path) -> None:
    """As shipped it changes nothing; with every `#` removed, each line of it is accepted."""
    shipped = ROOT / "flumegate.example.yaml"
    assert load(shipped, {}).needs_mock
    secret = tmp_path / "llm"
    secret.write_text("sk", encoding="utf-8")
    secret.chmod(0o600)
    text = shipped.read_text(encoding="utf-8").replace("/run/secrets/vertex-token", str(secret))
    lines = text.replace("/run/secrets/llm", str(secret)).splitlines()
    everything = tmp_path / "flumegate.yaml"
    everything.write_text("\n".join(line if re.match(r"# \S", line) else line.removeprefix("#") for line in lines))
    environ = dict.fromkeys(
        ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AZURE_OPENAI_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"), "k"
    )
    loaded = load(everything, environ)
    hosted = ["openai", "anthropic", "bedrock", "vertex", "azure"]
    assert list(loaded.config.providers) == [*hosted, "local", "other", "everything"]
    assert loaded.config.providers["everything"] == Provider(type="openai")
    assert loaded.config.server == Config().server
    assert loaded.config.routing == Config().routing
    smart = loaded.config.models["smart"]
    assert (len(smart.targets), smart.fallback, len(smart.rules)) == (2, ["gpt-4o", "fast"], 2)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (str, "text"),
        (int | None, "whole number | null"),
        (list[str], "list of text"),
        (dict[str, str], "mapping"),
        (Provider, "mapping"),
        (Secret | None, "secret | null"),
        (Path, "path"),
        (bool, "true | false"),
        (object, "any"),
    ],
)
def test_types_are_said_in_words(annotation: object, words: str) -> None:
    """Operators do not read Python."""
    assert kind_of(annotation) == words
    assert is_nullable(annotation) == words.endswith("| null")


@pytest.mark.parametrize(
    ("value", "text"),
    [(10.0, "10"), (None, "null"), ("", '""'), ("keys", "keys"), ([], "[]"), (Path("data"), "./data"), (True, "true")],
)
def test_defaults_are_written_as_yaml(value: object, text: str) -> None:
    """They can be copied into a file."""
    assert as_yaml(value) == text


def test_a_path_leads_to_its_section() -> None:
    """The suggestions for a mistyped name come from the section that it stands in."""
    assert section_at(("providers", "any", "timeouts")) is not None
    assert section_at(("models", "any", "targets", 0)) is not None
    assert section_at(("server", "listen")) is None
    assert section_at(("nonsense", "x")) is None


def test_walking_reaches_every_secret(load_text: Load) -> None:
    """Lists, mappings and nested sections included: what is hidden in logs is found this way."""
    text = """
auth: {static_keys: [key-one-two-three]}
providers: {o: {type: ollama, api_key: "k", headers: {X-A: b}, proxy: "http://u:p@h:1"}}
"""
    found = [path for path, _, value in walk(load_text(text).config) if isinstance(value, Secret)]
    assert found == [
        ("auth", "static_keys", 0),
        ("providers", "o", "api_key"),
        ("providers", "o", "headers", "X-A"),
        ("providers", "o", "proxy"),
    ]
