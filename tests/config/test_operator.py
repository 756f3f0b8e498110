from __future__ import annotations

from pathlib import Path

import pytest

from flumegate.config.load import load
from flumegate.config.operator import TOKEN_VARIABLE, URL_VARIABLE, NotFoundError, Operator, find
from flumegate.config.settings import PREFIX


def test_options_come_before_the_environment_and_that_before_the_folder(tmp_path: Path) -> None:
    """Each of the two values by itself."""
    (tmp_path / "console.url").write_text("http://127.0.0.1:1/\n")
    (tmp_path / "admin.token").write_text("fg-admin-1\n")
    environ = {URL_VARIABLE: "http://127.0.0.1:2", TOKEN_VARIABLE: "fg-admin-2"}
    kept = find(url=None, token=None, folder=tmp_path, environ={})
    assert kept == Operator("http://127.0.0.1:1", "fg-admin-1")
    assert find(url=None, token=None, folder=tmp_path, environ=environ) == ("http://127.0.0.1:2", "fg-admin-2")
    told = find(url="http://127.0.0.1:3", token=None, folder=tmp_path, environ=environ)
    assert told == ("http://127.0.0.1:3", "fg-admin-2")
    assert find(url="u", token="fg-admin-3", folder=tmp_path, environ=environ).token == "fg-admin-3"


def test_where_nothing_is_found_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="--data-dir"):
        find(url=None, token=None, folder=tmp_path, environ={})
    with pytest.raises(NotFoundError, match="--token"):
        find(url="http://127.0.0.1:1", token=None, folder=tmp_path, environ={})
    (tmp_path / "admin.token").mkdir()
    with pytest.raises(NotFoundError, match="cannot be read"):
        find(url="http://127.0.0.1:1", token=None, folder=tmp_path, environ={})


def test_a_token_is_never_shown() -> None:
    assert "secret" not in repr(Operator("http://127.0.0.1:1", "secret"))


def test_a_gateway_is_not_disturbed_by_these_variables(tmp_path: Path) -> None:
    """They may stand in the environment of an operator who starts one, too."""
    assert URL_VARIABLE.startswith(PREFIX)
    (tmp_path / "flumegate.yaml").write_text("providers: {o: {type: ollama}}")
    load(tmp_path / "flumegate.yaml", {URL_VARIABLE: "http://127.0.0.1:1", TOKEN_VARIABLE: "x"})
