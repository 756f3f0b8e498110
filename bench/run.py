"""`python bench/run.py`: measure the gateway beside nginx and the installed peers; the work is in `bench.command`.

This file only puts the project root on the module path in place of its own folder, whose `profile.py` would otherwise
hide the standard library's module of that name.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("bench.command", run_name="__main__")
