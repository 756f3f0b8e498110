from __future__ import annotations

import msgspec

from flumegate.records.stored import Stored, Wanted


def test_questions_and_replies_travel_unchanged() -> None:
    """They are arrays on the wire, and bodies are bytes of any kind."""
    wanted = Wanted("0123456789abcdef", "key", "project", forget=True)
    stored = Stored("found", b"\x00\xff", b"{}")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(wanted), type=Wanted) == wanted
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=Stored) == stored


def test_a_question_is_no_deletion_unless_it_says_so() -> None:
    assert not Wanted("id", "key", "").forget
