from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flumegate.config.environment import KEYS_VARIABLE
from flumegate.providers.rows import ROWS
from rig.gateway import Gateway, plain_environ, run_gateway

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
MADE_ELSEWHERE = {
    "bench/RESULTS.md": "`make bench` writes it on the machine that measures",
}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_MAKE = re.compile(r"^(?:\w+=\S+ )*make ([a-z-]+)")


class Block(NamedTuple):
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str


def blocks(*languages: str) -> list[Block]:
    found = []
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        for fence in _FENCE.finditer(content):
            line = content.count("\n", 0, fence.start()) + 1
            found.append(Block(str(page.relative_to(ROOT)), line, fence[1], fence[2]))
    return [block for block in found if block.language in languages]


def name(block: Block) -> str:
    return f"{block.page}:{block.line}"


def run(command: list[str], folder: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=plain_environ(environ) | {"HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[Gateway, str]]:
    """A gateway as the first start makes it, in the folder that a reader works in, and a request that it answered."""
    with run_gateway() as gateway:
        (gateway.folder / ".venv").symlink_to(sys.prefix)
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
        answer = gateway.request("POST", "/v1/chat/completions", body=body, key=gateway.key)
        identifier = answer.headers["x-request-id"]
        show = [sys.executable, "-P", "-m", "flumegate", "logs", "show", identifier]
        while run(show, gateway.folder).returncode:
            assert gateway.process.poll() is None
        gateway.wait_console()
        yield gateway, identifier


def as_runnable(block: Block, gateway: Gateway, identifier: str) -> str:
    """Return a block for this gateway: its port, a request of its own, and no command that waits for more."""
    text = block.text.replace("127.0.0.1:4100", f"127.0.0.1:{gateway.port}")
    text = re.sub(r"\b(REQUEST_ID|ID)\b", identifier, text).replace(" --follow", "")
    # Without these, curl takes an error for an answer.
    return text.replace("curl ", "curl --silent --show-error --fail-with-body ")


@pytest.mark.parametrize("block", blocks("sh"), ids=name)
def test_shell_blocks_work_as_written(block: Block, started: tuple[Gateway, str]) -> None:
    """Whoever copies a command from the documentation gets what it promises."""
    gateway, identifier = started
    lines = as_runnable(block, gateway, identifier).splitlines()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in lines:
        # Each of them sets up a whole environment, or starts a second gateway.
        assert not (found := _MAKE.match(line)) or found[1] in targets
    script = "\n".join(line for line in lines if not _MAKE.match(line))
    if "sqlite3 " in script and shutil.which("sqlite3") is None:
        pytest.skip("the sqlite3 program is not installed here")
    path = f"{gateway.folder}/.venv/bin{os.pathsep}{os.environ['PATH']}"
    done = run(["bash", "-euo", "pipefail", "-c", script], gateway.folder, {"PATH": path})
    assert done.returncode == 0, done.stdout + done.stderr
    if "curl" in script or "logs show" in script:
        assert done.stdout


@pytest.mark.parametrize("block", blocks("python"), ids=name)
def test_python_blocks_run_with_the_vendors_clients(block: Block, started: tuple[Gateway, str]) -> None:
    """Applications keep their SDK and change one URL."""
    gateway, identifier = started
    done = run([sys.executable, "-c", as_runnable(block, gateway, identifier)], gateway.folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", blocks("yaml"), ids=name)
def test_configurations_pass_the_check(block: Block, tmp_path: Path) -> None:
    """Every example is a whole configuration that starts once its keys are set."""
    (tmp_path / "flumegate.yaml").write_text(block.text, encoding="utf-8")
    keys = {variable: "sk-example-of-a-key" for row in ROWS for variable in row.key_variables}
    keys[KEYS_VARIABLE] = "team-one-4f1c9d0a77"
    done = run([sys.executable, "-P", "-m", "flumegate", "config", "check"], tmp_path, keys)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A link to a file of this repository names one that exists."""
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        target = link.partition("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            path = (page.parent / target).resolve()
            assert path.exists() or str(path.relative_to(ROOT)) in MADE_ELSEWHERE, f"{page.name} links to {link}"


def test_every_page_is_reachable_from_the_front_page() -> None:
    """A page that nothing links to is read by nobody."""
    found: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in found and page.suffix == ".md" and page.is_file():
            found.add(page)
            text = page.read_text(encoding="utf-8")
            waiting += [(page.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(text)]
    unreachable = {path for path in PAGES if "decisions" not in path.parts} - found - {ROOT / "ARCHITECTURE.md"}
    assert not unreachable, f"link to {sorted(map(str, unreachable))}"
