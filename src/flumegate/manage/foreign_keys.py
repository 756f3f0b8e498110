"""Keys that clients have already, from another gateway: taken over by their text, or by a hash of it.

Clients go on with the key that they have. `sha256` is what most gateways keep of a key; here it is hashed once more
under the pepper, and the data plane looks such a key up by the same two steps (`gates/digest.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from flumegate.manage import keys, mint
from flumegate.manage.actor import Actor
from flumegate.manage.desk import Desk, Entry, refuse
from flumegate.store import keys as rows
from flumegate.store.keys import StoredKey

SHORTEST = 16
"""Characters: what is shorter can be guessed, however it is hashed."""
_HASH_BYTES = 32
_OF_HASHES = b"/sha256"
"""Another pepper: no text that is made of such a hash has the digest of the key that the hash is of."""


class ForeignKey(NamedTuple):
    """A key from elsewhere; one of the three says which."""

    new: keys.NewKey
    token: str = ""
    """Its text."""
    sha256: str = ""
    """SHA-256 of its text, hexadecimal."""
    hmac: str = ""
    """What another installation of this gateway with the same pepper keeps of it, hexadecimal."""

    def __repr__(self) -> str:
        return f"ForeignKey({self.new.name!r})"  # never the text: tracebacks show this


def import_keys(desk: Desk, actor: Actor, foreign: Sequence[ForeignKey]) -> list[StoredKey]:
    """Store keys from elsewhere, all or none.

    Raises:
        RefusedError: one of them cannot be taken, or is known here already.
    """
    entry = Entry("key.import", details={"keys": len(foreign)})

    def perform(connection: Connection) -> list[StoredKey]:
        if not 1 <= len(foreign) <= keys.MOST_AT_ONCE:
            raise refuse("invalid_value", f"From 1 to {keys.MOST_AT_ONCE} keys are imported at once.")
        stored = [_store(desk, connection, actor, each) for each in foreign]
        entry.details["ids"] = [key.id for key in stored]
        return stored

    return desk.change(actor, entry, perform)


def digest_of_hash(pepper: bytes, sha256: bytes) -> bytes:
    """Return what is stored of a key of which only the SHA-256 is known."""
    return mint.digest_of_bytes(pepper + _OF_HASHES, sha256)


def _store(desk: Desk, connection: Connection, actor: Actor, foreign: ForeignKey) -> StoredKey:
    identity, digest = _identify(desk.pepper, foreign)
    if rows.find_by_digest(connection, digest) is not None or _is_known_otherwise(desk.pepper, connection, foreign):
        raise refuse("key_known", f"The key {foreign.new.name[:100]!r} is known here already.")
    return keys.store(desk, connection, actor, foreign.new, identity, digest)


def _identify(pepper: bytes, foreign: ForeignKey) -> tuple[str, bytes]:
    given = [bool(foreign.token), bool(foreign.sha256), bool(foreign.hmac)]
    if sum(given) != 1:
        raise refuse("invalid_value", "A key is imported by one of token, sha256 and hmac.")
    if foreign.sha256:
        return mint.make_id(), digest_of_hash(pepper, _read_hash(foreign.sha256, "sha256"))
    if foreign.hmac:
        return mint.make_id(), _read_hash(foreign.hmac, "hmac")
    token = foreign.token
    if len(token) < SHORTEST or len(token) > 1024 or not all("!" <= letter <= "~" for letter in token):
        raise refuse(
            "invalid_value", f"A token has {SHORTEST} to 1024 visible characters; shorter ones can be guessed."
        )
    return mint.id_of(token, mint.KEY) or mint.make_id(), mint.digest_of(pepper, token)


def _is_known_otherwise(pepper: bytes, connection: Connection, foreign: ForeignKey) -> bool:
    """Tell whether a key that comes by its text was taken over by its hash before."""
    if not foreign.token:
        return False
    hashed = digest_of_hash(pepper, hashlib.sha256(foreign.token.encode()).digest())
    return rows.find_by_digest(connection, hashed) is not None


def _read_hash(text: str, name: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != _HASH_BYTES:
        raise refuse("invalid_value", f"{name} has 64 hexadecimal digits.")
    return found
