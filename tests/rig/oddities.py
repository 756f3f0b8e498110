"""Requests that mean what they say to us, and might mean something else to a server that reads them otherwise.

Headers that name another method, address, path or user are no part of what is asked, so the decision stays the same.
Other spellings of a path may be another place or none; nobody may get in by one who could not by the plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from rig.carriers import Fields

PLAIN_HOST = b"host: gateway.test"


class Oddity(NamedTuple):
    """One thing that is odd."""

    name: str
    spell: Callable[[str], str] = str
    """Makes the request target of a path."""
    headers: Fields = ()
    host: bytes = PLAIN_HOST
    """The line, or the lines, of the Host field."""
    same: bool = True
    """Decided as without it."""


def oddities(inside: str) -> Iterator[Oddity]:
    """Yield all of them; `inside` is an address from which somebody would be let in."""
    yield from _overriding()
    yield from _forwarding(inside)
    yield from _hosts()
    yield from _spellings()


def _overriding() -> Iterator[Oddity]:
    for name in ("x-http-method-override", "x-http-method", "x-method-override", "x-original-method"):
        for method in ("GET", "POST", "OPTIONS"):
            yield Oddity(f"{name}: {method}", headers=((name, method),))
    yield Oddity("?_method=", lambda path: f"{path}?_method=GET&method=OPTIONS")
    for name in ("x-original-url", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-path", "x-envoy-original-path"):
        yield Oddity(name, headers=((name, "/health"),))


def _forwarding(inside: str) -> Iterator[Oddity]:
    for name in (
        "x-forwarded-for", "x-real-ip", "true-client-ip", "x-client-ip", "cf-connecting-ip", "x-cluster-client-ip",
        "x-original-forwarded-for", "fastly-client-ip", "x-remote-addr", "client-ip",
    ):  # fmt: skip
        for address in (inside, "127.0.0.1"):
            yield Oddity(f"{name}: {address}", headers=((name, address),))
    yield Oddity("forwarded", headers=(("forwarded", f'for={inside};host=localhost;proto=https;by="_admin"'),))
    for name in ("x-forwarded-user", "x-remote-user", "remote-user", "x-auth-request-user", "x-webauth-user"):
        yield Oddity(name, headers=((name, "admin"),))
    yield Oddity("x-forwarded-host", headers=(("x-forwarded-host", "localhost"), ("x-forwarded-proto", "https")))


def _hosts() -> Iterator[Oddity]:
    for host in ("localhost", "127.0.0.1:1", "[::1]", "evil.example", "user@gateway.test", "", "gateway.test, evil"):
        yield Oddity(f"host {host!r}", host=f"host: {host}".encode())
    yield Oddity("two hosts", host=b"host: gateway.test\r\nhost: evil.example", same=False)


def _spellings() -> Iterator[Oddity]:
    for start in ("http://gateway.test", "HTTP://evil.example", "https://user:word@localhost:1"):
        yield Oddity(f"absolute {start}", lambda path, start=start: start + path)  # type: ignore[misc]  # a bound default
    spell: dict[str, Callable[[str], str]] = {
        "a slash behind": lambda path: path + "/",
        "two slashes before": lambda path: "/" + path,
        "two slashes within": lambda path: path[0] + path[1:].replace("/", "//", 1),
        "slashes all over": lambda path: path.replace("/", "///"),
        "upper case": str.upper,
        "title case": str.title,
        "the first letter encoded": lambda path: f"/%{ord(path[1]):02x}{path[2:]}",
        "the last letter encoded": lambda path: f"{path[:-1]}%{ord(path[-1]):02X}",
        "twice encoded": lambda path: f"{path[:-1]}%25{ord(path[-1]):02X}",
        "an encoded slash": lambda path: path[0] + path[1:].replace("/", "%2f", 1),
        "an encoded slash behind": lambda path: path + "%2F",
        "a backslash": lambda path: path[0] + path[1:].replace("/", "\\", 1),
        "an encoded backslash": lambda path: path[0] + path[1:].replace("/", "%5c", 1),
        "a dot": lambda path: path[0] + path[1:].replace("/", "/./", 1),
        "an encoded dot": lambda path: path[0] + path[1:].replace("/", "/%2e/", 1),
        "there and back": lambda path: f"{path}/x/..",
        "out of a public place": lambda path: f"/health/..{path}",
        "out of a public place, encoded": lambda path: f"/health/%2e%2e{path}",
        "out of a public place, by half": lambda path: f"/health%2f..{path}",
        "out of a public place, by parameter": lambda path: f"/health/..;{path}",
        "below a public place": lambda path: f"/health{path}",
        "before a public place": lambda path: f"{path}/../../health",
        "before a public name": lambda path: f"{path}/health",
        "with a public fragment": lambda path: f"{path}#/health",
        "with a public parameter": lambda path: f"{path};/health",
        "with an encoded query": lambda path: f"{path}%3f/health",
        "with a parameter": lambda path: f"{path};a=b",
        "with a NUL": lambda path: f"{path}%00",
        "with a NUL and a public name": lambda path: f"{path}%00/health",
        "with a blank": lambda path: f"{path}%20",
        "with a line": lambda path: f"{path}%0d%0ahealth",
        "with another ending": lambda path: f"{path}.json",
        "versioned twice": lambda path: f"/v1{path}",
        "behind the prefix": lambda path: f"/proxy{path}",
        "behind the prefix twice": lambda path: f"/proxy/proxy{path}",
    }
    for name, change in spell.items():
        yield Oddity(name, change, same=False)
