"""The command line: parses, finds the command, imports it only then, and turns its result into an exit code.

Exit codes: 0 ok, 1 error, 2 usage, 3 token refused, 4 nobody answers, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import App, CycloptsError

from flumegate import __version__
from flumegate.cli.commands import COMMANDS, GROUPS, SUMMARY

USAGE_EXIT = 2
INTERRUPTED_EXIT = 130


def build(arguments: Sequence[str]) -> App:
    """Return the application with every command registered, and none imported.

    The command that the arguments begin with explains itself by its docstring, the others by their line in the list.
    """
    app = App(name="flumegate", help=SUMMARY, version=__version__, version_flags=("--version",))
    groups = {name: App(name=name, help=summary) for name, summary in GROUPS.items()}
    for group in groups.values():
        app.command(group)
    for command in COMMANDS:
        *above, name = command.words.split()
        place = groups[above[0]] if above else app
        is_asked = list(arguments[: len(above) + 1]) == [*above, name]
        place.command(command.target, name=name, help=None if is_asked else command.summary)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit code.

    Raises:
        OSError: the output cannot be written.
    """
    try:
        result = build(arguments)(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return USAGE_EXIT
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    return result if isinstance(result, int) else 0
