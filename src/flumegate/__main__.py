"""`python -m flumegate` and the `flumegate` command.

What is asked most, and what must be quick, is answered without importing the command line's library.
"""

from __future__ import annotations

import sys

from flumegate import __version__
from flumegate.cli.commands import help_text, plain_serve


def main() -> int:
    """Run the command line that the process was started with; return the exit code."""
    arguments = sys.argv[1:]
    if arguments in ([], ["--help"], ["-h"]):
        sys.stdout.write(help_text())
        return 0
    if arguments == ["--version"]:
        sys.stdout.write(f"{__version__}\n")
        return 0
    if (options := plain_serve(arguments)) is not None:
        from flumegate.cli.serve import serve  # noqa: PLC0415 - only this command line needs it

        return serve(**options)
    from flumegate.cli.main import run  # noqa: PLC0415 - its library takes 100 ms to import

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
