"""`flumegate target list|open|close|reset`: how the targets of a running gateway fare, and what is forced on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from flumegate.cli import operator

_DATA_DIR = Path("data")
_COLOURS = {"closed": "green", "half_open": "yellow", "open": "red", "forced_open": "red", "forced_closed": "yellow"}


def list_targets(
    *,
    workers: bool = False,
    json: bool = False,
    url: str | None = None,
    token: str | None = None,
    data_dir: Path = _DATA_DIR,
) -> int:
    """Show how all targets fare: those that are configured, and those that were asked for by provider/model.

    Args:
        workers: Show each worker's own view, too.
        json: Print JSON.
        url: Address of the console; else $FLUMEGATE_ADMIN_URL, else what the data folder says.
        token: Its token; else $FLUMEGATE_ADMIN_TOKEN, else the one in the data folder.
        data_dir: Folder that the gateway writes to.
    """

    def action() -> None:
        told = operator.ask(operator.locate(url, token, data_dir), "GET", "/manage/targets")
        operator.print_json(told) if json else _print(told, workers=workers)

    return operator.run("target list", action)


def open_target(
    name: str,
    /,
    *,
    json: bool = False,
    url: str | None = None,
    token: str | None = None,
    data_dir: Path = _DATA_DIR,
) -> int:
    """Send nothing more to a target, until it is closed or reset, or the gateway is started anew.

    Args:
        name: The target, as provider/model.
        json: Print JSON.
        url: Address of the console; else $FLUMEGATE_ADMIN_URL, else what the data folder says.
        token: Its token; else $FLUMEGATE_ADMIN_TOKEN, else the one in the data folder.
        data_dir: Folder that the gateway writes to.
    """
    return _force("open", name, operator_of=(url, token, data_dir), json=json)


def close_target(
    name: str,
    /,
    *,
    json: bool = False,
    url: str | None = None,
    token: str | None = None,
    data_dir: Path = _DATA_DIR,
) -> int:
    """Keep sending to a target however it fails, until it is opened or reset, or the gateway is started anew.

    Args:
        name: The target, as provider/model.
        json: Print JSON.
        url: Address of the console; else $FLUMEGATE_ADMIN_URL, else what the data folder says.
        token: Its token; else $FLUMEGATE_ADMIN_TOKEN, else the one in the data folder.
        data_dir: Folder that the gateway writes to.
    """
    return _force("close", name, operator_of=(url, token, data_dir), json=json)


def reset_target(
    name: str,
    /,
    *,
    json: bool = False,
    url: str | None = None,
    token: str | None = None,
    data_dir: Path = _DATA_DIR,
) -> int:
    """Let a target's breaker decide again, from a fresh start: failures and cooling are forgotten.

    Args:
        name: The target, as provider/model.
        json: Print JSON.
        url: Address of the console; else $FLUMEGATE_ADMIN_URL, else what the data folder says.
        token: Its token; else $FLUMEGATE_ADMIN_TOKEN, else the one in the data folder.
        data_dir: Folder that the gateway writes to.
    """
    return _force("reset", name, operator_of=(url, token, data_dir), json=json)


def _force(verb: str, name: str, *, operator_of: tuple[str | None, str | None, Path], json: bool) -> int:
    def action() -> None:
        told = operator.ask(operator.locate(*operator_of), "POST", f"/manage/targets/{quote(name)}/{verb}")
        operator.print_json(told) if json else _print(told, workers=False)

    return operator.run(f"target {verb}", action)


def _print(told: dict[str, Any], *, workers: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from flumegate.log import visible

    table = Table(box=None, pad_edge=False)
    for heading in ("target", "state", "for", "in flight", "queued", "failures", "credentials", "latency", "share"):
        table.add_column(heading, justify="left" if heading in ("target", "state") else "right")
    table.add_column("last error")
    for target in told["targets"]:
        rows = [(target["name"], target)]
        rows += [(f"  {name}", state) for name, state in target["workers"].items()] if workers else []
        for label, state in rows:
            table.add_row(
                Text(visible(label)),
                Text(_state(state), style=_COLOURS.get(state["state"], "")),
                _left_alone(state),
                str(state["in_flight"]),
                str(state["queued"]),
                str(state["failures"]),
                _credentials(state),
                "" if state["latency_ms"] is None else f"{state['latency_ms']:.0f} ms",
                f"{state['ramp']:.0%}",
                Text(visible(state["last_error"])),
            )
    console = operator.open_page()
    console.print(table if told["targets"] else "no target is configured, and none was asked for yet")
    if told["silent"]:
        console.print(Text(visible(f"without an answer from {', '.join(told['silent'])}"), style="yellow"))


def _state(state: dict[str, Any]) -> str:
    words = str(state["state"]).replace("_", " ")
    return f"{words}, cooling" if state["cooling"] else words


def _left_alone(state: dict[str, Any]) -> str:
    seconds = state["until_seconds"]
    return f"{seconds:.0f} s" if seconds and not str(state["state"]).startswith("forced") else ""


def _credentials(state: dict[str, Any]) -> str:
    return f"{state['credentials'] - state['credentials_out']} of {state['credentials']}"
