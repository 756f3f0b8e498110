from __future__ import annotations

import pytest

from flumegate.door import head
from flumegate.errors import HEADERS_TOO_LARGE, INVALID_REQUEST, TOO_LARGE, GatewayError
from flumegate.snapshot import Door
from flumegate.wire.headers import CREDENTIALS

DOOR = Door(max_headers=4, max_header_bytes=100, max_body_bytes=1000)


class Version:
    """What the check asks of the HTTP parser."""

    def __init__(self, version: str) -> None:
        self._version = version

    def get_http_version(self) -> str:
        return self._version


def check(
    *fields: tuple[bytes, bytes], version: str = "1.1", conflict: bytes = b"", special: bool | None = None
) -> int | None:
    picked = dict(fields)
    asked = any(head.READ[name] for name in picked) if special is None else special
    return head.check(Version(version), list(fields), picked, conflict, DOOR, special=asked)


HOST = (b"host", b"h")
CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize(
    ("fields", "version", "length"),
    [
        ((HOST,), "1.1", 0),
        ((), "1.0", 0),
        ((HOST, (b"content-length", b"0")), "1.1", 0),
        ((HOST, (b"content-length", b"12345678901")), "1.1", 12345678901),
        (((b"content-length", b"5"),), "1.0", 5),
    ],
)
def test_the_length_of_the_body(
    fields: tuple[tuple[bytes, bytes], ...], version: str, length: int, special: bool
) -> None:
    """0 where none is announced; the same with and without the look at special fields."""
    assert check(*fields, version=version, special=special) == length


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked"])
def test_a_chunked_body_has_no_length(coding: bytes) -> None:
    """None tells that the end is in the body."""
    assert check(HOST, (b"transfer-encoding", coding)) is None


@pytest.mark.parametrize(
    ("fields", "version", "words"),
    [
        ((), "1.1", "Host header is missing"),
        ((HOST,), "0.9", r"only HTTP/1\.1 and HTTP/1\.0"),
        ((HOST,), "2.0", r"only HTTP/1\.1 and HTTP/1\.0"),
        ((HOST, CHUNKED), "1.0", "chunked"),
        ((HOST, (b"transfer-encoding", b"gzip, chunked")), "1.1", "chunked"),
        ((HOST, (b"transfer-encoding", b"identity")), "1.1", "chunked"),
        ((HOST, (b"transfer-encoding", b"chunked, chunked")), "1.1", "chunked"),
    ],
)
def test_heads_that_two_parsers_could_read_differently(
    fields: tuple[tuple[bytes, bytes], ...], version: str, words: str
) -> None:
    """400, and the connection is of no further use."""
    with pytest.raises(GatewayError, match=words) as refused:
        check(*fields, version=version)
    assert (refused.value.kind, refused.value.code, refused.value.close) == (INVALID_REQUEST, "malformed_request", True)


def test_a_field_that_came_twice_with_different_values() -> None:
    """It is named; which one the upstream would read nobody knows."""
    with pytest.raises(GatewayError, match="'content-type'") as refused:
        check(HOST, conflict=b"content-type")
    assert refused.value.close


def test_more_fields_than_allowed() -> None:
    """431 that names the setting."""
    with pytest.raises(GatewayError, match=r"server\.max_headers") as refused:
        check(HOST, *[(b"x-api-key", b"x")] * 4)
    assert (refused.value.kind, refused.value.close) == (HEADERS_TOO_LARGE, True)
    assert check(HOST, *[(b"x-api-key", b"x")] * 3) == 0


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue"])
def test_a_client_may_wait_for_an_invitation(value: bytes) -> None:
    """The one expectation that is known."""
    assert check(HOST, (b"expect", value)) == 0
    assert head.expects_continue({b"expect": value})
    assert not head.expects_continue({})


def test_other_expectations_fail() -> None:
    """417 (RFC 9110 §10.1.1)."""
    with pytest.raises(GatewayError) as refused:
        check(HOST, (b"expect", b"the-unexpected"))
    assert (refused.value.status, refused.value.close) == (417, True)


def test_credentials_are_special_but_for_the_bearer() -> None:
    """The gate looks for other carriers only where a special field came, so each of them must be one."""
    assert {name: head.READ[name] for name in CREDENTIALS} == {name: name != b"authorization" for name in CREDENTIALS}


def test_the_size_of_a_head() -> None:
    """Names, values and four bytes for colon, blank and line end count."""
    head.check_size([(b"a", b"x" * 95)], DOOR)
    with pytest.raises(GatewayError, match=r"server\.max_header_bytes") as refused:
        head.check_size([(b"a", b"x" * 90), (b"b", b"y" * 10)], DOOR)
    assert (refused.value.kind, refused.value.close) == (HEADERS_TOO_LARGE, True)


def test_a_body_beyond_the_limit() -> None:
    """413 that names the setting."""
    error = head.body_too_large(DOOR)
    assert (error.kind, error.close) == (TOO_LARGE, True)
    assert "1000 bytes (server.max_body_bytes)" in error.message


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/v1/models", b"/v1/models"),
        (b"http://h/v1/models", b"/v1/models"),
        (b"HTTPS://h:1//v1/models;x", b"//v1/models;x"),
        (b"http://h", b"/"),
        (b"http://h/", b"/"),
        (b"http://[::1/v1/models", b"/v1/models"),
        (b"http://\xff/\xff", b"/\xff"),
        (b"/v1/http://h/x", b"/v1/http://h/x"),
        (b"ftp://h/x", b"ftp://h/x"),
        (b"*", b"*"),
        (b"h:443", b"h:443"),
        (b"", b""),
    ],
)
def test_a_target_in_absolute_form_is_its_path(target: bytes, path: bytes) -> None:
    """Proxies' clients send whole URLs (RFC 9112 §3.2.2); no host in it, however broken, does harm."""
    assert head.plain_path(target) == path


@pytest.mark.parametrize(
    ("picked", "kept"),
    [({}, b""), ({b"x-request-id": b"abc"}, b"abc"), ({b"x-request-id": b"a b"}, b""), ({b"x-request-id": b""}, b"")],
)
def test_a_valid_request_id_is_kept(picked: dict[bytes, bytes], kept: bytes) -> None:
    """Others are replaced by our own."""
    assert head.request_id(picked) == kept


@pytest.mark.parametrize(
    ("picked", "preflight"),
    [
        ({b"origin": b"o", b"access-control-request-method": b"POST"}, True),
        ({b"origin": b"o"}, False),
        ({b"access-control-request-method": b"POST"}, False),
        ({}, False),
    ],
)
def test_a_preflight_asks_about_another_request(picked: dict[bytes, bytes], preflight: bool) -> None:
    """Both fields make one (Fetch §4.8)."""
    assert head.is_preflight(picked) is preflight
