"""Checks an AWS Signature Version 4 as the service does. Pure; written from the specification, not from the gateway.

Source: AWS IAM User Guide, "Elements of an AWS API request signature". The path is taken as it stands on the request
line and encoded once more, segment by segment, as every service but S3 has it.
"""

from __future__ import annotations

import calendar
import hmac
import re
import string
import time
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

SCHEME = "AWS4-HMAC-SHA256"
SKEW_SECONDS = 300
SERVICE = "bedrock"
_PLAIN = frozenset((string.ascii_letters + string.digits + "-._~").encode())
_FIELD = re.compile(
    rf"{SCHEME} Credential=(?P<id>[^/,]+)/(?P<day>\d{{8}})/(?P<region>[^/,]+)/(?P<service>[^/,]+)/aws4_request, "
    r"SignedHeaders=(?P<names>[a-z0-9;_-]+), Signature=(?P<signature>[0-9a-f]{64})"
)


class Key(NamedTuple):
    """An access key; with a token it is a temporary one."""

    id: str
    secret: str
    token: str = ""


def read_key(text: str) -> Key:
    """Return the key of `ID:SECRET` or `ID:SECRET:TOKEN`.

    Raises:
        ValueError: it has another form.
    """
    parts = text.split(":", 2)
    if len(parts) < 2 or not all(parts):
        raise ValueError(f"--aws-key takes ID:SECRET or ID:SECRET:TOKEN, not `{text}`")
    return Key(*parts)


def fault(key: Key, method: str, target: str, headers: Iterable[tuple[bytes, bytes]], body: bytes, now: float) -> str:
    """Return what is wrong with the signature of a request, or an empty string; header names are in lower case."""
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        fields.setdefault(name.decode("latin-1"), []).append(" ".join(value.decode("latin-1").split()))
    read = _FIELD.fullmatch("".join(fields.get("authorization", [])))
    if read is None:
        return "The authorization header is no signature of version 4."
    names = read["names"].split(";")
    moment = "".join(fields.get("x-amz-date", []))
    wrong = _scope_fault(key, read, names, fields) or _moment_fault(moment, read["day"], now)
    if wrong:
        return wrong
    path, _, query = target.partition("?")
    request = [method, _encoded(path), "&".join(sorted(query.split("&")))]
    request += [f"{name}:{','.join(fields[name])}" for name in names]
    request += ["", ";".join(names), sha256(body).hexdigest()]
    scope = [read["day"], read["region"], read["service"], "aws4_request"]
    signed = "\n".join([SCHEME, moment, "/".join(scope), sha256("\n".join(request).encode()).hexdigest()])
    secret = ("AWS4" + key.secret).encode()
    for part in (*scope, signed):
        secret = hmac.digest(secret, part.encode(), "sha256")
    if not hmac.compare_digest(secret.hex(), read["signature"]):
        return "The request signature we calculated does not match the signature you provided."
    return ""


def _scope_fault(key: Key, read: re.Match[str], names: list[str], fields: dict[str, list[str]]) -> str:
    if read["id"] != key.id or fields.get("x-amz-security-token", [""]) != [key.token]:
        return "The security token included in the request is invalid."
    if read["service"] != SERVICE:
        return f"Credential should be scoped to correct service: '{SERVICE}'."
    demanded = {"host", *(name for name in fields if name.startswith("x-amz-") or name == "content-type")}
    if names != sorted(names) or not demanded <= set(names) <= set(fields):
        return "The signed headers must be all of " + ", ".join(sorted(demanded)) + ", in order, and all must be sent."
    return ""


def _moment_fault(moment: str, day: str, now: float) -> str:
    try:
        seconds = calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        return "The header x-amz-date is missing, or no moment like 20261121T120000Z."
    if moment[:8] != day:
        return "The date in the credential's scope is another than that of x-amz-date."
    return "" if abs(now - seconds) <= SKEW_SECONDS else f"Signature expired: {moment} is too far from now."


def _encoded(path: str) -> str:
    return "".join(chr(byte) if byte in _PLAIN or byte == 0x2F else f"%{byte:02X}" for byte in path.encode("latin-1"))
