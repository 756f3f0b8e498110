"""What people write on a command line and programs do not: dollars, spans of time, references to secrets."""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from flumegate.cli.operator import USAGE_EXIT, CommandError

_MILLION = 1_000_000
_SPAN = re.compile(r"([0-9]{1,6})\s*(m|min|h|d|w)")
_MINUTES = {"m": 1, "min": 1, "h": 60, "d": 1440, "w": 10_080}


def read_dollars(text: str) -> int:
    """Return micro-dollars.

    Raises:
        CommandError: the text is no amount.
    """
    try:
        micros = Decimal(text.strip().removeprefix("$")) * _MILLION
        if micros >= 0 and micros == int(micros):
            return int(micros)
    except (ArithmeticError, ValueError):
        pass
    raise CommandError(USAGE_EXIT, f"{text!r} is no amount: write dollars, as in 5 or 0.25")


def show_dollars(micros: int) -> str:
    """Return micro-dollars as dollars, with as many digits as they need."""
    whole, rest = divmod(micros, _MILLION)
    digits = f"{rest:06d}".rstrip("0")
    return f"${whole:,}.{digits:0<2}"


def read_end(text: str, now: datetime | None = None) -> str:
    """Return a time to come in ISO 8601: from a span as in 30d, or from a date.

    Raises:
        CommandError: the text is neither.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is not None:
        end = (now or datetime.now(UTC)) + timedelta(minutes=int(found[1]) * _MINUTES[found[2]])
        return end.isoformat()
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(USAGE_EXIT, f"{text!r} is no time: write 12h, 30d, 2w or 2027-01-31") from None
    return (end if end.tzinfo else end.replace(tzinfo=UTC)).isoformat()


def read_days(text: str) -> float:
    """Return days, from a span as in 12h.

    Raises:
        CommandError: the text is none.
    """
    found = _SPAN.fullmatch(text.strip())
    if text.strip() == "0":
        return 0.0
    if found is None:
        raise CommandError(USAGE_EXIT, f"{text!r} is no span of time: write 0, 12h or 3d")
    return int(found[1]) * _MINUTES[found[2]] / 1440


def read_secret(reference: str) -> str:
    """Return what `env:NAME`, `file:/path` or `-` (stdin) leads to: a secret never stands on a command line.

    Raises:
        CommandError: it leads nowhere, or is the secret itself.
    """
    kind, _, rest = reference.partition(":")
    try:
        if reference == "-":
            return sys.stdin.readline().strip()
        if kind == "env" and rest:
            return os.environ[rest].strip()
        if kind == "file" and rest:
            return Path(rest).read_text("utf-8").strip()
    except (OSError, KeyError, UnicodeDecodeError) as problem:
        raise CommandError(USAGE_EXIT, f"{kind}:{rest} leads nowhere ({type(problem).__name__})") from problem
    raise CommandError(USAGE_EXIT, "write env:NAME, file:/path or - for stdin: others can read a command line")
