from __future__ import annotations

import subprocess
import sys


def test_catching_a_store_failure_needs_no_database_library() -> None:
    """The errors, and the pump that handles them, load without SQLAlchemy: control has both before its first answer."""
    script = "import sys, flumegate.store.errors, flumegate.store.pump; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "flumegate" in loaded
    assert not loaded & {"sqlalchemy", "sqlite3", "pydantic", "rich", "cyclopts"}
