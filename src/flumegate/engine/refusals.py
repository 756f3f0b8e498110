"""What an upstream's refusal means to a client of another dialect (the failure table of the dialects guide, §15.3)."""

from __future__ import annotations

import math
import re

from flumegate.dialects.node import ReadError
from flumegate.errors import (
    UPSTREAM_FAILED,
    UPSTREAM_LIMITED,
    UPSTREAM_OVERLOADED,
    UPSTREAM_REFUSED,
    UPSTREAM_TIMEOUT,
    UPSTREAM_TOO_LARGE,
    UPSTREAM_UNKNOWN,
    GatewayError,
)
from flumegate.ir.failure import Failure
from flumegate.snapshot import Provider
from flumegate.upstream import errors

MAX_MESSAGE = 500
_URL = re.compile(r"https?://\S+")


def error_of(failure: Failure, provider: Provider) -> GatewayError:  # noqa: C901, PLR0911 - a table, one row a reason
    """Return the error that a client sees for a failure that the upstream itself reports."""
    words = _clean(failure.message, provider)
    name = provider.name
    param = failure.param or None
    retry_after = None if failure.retry_after is None else math.ceil(failure.retry_after)
    match failure.reason:
        case "invalid_request":
            return GatewayError(
                UPSTREAM_REFUSED, "upstream_invalid_request", f"{name!r} refused it: {words}", param=param
            )
        case "context_length":
            return GatewayError(
                UPSTREAM_REFUSED, "context_length_exceeded", f"{name!r} refused it: {words}", param=param
            )
        case "filtered":
            return GatewayError(UPSTREAM_REFUSED, "content_filter", f"{name!r} filtered it: {words}", param=param)
        case "not_found":
            return GatewayError(UPSTREAM_UNKNOWN, "model_not_found", f"{name!r} does not know it: {words}", param=param)
        case "too_large":
            return GatewayError(UPSTREAM_TOO_LARGE, "upstream_too_large", f"{name!r} refused it: {words}")
        case "rate_limited":
            message = f"{name!r} takes no more for now: {words}"
            return GatewayError(UPSTREAM_LIMITED, "upstream_rate_limited", message, retry_after=retry_after)
        case "overloaded":
            message = f"{name!r} is overloaded: {words}"
            return GatewayError(UPSTREAM_OVERLOADED, "upstream_overloaded", message, retry_after=retry_after)
        case "authentication" | "quota" | "permission":
            # The gateway's own credential is at fault: a 401 would send the client looking for its own.
            message = f"{name!r} does not accept the gateway's credential, or its account: {words}"
            return GatewayError(UPSTREAM_FAILED, "upstream_credential_refused", message)
        case "timeout":
            return GatewayError(UPSTREAM_TIMEOUT, "upstream_timeout", f"{name!r} ran out of time: {words}")
        case "cut":
            return errors.cut(name)
        case "garbage":
            return errors.garbage(name, words)
        case "internal":
            return GatewayError(UPSTREAM_FAILED, "upstream_failed", f"{name!r} failed: {words}")


def unreadable(provider: Provider, error: ReadError) -> GatewayError:
    """Return the error for an answer that is not of the provider's dialect."""
    return errors.garbage(provider.name, str(error)[:MAX_MESSAGE])


def _clean(message: str, provider: Provider) -> str:
    """Return the upstream's words without our credential and without addresses."""
    if provider.credential:
        message = message.replace(provider.credential, "[redacted]")
    message = _URL.sub("[address]", message)
    return message[:MAX_MESSAGE] or "it gave no reason."
