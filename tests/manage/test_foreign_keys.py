"""Keys from elsewhere, by their text or by a hash of it: the foreign_keys of another gateway; on either database."""

from __future__ import annotations

import hashlib

import pytest

from flumegate.gates.digest import digest
from flumegate.manage import foreign_keys, keys, mint
from flumegate.manage.foreign_keys import ForeignKey, digest_of_hash, import_keys
from flumegate.manage.keys import NewKey
from flumegate.manage.workers import RefusedError
from flumegate.store.keys import all_known
from rig.desk import PEPPER, Bench, actor

THEIRS = "sk-their-own-key-0123456789"
HASH = hashlib.sha256(THEIRS.encode())


def code(desk: Bench, *foreign: ForeignKey) -> str:
    with pytest.raises(RefusedError) as refused:
        import_keys(desk, actor(), foreign)
    assert THEIRS not in str(refused.value)
    return refused.value.code


def digests(desk: Bench) -> set[bytes]:
    with desk.reading() as connection:
        return {found for found, _ in all_known(connection, desk.time.now)}


def test_a_text_is_found_as_a_key_of_ours_is(desk: Bench) -> None:
    (stored,) = import_keys(desk, actor(), [ForeignKey(NewKey(name="ci"), token=THEIRS)])
    assert digests(desk) == {digest(PEPPER, THEIRS.encode())}
    assert len(stored.id) == 8
    assert THEIRS not in repr(ForeignKey(NewKey(), token=THEIRS))


def test_a_hash_is_hashed_once_more(desk: Bench) -> None:
    """What the other gateway stored opens nothing here, and is not what is stored here."""
    import_keys(desk, actor(), [ForeignKey(NewKey(), sha256=HASH.hexdigest())])
    assert digests(desk) == {digest_of_hash(PEPPER, HASH.digest())}
    assert digest(PEPPER, HASH.hexdigest().encode()) not in digests(desk)
    assert digest(PEPPER, HASH.digest()) not in digests(desk)


def test_a_key_of_ours_keeps_its_id(desk: Bench) -> None:
    """It moves from one installation to another."""
    minted = mint.mint(mint.KEY)
    (stored,) = import_keys(desk, actor(), [ForeignKey(NewKey(), token=minted.text)])
    assert stored.id == minted.id
    (other,) = import_keys(desk, actor(), [ForeignKey(NewKey(), hmac=digest(PEPPER, b"another").hex())])
    assert other.id != minted.id


def test_the_same_key_is_taken_once(desk: Bench) -> None:
    """Whichever way it comes, within one import too; of a refused import nothing is stored."""
    import_keys(desk, actor(), [ForeignKey(NewKey(), sha256=HASH.hexdigest())])
    assert (
        code(desk, ForeignKey(NewKey(), token="sk-a-new-key-0123456789"), ForeignKey(NewKey(), token=THEIRS))
        == "key_known"
    )
    twice = ForeignKey(NewKey(), token="sk-twice-0123456789")
    assert code(desk, twice, twice) == "key_known"
    assert len(digests(desk)) == 1


def test_what_cannot_be_is_refused(desk: Bench) -> None:
    new = NewKey()
    for foreign in (
        ForeignKey(new),
        ForeignKey(new, token=THEIRS, sha256=HASH.hexdigest()),
        ForeignKey(new, token="short"),
        ForeignKey(new, token="with a space in it all"),
        ForeignKey(new, sha256="xy" * 32),
        ForeignKey(new, hmac="ab"),
    ):
        assert code(desk, foreign) == "invalid_value"
    assert code(desk) == "invalid_value"
    assert code(desk, *[ForeignKey(new, token=THEIRS)] * (keys.MOST_AT_ONCE + 1)) == "invalid_value"
    assert foreign_keys.SHORTEST == 16
