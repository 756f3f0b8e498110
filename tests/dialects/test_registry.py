from __future__ import annotations

import json

import pytest

from flumegate.dialects.registry import ENDPOINTS, ERROR_WRITERS, Endpoint
from flumegate.errors import NOT_FOUND, GatewayError


def test_names_and_paths_are_unique() -> None:
    """An endpoint is found by its path and named in records by its name."""
    assert len({endpoint.name for endpoint in ENDPOINTS}) == len(ENDPOINTS)
    assert len({endpoint.path for endpoint in ENDPOINTS}) == len(ENDPOINTS)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_every_endpoint_has_a_tap_and_writes_errors_in_its_dialect(endpoint: Endpoint) -> None:
    """A new tap tells nothing; both error writers speak the endpoint's dialect and carry our code."""
    tap = endpoint.tap()
    assert (tap.usage, tap.model, tap.finish_reason, tap.started, tap.complete, tap.failed) == (
        None,
        "",
        "",
        False,
        False,
        False,
    )
    error = GatewayError(NOT_FOUND, "model_not_found", "There is no such model.")
    body = endpoint.write_error(error, "req-1")
    assert body == ERROR_WRITERS[endpoint.dialect](error, "req-1")
    assert json.loads(body)["error"]["code"] == "model_not_found"
    assert b"There is no such model." in endpoint.write_stream_error(error, "req-1")
    assert endpoint.path.startswith("/")


def test_only_chat_and_completions_must_be_asked_for_usage() -> None:
    """The other dialects' streams always report it."""
    assert {endpoint.name for endpoint in ENDPOINTS if endpoint.may_ask_usage} == {"chat", "completions"}
