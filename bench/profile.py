"""`python bench/profile.py`: where the worker's time goes under the bench's load; the work is in `bench.sampling`.

This file only puts the project root on the module path in place of its own folder, in which it would hide the
standard library's module of the same name.
"""
# ruff: noqa: A005 - started as a program and never imported: it hides nothing

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("bench.sampling", run_name="__main__")
