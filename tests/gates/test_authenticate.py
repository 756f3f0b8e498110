from __future__ import annotations

import hashlib
import hmac

import pytest

from flumegate.errors import UNAUTHENTICATED, GatewayError
from flumegate.exchange import Exchange
from flumegate.gates import GATES
from flumegate.gates.authenticate import authenticate as gate
from flumegate.gates.authorise import authorise
from flumegate.gates.digest import digest
from flumegate.gates.keyring import Keyring
from flumegate.records.access import Key, Project
from flumegate.snapshot import Snapshot
from rig.exchanges import exchange, provider, snapshot

PEPPER = b"p" * 32
KEY = b"sk-fg-1"


def with_keys(*keys: bytes, project: str = "alpha") -> Snapshot:
    known = {digest(PEPPER, key): Key(f"id-of-{key.decode()}", project) for key in keys}
    projects = {name: Project(name, name) for name in ("alpha", "beta")}
    return snapshot(provider(), pepper=PEPPER, keys=known, projects=projects)


def authenticate(asked: Exchange) -> None:
    """Ask the gate, with the keys of the exchange's own Snapshot."""
    keyring = Keyring()
    keyring.apply(asked.snapshot)
    gate(asked, keyring)


def bearer(key: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + key)]


def test_the_digest_is_keyed() -> None:
    """HMAC-SHA-256 with the pepper: who reads the table cannot test guesses, and equal keys stay apart elsewhere."""
    assert digest(PEPPER, KEY) == hmac.new(PEPPER, KEY, hashlib.sha256).digest()
    assert digest(b"other", KEY) != digest(PEPPER, KEY)


@pytest.mark.parametrize("headers", [bearer(KEY), [(b"x-api-key", KEY)], [(b"api-key", KEY)]])
def test_a_known_key_names_its_owner(headers: list[tuple[bytes, bytes]]) -> None:
    """Whichever field carries it."""
    asked = exchange(headers=headers, known=with_keys(KEY))
    authenticate(asked)
    assert (asked.key_id, asked.project) == ("id-of-sk-fg-1", "alpha")


def test_an_ordinary_request_is_read_from_its_bearer_alone() -> None:
    """Where no special field came, no other carrier is looked for."""
    asked = exchange(headers=bearer(KEY), known=with_keys(KEY))
    asked.special = False
    authenticate(asked)
    assert asked.key_id == "id-of-sk-fg-1"


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer ")], [(b"x-api-key", b"")]])
def test_no_key_is_told_how_to_send_one(headers: list[tuple[bytes, bytes]]) -> None:
    """401 with the header's name."""
    with pytest.raises(GatewayError, match="Authorization: Bearer") as refused:
        authenticate(exchange(headers=headers, known=with_keys(KEY)))
    assert (refused.value.kind, refused.value.code) == (UNAUTHENTICATED, "missing_api_key")


@pytest.mark.parametrize("key", [b"sk-fg-2", b"sk-fg-", b"sk-fg-11", b"SK-FG-1", b"\xff"])
def test_an_unknown_key_is_refused(key: bytes) -> None:
    """Also one that looks alike; the message repeats nothing of it."""
    asked = exchange(headers=bearer(key), known=with_keys(KEY))
    with pytest.raises(GatewayError) as refused:
        authenticate(asked)
    assert (refused.value.kind, refused.value.code) == (UNAUTHENTICATED, "invalid_api_key")
    assert key.decode("latin-1") not in refused.value.message
    assert (asked.key_id, asked.project) == ("", "")


def test_two_keys_are_refused_before_either_is_looked_up() -> None:
    """400, even if both are known."""
    headers = [*bearer(KEY), (b"x-api-key", b"sk-fg-2")]
    with pytest.raises(GatewayError) as refused:
        authenticate(exchange(headers=headers, known=with_keys(KEY, b"sk-fg-2")))
    assert refused.value.code == "conflicting_credentials"


def test_an_open_gateway_asks_for_nothing() -> None:
    """On loopback, by choice; whatever a client sends is not looked at."""
    asked = exchange(headers=[(b"authorization", b"Basic x")], known=snapshot(provider(), auth_open=True))
    authenticate(asked)
    assert asked.key_id == ""


def test_a_connection_remembers_its_last_key_under_one_snapshot_only() -> None:
    """A key that was revoked by the next snapshot is unknown at once, on open connections, too."""
    known = with_keys(KEY, b"sk-fg-2")
    first = exchange(headers=bearer(KEY), known=known)
    authenticate(first)
    reply = first.reply
    for key, snapshot_now, owner in (
        (KEY, known, ("id-of-sk-fg-1", "alpha")),
        (b"sk-fg-2", known, ("id-of-sk-fg-2", "alpha")),
        (KEY, known, ("id-of-sk-fg-1", "alpha")),
        (KEY, with_keys(KEY, project="beta"), ("id-of-sk-fg-1", "beta")),
    ):
        asked = exchange(headers=bearer(key), known=snapshot_now)
        asked.reply = reply
        authenticate(asked)
        assert (asked.key_id, asked.project) == owner
    revoked = exchange(headers=bearer(KEY), known=with_keys(b"sk-fg-2"))
    revoked.reply = reply
    with pytest.raises(GatewayError):
        authenticate(revoked)


def test_the_gates_are_one_list() -> None:
    """Their order is stated once."""
    assert (gate, authorise) == GATES
