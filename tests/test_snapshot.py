from __future__ import annotations

import msgspec
import pytest

from flumegate.records.access import Key
from flumegate.snapshot import (
    FORMAT,
    Door,
    RecordPolicy,
    Route,
    Signing,
    Target,
    Timeouts,
    Tls,
    Wildcard,
    decode,
    encode,
)
from rig.exchanges import provider, snapshot

FULL = snapshot(
    provider(
        "a",
        credential="sk",
        headers=(("x", "y"),),
        timeouts=Timeouts(first_byte=None, total=3.5),
        tls=Tls(verify=False, ca_file="/ca"),
        allowed_methods=("GET",),
    ),
    provider("b"),
    default_provider="a",
    models={"m": Route((Target("b", ""),))},
    wildcards=(Wildcard("c-", "", Route((Target("a", "x"),))),),
    pepper=b"\x00\xff",
    keys={b"\xff" * 32: Key("k", "p")},
    door=Door(trusted_proxies=("10.0.0.0/8",)),
    records=RecordPolicy(content="full", durable=True),
)


def test_a_snapshot_travels() -> None:
    """What control compiles is what a worker runs on, keys and credentials included."""
    assert decode(encode(FULL)) == FULL
    assert decode(encode(snapshot())) == snapshot()


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_damaged_snapshot_is_refused(cut: int) -> None:
    """Half of a value is none."""
    with pytest.raises(msgspec.DecodeError):
        decode(encode(FULL)[:-cut])


@pytest.mark.parametrize("data", [b"", b"\xc0", msgspec.msgpack.encode({"version": "x", "providers": {}})])
def test_something_else_is_refused(data: bytes) -> None:
    """Only a snapshot is one."""
    with pytest.raises(msgspec.DecodeError):
        decode(data)


def test_another_format_is_refused() -> None:
    """A release that would misread the value says so instead."""
    with pytest.raises(msgspec.DecodeError, match=f"this release reads {FORMAT}"):
        decode(encode(msgspec.structs.replace(FULL, format=FORMAT + 1)))


def test_a_snapshot_cannot_be_changed() -> None:
    """Requests under way keep the value that they began with."""
    with pytest.raises(AttributeError):
        FULL.version = 2  # type: ignore[misc] # that is the point


def test_no_credential_shows_in_a_traceback() -> None:
    """What a crash prints of a snapshot or a provider names neither keys nor credentials."""
    secret = provider("a", credential="sk-canary")
    assert "sk-canary" not in repr(secret)
    assert "sk-canary" not in repr(snapshot(secret, keys={b"k" * 32: Key("canary")}))


def test_every_secret_of_a_provider_is_told_for_the_log_to_hide() -> None:
    """All credentials of several, what signs, and the proxy's password in both of its spellings."""
    full = provider(
        credential="sk-1",
        more_credentials=("sk-2", "sk-3"),
        signing=Signing("AKID", "sig-secret", "r", "s", session_token="sig-session"),
        proxy="http://me:p%40ss@proxy:3128",
    )
    assert set(full.secrets()) == {"sk-1", "sk-2", "sk-3", "sig-secret", "sig-session", "p@ss", "p%40ss"}
    assert provider().secrets() == []
