"""`flumegate import litellm`, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rig.gateway import plain_environ

THEIRS = """
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OAI_KEY}
litellm_settings: {cache: true}
"""


def flumegate(folder: Path, *arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "flumegate", *arguments],
        cwd=folder,
        env=plain_environ(environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_is_printed_can_be_started_with(tmp_path: Path) -> None:
    """The report goes to stderr, so that stdout is the configuration alone; a file is never overwritten."""
    (tmp_path / "config.yaml").write_text(THEIRS)
    done = flumegate(tmp_path, "import", "litellm", "config.yaml")
    assert done.returncode == 0, done.stderr
    assert "litellm_settings.cache" in done.stderr
    assert "variables to set: OAI_KEY" in done.stderr
    (tmp_path / "flumegate.yaml").write_text(done.stdout)
    assert flumegate(tmp_path, "config", "check", environ={"OAI_KEY": "sk-some-real-key"}).returncode == 0
    again = flumegate(tmp_path, "import", "litellm", "config.yaml", "--output", "flumegate.yaml")
    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert (tmp_path / "flumegate.yaml").read_text() == done.stdout


def test_programs_get_configuration_and_report(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(THEIRS)
    told = json.loads(flumegate(tmp_path, "import", "litellm", "config.yaml", "--json").stdout)
    assert told["config"]["models"]["gpt-4o"]["targets"] == [{"use": "openai/gpt-4o"}]
    assert {"path": "model_list[0]", "outcome": "taken", "why": "models.gpt-4o: openai/gpt-4o"} in told["notes"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("a: [1")
    (tmp_path / "list.yaml").write_text("- 1")
    for name in ("other.yaml", "list.yaml", "none.yaml"):
        done = flumegate(tmp_path, "import", "litellm", name)
        assert (done.returncode, done.stdout) == (1, "")
        assert name in done.stderr
