from __future__ import annotations

from pathlib import Path

import pytest
from pydantic_core import PydanticCustomError

from flumegate.config.secret import Secret, check_private, resolve

VALUE = "s3cret-value"


def private(path: Path, text: str = VALUE, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def refused(text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(PydanticCustomError) as caught:
        resolve(text, environ or {})
    return caught.value.message()


def test_no_text_form_shows_the_secret() -> None:
    """repr, str, format and errors that print the object show the reference or a mask."""
    literal, referred = Secret(VALUE), Secret(VALUE, "env:KEY")
    for form in (repr(literal), str(literal), f"{literal}", f"{[literal]}", repr(referred), f"{referred!s}"):
        assert VALUE not in form
    assert referred.shown == "env:KEY"
    assert literal.reveal() == VALUE


def test_a_url_is_shown_unless_it_holds_a_credential() -> None:
    """The path of a database is no secret; the password in its URL is."""
    assert Secret("sqlite:///data/flumegate.db").shown == "sqlite:///data/flumegate.db"
    assert "hunter2" not in Secret("http://user:hunter2@proxy:3128").shown


def test_references_are_resolved_when_read(tmp_path: Path) -> None:
    """Space around the value, such as the line end that every editor adds, is not part of it."""
    path = private(tmp_path / "key", f"{VALUE}\n")
    assert resolve(f"file:{path}", {}).reveal() == VALUE
    assert resolve("env:KEY", {"KEY": f" {VALUE}\n"}).reveal() == VALUE
    assert resolve(VALUE, {}).is_literal


def test_a_list_of_keys_is_separated_as_its_place_suggests(tmp_path: Path) -> None:
    """A variable by commas, a file by lines; a literal is one key even with a comma in it."""
    path = private(tmp_path / "keys", "one\n\ntwo, too\n")
    assert resolve("env:KEYS", {"KEYS": "one, two,,"}).entries() == ["one", "two"]
    assert resolve(f"file:{path}", {}).entries() == ["one", "two, too"]
    assert resolve("one,two", {}).entries() == ["one,two"]


def test_a_variable_that_is_missing_or_empty_is_an_error() -> None:
    """An empty key would be sent as an empty key."""
    assert refused("env:KEY") == "the environment variable KEY is not set; set it before the start, or correct the name"
    assert "KEY is empty" in refused("env:KEY", {"KEY": "  "})
    assert "names no environment variable" in refused("env:")
    assert "is empty" in refused(" ")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_a_file_that_everyone_can_read_or_write_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    """The message is a command that can be pasted."""
    path = private(tmp_path / "key", mode=mode)
    assert f"chmod 600 {path}" in refused(f"file:{path}")


def test_a_file_that_the_group_can_read_is_accepted(tmp_path: Path) -> None:
    """Container platforms hand secrets to a group."""
    assert resolve(f"file:{private(tmp_path / 'key', mode=0o440)}", {}).reveal() == VALUE


def test_a_file_that_is_no_secret_is_refused(tmp_path: Path) -> None:
    """Missing, empty, a folder, too large, not text: each says what to do."""
    assert "create it or correct the path" in refused(f"file:{tmp_path}/none")
    assert "is empty" in refused(f"file:{private(tmp_path / 'empty', '')}")
    assert "not a regular file" in refused(f"file:{tmp_path}")
    assert "larger than" in refused(f"file:{private(tmp_path / 'large', 'x' * 70_000)}")
    binary = private(tmp_path / "binary")
    binary.write_bytes(b"\xff\xfe")
    assert "UTF-8" in refused(f"file:{binary}")


def test_a_private_file_passes_the_check(tmp_path: Path) -> None:
    """The same check serves private keys of certificates."""
    check_private(private(tmp_path / "key"))
    with pytest.raises(PydanticCustomError):
        check_private(private(tmp_path / "open", mode=0o644))


def test_equal_secrets_are_equal_and_differ_from_texts() -> None:
    """A reload must see whether a secret has changed."""
    assert Secret("a", "env:A") == Secret("a", "env:A")
    assert Secret("a", "env:A") != Secret("b", "env:A")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
