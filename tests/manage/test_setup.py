from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flumegate.manage import tokens
from flumegate.manage.offer import SETUP_NAME, VALID_SECONDS, make_offer
from flumegate.manage.setup import exchange
from flumegate.manage.workers import RefusedError
from flumegate.store.errors import StoreUnavailable
from rig.desk import Bench, actor


def offered(desk: Bench, folder: Path) -> str:
    """Leave an offer as a first start does; return its text."""
    offer = make_offer(desk.pepper, desk.time.now)
    (folder / SETUP_NAME).write_bytes(offer.content)
    return offer.text


def code_of(desk: Bench, folder: Path, text: str) -> str:
    with pytest.raises(RefusedError) as caught:
        exchange(desk, actor("viewer"), folder, text)
    return caught.value.code


def test_the_first_owner_gets_in_once(desk: Bench, tmp_path: Path) -> None:
    """The setup token becomes a token of an owner, in the audit trail, and is gone."""
    text = offered(desk, tmp_path)
    issued = exchange(desk, actor("viewer"), tmp_path, text, "me")
    found = tokens.find_valid(desk, issued.text)
    assert found is not None
    assert (found.role, found.name) == ("owner", "me")
    assert code_of(desk, tmp_path, text) == "invalid_setup_token"
    assert [path.name for path in tmp_path.glob("setup*")] == []


def test_a_wrong_or_late_token_is_told_one_and_the_same(desk: Bench, tmp_path: Path) -> None:
    """And costs the right one nothing."""
    assert code_of(desk, tmp_path, "fg-st-nothing") == "invalid_setup_token"
    text = offered(desk, tmp_path)
    assert code_of(desk, tmp_path, text + "x") == "invalid_setup_token"
    assert code_of(desk, tmp_path, make_offer(desk.pepper, desk.time.now).text) == "invalid_setup_token"
    desk.time.now += VALID_SECONDS
    assert code_of(desk, tmp_path, text) == "invalid_setup_token"
    desk.time.now -= 1
    assert exchange(desk, actor("viewer"), tmp_path, text).token.role == "owner"


def test_of_many_who_come_at_once_one_gets_in(desk: Bench, tmp_path: Path) -> None:
    """However often the token was read over somebody's shoulder."""
    text = offered(desk, tmp_path)

    def attempt(_: int) -> bool:
        try:
            exchange(desk, actor("viewer"), tmp_path, text)
        except RefusedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(16))) == [False] * 15 + [True]
    assert len(tokens.listed(desk)) == 1


def test_a_database_that_is_away_costs_nobody_the_token(
    tmp_path: Path, desk: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put back, and good as before."""
    text = offered(desk, tmp_path)

    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(desk, "change", away)
        with pytest.raises(StoreUnavailable):
            exchange(desk, actor("viewer"), tmp_path, text)
    assert exchange(desk, actor("viewer"), tmp_path, text).token.role == "owner"
