from __future__ import annotations

import os
from pathlib import Path

import pytest

from rig import figures


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long proofs to `make faults`, which asks for them by name."""
    if "faults" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("faults")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what each row of the fault matrix reached; write it where FLUMEGATE_FAULTS_REPORT says."""
    if config.option.markexpr == "not faults" or not (lines := figures.lines()):
        return
    terminalreporter.section("fault matrix: reached (demanded)")
    for line in lines:
        terminalreporter.write_line(line)
    if path := os.environ.get("FLUMEGATE_FAULTS_REPORT"):
        Path(path).write_text(figures.table())
