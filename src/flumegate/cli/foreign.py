"""`flumegate import litellm`: another gateway's configuration as one of ours, with a report of what became of it."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flumegate.cli import operator

if TYPE_CHECKING:
    from flumegate.config.litellm import Imported


def import_litellm(path: Path, /, *, output: Path | None = None, json: bool = False) -> int:
    """Read the config.yaml of a LiteLLM proxy, and print it as a configuration of Flumegate.

    The report, on stderr or in the JSON, names every entry and what became of it. Secrets are never copied: they are
    named as environment variables. Keys of clients are taken by `flumegate key import`.

    Args:
        path: Their configuration.
        output: Write ours there, if there is no such file yet; without it, it is printed.
        json: Print configuration and report as JSON.
    """

    def action() -> None:
        from flumegate.config.litellm import convert

        imported = convert(_read(path))
        if output is not None:
            _write(output, _as_yaml(imported))
        if json:
            notes = [note._asdict() for note in imported.notes]
            operator.print_json({"config": imported.tree, "notes": notes, "variables": imported.variables})
            return
        if output is None:
            print(_as_yaml(imported), end="")
        _report(imported)

    return operator.run("import litellm", action)


def _read(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError, RecursionError) as problem:
        raise operator.CommandError(operator.REFUSED_EXIT, f"{path}: cannot be read ({problem})") from problem
    if not isinstance(found, dict) or "model_list" not in found:
        raise operator.CommandError(operator.REFUSED_EXIT, f"{path}: has no model_list, so it is no such configuration")
    return found


def _as_yaml(imported: Imported) -> str:
    from ruamel.yaml import YAML

    writer = YAML()
    writer.default_flow_style = False
    page = io.StringIO()
    page.write("# Made by `flumegate import litellm`; docs/configuration.md explains every setting.\n")
    writer.dump(imported.tree, page)
    return page.getvalue()


def _write(output: Path, text: str) -> None:
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as problem:
        message = f"{output} is there already: name another file with --output"
        raise operator.CommandError(operator.REFUSED_EXIT, message) from problem
    except OSError as problem:
        raise operator.CommandError(operator.REFUSED_EXIT, f"{output}: cannot be written ({problem})") from problem


def _report(imported: Imported) -> None:
    from flumegate.log import visible

    for outcome, heading in (("taken", "taken"), ("changed", "taken, but changed"), ("left_out", "left out")):
        notes = [note for note in imported.notes if note.outcome == outcome]
        if notes:
            print(f"{heading}: {len(notes)}", file=sys.stderr)
            for note in notes:
                print(visible(f"  {note.path}: {note.why}"), file=sys.stderr)
    if imported.variables:
        print(f"variables to set: {', '.join(imported.variables)}", file=sys.stderr)
