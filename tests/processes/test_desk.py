from __future__ import annotations

import http.client
import json
import re
import signal
from pathlib import Path
from typing import Any

from rig.gateway import Gateway, run_gateway

OWN = "sk-test-desk-of-the-file"
PROVIDERS = {"up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}}


def call(
    gateway: Gateway, url: str, method: str, path: str, body: object = None, *, token: str | None = None
) -> tuple[int, Any]:
    """Return status and body of one answer of the console, as the owner or with another token."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    token = gateway.admin_token if token is None else token
    fields = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    connection.request(method, path, body=None if body is None else json.dumps(body), headers=fields)
    answer = connection.getresponse()
    told = json.loads(answer.read() or b"null")
    connection.close()
    return answer.status, told


def test_the_setup_token_lets_the_first_owner_in_once() -> None:
    """It is printed by the first start alone, stands in no log line, and what it is exchanged for opens the console."""
    with run_gateway() as gateway:
        url = gateway.wait_console()
        (text,) = set(re.findall(r"fg-st-[0-9A-Za-z_-]+", gateway.logs()))
        status, told = call(gateway, url, "POST", "/manage/setup", {"setup_token": text, "name": "me"}, token="")
        assert status == 201
        assert call(gateway, url, "GET", "/manage/keys", token=told["token"])[0] == 200
        assert call(gateway, url, "POST", "/manage/setup", {"setup_token": text, "name": "me"}, token="")[0] == 401
        assert gateway.stop() == 0
        assert gateway.logs().count(text) == 1
        with run_gateway(data_dir=gateway.data_dir) as again:
            again.wait_console()
            assert "fg-st-" not in again.logs()


def test_a_worker_that_is_frozen_keeps_no_operator_from_working(tmp_path: Path) -> None:
    """The answer comes all the same; once the worker is awake, it knows the key."""
    config = {"auth": {"static_keys": [OWN]}, "providers": PROVIDERS, "server": {"workers": 2}}
    with run_gateway(config=config, data_dir=tmp_path / "data") as gateway:
        url = gateway.wait_console()
        frozen = gateway.worker_pids()[0]
        gateway.kill(frozen, signal.SIGSTOP)
        try:
            status, key = call(gateway, url, "POST", "/manage/keys", {"name": "k"})
            assert status == 201
        finally:
            gateway.kill(frozen, signal.SIGCONT)
        # The next change is answered once both know it, and so the one before.
        assert call(gateway, url, "POST", "/manage/keys", {"name": "l"})[0] == 201
        assert opens(gateway, key["key"]) == {200}


def opens(gateway: Gateway, key: str) -> set[int]:
    """Return how requests with a key are answered, each on a connection of its own, by whatever worker takes it."""
    return {gateway.request("GET", "/proxy/v1/upstreams", key=key).status for _ in range(12)}


def test_what_is_done_at_the_desk_reaches_the_workers(tmp_path: Path) -> None:
    """A key that the console shows opens the gateway from its first request on, and no more once it is revoked."""
    config = {"auth": {"static_keys": [OWN]}, "providers": PROVIDERS, "server": {"workers": 2}}
    with run_gateway(config=config, data_dir=tmp_path / "data") as gateway:
        url = gateway.wait_console()
        status, project = call(gateway, url, "POST", "/manage/projects", {"name": "first"})
        assert status == 201
        status, key = call(gateway, url, "POST", "/manage/keys", {"name": "k", "project_id": project["id"]})
        assert status == 201
        assert opens(gateway, key["key"]) == {200}
        status, told = call(gateway, url, "POST", "/manage/keys", {"name": "l", "limits": {"requests_per_minute": 5}})
        assert status == 409
        assert "redis.url" in json.dumps(told)
        assert call(gateway, url, "DELETE", f"/manage/keys/{key['id']}")[0] in (200, 204)
        assert opens(gateway, key["key"]) == {401}
