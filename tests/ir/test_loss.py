from __future__ import annotations

import msgspec
import pytest

from flumegate.ir.loss import Loss, Losses
from flumegate.ir.parts import Extras, Opaque


def test_each_kind_is_noted_in_order() -> None:
    """What was noted is kept in order, one value each."""
    losses = Losses()
    losses.dropped("seed", "No seed.")
    losses.approximated("temperature", "At most 1.")
    losses.invented("max_tokens", "It is required.")
    losses.refused("messages[0].content[1]", "No sound.")
    assert [(loss.kind, loss.path) for loss in losses.found] == [
        ("dropped", "seed"),
        ("approximated", "temperature"),
        ("invented", "max_tokens"),
        ("refused", "messages[0].content[1]"),
    ]
    assert losses.found[0] == Loss("dropped", "seed", "No seed.")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("seed", "dropped:seed"),
        ("messages[12].content[0].detail", "dropped:messages.content.detail"),
        ("a\r\nset-cookie: x", "dropped:a__set-cookie:_x"),
        ("a,b é", "dropped:a_b__"),
        ("x" * 4_000, "dropped:" + "x" * 92),
    ],
)
def test_a_code_can_stand_in_a_header(path: str, code: str) -> None:
    """Members are named by clients, so a code has neither positions nor anything that breaks a header or a list."""
    assert Loss("dropped", path, "").code == code


def test_own_extras_are_no_loss() -> None:
    """A dialect writes what it left over itself, and nothing is no loss either."""
    losses = Losses()
    losses.extras(Extras("chat", {"annex": msgspec.Raw(b"1")}), "messages[0]", ("chat", "completions"), "Chat")
    losses.extras(None, "messages[0]", ("chat",), "Chat")
    assert losses.found == []


def test_foreign_extras_are_reported_one_by_one() -> None:
    """Hints are dropped; what changes the meaning keeps the request from being sent."""
    losses = Losses()
    extras = Extras("chat", {"annex": msgspec.Raw(b"1"), "audio": msgspec.Raw(b"{}")}, ("audio",))
    losses.extras(extras, "messages[0]", ("messages",), "Anthropic")
    losses.extras(extras, "", ("messages",), "Anthropic")
    assert [(loss.kind, loss.path) for loss in losses.found] == [
        ("dropped", "messages[0].annex"),
        ("refused", "messages[0].audio"),
        ("dropped", "annex"),
        ("refused", "audio"),
    ]
    assert "Anthropic" in losses.found[0].reason


def test_what_nobody_can_miss_is_no_loss() -> None:
    """An id of an item or an echo of a setting is left out without a word."""
    losses = Losses()
    fields = {"id": msgspec.Raw(b'"a"'), "annex": msgspec.Raw(b"1")}
    losses.extras(Extras("responses", fields, trivial=("id",)), "input[0]", ("chat",), "Chat")
    assert [loss.path for loss in losses.found] == ["input[0].annex"]


def test_the_same_loss_is_told_once() -> None:
    """A place with the same words twice says nothing new; another kind or another reason does."""
    losses = Losses()
    for _ in range(3):
        losses.dropped("cache", "No cache.")
        losses.approximated("cache", "No cache.")
        losses.dropped("cache", "None at all.")
    assert len(losses.found) == 3


@pytest.mark.parametrize(("vital", "kind"), [(True, "refused"), (False, "dropped")])
def test_a_foreign_block_is_reported(vital: bool, kind: str) -> None:
    """Content is refused, traces of a provider's own tools are dropped, and the block's type is named."""
    losses = Losses()
    losses.opaque(Opaque("messages", "server_tool_use", b"{}", vital, "messages[0].content[1]"), "Chat")
    assert [(loss.kind, loss.path) for loss in losses.found] == [(kind, "messages[0].content[1]")]
    assert "'server_tool_use'" in losses.found[0].reason


def test_a_block_of_an_answer_is_named_by_its_type() -> None:
    """Parts of answers have no place in the client's document, and a loss without a path tells nothing."""
    losses = Losses()
    losses.opaque(Opaque("messages", "server_tool_use", b"{}", vital=False), "Chat")
    assert [loss.code for loss in losses.found] == ["dropped:server_tool_use"]
