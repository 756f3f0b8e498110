"""`flumegate explain`: what would become of a request, told by a running gateway and sent nowhere."""

from __future__ import annotations

import contextlib
import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flumegate.cli import operator

if TYPE_CHECKING:
    from rich.table import Table

_DATA_DIR = Path("data")
_BODY_CHARACTERS = 4_000
"""Of the upstream request's body, on the page; --json has more."""


def explain(  # noqa: PLR0913 - one parameter an option
    *,
    model: str | None = None,
    file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    path: str = "/v1/chat/completions",
    method: str = "POST",
    header: Annotated[list[str] | None, Parameter(negative=())] = None,
    key: str | None = None,
    json: bool = False,
    url: str | None = None,
    token: str | None = None,
    data_dir: Path = _DATA_DIR,
) -> int:
    """Show what would become of a request: who may send it, which targets it tries, and what they would be sent.

    Nothing is sent upstream, counted or changed.

    Args:
        model: Model that the request asks for; overrides the one in the file.
        file: File with the request's body, - for stdin; without it a short question is asked.
        path: Path of the request.
        method: Its method.
        header: Further header as name:value; may be given several times.
        key: Client key that it comes with; else the generated one in the data folder, if there is one.
        json: Print JSON.
        url: Address of the console; else $FLUMEGATE_ADMIN_URL, else what the data folder says.
        token: Its token; else $FLUMEGATE_ADMIN_TOKEN, else the one in the data folder.
        data_dir: Folder that the gateway writes to.
    """

    def action() -> None:
        asked = {
            "method": method.upper(),
            "path": path,
            "headers": _headers(header or [], key or _client_key(data_dir)),
            "body": _body(file, model, path) if method.upper() != "GET" else None,
        }
        told = operator.ask(operator.locate(url, token, data_dir), "POST", "/manage/explain", asked)
        if json:
            operator.print_json(told)
        else:
            _print(told)

    return operator.run("explain", action)


def _headers(lines: list[str], key: str | None) -> dict[str, str]:
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise operator.CommandError(operator.USAGE_EXIT, f'--header "{line}": write name:value')
        headers[name.strip().lower()] = value.strip()
    return headers


def _client_key(folder: Path) -> str | None:
    try:
        return (folder / "client.key").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _body(file: str | None, model: str | None, path: str) -> object:
    if file is None:
        if model is None:
            raise operator.CommandError(operator.USAGE_EXIT, "name a --model, or a --file with the request's body")
        return {"model": model} | _question(path)
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise operator.CommandError(operator.USAGE_EXIT, f"{file}: cannot be read ({problem})") from problem
    if model is None:
        return text  # as it stands: also what is wrong with it is to be explained
    try:
        body = json_text.loads(text)
    except ValueError as problem:
        raise operator.CommandError(operator.USAGE_EXIT, f"{file}: is not JSON ({problem})") from problem
    if not isinstance(body, dict):
        raise operator.CommandError(operator.USAGE_EXIT, f"{file}: holds no JSON object that could name a model")
    return body | {"model": model}


def _question(path: str) -> dict[str, object]:
    """Return what a request to that endpoint holds at least."""
    plain = path.partition("?")[0].rstrip("/")
    if plain.endswith(("/embeddings", "/responses")):
        return {"input": "Hello"}
    if plain.endswith("/completions") and not plain.endswith("/chat/completions"):
        return {"prompt": "Hello"}
    said: dict[str, object] = {"messages": [{"role": "user", "content": "Hello"}]}
    return said | ({"max_tokens": 100} if plain.endswith("/messages") else {})


def _print(told: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = operator.open_page()
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, line, style in _lines(told):
        grid.add_row(label, Text(_clean(line), style=style))
    console.print(grid)
    if told.get("targets"):
        console.print()
        console.print(_targets(told))
    if told.get("upstream"):
        console.print()
        console.print(Text(_clean(_request(told["upstream"]))))


def _lines(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return label, text and style of each line of the summary."""
    lines = []
    for gate in told.get("gates", []):
        if gate["passes"]:
            who = ", ".join(f"{name} {gate[name]}" for name in ("key", "project") if gate.get(name))
            lines.append(("gate", f"{gate['gate']}: passes{f' ({who})' if who else ''}", "green"))
        else:
            lines.append(("gate", f"{gate['gate']}: {gate['status']} {gate['code']}: {gate['message']}", "red"))
    if resolution := told.get("resolution"):
        lines.append(("model", f"{resolution['model'] or '(none)'}: {resolution['how']}", ""))
        lines += [("rule", f"leads to {rule}", "") for rule in resolution["rules"]]
        for place, stage in enumerate(resolution["stages"]):
            label = "route" if place == 0 else "fallback"
            lines.append((label, f"{stage['name']}: {stage['strategy']} among {', '.join(stage['targets'])}", ""))
    if limits := told.get("limits"):
        limit = "no deadline" if limits["seconds"] is None else f"{limits['seconds']:.0f} s in all"
        lines.append(("limits", f"{limit}; {limits['retries']} retries", ""))
    if told.get("chosen"):
        lines.append(("chosen", f"{told['chosen']} ({told.get('lane', 'not sent')})", "bold"))
    estimate = told.get("estimate")
    if estimate and estimate["input_tokens"]:
        cost = "no price is known" if estimate["cost_micros"] is None else _dollars(estimate["cost_micros"])
        tokens = f"{estimate['input_tokens']} tokens in, {estimate['output_tokens']} out"
        lines.append(("estimate", f"{tokens}: {cost}", ""))
    lines += [("loss", loss, "yellow") for loss in told.get("losses", [])]
    if refusal := told.get("refusal"):
        lines.append(("refused", f"{refusal['status']} {refusal['code']}", "red"))  # a gate has said why
    return lines


def _targets(told: dict[str, Any]) -> Table:
    """Return the table of targets, in the order in which they would be tried."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("", "target", "tier", "weight", "in flight", "latency", "cost", "state"):
        table.add_column(heading, justify="left" if heading in ("target", "state") else "right")
    for place, target in enumerate(told["targets"], 1):
        state = [str(target["because"])]
        if target["seconds_until"]:
            state.append(f"for {target['seconds_until']:.0f} s")
        if target["lacks"]:
            state.append(f"lacks {', '.join(target['lacks'])}")
        table.add_row(
            str(place),
            Text(_clean(target["target"]), style="bold" if target["target"] == told.get("chosen") else ""),
            str(target["tier"]),
            str(target["weight"]),
            str(target["in_flight"]),
            "" if target["latency_ms"] is None else f"{target['latency_ms']:.0f} ms",
            "" if target["cost_micros"] is None else _dollars(target["cost_micros"]),
            Text(_clean("; ".join(state)), style="green" if target["ready"] else "yellow"),
        )
    return table


def _request(upstream: dict[str, Any]) -> str:
    """Return the upstream request as text."""
    body = str(upstream["body"])
    # A body that is cut, or no JSON, is shown as it is.
    with contextlib.suppress(ValueError):
        body = json_text.dumps(json_text.loads(body), indent=2, ensure_ascii=False)
    if len(body) > _BODY_CHARACTERS:
        body = f"{body[:_BODY_CHARACTERS]}\n… ({upstream['body_bytes']} bytes in all; --json shows more)"
    head = [f"{upstream['method']} {upstream['url']}", *(f"{name}: {value}" for name, value in upstream["headers"])]
    if upstream["signed"]:
        head.append("(to be signed)")
    return "\n".join([*head, "", body])


def _dollars(micros: int) -> str:
    return f"${micros / 1_000_000:.6f}"


def _clean(text: str) -> str:
    """Return the text with everything visible that could command a terminal, line by line."""
    from flumegate.log import visible

    return "\n".join(visible(line) for line in text.split("\n"))
