"""One thing that `flumegate doctor` looks at: what was found, and what to do where that is not well."""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["ok", "warning", "failed", "skipped"]


class Check(NamedTuple):
    """One line of the report."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""
    """What to do; empty where it is well."""


def ok(name: str, found: str) -> Check:
    """Return that it is well."""
    return Check(name, "ok", found)


def warning(name: str, found: str, remedy: str) -> Check:
    """Return that it works, and will not for long, or not as well as it could."""
    return Check(name, "warning", found, remedy)


def failed(name: str, found: str, remedy: str) -> Check:
    """Return that it does not work."""
    return Check(name, "failed", found, remedy)


def skipped(name: str, found: str) -> Check:
    """Return that it could not be looked at, and why."""
    return Check(name, "skipped", found)
