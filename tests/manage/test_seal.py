from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.manage import seal
from flumegate.manage.seal import (
    Credential,
    Place,
    Ring,
    UnsealError,
    key_of,
    make_master_key,
    read_master_key,
    seal_credential,
    unseal_credential,
)

OLD = read_master_key("an-old-master-key-for-tests-0123456789")
NEW = read_master_key("the-new-master-key-for-tests-9876543210")
PLACE = Place("provider_credentials", "openai", "sealed")


@given(data=st.binary(max_size=300))
def test_what_was_sealed_opens_in_its_place(data: bytes) -> None:
    """Whole, and never the same twice: equal secrets of two rows cannot be told from each other's seals."""
    ring = Ring([NEW], "house")
    first, second = ring.seal(data, PLACE), ring.seal(data, PLACE)
    assert ring.unseal(first, PLACE) == ring.unseal(second, PLACE) == data
    assert first != second
    assert data not in first or len(data) < 4


@given(data=st.data())
def test_a_changed_value_never_opens(data: st.DataObject) -> None:
    """Whichever bit is turned, and wherever the value is cut."""
    ring = Ring([NEW], "house")
    sealed = ring.seal(b"sk-secret-canary", PLACE)
    index = data.draw(st.integers(0, len(sealed) * 8 - 1))
    turned = bytearray(sealed)
    turned[index // 8] ^= 1 << index % 8
    with pytest.raises(UnsealError):
        ring.unseal(bytes(turned), PLACE)
    with pytest.raises(UnsealError):
        ring.unseal(sealed[: data.draw(st.integers(0, len(sealed) - 1))], PLACE)


@pytest.mark.parametrize(
    ("installation", "place"),
    [
        ("another", PLACE),
        ("house", PLACE._replace(row="anthropic")),
        ("house", PLACE._replace(table="project_credentials")),
        ("house", PLACE._replace(field="host")),
        # Names that would be equal if they were only written one behind the other.
        ("housep", Place("rovider_credentials", "openai", "sealed")),
    ],
)
def test_a_value_does_not_open_elsewhere(installation: str, place: Place) -> None:
    """Who can write to the database cannot move a credential to a row where it would be sent somewhere else."""
    sealed = Ring([NEW], "house").seal(b"sk-secret-canary", PLACE)
    with pytest.raises(UnsealError, match="another row"):
        Ring([NEW], installation).unseal(sealed, place)


def test_several_keys_open_and_the_first_seals() -> None:
    """That is how a key is changed; one that is not there is named by its public id."""
    old, both = Ring([OLD], "house"), Ring([NEW, OLD], "house")
    sealed = old.seal(b"x", PLACE)
    assert both.unseal(sealed, PLACE) == b"x"
    assert not both.seals_with(sealed)
    fresh = both.seal(b"x", PLACE)
    assert both.seals_with(fresh)
    assert both.write_id == NEW.id.hex() == key_of(fresh).hex()
    assert both.ids == [NEW.id.hex(), OLD.id.hex()]
    with pytest.raises(UnsealError, match=NEW.id.hex()):
        old.unseal(fresh, PLACE)


@pytest.mark.parametrize("text", ["", "short", "a" * 64, "abcabcabc" * 8])
def test_a_weak_master_key_is_refused(text: str) -> None:
    """With the way to make a better one."""
    with pytest.raises(ValueError, match="openssl rand"):
        read_master_key(text)


def test_a_made_master_key_is_strong_and_its_own() -> None:
    """Blanks around it, as a file has them, change nothing."""
    texts = {make_master_key() for _ in range(20)}
    keys = {read_master_key(text) for text in texts}
    assert len(keys) == len({key.id for key in keys}) == 20
    text = texts.pop()
    assert read_master_key(f"{text}\n") == read_master_key(text)
    assert all(len(key.secret) == 32 and len(key.id) == seal.ID_BYTES for key in keys)


def test_a_ring_needs_a_key() -> None:
    with pytest.raises(ValueError, match="one key"):
        Ring([])


def test_a_credential_is_sealed_with_its_host() -> None:
    """So that nothing can send it anywhere else."""
    ring = Ring([NEW], "house")
    kept = Credential("api.openai.com", "sk-secret-canary")
    sealed = seal_credential(ring, kept, "provider_credentials", "openai")
    assert unseal_credential(ring, sealed, "provider_credentials", "openai") == kept
    with pytest.raises(UnsealError, match="another row"):
        unseal_credential(ring, sealed, "provider_credentials", "groq")
    odd = ring.seal(msgspec.msgpack.encode(["only one"]), PLACE)
    with pytest.raises(UnsealError, match="no credential"):
        unseal_credential(ring, odd, "provider_credentials", "openai")


def test_no_text_form_shows_a_secret() -> None:
    """Tracebacks and logs show the public parts only."""
    assert OLD.secret.hex() not in repr(OLD)
    assert "canary" not in repr(Credential("api.openai.com", "sk-secret-canary"))
