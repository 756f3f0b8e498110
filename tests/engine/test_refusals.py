"""An upstream's refusal as its client of another dialect sees it."""

from __future__ import annotations

from typing import get_args

import pytest

from flumegate.engine.refusals import MAX_MESSAGE, error_of
from flumegate.ir.failure import Failure, Reason
from rig.exchanges import provider


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("invalid_request", 400, "upstream_invalid_request"),
        ("context_length", 400, "context_length_exceeded"),
        ("filtered", 400, "content_filter"),
        ("not_found", 404, "model_not_found"),
        ("too_large", 413, "upstream_too_large"),
        ("rate_limited", 429, "upstream_rate_limited"),
        ("overloaded", 503, "upstream_overloaded"),
        ("authentication", 502, "upstream_credential_refused"),
        ("quota", 502, "upstream_credential_refused"),
        ("permission", 502, "upstream_credential_refused"),
        ("timeout", 504, "upstream_timeout"),
        ("internal", 502, "upstream_failed"),
        ("cut", 502, "upstream_cut"),
        ("garbage", 502, "upstream_garbage"),
    ],
)
def test_every_reason_has_a_status_and_a_code(reason: Reason, status: int, code: str) -> None:
    """The table of the guide: the provider's own key is never the client's fault."""
    error = error_of(Failure(reason, "words"), provider())
    assert (error.status, error.code, error.kind.origin) == (status, code, "upstream")


def test_the_table_is_complete() -> None:
    """No reason is without a row."""
    for reason in get_args(Reason):
        assert error_of(Failure(reason), provider()).message


def test_wait_and_member_travel_on() -> None:
    """How long to wait is rounded up to whole seconds; the member at fault is named."""
    assert error_of(Failure("rate_limited", retry_after=1.2), provider()).retry_after == 2
    assert error_of(Failure("overloaded"), provider()).retry_after is None
    assert error_of(Failure("invalid_request", param="max_tokens"), provider()).param == "max_tokens"


def test_words_are_cleaned() -> None:
    """Neither our credential nor an address is repeated, and no message is without end."""
    words = "key sk-secret is wrong, see https://internal.example/path?key=sk-secret " + "x" * 2000
    error = error_of(Failure("invalid_request", words), provider(credential="sk-secret"))
    assert "sk-secret" not in error.message
    assert "internal.example" not in error.message
    assert "[redacted]" in error.message
    assert len(error.message) < MAX_MESSAGE + 100
    assert "no reason" in error_of(Failure("internal"), provider()).message
