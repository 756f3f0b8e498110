from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from flumegate.config.load import Loaded, load
from flumegate.config.problem import ConfigInvalid


@pytest.fixture
def nobody() -> Iterator[tuple[str, int]]:
    """An address at which nothing accepts a connection."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


@pytest.fixture
def load_text(tmp_path: Path, nobody: tuple[str, int]) -> Callable[..., Loaded]:
    """Load a file of this text, or no file if the text is None, with this environment."""

    def run(text: str | None, environ: Mapping[str, str] | None = None) -> Loaded:
        path = tmp_path / "flumegate.yaml"
        if text is not None:
            path.write_text(text, encoding="utf-8")
        return load(None if text is None else path, environ or {}, ollama=nobody)

    return run


@pytest.fixture
def problems(tmp_path: Path, load_text: Callable[..., Loaded]) -> Callable[..., list[str]]:
    """Load what must be refused, and return the problems as they are printed, without the folder."""

    def run(text: str | None, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigInvalid) as caught:
            load_text(text, environ)
        return [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]

    return run
