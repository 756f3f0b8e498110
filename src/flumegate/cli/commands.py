"""The commands and what each is for: the one source of the top level's help and of what `main` registers.

Standard library only: `flumegate --help` and `flumegate serve` answer from here without the command line's library,
whose import alone takes half of the 200 ms that help may take.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

SUMMARY = "Flumegate: a self-hosted gateway for large language models."


class Command(NamedTuple):
    """One command."""

    words: str
    """As typed after `flumegate`."""
    target: str
    """`module:function` that runs it."""
    summary: str


class ServeOptions(TypedDict, total=False):
    """The options of `serve`, by parameter."""

    config: Path
    listen: str
    workers: int
    data_dir: Path


COMMANDS = (
    Command("serve", "flumegate.cli.serve:serve", "Start the gateway."),
    Command("mock", "flumegate.cli.mock:mock", "Start the fake provider, for tests and trials."),
    Command("config check", "flumegate.cli.config:check", "Report every error in the configuration."),
    Command("config show", "flumegate.cli.config:show", "Print the configuration in force, secrets masked."),
    Command("config schema", "flumegate.cli.config:schema", "Print the JSON Schema of the configuration."),
    Command("logs tail", "flumegate.cli.logs:tail", "Show the newest requests, and follow new ones."),
    Command("logs show", "flumegate.cli.logs:show", "Show all that is known of one request."),
    Command("logs search", "flumegate.cli.logs:search", "Find requests."),
    Command("explain", "flumegate.cli.explain:explain", "Show what would become of a request, and why."),
    Command("target list", "flumegate.cli.targets:list_targets", "Show how all targets fare."),
    Command("target open", "flumegate.cli.targets:open_target", "Send nothing more to a target."),
    Command("target close", "flumegate.cli.targets:close_target", "Keep sending to a target however it fails."),
    Command("target reset", "flumegate.cli.targets:reset_target", "Let a target's breaker decide again."),
    Command("import litellm", "flumegate.cli.foreign:import_litellm", "Read a LiteLLM configuration as ours."),
)
GROUPS = {
    "config": "Check, show and describe the configuration.",
    "logs": "Read the records of requests.",
    "target": "Show the health of targets, and force it.",
    "import": "Take over from another gateway.",
}
"""First words that several commands share."""


def help_text() -> str:
    """Return the help of `flumegate` itself."""
    rows = [(command.words, command.summary) for command in COMMANDS]
    rows += [("COMMAND --help", "Explain a command and its options."), ("--version", "Print the version.")]
    lines = "".join(f"  {name:<16} {text}\n" for name, text in rows)
    return f"Usage: flumegate COMMAND [OPTIONS]\n\n{SUMMARY}\n\n{lines}"


def plain_serve(arguments: Sequence[str]) -> ServeOptions | None:
    """Return the options of a `serve` command line that is beyond doubt; None for every other one."""
    if not arguments or arguments[0] != "serve":
        return None
    found: ServeOptions = {}
    rest = list(arguments[1:])
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not equals:
            if not rest or rest[0].startswith("-"):
                return None
            value = rest.pop(0)
        if name == "--config":
            found["config"] = Path(value)
        elif name == "--data-dir":
            found["data_dir"] = Path(value)
        elif name == "--listen":
            found["listen"] = value
        elif name == "--workers" and value.isascii() and value.isdigit():
            found["workers"] = int(value)
        else:
            return None
    return found
