"""Row 38: no secret leaves its place, whatever fails, at log level debug and with contents recorded.

Every secret of a gateway carries a marker. After a run with failures, provider errors that echo credentials, and
killed processes, everything that it wrote or said is searched for them, as they are and in the usual encodings.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from flumegate.manage.seal import make_master_key
from rig import managed, raw, road
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.managed import Key, Managed
from rig.mock import Mock, run_mock
from rig.postgres import Postgres, postgres_cluster
from rig.redis import Redis, redis_server
from rig.scripted import ScriptedUpstream, answer, scripted_upstream

STATIC_KEY = "sk-canary-static-client-0123456789"
PROVIDER = "sk-canary-provider-0123456789"
STORED_PROVIDER = "sk-canary-stored-provider-0123456789"
PROJECT = "sk-canary-project-0123456789"
IN_REDIS = "canary-redis-password-0123456789"
IN_DATABASE = "canary-database-password-0123456789"
READS = (
    "keys", "projects", "budgets", "usage", "providers", "models", "routes", "targets", "admin-tokens", "self",
    "audit", "audit/verify", "audit/export", "openapi.json",
)  # fmt: skip
PUBLIC = ("/metrics", "/health", "/ready", "/version", "/v1/models")
Sinks = dict[str, bytes]


@pytest.fixture
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as running:
        yield running


@pytest.fixture
def redis() -> Iterator[Redis]:
    with redis_server() as running:
        assert running.command("ACL", "SETUSER", "gate", "on", f">{IN_REDIS}", "~*", "&*", "+@all") == b"+OK\r\n"
        yield running


@pytest.fixture
def cluster() -> Iterator[Postgres]:
    with postgres_cluster() as running:
        running.execute(f"CREATE ROLE gate LOGIN SUPERUSER PASSWORD '{IN_DATABASE}'", database="postgres")
        yield running


def forms_of(secret: str) -> set[bytes]:
    """Return how a secret may stand somewhere."""
    raw_bytes = secret.encode()
    forms = {raw_bytes, quote(secret, safe="").encode(), raw_bytes.hex().encode(), base64.b64encode(raw_bytes)}
    # What does not depend on where it begins, as within the Base64 of a longer text.
    return forms | {base64.b64encode(b"\0" * pad + raw_bytes)[4:-4] for pad in (1, 2)}


def found_in(sinks: Sinks, secrets: dict[str, str]) -> list[str]:
    """Return which secret stands where."""
    forms = {name: forms_of(secret) for name, secret in secrets.items()}
    return [
        f"{name} in {sink}" for sink, data in sinks.items() for name in forms if any(f in data for f in forms[name])
    ]


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.faults)])
def test_no_secret_leaves_its_place(
    mock: Mock, upstream: ScriptedUpstream, redis: Redis, engine: str, request: pytest.FixtureRequest
) -> None:
    """Output, files, both stores, metrics, answers, errors, explanations, exports, audit, arguments of processes."""
    master = make_master_key()
    env = {"STATIC": STATIC_KEY, "PROVIDER": PROVIDER, "MASTER": master}
    env |= {"REDIS": f"redis://gate:{IN_REDIS}@127.0.0.1:{redis.port}/0"}
    name = ""
    cluster: Postgres | None = request.getfixturevalue("cluster") if engine == "postgresql" else None
    config = _settings(mock, upstream)
    if cluster is not None:
        name = cluster.create_database().rpartition("/")[2]
        env["DATABASE"] = cluster.url(name, user="gate", password=IN_DATABASE)
        config["database"] = {"url": "env:DATABASE"}
    sinks: Sinks = {}
    with run_gateway(config=config, env=env) as gateway:
        key, secrets = _use(gateway, upstream, sinks)
        sinks["redis"] = _redis_dump(redis)
        redis.restart()  # and knows the password no more
        managed.ask(gateway, key)
        gateway.output.wait_for('"redis_away"')
        if cluster is not None:
            cluster.stop()
            gateway.output.wait_for("keys_stale")
            cluster.start()
        sinks["process arguments"] = b"".join(
            Path(f"/proc/{pid}/cmdline").read_bytes() for pid in gateway.processes()
        )  # fmt: skip
        gateway.stop()
        sinks["output"] = gateway.logs().encode()
        places = {"client.key", "admin.token", "master.key"}
        files = [path for path in gateway.folder.rglob("*") if path.is_file() and path.name not in places]
        sinks |= {f"file {path.relative_to(gateway.folder)}": path.read_bytes() for path in files}
        assert any(path.suffix == ".db" for path in files) == (cluster is None)
    if cluster is not None:
        sinks["database"] = cluster.dump(name).encode()
    secrets |= {"static key": STATIC_KEY, "provider": PROVIDER, "stored provider": STORED_PROVIDER, "project": PROJECT}
    secrets |= {"redis password": IN_REDIS, "database password": IN_DATABASE, "master key": master}
    assert len(found_in({"all of them": " ".join(secrets.values()).encode()}, secrets)) == len(secrets)
    left = found_in(sinks, secrets)
    figure(38, f"{engine}: markers of {len(secrets)} secrets in {len(sinks)} places: {len(left)} (0)")
    assert not left, "\n".join(left)


def test_a_key_where_none_belongs_is_recorded_by_its_id(mock: Mock) -> None:
    """As a part of the path, or as the model; only recorded contents are as their clients wrote them."""
    with run_gateway(config=managed.settings(mock, workers=1)) as gateway:
        managing = Managed(gateway)
        key = managing.key(managing.project())
        managing.known(key)
        raw.ask(gateway.port, raw.request(f"/v1/{key.text}/x", road.chat("m"), key=key.text))
        asked = managed.ask(gateway, key, key.text)
        row = managed.recorded(gateway, [asked])[asked.name]
        assert row["model_requested"] == f"sk-fg-{key.id}-…"
        paths = [row["path"] for row in road.rows(gateway, "path LIKE '/v1/sk-%'")]
    assert paths == [f"/v1/sk-fg-{key.id}-…/x"]


def _settings(mock: Mock, upstream: ScriptedUpstream) -> dict[str, Any]:
    config = managed.settings(mock, workers=2)
    config["auth"] = {"static_keys": ["env:STATIC"]}
    config["redis"] = {"url": "env:REDIS"}
    config["encryption"] = {"keys": ["env:MASTER"]}
    config["prices"] = managed.PRICES | {f"{name}/*": {"input": 0, "output": 1} for name in ("echo", "stored")}
    config["log"] = {"level": "debug"}
    config["records"] = {"content": "full"}
    config["providers"]["up"]["api_key"] = config["providers"]["ill"]["api_key"] = "env:PROVIDER"
    config["providers"]["echo"] = road.compatible(upstream.port, api_key="env:PROVIDER")
    stored = road.compatible(upstream.port)
    del stored["api_key"]
    config["providers"]["stored"] = stored
    config["models"] |= {name: {"targets": [f"{name}/m"]} for name in ("echo", "stored")}
    return config


def _use(gateway: Gateway, upstream: ScriptedUpstream, sinks: Sinks) -> tuple[Key, dict[str, str]]:
    """Do everything that may go wrong; return a key and the secrets that were made here."""
    managing = Managed(gateway)
    managing.ask("PUT", "/manage/providers/stored/credential", {"secret": STORED_PROVIDER})
    project = managing.project(credentials={"echo": PROJECT})
    key = managing.key(project, budgets=[{"period": "day", "limit_micros": 10_000_000}])
    gone, own = managing.key(project), Key("static", STATIC_KEY, "")
    token = managing.ask("POST", "/manage/admin-tokens", {"name": "second", "role": "admin"})
    managing.known(key, gone, own)
    managing.ask("DELETE", f"/manage/keys/{gone.id}")
    for holder in (key, own, gone):
        for number, model in enumerate(("m", "fails", "fallen", "cut", "nowhere", "echo", "stored")):
            stream = number % 2 == 0
            sent = STORED_PROVIDER if model == "stored" else PROJECT if holder.project else PROVIDER
            upstream.play(_echo_of(sent))
            sinks[f"answer {holder.id} {model}"] = managed.ask(gateway, holder, model, stream=stream).body
            if model in ("echo", "stored") and holder is not gone:
                assert f"Bearer {sent}".encode() in upstream.requests[-1]
    _ask_badly(gateway, key, sinks)
    worker, *_ = gateway.worker_pids()
    os.kill(worker, signal.SIGABRT)
    gateway.kill(gateway.control_pid())
    gateway.output.wait_for("control_resumed")
    road.eventually(lambda: len(gateway.worker_pids()) == 2, "two workers")
    again = Managed(gateway, opened=2)
    headers = {"authorization": f"Bearer {key.text}", "x-api-key": STATIC_KEY}
    body = road.chat("echo")
    sinks["explain"] = _told(again, "POST", "explain", {"headers": headers, "body": body})
    sinks["refused"] = _told(again, "PUT", "providers/stored/credential", {"secret": STORED_PROVIDER, "more": PROJECT})
    for path in READS:
        sinks[f"api {path}"] = _told(again, "GET", path)
    for path in PUBLIC:
        sinks[path] = raw.ask(gateway.port, raw.request(path, key=key.text)).body
    road.eventually(lambda: again.spent(f"key:{key.id}", "day") > 0, "the records are stored")
    return key, {"key": key.text, "revoked key": gone.text, "admin token": gateway.admin_token, "token": token["token"]}


def _told(managing: Managed, method: str, path: str, body: Any = None) -> bytes:
    return managing.request(method, f"/manage/{path}", body)[1]


def _echo_of(secret: str) -> bytes:
    """Return an upstream's refusal that says what it was asked with."""
    said = json.dumps({"error": {"message": f"Incorrect API key provided: {secret}"}})
    return answer(said.encode(), status=b"401 No")


def _ask_badly(gateway: Gateway, key: Key, sinks: Sinks) -> None:
    """Put keys where they do not belong, and send what cannot be read."""
    chat = road.chat("m")
    bad = {
        "query": raw.request(f"/v1/chat/completions?key={key.text}&api_key={STATIC_KEY}", chat),
        "path": raw.request(f"/v1/{key.text}", chat, key=key.text),
        "two keys": raw.request("/v1/chat/completions", chat, key=key.text, headers=[("x-api-key", STATIC_KEY)]),
        "model": raw.request("/v1/chat/completions", b'{"model": ', key=key.text),
        "header": raw.request("/v1/models", key=key.text, headers=[("x-flumegate-timeout", "never")]),
        "no http": b"GET " + key.text.encode() + b"\r\n\r\n",
    }
    for name, data in bad.items():
        with contextlib.suppress(AssertionError), raw.wire(gateway.port) as wire:
            wire.send(data)
            wire.half_close()
            wire.to_end()
            sinks[f"bad {name}"] = bytes(wire.data)


def _redis_dump(redis: Redis) -> bytes:
    """Return every key of Redis with all it holds."""
    names = [line for line in redis.command("KEYS", "*").decode().split("\r\n") if line[:1] not in ("*", "$", "")]
    assert names
    return b"".join(name.encode() + redis.command("DUMP", name) for name in names)
