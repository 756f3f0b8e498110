"""`flumegate mock` as a command function."""

from __future__ import annotations

import pytest

from flumegate.cli.mock import mock


def test_it_delegates_and_returns_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """A refused address is told with the way out, as on the module's own command line."""
    assert mock(listen="192.0.2.1:0") == 2
    assert "--allow-remote" in capsys.readouterr().err
