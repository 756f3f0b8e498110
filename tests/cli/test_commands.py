from __future__ import annotations

from pathlib import Path

import pytest

from flumegate.cli.commands import COMMANDS, GROUPS, ServeOptions, plain_serve


def test_groups_and_commands_agree() -> None:
    """Every command of two words stands in a group that is described, and every group has commands."""
    assert {command.words.split()[0] for command in COMMANDS if " " in command.words} == set(GROUPS)
    assert len({command.words for command in COMMANDS}) == len(COMMANDS)


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("serve", {}),
        ("serve --config a.yaml", {"config": Path("a.yaml")}),
        ("serve --listen=[::1]:80 --workers 2", {"listen": "[::1]:80", "workers": 2}),
        ("serve --data-dir=x=y", {"data_dir": Path("x=y")}),
    ],
)
def test_a_plain_start_is_understood_without_a_library(line: str, options: ServeOptions) -> None:
    """Both spellings of an option's value."""
    assert plain_serve(line.split()) == options


@pytest.mark.parametrize(
    "line",
    [
        "",
        "mock",
        "serve --help",
        "serve extra",
        "serve --workers -1",
        "serve --workers many",
        "serve --config",
        "serve --workers ²",
    ],
)
def test_everything_else_is_left_to_the_full_command_line(line: str) -> None:
    """In doubt, the library parses, and reports what is wrong."""
    assert plain_serve(line.split()) is None
