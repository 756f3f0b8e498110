from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def flumegate(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a folder, with nothing in its environment but what the test says."""
    command = [sys.executable, "-m", "flumegate", "config", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a sound and a faulty configuration."""
    sound = 'server: {workers: 2}\nproviders: {groq: {api_key: "sk-hidden"}}\n'
    (tmp_path / "sound.yaml").write_text(sound, encoding="utf-8")
    (tmp_path / "faulty.yaml").write_text("server: {listn: 1}\n", encoding="utf-8")
    return tmp_path


def test_check_reports_problems_in_their_places_and_fails(folder: Path) -> None:
    """One line for each on stderr, exit 1; of several files each is checked."""
    done = flumegate(folder, "check", "sound.yaml", "faulty.yaml")
    assert done.returncode == 1
    assert 'faulty.yaml:1:10: server.listn: unknown setting; did you mean "listen"?' in done.stderr.splitlines()
    assert any(line.startswith("sound.yaml:2:29: providers.groq.api_key: ") for line in done.stderr.splitlines())
    assert "sk-hidden" not in done.stderr + done.stdout


def test_check_passes_what_can_be_used(folder: Path) -> None:
    """Warnings do not fail it; without a path, what `serve` would read is checked."""
    done = flumegate(folder, "check", "sound.yaml")
    assert (done.returncode, done.stdout) == (0, "")
    assert "sound.yaml: ok; providers: groq" in done.stderr
    assert flumegate(folder, "check", FLUMEGATE_CONFIG="faulty.yaml").returncode == 1


def test_check_names_the_circle_of_a_route(folder: Path) -> None:
    """A mistake that only several entries make together, in the place of the last of them."""
    models = "models:\n  a: {targets: [o/x], fallback: [b]}\n  b: {targets: [o/y], fallback: [a]}\n"
    text = f"providers: {{o: {{type: ollama}}}}\n{models}"
    (folder / "circle.yaml").write_text(text, encoding="utf-8")
    done = flumegate(folder, "check", "circle.yaml")
    assert done.returncode == 1
    assert "circle.yaml:4:34: models.b.fallback[0]: leads in a circle: a → b → a; leave this step out" in done.stderr


def test_check_speaks_json(folder: Path) -> None:
    """The same facts for scripts, errors and warnings apart."""
    done = flumegate(folder, "check", "sound.yaml", "faulty.yaml", "--json")
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    assert [(row["severity"], row["file"], row["line"]) for row in rows] == [
        ("error", "faulty.yaml", 1),
        ("warning", "sound.yaml", 2),
    ]


def test_show_prints_what_is_in_force_without_secrets(folder: Path) -> None:
    """As YAML, with origins on request, or as JSON."""
    environ = {"LOG_LEVEL": "debug", "FLUMEGATE_ROUTING__RETRY__MAX_RETRIES": "0"}
    done = flumegate(folder, "show", "sound.yaml", "--origin", **environ)
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "workers: 2 # sound.yaml:1:19" in lines
    assert "level: debug # $LOG_LEVEL" in lines
    assert "max_retries: 0 # $FLUMEGATE_ROUTING__RETRY__MAX_RETRIES" in lines
    assert "sk-hidden" not in done.stdout
    shown = json.loads(flumegate(folder, "show", "sound.yaml", "--json").stdout)
    assert shown["providers"]["groq"]["api_key"] == "****"
    values = json.loads(flumegate(folder, "show", "sound.yaml", "--json", "--origin").stdout)
    assert {"path": "server.workers", "value": 2, "origin": "sound.yaml:1:19"} in values


def test_show_refuses_what_cannot_be_used(folder: Path) -> None:
    """With the same lines as check."""
    done = flumegate(folder, "show", "faulty.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert "faulty.yaml:1:10" in done.stderr


def test_schema_prints_a_json_schema(folder: Path) -> None:
    """Ready to be saved for an editor."""
    done = flumegate(folder, "schema")
    assert done.returncode == 0
    assert json.loads(done.stdout)["additionalProperties"] is False
