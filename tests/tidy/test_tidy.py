"""The house rules that a linter does not know, as tests."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "flumegate"
MODULES = sorted(SOURCE.rglob("*.py"))
BANNED_NAMES = {"utils", "helpers", "common", "base", "core", "misc", "manager", "handler", "service", "util", "helper"}
WITHOUT_OWN_TEST = {
    "__init__.py": "a room's description",
    "__main__.py": "two lines that the command line's tests run",
}
PROVEN_ELSEWHERE = {
    # module -> the test file that proves it, where one scenario needs several modules at once
    "app.py": "tests/road",
    "door/imagined.py": "tests/road/test_explain.py",
    "engine/attempt.py": "tests/road",
    "engine/checks.py": "tests/road/test_health_checks.py",
    "engine/coalesce.py": "tests/road/test_beside.py",
    "engine/explain.py": "tests/road/test_explain.py",
    "engine/hedge.py": "tests/road/test_beside.py",
    "engine/meter.py": "tests/road/access/test_metering.py",
    "engine/mirror.py": "tests/road/test_beside.py",
    "engine/passage.py": "tests/road",
    "engine/trip.py": "tests/road",
    "engine/local.py": "tests/road",
    "engine/record.py": "tests/road",
    "engine/relay.py": "tests/road",
    "engine/relay_translated.py": "tests/road/translation",
    "engine/run.py": "tests/road",
    "engine/settle.py": "tests/road",
    "engine/translate.py": "tests/road/translation",
    "engine/transparent.py": "tests/road",
    "door/connection.py": "tests/road",
    "door/reader.py": "tests/road",
    "door/server.py": "tests/road",
    "door/turn.py": "tests/road",
    "exchange.py": "tests/road",
    "upstream/call.py": "tests/road",
    "upstream/connection.py": "tests/road",
    "upstream/dial.py": "tests/road",
    "upstream/pool.py": "tests/road",
    "upstream/errors.py": "tests/road",
}


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / line for line in listing.splitlines() if (ROOT / line).is_file()]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_is_mirrored_by_a_test(module: Path) -> None:
    """Whoever changes a module finds its promises in the file of the same name."""
    if module.name in WITHOUT_OWN_TEST:
        return
    relative = module.relative_to(SOURCE)
    mirror = ROOT / "tests" / relative.parent / f"test_{relative.name}"
    elsewhere = PROVEN_ELSEWHERE.get(str(relative))
    room = ROOT / "tests" / relative.parts[0]
    if elsewhere is not None:
        assert (ROOT / elsewhere).exists(), f"{relative} names {elsewhere}, which does not exist"
    else:
        proofs = "\n".join(path.read_text() for path in room.rglob("test_*.py")) if room.is_dir() else ""
        named = re.search(rf"\b{re.escape(relative.stem)}\b", proofs)
        assert mirror.exists() or named, f"add {mirror.relative_to(ROOT)}, or prove {relative} in a test of its room"


def test_no_room_or_module_has_a_name_that_says_nothing() -> None:
    """Rooms are nouns for what they hold."""
    offenders = [str(path) for path in MODULES if BANNED_NAMES & {path.stem, *path.relative_to(SOURCE).parts[:-1]}]
    assert not offenders


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_what_lives_there(module: Path) -> None:
    """A header of at most twelve lines opens every module."""
    docstring = ast.get_docstring(ast.parse(module.read_text()))
    assert docstring, "the module has no header"
    assert len(docstring.splitlines()) <= 12, "the header is longer than twelve lines"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_readable(module: Path) -> None:
    """Beyond these sizes something wants to be split by meaning."""
    text = module.read_text()
    assert text.count("\n") <= 450, f"{text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 75, f"{node.name} has {length} lines"


def test_every_module_is_used() -> None:
    """A module that nothing imports is dead."""
    imported = set()
    for path in [*MODULES, *tracked("scripts/*.py", "tests/**/*.py", "bench/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
                imported.update(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("flumegate."):
                imported.add(node.value.partition(":")[0])  # run with -m, or imported lazily by name
    dead = [
        name
        for path in MODULES
        if path.name not in WITHOUT_OWN_TEST
        and (name := ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)) not in imported
    ]
    assert not dead


def test_left_over_marks_name_their_issue() -> None:
    """A mark without an issue is forgotten work."""
    mark = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!.*#\d+)")
    offenders = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("src", "tests")
        if path.suffix == ".py" and path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if mark.search(line)
    ]
    assert not offenders


def test_broad_excepts_stand_only_at_the_top_of_a_road_or_loop() -> None:
    """Everything else maps the exceptions that it expects."""
    allowed = {
        "engine/mirror.py",
        "engine/run.py",
        "processes/supervisor.py",
        "processes/control.py",
        "processes/recording.py",
    }
    offenders = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in MODULES
        if str(path.relative_to(SOURCE)) not in allowed
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
        and not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
    ]
    assert not offenders


def test_locks_carry_hashes_and_no_download_address() -> None:
    """Any mirror serves, and no mirror can serve something else."""
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text
        names = re.findall(r"^[a-z0-9][^\s;]*==", text, re.MULTILINE)
        assert names
        assert text.count("--hash=sha256:") >= len(names)


def test_a_worker_loads_no_heavy_library() -> None:
    """Small memory and a fast start: what the data plane imports is counted in a real interpreter."""
    heavy = ("pydantic", "ruamel", "sqlalchemy", "rich", "cyclopts", "fastapi", "brotli", "zstandard", "cryptography")
    code = f"import sys, flumegate.app, flumegate.processes.worker\nprint([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert found == "[]"
