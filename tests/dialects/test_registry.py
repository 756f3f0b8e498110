from __future__ import annotations

import json

import pytest

from flumegate.dialects.registry import CODECS, COUNTS, EMBEDDING_CODECS, ENDPOINTS, ERROR_WRITERS, Endpoint
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
    assert "There is no such model." in json.dumps(json.loads(body)["error"])
    assert b"There is no such model." in endpoint.write_stream_error(error, "req-1")
    assert endpoint.path.startswith("/")


def test_every_codec_that_is_named_is_there() -> None:
    """What an endpoint is read with when it must be translated stands in the table for what it does."""
    tables = {"answer": CODECS, "embed": EMBEDDING_CODECS, "count": COUNTS}
    assert all(endpoint.codec in tables[endpoint.does] for endpoint in ENDPOINTS)
    assert all(codec.name == name for name, codec in CODECS.items())


def test_only_chat_and_completions_must_be_asked_for_usage() -> None:
    """The other dialects' streams always report it."""
    assert {endpoint.name for endpoint in ENDPOINTS if endpoint.may_ask_usage} == {"chat", "completions"}
