"""How each thing that is measured is started, and which of its processes counts.

Everything runs on the subject's core, except this gateway's supervisor and control: those share the other core with
the load, control at the lowest priority, as they are not on a request's road (the memory section shows what they use).
Every subject is started afresh for each measurement, in a folder of its own, with nothing else running; then it must
have answered one request correctly before it is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench import keys, machine, question
from bench.launch import ROOT, Launched, free_port, launched, listens
from bench.machine import Cores
from bench.problem import BenchError
from bench.upstreams import proxying_nginx

PEERS = ROOT / ".venv-peers"
COMMAND = Path(sys.executable).with_name("flumegate")
WORKER = "flumegate.processes.worker"
CONTROL = "flumegate.processes.control"
READY_SECONDS = 20.0
KEYS_SECONDS = 60.0
PEER_READY_SECONDS = 90.0
GATEWAY = "gateway"
"""How its log is named."""


class Running(NamedTuple):
    """A subject that answers.

    `metered` are the processes whose time and memory count, `beside` the subject's others by name; `folder` is where a
    gateway keeps data and log.
    """

    port: int
    headers: dict[str, str]
    metered: list[int]
    beside: dict[str, int]
    folder: Path = Path()


class Place(NamedTuple):
    """Where a subject runs: a fresh folder, the cores, the upstream's port, and whether answers are streamed."""

    folder: Path
    cores: Cores
    upstream: int
    streamed: bool


@dataclass(frozen=True)
class Subject:
    """Something to measure. `missing` says why it cannot be, or nothing."""

    name: str
    title: str
    run: Callable[[Place], AbstractContextManager[Running]]
    version: Callable[[], str]
    missing: Callable[[], str] = lambda: ""
    peer: bool = False


@contextlib.contextmanager
def _checked(name: str, place: Place, running: Running) -> Iterator[Running]:
    question.check(name, running.port, running.headers, streamed=place.streamed)
    before = {pid: machine.read_status(pid) for pid in running.metered}
    yield running
    for pid, status in before.items():
        now = machine.read_status(pid)
        if now is None or status is None or now.started_ticks != status.started_ticks:
            raise BenchError(f"{name}: process {pid} ended while it was measured")


@contextlib.contextmanager
def _direct(place: Place) -> Iterator[Running]:
    yield Running(place.upstream, question.headers(), [], {})


@contextlib.contextmanager
def _nginx(place: Place) -> Iterator[Running]:
    with proxying_nginx(
        folder=place.folder, core=place.cores.subject, upstream=place.upstream, streamed=place.streamed
    ) as (program, port):
        workers = [pid for pid in machine.descendants(program.pid) if pid != program.pid]
        with _checked("nginx", place, Running(port, question.headers(), workers, {})) as running:
            yield running


COMPATIBLE = {"type": "openai_compatible", "path": "/v1"}
FOREIGN = {"type": "anthropic", "path": ""}
"""Kinds of provider: one that speaks the client's dialect, and one for which everything is translated."""


Models = Mapping[str, object]
ROUTED: Models = {
    question.MODEL: {
        "targets": [{"use": f"{name}/{question.MODEL}", "weight": 2} for name in ("upstream", "second", "third")],
        "strategy": "weighted",
        "fallback": ["spare"],
    },
    "spare": f"upstream/{question.MODEL}-spare",
}
"""A model that one of three targets serves, with a fallback behind them."""
MANY: Models = {
    **{f"model-{number}": f"upstream/m{number}" for number in range(10_000)},
    question.MODEL: f"upstream/{question.MODEL}",
}
"""Ten thousand models, of which one is asked for."""


def configuration(
    place: Place, *, port: int, content: str, kind: dict[str, str], models: Models, more: Mapping[str, object]
) -> str:
    """Return the gateway's configuration as its users would write it (JSON is YAML): keys on, records on."""
    provider = {
        "type": kind["type"],
        "base_url": f"http://127.0.0.1:{place.upstream}{kind['path']}",
        "api_key": question.UPSTREAM_KEY,
    }
    return json.dumps(
        {
            "server": {"listen": f"127.0.0.1:{port}", "data_dir": str(place.folder / "data"), "drain_seconds": 1},
            "auth": {"static_keys": [question.CLIENT_KEY]},
            "providers": {
                "upstream": provider | {"default": True},
                **({"second": provider, "third": provider} if models is ROUTED else {}),
            },
            "models": models,
            "records": {"content": content},
            **more,
        }
    )


@contextlib.contextmanager
def gateway_process(
    place: Place,
    *,
    port: int,
    content: str,
    kind: dict[str, str] = COMPATIBLE,
    models: Models | None = None,
    more: Mapping[str, object] | None = None,
    pinned: bool = True,
) -> Iterator[Launched]:
    """Start `flumegate serve` beside the load, or wherever the kernel puts it; it may not answer yet."""
    file = place.folder / "flumegate.yaml"
    file.write_text(configuration(place, port=port, content=content, kind=kind, models=models or {}, more=more or {}))
    arguments: list[str | Path] = [COMMAND, "serve", "--config", file]
    core = place.cores.load if pinned else None
    with launched(arguments, name=GATEWAY, folder=place.folder, core=core) as program:
        yield program


def _gateway(
    content: str, kind: dict[str, str] = COMPATIBLE, models: Models | None = None, *, crowded: bool = False
) -> Callable[[Place], AbstractContextManager[Running]]:
    """Return what starts a gateway; a crowded one has many keys in its database, and is asked with one of them."""

    @contextlib.contextmanager
    def run(place: Place) -> Iterator[Running]:
        port, fields, more = free_port(), question.headers(), keys.SECTIONS if crowded else None
        if crowded:
            text = keys.lend(place.folder / "data", kept=place.folder.parent / "keys")
            fields |= {"Authorization": f"Bearer {text}"}
        with gateway_process(place, port=port, content=content, kind=kind, models=models, more=more) as program:
            program.await_true(
                lambda: "flumegate ready on http://" in program.last_output(),
                within_seconds=READY_SECONDS,
                what="line 'flumegate ready on …'",
            )
            program.await_true(lambda: listens(port), within_seconds=READY_SECONDS, what="open port")
            worker = program.find(WORKER)
            machine.pin(worker, place.cores.subject)
            beside = {"control": program.find(CONTROL), "supervisor": program.pid}
            # What it stores meanwhile must not slow the load down, with which it shares a core.
            machine.yield_to_others(beside["control"])
            if crowded:
                # It answers before control has read all keys, and before it knows what was spent on a budget.
                program.await_true(
                    lambda: question.ask(port, fields, streamed=place.streamed)[0] == 200,
                    within_seconds=KEYS_SECONDS,
                    what="answer to a key of the database",
                )
            with _checked("gateway", place, Running(port, fields, [worker], beside, place.folder)) as running:
                yield running

    return run


@contextlib.contextmanager
def _peer(
    name: str, place: Place, arguments: list[str | Path], port: int, headers: dict[str, str], environ: dict[str, str]
) -> Iterator[Running]:
    with launched(arguments, name=name, folder=place.folder, core=place.cores.subject, environ=environ) as program:
        program.await_true(lambda: listens(port), within_seconds=PEER_READY_SECONDS, what="open port")
        fields = {**question.headers(), **headers}
        with _checked(name, place, Running(port, fields, machine.descendants(program.pid), {})) as running:
            yield running


def _litellm(place: Place) -> AbstractContextManager[Running]:
    port = free_port()
    file = place.folder / "litellm.yaml"
    target = {
        "model": f"openai/{question.MODEL}",
        "api_base": f"http://127.0.0.1:{place.upstream}/v1",
        "api_key": question.UPSTREAM_KEY,
    }
    file.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": question.MODEL, "litellm_params": target}],
                "general_settings": {"master_key": question.CLIENT_KEY},
                "litellm_settings": {"set_verbose": False, "json_logs": True, "telemetry": False},
            }
        )
    )
    # What its own page on production asks for: one worker a core, production mode, errors only in the log.
    environ = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    arguments: list[str | Path] = [PEERS / "litellm/bin/litellm", "--config", file, "--host", "127.0.0.1"]
    arguments += ["--port", str(port), "--num_workers", "1"]
    return _peer("litellm", place, arguments, port, {}, environ)


def _portkey(place: Place) -> AbstractContextManager[Running]:
    port = free_port()
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{place.upstream}/v1"}
    environ = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    script = PEERS / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    return _peer("portkey", place, ["node", script, f"--port={port}", "--headless"], port, headers, environ)


def _tensorzero(place: Place) -> AbstractContextManager[Running]:
    port = free_port()
    file = place.folder / "tensorzero.toml"
    file.write_text(
        f"""\
[gateway]
bind_address = "127.0.0.1:{port}"
observability.enabled = false
[models.{question.MODEL}]
routing = ["upstream"]
[models.{question.MODEL}.providers.upstream]
type = "openai"
model_name = "{question.MODEL}"
api_base = "http://127.0.0.1:{place.upstream}/v1/"
api_key_location = "none"
"""
    )
    program = PEERS / "tensorzero/bin/tensorzero-gateway"
    return _peer("tensorzero", place, [program, "--config-file", file], port, {}, {})


def _first_line(*arguments: str | Path) -> str:
    try:
        done = subprocess.run(
            list(map(str, arguments)), capture_output=True, text=True, timeout=30, check=False, cwd=ROOT
        )
    except OSError:
        return ""
    return next(iter((done.stdout or done.stderr).strip().splitlines()), "")


def _nginx_version() -> str:
    return _first_line("nginx", "-v").rpartition("/")[2]


def _gateway_version() -> str:
    commit = _first_line("git", "describe", "--always", "--dirty")
    found = re.search(r"\d+\.\d+\S*", _first_line(COMMAND, "--version"))
    return f"{found[0] if found else 'unknown'} ({commit})" if commit else "unknown"


def _litellm_version() -> str:
    found = sorted((PEERS / "litellm/lib").glob("python*/site-packages/litellm-*.dist-info"))
    return found[0].name.removeprefix("litellm-").removesuffix(".dist-info") if found else "unknown"


def _portkey_version() -> str:
    package = PEERS / "portkey/node_modules/@portkey-ai/gateway/package.json"
    return str(json.loads(package.read_text())["version"])


def _needs(path: str) -> Callable[[], str]:
    def missing() -> str:
        return "" if os.access(PEERS / path, os.R_OK) else "not installed (make bench-peers)"

    return missing


DIRECT = Subject("direct", "upstream itself", _direct, _nginx_version)
SUBJECTS = [
    Subject("nginx", "nginx proxy_pass", _nginx, _nginx_version),
    Subject("gateway", "Flumegate", _gateway("metadata"), _gateway_version),
    Subject("gateway-full", "Flumegate, full content", _gateway("full"), _gateway_version),
    Subject("gateway-translated", "Flumegate, to Anthropic", _gateway("metadata", FOREIGN), _gateway_version),
    Subject("gateway-routed", "Flumegate, one of three targets", _gateway("metadata", models=ROUTED), _gateway_version),
    Subject("gateway-models", "Flumegate, 10,000 models", _gateway("metadata", models=MANY), _gateway_version),
    Subject(
        "gateway-keys", "Flumegate, 100,000 keys, limits, budget", _gateway("metadata", crowded=True), _gateway_version
    ),
    Subject("litellm", "LiteLLM", _litellm, _litellm_version, _needs("litellm/bin/litellm"), peer=True),
    Subject(
        "portkey",
        "Portkey",
        _portkey,
        _portkey_version,
        _needs("portkey/node_modules/@portkey-ai/gateway/package.json"),
        peer=True,
    ),
    Subject(
        "tensorzero",
        "TensorZero",
        _tensorzero,
        lambda: _first_line(PEERS / "tensorzero/bin/tensorzero-gateway", "--version"),
        _needs("tensorzero/bin/tensorzero-gateway"),
        peer=True,
    ),
]
