"""`flumegate config check|show|schema`: what a configuration says and what is wrong with it, before a start."""

from __future__ import annotations

import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flumegate import log

if TYPE_CHECKING:
    from flumegate.config.load import Loaded
    from flumegate.config.problem import Problem


def check(*paths: Path, json: bool = False) -> int:
    """Report every error and warning in the configuration, each with file, line and column.

    Without a path, what `flumegate serve` would read here is checked, the environment included.
    Exits with 0 if it can be used and 1 if not.

    Args:
        paths: Configuration files.
        json: Print a JSON list of problems on stdout instead of lines on stderr.
    """
    from flumegate.config.load import load
    from flumegate.config.problem import ConfigInvalid

    errors: list[Problem] = []
    warnings: list[Problem] = []
    for path in paths or (None,):
        try:
            loaded = load(path)
        except ConfigInvalid as invalid:
            errors += invalid.problems
        else:
            warnings += loaded.warnings
            if not json:
                _note(_summary(loaded))
    if json:
        rows = [{"severity": "error", **problem._asdict()} for problem in errors]
        rows += [{"severity": "warning", **problem._asdict()} for problem in warnings]
        print(json_text.dumps(rows, indent=2))
        return 1 if errors else 0
    for problem in warnings:
        _note(f"{problem} (warning)")
    for problem in errors:
        _note(str(problem))
    if errors:
        _note(f"{len(errors)} error{'s' if len(errors) > 1 else ''}; docs/configuration.md lists every setting")
    return 1 if errors else 0


def show(path: Path | None = None, *, origin: bool = False, json: bool = False) -> int:
    """Print the configuration in force as YAML: every setting, with secrets as references or masked.

    Args:
        path: Configuration file; without it, what `flumegate serve` would read here.
        origin: Say beside each value where it comes from: file and line, environment variable, or default.
        json: Print JSON; with --origin, a list of settings with path, value and origin.
    """
    from flumegate.config import effective
    from flumegate.config.load import load
    from flumegate.config.problem import ConfigInvalid

    try:
        loaded = load(path)
    except ConfigInvalid as invalid:
        for problem in invalid.problems:
            _note(str(problem))
        return 1
    if not json:
        print(effective.as_yaml(loaded, origins=origin), end="")
    elif origin:
        print(json_text.dumps([value._asdict() for value in effective.as_values(loaded)], indent=2))
    else:
        print(json_text.dumps(effective.as_tree(loaded), indent=2))
    return 0


def schema() -> int:
    """Print the JSON Schema of the configuration, for editors and other tools."""
    from flumegate.config.schema import json_schema

    print(json_text.dumps(json_schema(), indent=2))
    return 0


def _summary(loaded: Loaded) -> str:
    source = str(loaded.source) if loaded.source else "no configuration file; settings from environment and defaults"
    names = ", ".join(loaded.config.providers) or "none, so the built-in mock will answer"
    return f"{source}: ok; providers: {names}"


def _note(line: str) -> None:
    print(log.visible(line), file=sys.stderr)
