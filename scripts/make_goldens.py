# ruff: noqa: INP001 - a script, not a package
"""Writes tests/golden/expected from the cases beside it: what the translation makes of every one of them today.

`make goldens` runs it. The tests compare with these files, so whoever changes what is said to a provider or a client
shows it as a difference that people can read.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from rig import goldens  # noqa: E402 - the path to it is set above


def main() -> int:
    """Write what has changed, remove what no case asks for; return the exit code."""
    current = {goldens.EXPECTED / name: goldens.text_of(told) for name, told in goldens.expected()}
    for file in sorted(goldens.EXPECTED.rglob("*.json")):
        if file not in current:
            file.unlink()
            sys.stdout.write(f"removed {file.relative_to(ROOT)}\n")
    for file, text in current.items():
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {file.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
