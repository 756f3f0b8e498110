"""Promise: bad input is refused before anything is sent upstream, with a documented code in the caller's dialect.

Each refusal leaves exactly one Record with the outcome `refused`; the mock's count of calls is the oracle for the rest.
"""

from __future__ import annotations

import ast
import gzip
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import brotli
import pytest
import zstandard

from flumegate import errors
from flumegate.door import head
from rig import raw, road
from rig.gateway import Gateway, run_gateway
from rig.memory import forget_peak
from rig.mock import Mock, run_mock

ROOT = Path(__file__).parents[2]
NUMBER = itertools.count()
MAX_BODY_BYTES = 2_000_000
CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
EMBEDDINGS = "/v1/embeddings"
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    417: "invalid_request_error",
    431: "invalid_request_error",
}


class Bad(NamedTuple):
    """What is wrong: a body, header fields, a key, a method, and for which status and code."""

    status: int
    code: str
    body: bytes = b'{"model":"m","messages":[]}'
    headers: tuple[tuple[str, str], ...] = ()
    key: str | None = road.KEY
    method: str = "POST"
    suffix: str = ""


def packed(coding: str, body: bytes = b'{"model":"m","messages":[]}') -> bytes:
    """Return a body in a content coding."""
    if coding == "br":
        return bytes(brotli.compress(body, quality=5))
    if coding == "zstd":
        return zstandard.ZstdCompressor().compress(body)
    return gzip.compress(body) if coding == "gzip" else zlib.compress(body)


BOMB = b'{"model":"m","messages":["' + b"0" * (64 << 20) + b'"]}'
BAD_BODIES = {
    "empty": Bad(400, "empty_body", b""),
    "only white space": Bad(400, "empty_body", b" \r\n\t "),
    "no JSON": Bad(400, "invalid_json", b"hello"),
    "cut JSON": Bad(400, "invalid_json", b'{"model":"m","messages":['),
    "two documents": Bad(400, "invalid_json", b'{"model":"m"}{"model":"n"}'),
    "trailing comma": Bad(400, "invalid_json", b'{"model":"m",}'),
    "single quotes": Bad(400, "invalid_json", b"{'model':'m'}"),
    "comment": Bad(400, "invalid_json", b'{"model":"m"/*x*/}'),
    "byte order mark": Bad(400, "invalid_json", b'\xef\xbb\xbf{"model":"m"}'),
    "UTF-16": Bad(400, "invalid_json", '{"model":"m"}'.encode("utf-16")),
    "a form": Bad(400, "invalid_json", b"model=m&messages=x"),
    "an array": Bad(400, "invalid_json", b'[{"model":"m"}]'),
    "a string": Bad(400, "invalid_json", b'"model"'),
    "a number": Bad(400, "invalid_json", b"42"),
    "null": Bad(400, "invalid_json", b"null"),
    "NaN": Bad(400, "invalid_json", b'{"model":"m","temperature":NaN}'),
    "Infinity": Bad(400, "invalid_json", b'{"model":"m","temperature":-Infinity}'),
    "number with a leading zero": Bad(400, "invalid_json", b'{"model":"m","n":01}'),
    "control character in a string": Bad(400, "invalid_json", b'{"model":"a\nb"}'),
    "bad escape": Bad(400, "invalid_json", b'{"model":"\\x41"}'),
    "lone surrogate in the model": Bad(400, "invalid_json", b'{"model":"\\ud800"}'),
    "invalid UTF-8 in the model": Bad(400, "invalid_json", b'{"model":"\xff\xfe"}'),
    "overlong UTF-8 in the model": Bad(400, "invalid_json", b'{"model":"\xc0\xaf"}'),
    "100,000 arrays deep": Bad(400, "invalid_json", b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "100,000 objects deep": Bad(400, "invalid_json", b'{"x":' * 100_000 + b"1" + b"}" * 100_000),
    "model missing": Bad(400, "missing_model", b'{"messages":[]}'),
    "model empty": Bad(400, "missing_model", b'{"model":""}'),
    "model null": Bad(400, "missing_model", b'{"model":null}'),
    "model only deep inside": Bad(400, "missing_model", b'{"metadata":{"model":"m"}}'),
    "model a number": Bad(400, "invalid_model", b'{"model":4}'),
    "model an array": Bad(400, "invalid_model", b'{"model":["m"]}'),
    "model an object": Bad(400, "invalid_model", b'{"model":{"name":"m"}}'),
    "model true": Bad(400, "invalid_model", b'{"model":true}'),
    "model twice": Bad(400, "duplicate_model", b'{"model":"m","model":"n"}'),
    "model twice, equal": Bad(400, "duplicate_model", b'{"model":"m","x":1,"model":"m"}'),
    "model twice, first escaped": Bad(400, "duplicate_model", b'{"\\u006dodel":"m","model":"n"}'),
    "model twice, second escaped": Bad(400, "duplicate_model", b'{"model":"m","mo\\u0064el":"n"}'),
    "model twice, capital escape": Bad(400, "duplicate_model", b'{"model":"m","mode\\u006C":"n"}'),
    "1 M keys": Bad(413, "body_too_large", b"{" + b",".join(b'"k%d":1' % n for n in range(1_000_000)) + b"}"),
    "number of 100,000 digits as model": Bad(400, "invalid_json", b'{"model":' + b"9" * 100_000 + b"}"),
}
BAD_CODINGS = {
    "unknown coding": Bad(415, "unsupported_content_encoding", headers=(("content-encoding", "rot13"),)),
    "compress": Bad(415, "unsupported_content_encoding", headers=(("content-encoding", "compress"),)),
    "gzip in name only": Bad(400, "invalid_content_encoding", headers=(("content-encoding", "gzip"),)),
    "br in name only": Bad(400, "invalid_content_encoding", headers=(("content-encoding", "br"),)),
    "zstd in name only": Bad(400, "invalid_content_encoding", headers=(("content-encoding", "zstd"),)),
    "deflate in name only": Bad(400, "invalid_content_encoding", headers=(("content-encoding", "deflate"),)),
    "gzip cut": Bad(400, "invalid_content_encoding", packed("gzip")[:-9], (("content-encoding", "gzip"),)),
    "gzip with a wrong checksum": Bad(
        400, "invalid_content_encoding", packed("gzip")[:-8] + b"\0" * 8, (("content-encoding", "gzip"),)
    ),
    "no JSON inside": Bad(400, "invalid_json", packed("gzip", b"hello"), (("content-encoding", "gzip"),)),
    **{
        f"{coding} bomb": Bad(413, "body_too_large", packed(coding, BOMB), (("content-encoding", coding),))
        for coding in ("gzip", "deflate", "br", "zstd")
    },
    "gzip in gzip bomb": Bad(
        413, "body_too_large", packed("gzip", packed("gzip", BOMB)), (("content-encoding", "gzip, gzip"),)
    ),
}
BAD_HEADS = {
    "no key": Bad(401, "missing_api_key", key=None),
    "wrong key": Bad(401, "invalid_api_key", key="sk-wrong"),
    "key with more behind it": Bad(401, "invalid_api_key", key=road.KEY + "x"),
    "beginning of the key": Bad(401, "invalid_api_key", key=road.KEY[:-1]),
    "key in other letters": Bad(401, "invalid_api_key", key=road.KEY.upper()),
    "key in the query": Bad(401, "missing_api_key", key=None, suffix=f"?key={road.KEY}&api_key={road.KEY}"),
    "empty bearer": Bad(401, "missing_api_key", headers=(("authorization", "Bearer "),), key=None),
    "basic": Bad(400, "invalid_authorization", headers=(("authorization", "Basic eDp5"),), key=None),
    "wrong x-api-key": Bad(401, "invalid_api_key", headers=(("x-api-key", "sk-wrong"),), key=None),
    "two different keys": Bad(400, "conflicting_credentials", headers=(("x-api-key", "sk-other"),)),
    "two different authorizations": Bad(400, "malformed_request", headers=(("authorization", "Bearer sk-other"),)),
    "oversized header": Bad(431, "headers_too_large", headers=(("x-big", "y" * 40_000),)),
    "oversized headers together": Bad(
        431, "headers_too_large", headers=tuple((f"x-{n}", "y" * 900) for n in range(40))
    ),
    "too many headers": Bad(431, "too_many_headers", headers=tuple((f"x-{n}", "y") for n in range(120))),
    "unknown expectation": Bad(417, "expectation_failed", headers=(("expect", "200-ok"),)),
    "unknown upstream": Bad(400, "unknown_upstream", headers=(("x-upstream-name", "nobody"),)),
    "GET": Bad(405, "method_not_allowed", b"", method="GET"),
    "PUT": Bad(405, "method_not_allowed", method="PUT"),
    "DELETE": Bad(405, "method_not_allowed", b"", method="DELETE"),
}


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(mock: Mock) -> Iterator[Gateway]:
    providers = {
        "openai": road.compatible(mock.port),
        "claude": road.anthropic(mock.port),
        "limited": road.compatible(mock.port, allowed_endpoints=["/v1/embeddings"], allowed_methods=["POST"]),
    }
    models = {"m": "openai/m", "c": "claude/c"}
    config = road.settings(providers, models=models, server={"max_body_bytes": MAX_BODY_BYTES})
    with run_gateway(config=config) as running:
        yield running


def write(bad: Bad, path: str, name: str) -> bytes:
    """Return a bad request under a request id."""
    headers = [*bad.headers, ("x-request-id", name)]
    return raw.request(path + bad.suffix, bad.body, key=bad.key, method=bad.method, headers=headers)


def check(gateway: Gateway, mock: Mock, data: bytes, status: int, code: str, *, dialect: str, name: str = "") -> str:
    """Send a request, check its refusal in one dialect, its record, and the upstream's peace; return the message."""
    before = mock.state()["calls"]
    answer = raw.ask(gateway.port, data)
    assert (answer.status, answer.complete) == (status, True), answer
    assert answer.headers["content-type"] == "application/json"
    request_id = answer.headers["x-request-id"]
    assert answer.headers["request-id"] == request_id
    assert not name or request_id == name
    message = check_anthropic(answer, request_id) if dialect == "anthropic" else check_openai(answer, code)
    assert road.KEY not in message
    record = road.record(gateway, request_id)
    assert (record["status"], record["outcome"], record["error_code"]) == (status, "refused", code)
    assert (record["attempts"], record["dialect"]) == ("[]", dialect)
    assert mock.state()["calls"] == before
    return message


def check_openai(answer: raw.Answer, code: str) -> str:
    """Check OpenAI's error shape to the letter; return the message."""
    body = answer.json()
    assert list(body) == ["error"]
    error = body["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["type"] == "invalid_request_error"
    assert error["code"] == code
    assert error["param"] is None or isinstance(error["param"], str)
    assert isinstance(error["message"], str)
    return str(error["message"])


def check_anthropic(answer: raw.Answer, request_id: str) -> str:
    """Check Anthropic's error shape to the letter; return the message."""
    body = answer.json()
    assert sorted(body) == ["error", "request_id", "type"]
    assert (body["type"], body["request_id"]) == ("error", request_id)
    error = body["error"]
    assert {"type", "message"} <= set(error)
    assert error["type"] == ANTHROPIC_TYPES[answer.status]
    return str(error["message"])


@pytest.mark.parametrize(
    "bad", [pytest.param(bad, id=name) for name, bad in (BAD_BODIES | BAD_CODINGS | BAD_HEADS).items()]
)
def test_bad_input_is_refused_in_openais_shape(gateway: Gateway, mock: Mock, bad: Bad) -> None:
    """Status, code, shape, one record, and silence upstream."""
    name = f"refused-{next(NUMBER)}"
    check(gateway, mock, write(bad, CHAT, name), bad.status, bad.code, dialect="openai", name=name)


@pytest.mark.parametrize(
    "bad", [pytest.param(bad, id=name) for name, bad in (BAD_BODIES | BAD_CODINGS | BAD_HEADS).items()]
)
def test_bad_input_is_refused_in_anthropics_shape(gateway: Gateway, mock: Mock, bad: Bad) -> None:
    """The same input, the same verdict, in the other dialect."""
    name = f"refused-{next(NUMBER)}"
    check(gateway, mock, write(bad, MESSAGES, name), bad.status, bad.code, dialect="anthropic", name=name)


@pytest.mark.parametrize(
    ("path", "model", "status", "code", "dialect"),
    [
        (CHAT, "nobody-serves-this", 404, "model_not_found", "openai"),
        (MESSAGES, "nobody-serves-this", 404, "model_not_found", "anthropic"),
        (CHAT, "nobody/m", 404, "model_not_found", "openai"),
        (EMBEDDINGS, "c", 400, "translation_not_available", "openai"),
        (EMBEDDINGS, "claude/c", 400, "translation_not_available", "openai"),
        (CHAT, "limited/m", 403, "endpoint_not_allowed", "openai"),
        (CHAT, "m" * 512, 404, "model_not_found", "openai"),
        (CHAT, "m" * 100_000, 400, "invalid_model", "openai"),
        (CHAT, "../../etc/passwd", 404, "model_not_found", "openai"),
        (CHAT, "<script>alert(1)</script>", 404, "model_not_found", "openai"),
    ],
)
def test_a_model_that_cannot_be_served_here(
    gateway: Gateway, mock: Mock, path: str, model: str, status: int, code: str, dialect: str
) -> None:
    """The answer says why, and stays short whatever the name was."""
    body = road.chat(model) | {"max_tokens": 9, "input": "a"}
    message = check(gateway, mock, raw.request(path, body, key=road.KEY), status, code, dialect=dialect)
    assert len(message) < 600


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "not_found"),
        ("POST", "/", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/nobody-serves-this", 404, "model_not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/../admin", 400, "invalid_path"),
        ("GET", "/v1/%2e%2e/admin", 400, "invalid_path"),
        ("GET", "/v1/x\\y", 400, "invalid_path"),
        ("GET", "/v1/files", 400, "upstream_required"),
    ],
)
def test_a_path_that_nobody_serves(
    gateway: Gateway, mock: Mock, method: str, path: str, status: int, code: str
) -> None:
    """Answered in OpenAI's shape, which most clients read."""
    check(gateway, mock, raw.request(path, key=road.KEY, method=method), status, code, dialect="openai")


def test_a_method_that_a_provider_does_not_allow(gateway: Gateway, mock: Mock) -> None:
    """The provider's own list is enforced before anything is sent."""
    data = raw.request("/proxy/v1/embeddings", key=road.KEY, headers=[("x-upstream-name", "limited")])
    check(gateway, mock, data, 405, "method_not_allowed", dialect="openai")


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_body_announced_as_too_large_is_refused_before_it_comes(gateway: Gateway, mock: Mock, path: str) -> None:
    """The head is enough; a client that asks first is never invited."""
    name = f"refused-{next(NUMBER)}"
    length, request_id = ("content-length", str(MAX_BODY_BYTES + 1)), ("x-request-id", name)
    for extra in ([], [("expect", "100-continue")]):
        data = raw.request(path, key=road.KEY, method="POST", headers=[length, *extra, request_id])
        talk = raw.talk(gateway.port, data)
        assert (talk.interims, [answer.status for answer in talk.answers]) == (0, [413])
    assert len(road.eventually(lambda: road.rows(gateway, "request_id = ?", name)[1:], "two records")) == 1
    assert not mock.ledger(tag=name)


def test_a_key_is_asked_for_before_a_large_body(gateway: Gateway) -> None:
    """Nobody uploads megabytes only to be told that the key is wrong."""
    headers = [("content-length", "1500000"), ("expect", "100-continue")]
    talk = raw.talk(gateway.port, raw.request(CHAT, key="sk-wrong", method="POST", headers=headers))
    assert (talk.interims, talk.answers[0].status) == (0, 401)


def test_a_chunked_body_is_measured_while_it_comes(gateway: Gateway, mock: Mock) -> None:
    """It is refused as soon as it is too large, and the rest is not waited for."""
    head = raw.request(CHAT, key=road.KEY, method="POST", headers=[("transfer-encoding", "chunked")])
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    data = head + chunk * (MAX_BODY_BYTES // 65536 + 1)
    check(gateway, mock, data, 413, "body_too_large", dialect="openai")


def test_a_million_chunks_of_one_byte_are_one_body(gateway: Gateway, mock: Mock) -> None:
    """Framing that costs six times its content is read to its end, and judged by what it holds."""
    head = raw.request(CHAT, key=road.KEY, method="POST", headers=[("transfer-encoding", "chunked")])
    (worker,) = gateway.worker_pids()
    forget_peak(worker)
    before = road.peak_kib(worker)
    check(gateway, mock, head + b"1\r\n \r\n" * 1_000_000 + b"0\r\n\r\n", 400, "empty_body", dialect="openai")
    assert road.peak_kib(worker) - before < 200 * 1024


def test_bombs_cost_little_memory(gateway: Gateway, mock: Mock) -> None:
    """64 MB in a few KB of gzip: refused at the limit, within ten times the limit's memory."""
    (worker,) = gateway.worker_pids()
    forget_peak(worker)
    before = road.peak_kib(worker)
    for name, bad in BAD_CODINGS.items():
        if "bomb" in name:
            check(gateway, mock, write(bad, CHAT, f"bomb-{next(NUMBER)}"), 413, "body_too_large", dialect="openai")
    assert road.peak_kib(worker) - before < 10 * MAX_BODY_BYTES // 1024


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"model":"m","messages":[],"seed":' + b"9" * 4000 + b"}", id="huge number"),
        pytest.param(b'{"model":"m","messages":[],"x":1e999999}', id="huge exponent"),
        pytest.param(b'{"model":"m","messages":[],"x":' + b"[" * 200 + b"]" * 200 + b"}", id="200 deep"),
        pytest.param(
            b'{"messages":[],' + b",".join(b'"k%d":1' % n for n in range(100_000)) + b',"model":"m"}', id="keys"
        ),
        pytest.param(b'{"model":"m","messages":[],"temperature":1,"temperature":2}', id="another key twice"),
        pytest.param(b'{"model":"m","messages":[],"n":9007199254740993}', id="2**53 + 1"),
    ],
)
def test_what_only_the_provider_can_judge_is_passed_on_untouched(gateway: Gateway, mock: Mock, body: bytes) -> None:
    """Verbatim means that the gateway does not forbid what it need not understand."""
    mock.clear()
    answer = raw.ask(gateway.port, raw.request(CHAT, body, key=road.KEY))
    assert answer.status in (200, 400)
    (row,) = mock.ledger()
    assert row["bytes_in"] == len(body)


def test_a_key_may_stand_in_any_of_four_fields(gateway: Gateway) -> None:
    """And twice, if it is the same."""
    fields = [("x-api-key", road.KEY), ("api-key", road.KEY), ("x-goog-api-key", road.KEY)]
    for headers in ([fields[0]], [fields[1]], [fields[2]], fields):
        assert raw.ask(gateway.port, raw.request("/v1/models", headers=headers)).status == 200
    assert raw.ask(gateway.port, raw.request("/v1/models", key=road.KEY, headers=fields)).status == 200


# Documentation

KINDS = {
    name: kind for module in (errors, head) for name, kind in vars(module).items() if isinstance(kind, errors.Kind)
}
ONLY_RECORDED = {"client_closed", "error_in_answer", "error_in_stream", "upstream_<status>", "too_many_connections"}


def made_in_source() -> dict[str, set[int]]:
    """Return every code that a GatewayError is made with, and with which statuses."""
    found: dict[str, set[int]] = {}
    for path in (ROOT / "src" / "flumegate").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "GatewayError":
                kind, code = node.args[:2]
                assert isinstance(kind, ast.Name), f"{path}:{node.lineno} makes its kind up"
                assert isinstance(code, ast.Constant), f"{path}:{node.lineno} makes its code up"
                found.setdefault(str(code.value), set()).add(KINDS[kind.id].status)
    return found


def documented() -> dict[str, list[str]]:
    """Return the rows of docs/errors.md by their code: status, meaning, remedy; those of the console are its own."""
    lines = (ROOT / "docs" / "errors.md").read_text("utf-8").partition("## Of the console")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_code_is_documented_with_its_remedy() -> None:
    """A code that a client can meet stands in docs/errors.md with status, meaning and remedy; no other does."""
    made, rows = made_in_source(), documented()
    assert len(made) > 25
    assert not set(made) - set(rows), "add these to docs/errors.md"
    assert not set(rows) - set(made) - ONLY_RECORDED, "docs/errors.md names codes that nothing makes"
    assert all(len(row) == 3 and all(row) for row in rows.values())
    sent = set(made) - ONLY_RECORDED
    assert {code: {int(rows[code][0])} for code in sent} == {code: made[code] for code in sent}


def test_nothing_was_logged_as_a_bug(gateway: Gateway) -> None:
    """Bad input is ordinary: no traceback, no restart."""
    assert "request failed" not in gateway.logs()
    assert "Traceback" not in gateway.logs()
    assert gateway.logs().count('"serving"') == 1
