"""AWS Signature Version 4: the fields that prove to AWS who sends a request. Pure; the time is an argument.

Source: AWS IAM User Guide, "Create a signed AWS API request". Amazon S3 alone wants its paths encoded once; all other
services, Bedrock among them, want the path that is signed encoded twice, so a model's `:0` is sent as `%3A0` and signed
as `%253A0`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"
_SPACES = re.compile(r"\s+")


class Credentials(NamedTuple):
    """Who signs."""

    access_key: str
    secret_key: str
    session_token: str = ""
    """Of temporary credentials: sent and signed as well."""


class Scope(NamedTuple):
    """Where a signature counts."""

    region: str
    """As in `eu-central-1`."""
    service: str
    """As in `bedrock` (which is the name for `bedrock-runtime` too)."""


class Signer(NamedTuple):
    """All that signing a provider's requests needs, beside the request."""

    credentials: Credentials
    scope: Scope
    host: str
    """As it stands in the header field `host`."""


def sign(  # noqa: PLR0913 - the parts of a request, and each of them counts
    method: str,
    path: str,
    *,
    query: str = "",
    headers: Mapping[str, str],
    body: bytes,
    credentials: Credentials,
    scope: Scope,
    unix_seconds: int,
    encode_path: bool = True,
) -> dict[str, str]:
    """Return the header fields to add: `authorization`, `x-amz-date`, and `x-amz-security-token` where there is one.

    Args:
        method: in capitals.
        path: as it is sent, encoded once, without dot segments.
        query: as it is sent, without the question mark.
        headers: what is signed besides; `host` must be among them.
        body: the whole body; its hash is signed.
        credentials: who signs.
        scope: region and service.
        unix_seconds: now.
        encode_path: encode the path a second time, as all services but S3 want it.
    """
    moment = datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": moment}
    if credentials.session_token:
        added["x-amz-security-token"] = credentials.session_token
    signed = {name.lower(): _SPACES.sub(" ", value.strip()) for name, value in {**headers, **added}.items()}
    names = sorted(signed)
    canonical = "\n".join(
        (
            method,
            quote(path or "/", safe=f"/{_UNRESERVED}") if encode_path else path or "/",
            _canonical_query(query),
            *(f"{name}:{signed[name]}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        )
    )
    place = f"{moment[:8]}/{scope.region}/{scope.service}/aws4_request"
    text = "\n".join((ALGORITHM, moment, place, hashlib.sha256(canonical.encode()).hexdigest()))
    signature = hmac.new(_signing_key(credentials.secret_key, moment[:8], scope), text.encode(), hashlib.sha256)
    added["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{place}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature.hexdigest()}"
    )
    return added


def _canonical_query(query: str) -> str:
    pairs = sorted(part.partition("=")[::2] for part in query.split("&") if part)
    return "&".join(f"{name}={value}" for name, value in pairs)


def _signing_key(secret: str, day: str, scope: Scope) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
