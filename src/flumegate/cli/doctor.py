"""`flumegate doctor`: some twenty things that keep gateways from working, each with what was found and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flumegate.cli import operator
from flumegate.cli.operator import REFUSED_EXIT, CommandError

if TYPE_CHECKING:
    from flumegate.cli.checkup import Check

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


def doctor(*, config: Path | None = None, online: bool = False, json: bool = False) -> int:
    """Look for what keeps the gateway from working, and say what to do. Exits with 1 if something does not work.

    Nothing is changed, and nothing secret is printed. Without --online no provider is asked.

    Args:
        config: Configuration file; without it, what `flumegate serve` would read here.
        online: Ask every provider for its models, with its credential.
        json: Print JSON.
    """

    def action() -> None:
        checks = list(_look(config, online=online))
        if json:
            operator.print_json({"checks": [check._asdict() for check in checks]})
        else:
            _print(checks)
        broken = sum(check.verdict == "failed" for check in checks)
        if broken:
            raise CommandError(REFUSED_EXIT, f"{broken} of {len(checks)} checks failed")

    return operator.run("doctor", action)


def _look(path: Path | None, *, online: bool) -> Iterator[Check]:
    from flumegate.cli.check_machine import check_machine
    from flumegate.cli.check_network import check_gateway, check_network
    from flumegate.cli.check_store import check_store
    from flumegate.cli.checkup import failed, ok, warning
    from flumegate.config.load import load
    from flumegate.config.problem import ConfigInvalid

    try:
        loaded = load(path)
    except ConfigInvalid as invalid:
        for problem in invalid.problems:
            yield failed("configuration", str(problem), "flumegate config check says where")
        return
    yield ok("configuration", str(loaded.source or "no file: environment and defaults"))
    for notice in loaded.warnings:
        yield warning("configuration", str(notice), "docs/configuration.md explains each setting")
    running = list(check_gateway(loaded.config.server.data_dir))
    yield from check_machine(loaded, running=running[0].verdict != "skipped")
    yield from check_store(loaded)
    yield from running
    yield from check_network(loaded, online=online)


def _print(checks: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    from flumegate.log import visible

    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for check in checks:
        told = visible(check.found) + (f"\n  → {visible(check.remedy)}" if check.remedy else "")
        table.add_row(Text(check.verdict, style=_COLOURS[check.verdict]), Text(check.name), Text(told))
    operator.open_page().print(table)
