from __future__ import annotations

from collections.abc import Callable

import pytest

from flumegate.config.access_checks import weakness_of
from flumegate.config.load import Loaded

Load = Callable[..., Loaded]
Refuse = Callable[..., list[str]]

_OPEN_TO_ALL = 'server: {listen: "0.0.0.0:4100"}\n'


def test_open_mode_is_for_loopback_only(load_text: Load, problems: Refuse) -> None:
    """Without keys, whoever reaches the port spends the operator's credit."""
    assert load_text("auth: {mode: open}").config.auth.mode == "open"
    (problem,) = problems(f"{_OPEN_TO_ALL}auth: {{mode: open}}")
    assert problem.startswith("flumegate.yaml:2:14: auth.mode: open lets everyone")


@pytest.mark.parametrize(
    "key", ["short", "fifteen-letters", "changeme", "ChangeMe", "password", "sk-1234", "0123456789ABCDEF", "a" * 40]
)
@pytest.mark.parametrize("before", ["", _OPEN_TO_ALL])
def test_keys_that_can_be_guessed_are_refused(problems: Refuse, key: str, before: str) -> None:
    """Short ones, those of every tutorial, one letter again and again; the key itself is not repeated."""
    (problem,) = problems(f'{before}auth: {{static_keys: ["{key}"]}}')
    assert problem.startswith(f"flumegate.yaml:{1 + bool(before)}:22: auth.static_keys[0]: ")
    assert "openssl rand" in problem
    assert key not in problem
    (problem,) = problems(before, {"FLUMEGATE_KEYS": f"a-long-enough-key,{key}"})
    assert problem.startswith("$FLUMEGATE_KEYS: ")


def test_where_no_key_is_asked_for_none_is_judged(load_text: Load) -> None:
    """On loopback, in mode open."""
    assert load_text("auth: {mode: open, static_keys: [short]}").config.auth.mode == "open"


def test_a_good_key_is_good() -> None:
    """Sixteen characters of one's own."""
    assert weakness_of("team-one-4f1c9d0a") == ""


def test_a_master_key_is_long(load_text: Load, problems: Refuse) -> None:
    """The credentials of all projects hang on it."""
    text = 'encryption: {keys: ["env:MASTER"]}'
    assert load_text(text, {"MASTER": "0123456789abcdef" * 2}).warnings == []
    (problem,) = problems(text, {"MASTER": "0123456789abcdef"})
    assert problem.startswith("flumegate.yaml:1:21: encryption.keys[0]: a master key has 32 characters")
