from __future__ import annotations

import ast
import re
from pathlib import Path

import flumegate.console
import flumegate.manage

ROOT = Path(__file__).parents[2]
RAISERS = {"refuse": 0, "ConsoleError": 1, "problem": 1}
"""What makes a refusal, and which of its arguments is the code."""


def codes() -> set[str]:
    """Return every code that the console or an operation spells out."""
    found = set()
    for room in (flumegate.console, flumegate.manage):
        for path in Path(room.__path__[0]).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISERS:
                    position = RAISERS[node.func.id]
                    code = node.args[position] if len(node.args) > position else None
                    if isinstance(code, ast.Constant) and isinstance(code.value, str):
                        found.add(code.value)
    return found


def test_every_code_is_documented() -> None:
    """Whoever gets one finds what to do."""
    page = (ROOT / "docs" / "errors.md").read_text().partition("## Of the console")[2]
    documented = set(re.findall(r"`([a-z_]+)`", page))
    assert len(codes()) > 30
    assert codes() <= documented
