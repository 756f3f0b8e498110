"""Bedrock's errors: answers with a status, and exceptions as events inside a stream that began with a 200."""

from __future__ import annotations

import msgspec

from flumegate.ir.failure import Failure, Reason, plain_message, reason_of

_REASONS: dict[str, Reason] = {
    "accessdenied": "permission",
    "expiredtoken": "authentication",
    "incompletesignature": "authentication",
    "internalfailure": "internal",
    "internalserver": "internal",
    "invalidclienttokenid": "authentication",
    "invalidsignature": "authentication",
    "missingauthenticationtoken": "authentication",
    "modelerror": "internal",
    "modelnotready": "overloaded",
    "modelstreamerror": "internal",
    "modeltimeout": "timeout",
    "resourcenotfound": "not_found",
    "servicequotaexceeded": "quota",
    "serviceunavailable": "overloaded",
    "signaturedoesnotmatch": "authentication",
    "throttling": "rate_limited",
    "unrecognizedclient": "authentication",
    "validation": "invalid_request",
}
"""Amazon Bedrock API reference, "Common errors" and the errors of Converse and ConverseStream, without `Exception`."""
_WORDS: tuple[tuple[tuple[str, ...], Reason], ...] = (
    (("input is too long",), "context_length"),
    (("prompt is too long",), "context_length"),
    (("context", "exceed"), "context_length"),
    (("maximum context length",), "context_length"),
    (("model identifier is invalid",), "not_found"),
    (("security token", "invalid"), "authentication"),
    (("security token", "expired"), "authentication"),
    (("signature", "does not match"), "authentication"),
)
"""What messages tell beyond the status: all the words, in any place."""
_REFINED = ("invalid_request", "permission", "internal")
"""Reasons that a message may tell more exactly: Bedrock's models report their own errors under these."""


class _Body(msgspec.Struct, gc=False):
    message: str | None = None
    Message: str | None = None  # the front door of AWS writes it so
    type: str | None = msgspec.field(default=None, name="__type")


_MODEL_FAILED = 424
"""What Bedrock answers where it is the model that failed, and not the request."""
_decode = msgspec.json.Decoder(_Body).decode


def read_error(status: int, body: bytes) -> Failure:
    """Return what an error answer says."""
    by_status: Reason = "internal" if status == _MODEL_FAILED else reason_of(status)
    try:
        read = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Failure(by_status, plain_message(body), status=status)
    code = (read.type or "").rpartition("#")[2]
    return _failure(code, read.message or read.Message or "", _REASONS.get(_word(code), by_status), status)


def read_exception(code: str, payload: bytes) -> Failure:
    """Return what an exception inside a stream says; `code` as in `throttlingException`."""
    try:
        read = _decode(payload)
        message = read.message or read.Message or ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = plain_message(payload)
    return _failure(code, message, _REASONS.get(_word(code), "internal"), 0)


def _word(code: str) -> str:
    return code.partition(":")[0].lower().removesuffix("exception")


def _failure(code: str, message: str, reason: Reason, status: int) -> Failure:
    # A wrong signature is answered with all that should have been signed, a session token among it.
    message = message.partition("The Canonical String")[0].rstrip()
    if reason in _REFINED:
        lower = message.lower()
        reason = next((found for words, found in _WORDS if all(word in lower for word in words)), reason)
    return Failure(reason, message, code, status=status)
