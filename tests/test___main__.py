from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",)])
def test_help_and_version_load_no_library(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """They stay quick because they import nothing but the standard library."""
    code = (
        f"import sys; sys.argv[1:] = {list(arguments)!r}; from flumegate.__main__ import main; main(); "
        "sys.exit(bool({'cyclopts', 'rich', 'pydantic', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
