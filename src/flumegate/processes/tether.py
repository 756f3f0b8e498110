"""`python -m flumegate.processes.tether FD MODULE [ARGUMENT …]`: run a module that knows nothing of the supervisor.

When the stream on FD ends, the supervisor is dead, and the process ends itself with SIGTERM: nothing is orphaned.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Watch the descriptor in a thread and become the module."""
    descriptor, module = int(sys.argv[1]), sys.argv[2]
    sys.argv = [module, *sys.argv[3:]]
    threading.Thread(target=_watch, args=(descriptor,), daemon=True, name="tether").start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
