"""Counting words and finding nonces."""

from __future__ import annotations

from flumegate.mock.asked import Stamp, nonce_in, words_in


def test_words_are_counted_and_never_none() -> None:
    """One token a word; an empty prompt still costs one."""
    assert words_in(["one two", "  three\n"]) == 3
    assert words_in([]) == 1


def test_nonce_is_found() -> None:
    """The first one, without the punctuation around it."""
    assert nonce_in("say (nonce-Ab_9-x), nonce-2") == "nonce-Ab_9-x"
    assert nonce_in("none here") == ""


def test_names_differ_by_number() -> None:
    """Ids of different calls differ."""
    assert Stamp(1, 0).name("x-") == "x-mock00000001" != Stamp(2, 0).name("x-")
