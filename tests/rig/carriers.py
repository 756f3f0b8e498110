"""Every way in which a key may come with a request, or seem to: what each means, whoever's key it is.

    for carrier in carriers_of(key, other):
        request(path + carrier.query, headers=carrier.headers)

Made from the fields that the product reads, so that a new one is carried by every key of every matrix at once.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from typing import Literal, NamedTuple

from flumegate.wire.headers import CREDENTIALS

Meaning = Literal["key", "nothing", "foreign", "two", "malformed"]
"""The key counts; it is as if none had come; another scheme; two keys; a field twice, with two values."""
Fields = tuple[tuple[str, str], ...]
PLAIN_CARRIERS = tuple(name.decode() for name in CREDENTIALS[1:])
"""Fields that hold a key alone."""


class Carrier(NamedTuple):
    """One way."""

    name: str
    meaning: Meaning
    headers: Fields = ()
    query: str = ""


def plain_carriers_of(key: str) -> Iterator[Carrier]:
    """Yield each field that carries keys once, written as most clients write it."""
    yield Carrier("bearer", "key", (("authorization", f"Bearer {key}"),))
    for name in PLAIN_CARRIERS:
        yield Carrier(name, "key", ((name, key),))


def carriers_of(key: str, other: str) -> Iterator[Carrier]:
    """Yield every way for a key; `other` is a second one, valid too, where two disagree."""
    yield from plain_carriers_of(key)
    yield from _spelt(key)
    yield from _repeated(key)
    yield from _disagreeing(key, other)
    yield from _elsewhere(key)


def _spelt(key: str) -> Iterator[Carrier]:
    """Yield spellings that mean the same (RFC 9110 §5.1, §5.5, §11.4), and schemes that are none of ours."""
    for name, value in (
        ("AUTHORIZATION", f"Bearer {key}"),
        ("authorization", f"bearer {key}"),
        ("aUtHoRiZaTiOn", f"BEARER {key}"),
        ("authorization", f"\t bEaReR    {key} \t"),
        *((name.upper(), key) for name in PLAIN_CARRIERS),
        *((name.title(), f"  {key}\t ") for name in PLAIN_CARRIERS),
    ):
        yield Carrier(f"{name}: {value.replace(key, '…')!r}", "key", ((name, value),))
    basic = base64.b64encode(f"key:{key}".encode()).decode()
    for value in (
        f"Basic {basic}", f"Digest {key}", f"Token {key}", f"ApiKey {key}", key, f"Bearer\t{key}", f"Bearer:{key}",
        f"Bearer={key}", f"X Bearer {key}", f"Bearer{key}",
    ):  # fmt: skip
        yield Carrier(f"authorization: {value.replace(key, '…')!r}", "foreign", (("authorization", value),))


def _repeated(key: str) -> Iterator[Carrier]:
    """Yield the same key several times: no two readings of it differ."""
    bearer = ("authorization", f"Bearer {key}")
    yield Carrier("bearer twice", "key", (bearer, bearer))
    yield Carrier("all at once", "key", (bearer, *((name, key) for name in PLAIN_CARRIERS)))
    for name in PLAIN_CARRIERS:
        yield Carrier(f"{name} twice", "key", ((name, key), (name, key)))
        yield Carrier(f"bearer and an empty {name}", "key", (bearer, (name, "")))
        yield Carrier(f"{name} and an empty bearer", "key", (("authorization", "Bearer "), (name, key)))


def _disagreeing(key: str, other: str) -> Iterator[Carrier]:
    """Yield two keys at once, in either order: whoever reads the first and whoever reads the last would differ."""
    two: list[tuple[str, str, str, str]] = []
    two += [(first, key, second, other) for first, second in itertools.combinations(PLAIN_CARRIERS, 2)]
    two += [("authorization", f"Bearer {key}", name, other) for name in PLAIN_CARRIERS]
    two += [("authorization", f"Bearer {key}", name, f"Bearer {key}") for name in PLAIN_CARRIERS]
    again = [(name, key, name, other) for name in PLAIN_CARRIERS]
    again += [("authorization", f"Bearer {key}", "authorization", f"Bearer {other}")]
    foreign = [("authorization", f"Basic {key}", name, key) for name in PLAIN_CARRIERS]
    meant: tuple[tuple[Meaning, list[tuple[str, str, str, str]]], ...]
    meant = (("two", two), ("malformed", again), ("foreign", foreign))
    for meaning, pairs in meant:
        for first, value, second, another in pairs:
            fields = ((first, value), (second, another))
            yield Carrier(f"{first} against {second}", meaning, fields)
            yield Carrier(f"{second} behind {first}", meaning, fields[::-1])


def _elsewhere(key: str) -> Iterator[Carrier]:
    """Yield places where no key is read, though some servers do."""
    for name in ("key", "api_key", "api-key", "access_token", "token", "authorization"):
        yield Carrier(f"?{name}=", "nothing", query=f"?{name}={key}")
    for name in (
        "proxy-authorization", "x-authorization", "x-forwarded-authorization", "x-original-authorization",
        "x-access-token", "x-auth-token", "x-flumegate-key", "x_api_key", "authorization-",
    ):  # fmt: skip
        yield Carrier(name, "nothing", ((name, f"Bearer {key}"), (name, f"Bearer {key}")))
    yield Carrier("cookie", "nothing", (("cookie", f"api_key={key}; authorization=Bearer%20{key}; token={key}"),))
    yield Carrier("nowhere", "nothing")
