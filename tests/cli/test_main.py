from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from flumegate import __version__
from flumegate.cli.commands import COMMANDS
from rig.gateway import plain_environ


def flumegate(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "flumegate", *arguments],
        cwd=folder,
        env=plain_environ() | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_command(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """The first thing that anybody types explains itself."""
    done = flumegate(*arguments, folder=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    for command in COMMANDS:
        assert command.words in done.stdout
        assert command.summary in done.stdout


def test_version(tmp_path: Path) -> None:
    """One line that a script can read."""
    done = flumegate("--version", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words)
def test_every_command_is_there_and_explains_itself(tmp_path: Path, command: object) -> None:
    """What the list of commands names can be imported and called, and its help says what its parameters do."""
    words, target = str(getattr(command, "words", "")), str(getattr(command, "target", ""))
    module, _, name = target.partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    done = flumegate(*words.split(), "--help", folder=tmp_path)
    assert done.returncode == 0
    assert f"flumegate {words}" in done.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [("serve", "Without a configuration file, providers are taken"), ("config check", "Without a path, what")],
)
def test_the_help_of_a_command_says_more_than_its_line_in_the_list(tmp_path: Path, line: str, said: str) -> None:
    """What happens without options, above all."""
    assert said in flumegate(*line.split(), "--help", folder=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [(("srve",), '"serve"'), (("logs", "tial"), '"tail"'), (("serve", "--lissten", "x"), '"--listen"')],
)
def test_a_slip_of_the_finger_is_answered_with_what_was_meant(
    tmp_path: Path, arguments: tuple[str, ...], hint: str
) -> None:
    """Unknown commands and options end with 2 and the nearest known name."""
    done = flumegate(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert hint.strip('"') in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [("serve", "--workers", "many"), ("serve", "extra"), ("logs", "tail", "--lines")])
def test_wrong_usage_ends_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Scripts can tell a wrong call from a failure."""
    assert flumegate(*arguments, folder=tmp_path).returncode == 2
