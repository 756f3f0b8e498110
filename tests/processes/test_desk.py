from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

from rig.gateway import Gateway, run_gateway

OWN = "sk-test-desk-of-the-file"
PROVIDERS = {"up": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}}


def call(gateway: Gateway, url: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Return status and body of one answer of the console."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    fields = {"authorization": f"Bearer {gateway.admin_token}", "content-type": "application/json"}
    connection.request(method, path, body=None if body is None else json.dumps(body), headers=fields)
    answer = connection.getresponse()
    told = json.loads(answer.read() or b"null")
    connection.close()
    return answer.status, told


def test_what_is_done_at_the_desk_reaches_the_workers(tmp_path: Path) -> None:
    """A key made by the console opens the gateway, with its project, and no more once it is revoked."""
    config = {"auth": {"static_keys": [OWN]}, "providers": PROVIDERS, "server": {"workers": 2}}
    with run_gateway(config=config, data_dir=tmp_path / "data") as gateway:
        url = gateway.wait_console()
        status, project = call(gateway, url, "POST", "/manage/projects", {"name": "first"})
        assert status == 201
        status, key = call(gateway, url, "POST", "/manage/keys", {"name": "k", "project_id": project["id"]})
        assert status == 201
        while gateway.request("GET", "/proxy/v1/upstreams", key=key["key"]).status != 200:
            pass
        status, told = call(gateway, url, "POST", "/manage/keys", {"name": "l", "limits": {"requests_per_minute": 5}})
        assert status == 409
        assert "redis.url" in json.dumps(told)
        assert call(gateway, url, "DELETE", f"/manage/keys/{key['id']}")[0] in (200, 204)
        while gateway.request("GET", "/proxy/v1/upstreams", key=key["key"]).status != 401:
            pass
