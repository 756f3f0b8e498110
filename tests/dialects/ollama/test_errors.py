from __future__ import annotations

import pytest

from flumegate.dialects.ollama.errors import read_error, write_error, write_stream_error
from flumegate.errors import NOT_FOUND, GatewayError
from flumegate.ir.failure import Failure

TOO_LONG = "the input length exceeds the context length"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, b'{"error":"model \'x\' not found"}', Failure("not_found", "model 'x' not found", status=404)),
        (400, b'{"error":"unknown role"}', Failure("invalid_request", "unknown role", status=400)),
        (400, b'{"error":"%b"}' % TOO_LONG.encode(), Failure("context_length", TOO_LONG, status=400)),
        (500, b'{"error":"%b"}' % TOO_LONG.encode(), Failure("context_length", TOO_LONG, status=500)),
        (429, b'{"error":"%b"}' % TOO_LONG.encode(), Failure("rate_limited", TOO_LONG, status=429)),
        (401, b'{"error":"unauthorized"}', Failure("authentication", "unauthorized", status=401)),
        (503, b'{"error":"server busy"}', Failure("overloaded", "server busy", status=503)),
        (500, b'{"error":{"message":"odd","code":7}}', Failure("internal", "odd", status=500)),
        (500, b'{"error":{"code":7}}', Failure("internal", '{"code":7}', status=500)),
        (500, b'{"error":["a"]}', Failure("internal", '["a"]', status=500)),
        (
            502,
            b"<html>Bad gateway</html>\n",
            Failure("internal", "It answered with a page, not with JSON.", status=502),
        ),
        (500, b'{"detail":"x"}', Failure("internal", '{"detail":"x"}', status=500)),
        (400, b"\xff", Failure("invalid_request", "\ufffd", status=400)),
        (413, b"", Failure("too_large", "", status=413)),
    ],
)
def test_what_an_error_answer_means(status: int, body: bytes, expected: Failure) -> None:
    """The status tells the class; the words tell a prompt that is too long, for which there is no status."""
    assert read_error(status, body) == expected


def test_words_are_bounded() -> None:
    """Nobody reads a megabyte of an error."""
    assert len(read_error(500, b'{"error":"%b"}' % (b"x" * 99999)).message) == 2000
    assert len(read_error(500, b"x" * 99999).message) == 500


def test_what_a_client_sees() -> None:
    """A plain string, as a body or as the last line of a stream."""
    error = GatewayError(NOT_FOUND, "model_not_found", 'No model "heron".')
    assert write_error(error, "r1") == b'{"error":"No model \\"heron\\"."}'
    assert write_stream_error(error, "r1") == b'{"error":"No model \\"heron\\"."}\n'
