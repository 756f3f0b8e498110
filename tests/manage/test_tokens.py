"""Tokens of the console: nobody lets in somebody above themselves; what is stored opens nothing."""

from __future__ import annotations

import pytest

from flumegate.manage import tokens
from flumegate.manage.actor import ROLES, Role, may_give
from flumegate.manage.tokens import Roster
from flumegate.manage.workers import RefusedError
from rig.desk import NOW, Bench, actor


def test_a_token_is_valid_until_its_end(desk: Bench) -> None:
    issued = tokens.create(desk, actor(), "ops", "operator", desk.time.now + 60)
    assert issued.text not in repr(issued)
    found = tokens.find_valid(desk, issued.text)
    assert found is not None
    assert (found.id, found.role) == (issued.token.id, "operator")
    desk.time.now += 60
    assert tokens.find_valid(desk, issued.text) is None
    assert tokens.state_of(tokens.find(desk, issued.token.id), desk.time.now) == "expired"


def test_what_is_stored_opens_nothing(desk: Bench) -> None:
    issued = tokens.create(desk, actor(), "ops", "operator")
    for text in (issued.token.digest.hex(), issued.token.id, issued.text[:-1], issued.text + "x", ""):
        assert tokens.find_valid(desk, text) is None


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("other", ROLES)
def test_nobody_gives_or_takes_above_their_own_role(desk: Bench, role: Role, other: Role) -> None:
    theirs = tokens.create(desk, actor(), "theirs", other)
    for act in (
        lambda: tokens.create(desk, actor(role), "new", other),
        lambda: tokens.revoke(desk, actor(role), theirs.token.id),
    ):
        if may_give(role, other):
            act()
        else:
            with pytest.raises(RefusedError) as refused:
                act()
            assert refused.value.code == "role_too_high"
    assert (tokens.find_valid(desk, theirs.text) is None) == may_give(role, other)


def test_revoking_again_is_no_error(desk: Bench) -> None:
    issued = tokens.create(desk, actor(), "ops", "viewer")
    for _ in range(2):
        tokens.revoke(desk, actor(), issued.token.id)
    assert [tokens.state_of(each, desk.time.now) for each in tokens.listed(desk)] == ["revoked"]
    with pytest.raises(RefusedError) as refused:
        tokens.revoke(desk, actor(), "gone")
    assert refused.value.code == "token_not_found"


def test_when_a_token_was_last_used_is_known_to_the_minute(desk: Bench) -> None:
    issued = tokens.create(desk, actor(), "ops", "viewer")
    for later, noted in ((0, 0), (59, 0), (61, 61)):
        desk.time.now = NOW + later
        assert tokens.find_valid(desk, issued.text) is not None
        assert tokens.find(desk, issued.token.id).last_used_at == NOW + noted


def test_guesses_are_compared_with_what_was_read_a_moment_ago(desk: Bench) -> None:
    """A token is found when it was known then, or a second later; one that was revoked is looked up all the same."""
    now = [100.0]
    roster = Roster(lambda: now[0])
    first = tokens.create(desk, actor(), "first", "viewer")
    assert tokens.find_valid(desk, first.text, roster) is not None
    second = tokens.create(desk, actor(), "second", "viewer")
    assert tokens.find_valid(desk, second.text, roster) is None
    now[0] += 1
    assert tokens.find_valid(desk, second.text, roster) is not None
    tokens.revoke(desk, actor(), first.token.id)
    assert tokens.find_valid(desk, first.text, roster) is None
