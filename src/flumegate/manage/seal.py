"""What must not stand in a database in the clear is sealed: AES-256-GCM under a master key that stands elsewhere.

A sealed value says under which key it was sealed, and is bound to its place: installation, table, row, field. Whoever
moves it to another row, or to another installation, has a value that no longer opens. Several keys open, one seals; so
a key is changed by putting a new one first, and by sealing all rows anew (`rotation.py`) before the old one goes.
A credential is sealed together with the host that it is for, and opens for that host only.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

FORMAT = b"\x01"
ID_BYTES = 4
NONCE_BYTES = 12
"""At random: good for some 2**32 values under one key, and an installation seals thousands."""
MIN_CHARACTERS = 32
_PREFIX_BYTES = len(FORMAT) + ID_BYTES + NONCE_BYTES


class UnsealError(ValueError):
    """A sealed value does not open; the message says why, as far as it can be known."""


class MasterKey(NamedTuple):
    """A key that seals."""

    id: bytes
    """Public: every value that it seals begins with it."""
    secret: bytes

    def __repr__(self) -> str:
        return f"MasterKey({self.id.hex()})"  # never the secret: tracebacks show this


class Place(NamedTuple):
    """Where a sealed value stands."""

    table: str
    row: str
    field: str


class Credential(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A provider's credential, and the only host that it may be sent to."""

    host: str
    secret: str

    def __repr__(self) -> str:
        return f"Credential({self.host!r})"  # never the secret: tracebacks show this


class Ring:
    """The master keys of an installation: all of them open, the first one seals.

    Attributes:
        installation: its id; empty as long as the database, which holds it, has not been read.
    """

    def __init__(self, keys: Sequence[MasterKey], installation: str = "") -> None:
        if not keys:
            raise ValueError("a ring has one key at least")
        self._keys = {key.id: key for key in keys}
        self._write = keys[0]
        self.installation = installation

    @property
    def write_id(self) -> str:
        """The id of the key that seals."""
        return self._write.id.hex()

    @property
    def ids(self) -> list[str]:
        """The ids of all keys, the one that seals first."""
        return [key.hex() for key in self._keys]

    def of(self, installation: str) -> Ring:
        """Return the ring of an installation, with the same keys."""
        return Ring(list(self._keys.values()), installation)

    def seal(self, data: bytes, place: Place) -> bytes:
        """Return the data, sealed for its place."""
        # Here and below: its import takes longer than all else that a start without sealed values does.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        nonce = os.urandom(NONCE_BYTES)
        key = self._write
        return FORMAT + key.id + nonce + AESGCM(key.secret).encrypt(nonce, data, self._bound(key, place))

    def unseal(self, sealed: bytes, place: Place) -> bytes:
        """Return what was sealed for this place.

        Raises:
            UnsealError: another key sealed it, it was changed, or it comes from another place.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see above
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - see above

        if len(sealed) < _PREFIX_BYTES or not sealed.startswith(FORMAT):
            raise UnsealError("it is no sealed value of this release")
        key = self._keys.get(key_of(sealed))
        if key is None:
            raise UnsealError(
                f"it was sealed under the master key {key_of(sealed).hex()}, "
                f"and encryption.keys has only {', '.join(self.ids)}"
            )
        nonce = sealed[_PREFIX_BYTES - NONCE_BYTES : _PREFIX_BYTES]
        try:
            return AESGCM(key.secret).decrypt(nonce, sealed[_PREFIX_BYTES:], self._bound(key, place))
        except InvalidTag as problem:
            raise UnsealError("it was changed, or comes from another row or another installation") from problem

    def seals_with(self, sealed: bytes) -> bool:
        """Tell whether a value was sealed under the key that seals now."""
        return key_of(sealed) == self._write.id

    def _bound(self, key: MasterKey, place: Place) -> bytes:
        # The database library's names of tables are a kind of text of their own.
        return msgspec.msgpack.encode((self.installation, *map(str, place), key.id))


def key_of(sealed: bytes) -> bytes:
    """Return the id of the master key under which a value was sealed."""
    return sealed[len(FORMAT) : len(FORMAT) + ID_BYTES]


def read_master_key(text: str) -> MasterKey:
    """Return the key that a secret text means: any text of 32 characters or more that nobody can guess.

    Raises:
        ValueError: it is too short, or the same few characters again and again.
    """
    text = text.strip()
    if len(text) < MIN_CHARACTERS or len(set(text)) < MIN_CHARACTERS // 4:
        raise ValueError(
            f"a master key has {MIN_CHARACTERS} characters or more, drawn at random: as from openssl rand -base64 32"
        )
    # HKDF (RFC 5869) with one block: whatever form the text has, the cipher gets 256 even bits.
    base = hmac.digest(b"flumegate master key", text.encode(), "sha256")
    return MasterKey(hmac.digest(base, b"id\x01", "sha256")[:ID_BYTES], hmac.digest(base, b"AES-256-GCM\x01", "sha256"))


def make_master_key() -> str:
    """Return the text of a new master key."""
    return secrets.token_urlsafe(32)


def seal_credential(ring: Ring, credential: Credential, table: str, row: str) -> bytes:
    """Return a provider's credential, sealed for its row: `provider`, or `project/provider`."""
    return ring.seal(msgspec.msgpack.encode(credential), Place(table, row, "sealed"))


def unseal_credential(ring: Ring, sealed: bytes, table: str, row: str) -> Credential:
    """Return the credential of a row.

    Raises:
        UnsealError: it does not open.
    """
    data = ring.unseal(sealed, Place(table, row, "sealed"))
    try:
        return msgspec.msgpack.decode(data, type=Credential)
    except msgspec.MsgspecError as problem:
        raise UnsealError("it holds no credential of this release") from problem
