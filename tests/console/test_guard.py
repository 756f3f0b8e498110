from __future__ import annotations

from pathlib import Path

import pytest

from flumegate.console.guard import MOST_BODY_BYTES, names_loopback
from rig.console import BEARER, opened

TARGETS = "/manage/targets"
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:4101", "localhost:80", "LOCALHOST", "[::1]:4101", "[::1]", "127.8.9.1:1"]
)
def test_loopback_names_are_ours(host: str) -> None:
    """With any port: a tunnel ends on another one."""
    assert names_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:4101",
        "192.168.0.1:4101",
        "",
        "[::1].evil.example",
        "::1",
        "127.0.0.1:4101:1",
        "evil.example@127.0.0.1",
        "127.0.0.1,evil.example",
    ],
)
def test_other_names_are_not(host: str) -> None:
    """A page whose name was bound anew to our address cannot talk to us."""
    assert not names_loopback(host)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"host": "evil.example"}, 403, "host_not_allowed"),
        ({"authorization": ""}, 401, "invalid_admin_token"),
        ({"authorization": "Bearer fg-admin-" + "x" * 43}, 401, "invalid_admin_token"),
        ({"authorization": "Basic " + BEARER["authorization"][7:]}, 401, "invalid_admin_token"),
        ({"authorization": BEARER["authorization"][7:]}, 401, "invalid_admin_token"),
        ({"authorization": BEARER["authorization"] + "x"}, 401, "invalid_admin_token"),
    ],
)
async def test_who_is_refused(tmp_path: Path, headers: dict[str, str], status: int, code: str) -> None:
    """In one shape, whatever is asked, under an id that the answer's header bears too; nothing is kept by caches."""
    async with opened(tmp_path) as (client, _):
        for path in (TARGETS, "/manage/openapi.json", "/nothing", "/"):
            answer = await client.get(path, headers=headers)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (status, code)
            assert error["request_id"] == answer.headers["x-request-id"]
            assert answer.headers["cache-control"] == "no-store"
            assert ("www-authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({"sec-fetch-site": "cross-site"}, b"{}", 403, "cross_site_request"),
        ({"sec-fetch-site": "same-site"}, b"{}", 403, "cross_site_request"),
        ({"content-type": "text/plain"}, b"{}", 415, "json_required"),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a=b", 415, "json_required"),
        ({}, b'"' + b"x" * MOST_BODY_BYTES + b'"', 413, "body_too_large"),
        ({"transfer-encoding": "chunked"}, b"{}", 411, "length_required"),
    ],
)
async def test_what_is_refused(tmp_path: Path, headers: dict[str, str], content: bytes, status: int, code: str) -> None:
    """What another site's page could make a browser send, and bodies without an end."""
    async with opened(tmp_path) as (client, _):
        request = client.build_request("POST", "/manage/explain", headers=JSON | headers, content=content)
        answer = await client.send(request)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_no_other_origin_is_let_in(tmp_path: Path) -> None:
    """There is no CORS: a preflight is answered with nothing that a browser would take for a permission."""
    async with opened(tmp_path) as (client, _):
        asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        answer = await client.options(TARGETS, headers=asked)
        assert not answer.is_success
        assert not any(name.startswith("access-control") for name in answer.headers)
        answer = await client.get(TARGETS, headers={"origin": "https://evil.example"})
        assert not any(name.startswith("access-control") for name in answer.headers)
