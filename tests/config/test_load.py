from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flumegate.config.load import Loaded, load
from flumegate.config.problem import ConfigInvalid

Load = Callable[..., Loaded]
Refuse = Callable[..., list[str]]


def test_an_empty_file_is_all_defaults_and_needs_the_mock(load_text: Load) -> None:
    """Nothing configured, nothing found: the built-in mock is asked for."""
    loaded = load_text("")
    assert loaded.needs_mock
    assert loaded.config.server.listen == "127.0.0.1:4100"
    assert loaded.config.auth.mode == "keys"
    assert loaded.warnings == []


def test_without_a_file_the_environment_is_enough(load_text: Load) -> None:
    """A key in the environment replaces the mock."""
    loaded = load_text(None, {"OPENAI_API_KEY": "k"})
    assert not loaded.needs_mock
    assert loaded.source is None
    assert load_text(None).needs_mock


def test_all_errors_are_reported_at_once_in_the_order_of_the_file(problems: Refuse) -> None:
    """Unknown settings, bad values and clashes of several values: one run shows them all, with their places."""
    text = """\
server:
  listn: 1
  workers: two
auth: {mode: opn}
providers:
  groq:
    type: groq
    timeouts: {conect: 3}
models:
  a: gro/x
  b: {targets: [groq/x, groq/x], fallback: [aa]}
cache: {enabled: true}
server: {}
"""
    assert problems(text) == [
        'flumegate.yaml:2:3: server.listn: unknown setting; did you mean "listen"?',
        "flumegate.yaml:3:12: server.workers: must be a whole number",
        'flumegate.yaml:4:14: auth.mode: must be keys or open; did you mean "open"?',
        'flumegate.yaml:8:16: providers.groq.timeouts.conect: unknown setting; did you mean "connect"?',
        'flumegate.yaml:10:6: models.a: there is no provider "gro"; did you mean "groq"?',
        "flumegate.yaml:11:25: models.b.targets[1]: is the same as targets[0]; keep one, and give it a larger weight",
        'flumegate.yaml:11:45: models.b.fallback[0]: there is no model "aa"; did you mean "a"?',
        "flumegate.yaml:12:18: cache.enabled: not available in this release yet: remove it",
        "flumegate.yaml:13:1: server: is set twice (first in line 1); remove one of the two",
    ]


def test_a_faulty_part_is_reported_once(problems: Refuse) -> None:
    """What could not be read is not also reported as missing, nor as a provider that does not exist."""
    assert len(problems('providers: {"a b": {type: groq}}\nmodels: {x: "a b/y"}\n')) == 1
    assert len(problems("providers: {x: {type: openai_compatible, base_url: 5}}\n")) == 1


def test_the_file_is_looked_for_where_the_documentation_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's path, else FLUMEGATE_CONFIG, else ./flumegate.yaml, else none."""
    monkeypatch.chdir(tmp_path)
    assert load(None, {"OPENAI_API_KEY": "k"}).source is None
    for name, workers in (("flumegate.yaml", 2), ("named.yaml", 3), ("given.yaml", 4)):
        (tmp_path / name).write_text(f"server: {{workers: {workers}}}", encoding="utf-8")
    assert load(None, {}).config.server.workers == 2
    assert load(None, {"FLUMEGATE_CONFIG": "named.yaml"}).config.server.workers == 3
    assert load(Path("given.yaml"), {"FLUMEGATE_CONFIG": "named.yaml"}).config.server.workers == 4


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    """A start must not fall back to other settings than those that were asked for."""
    missing = tmp_path / "none.yaml"
    for path, environ in ((missing, {}), (None, {"FLUMEGATE_CONFIG": str(missing)})):
        with pytest.raises(ConfigInvalid, match="there is no such configuration file"):
            load(path, environ)


@pytest.mark.parametrize("path", [".", "/dev/null", "flumegate.yaml/x", "x" * 300])
def test_a_path_that_leads_to_no_file_is_refused_with_the_reason(path: str, tmp_path: Path) -> None:
    """A folder, a device or a pipe is there, but it is no configuration."""
    (tmp_path / "flumegate.yaml").touch()
    with pytest.raises(ConfigInvalid, match=r"not a regular file|cannot be reached"):
        load(tmp_path / path, {})


def test_a_folder_that_this_user_may_not_look_into_is_a_problem_like_any_other(tmp_path: Path) -> None:
    """For the file that is named, and for the one that is looked for."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "flumegate.yaml").write_text("{}", encoding="utf-8")
    code = (
        "import os, sys; from pathlib import Path\n"
        "from flumegate.config.load import load\n"
        "from flumegate.config.problem import ConfigInvalid\n"
        "os.chdir(sys.argv[1]); os.chmod('.', 0)\n"
        "if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)\n"
        "for path in (Path('flumegate.yaml'), None):\n"
        "    try: load(path, {})\n"
        "    except ConfigInvalid as invalid: print(invalid)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "closed")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert done.stderr == ""
    assert done.stdout.count("flumegate.yaml: cannot be reached (Permission denied)") == 2


def test_a_folder_left_empty_is_the_default(load_text: Load) -> None:
    """`FLUMEGATE_SERVER__DATA_DIR=$UNSET` must not strew files over the working folder."""
    environ = {"FLUMEGATE_SERVER__DATA_DIR": ""}
    assert load_text("", environ).config.server.data_dir == Path("data")
    assert load_text("server: {data_dir: ''}").config.server.data_dir == Path("data")


def test_secrets_are_references_and_their_files_are_watched(tmp_path: Path, load_text: Load) -> None:
    """A change of a secret's file is a change of the configuration."""
    key = tmp_path / "key"
    key.write_text("sk-from-file\n", encoding="utf-8")
    key.chmod(0o600)
    loaded = load_text(
        f'providers: {{a: {{type: groq, api_key: "file:{key}"}}, b: {{type: groq, api_key: "env:K"}}}}',
        {"K": "sk-from-environment"},
    )
    assert loaded.watched == [loaded.source, key]
    assert loaded.warnings == []
    assert loaded.secrets() == ["sk-from-environment", "sk-from-file"]


def test_a_literal_secret_works_and_is_warned_about_in_its_place(load_text: Load) -> None:
    """In the file only: a literal in the environment stands where secrets belong."""
    loaded = load_text('auth: {static_keys: ["my-own-key-0123456"]}\nproviders: {g: {type: groq, api_key: sk-lit}}\n')
    assert [(warning.line, warning.column) for warning in loaded.warnings] == [(1, 22), (2, 38)]
    assert all("sk-lit" not in str(warning) for warning in loaded.warnings)
    environ = {"FLUMEGATE_PROVIDERS__G__API_KEY": "sk-lit"}
    assert load_text("providers: {g: {type: groq}}", environ).warnings == []


def test_no_secret_is_in_an_error_or_in_the_printed_configuration(load_text: Load, problems: Refuse) -> None:
    """Neither a refusal nor a repr leaks what was configured."""
    auth = 'auth: {static_keys: ["the-secret-one-0123"], mode: 5}'
    text = auth + '\nproviders: {g: {type: groq, api_key: "bad\\u0007value"}}'
    assert "secret" not in "".join(problems(text)).replace("a secret", "")
    assert "the-secret-one-0123" not in repr(load_text('auth: {static_keys: ["the-secret-one-0123"]}'))


def test_each_value_knows_where_it_comes_from(load_text: Load, tmp_path: Path) -> None:
    """File and line, variable, or default."""
    loaded = load_text("server: {workers: 2}\nmodels: {a: g/x}\nproviders: {g: {type: groq}}", {"LOG_LEVEL": "debug"})
    assert loaded.origin(("server", "workers")) == f"{tmp_path}/flumegate.yaml:1:19"
    assert loaded.origin(("models", "a", "targets")) == f"{tmp_path}/flumegate.yaml:2:13"
    assert loaded.origin(("log", "level")) == "$LOG_LEVEL"
    assert loaded.origin(("log", "format")) == "default"


def test_loading_needs_no_database_server_or_console() -> None:
    """A start waits for the configuration: it imports pydantic and ruamel.yaml, and nothing that large beside."""
    code = "import sys, flumegate.config.load; print(*sys.modules)"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"pydantic", "ruamel"} <= loaded
    assert not loaded & {"sqlalchemy", "rich", "cyclopts", "fastapi", "asyncio", "hypothesis"}
