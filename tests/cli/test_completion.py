from __future__ import annotations

import subprocess
import sys

import pytest

from flumegate.cli.commands import COMMANDS
from rig.gateway import plain_environ


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_can_be_completed(shell: str) -> None:
    """Its words stand in the script, with the options that all commands of the console have."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "flumegate", "completion", shell],
        env=plain_environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not [command.words for command in COMMANDS if command.words.split()[-1] not in done.stdout]
    assert "data-dir" in done.stdout
