"""`python -m flumegate` and the `flumegate` command.

What is asked most, and what must be quick, is answered without importing the command line's library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from flumegate import __version__
from flumegate.cli.commands import help_text, plain_serve


def main() -> int:
    """Run the command line that the process was started with; return the exit code."""
    _hold_standard_streams()
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has left (`… | head`): nothing is wrong, and nothing more can be said.
        _abandon_output()
        return 0
    except OSError as problem:
        _abandon_output()
        sys.stderr.write(f"flumegate: cannot write: {problem.strerror}\n")
        return 1
    return code


def _run(arguments: Sequence[str]) -> int:
    if list(arguments) in ([], ["--help"], ["-h"]):
        sys.stdout.write(help_text())
        return 0
    if list(arguments) == ["--version"]:
        sys.stdout.write(f"{__version__}\n")
        return 0
    if (options := plain_serve(arguments)) is not None:
        from flumegate.cli.serve import serve  # noqa: PLC0415 - only this command line needs it

        return serve(**options)
    from flumegate.cli.main import run  # noqa: PLC0415 - its library takes 100 ms to import

    return run(arguments)


def _hold_standard_streams() -> None:
    """Open what was closed before we were started, on nothing.

    Otherwise the first socket or file of this process, or of the supervisor that it becomes, would get the number, and
    with it all that is written to stdout or stderr.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - the standard library's signature
    os.close(descriptor)
    # Python has no stream where there was no descriptor.
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _abandon_output() -> None:
    """Let what is still buffered go nowhere: the interpreter flushes once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
