"""Routes on the road: what tests of routing ask, and what they look at afterwards.

Each case has providers of its own, on the ports of a few upstreams, so that no test meets the health that another left
behind. One worker serves, because each has its own view of how targets fare.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
from typing import Any, NamedTuple

from rig import raw, road
from rig.gateway import Gateway
from rig.rows import row_of

NUMBER = itertools.count()
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


class Tried(NamedTuple):
    """One attempt of a record."""

    target: str
    status: int | None
    outcome: str


class Reply(NamedTuple):
    """One answer, and the name under which its record and the upstreams' calls are found."""

    name: str
    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    @property
    def code(self) -> str:
        """The gateway's error code."""
        return raw.Answer(self.status, self.headers, self.body, self.complete).code

    @property
    def attempts(self) -> int:
        """How many attempts the answer's head tells of."""
        return int(self.headers["x-flumegate-attempts"])


def settings(providers: dict[str, Any], models: dict[str, Any], **routing: Any) -> dict[str, Any]:
    """Return a configuration of routes for one worker; retries wait for a moment only, unless told otherwise."""
    routing.setdefault("retry", {"max_retries": 0})
    routing["retry"] = {"initial_delay": 0.01} | routing["retry"]
    return road.settings(providers, models=models, routing=routing, server={"workers": 1})


def body_of(model: str, text: str, *, kind: str = "chat", stream: bool = False) -> dict[str, Any]:
    """Return a request to one of the endpoints in PATHS."""
    said: dict[str, Any] = {"model": model}
    if stream:
        said["stream"] = True
    if kind == "responses":
        return said | {"input": text}
    if kind == "messages":
        said["max_tokens"] = 64
    return said | {"messages": [{"role": "user", "content": text}]}


def request(
    model: str,
    *,
    name: str,
    kind: str = "chat",
    stream: bool = False,
    key: str = road.KEY,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> bytes:
    """Return a request as bytes; its text has the name as the mock's nonce, its id is the name."""
    fields = {"x-request-id": name} | ({"anthropic-version": "2023-06-01"} if kind == "messages" else {})
    body = body_of(model, f"nonce-{name}", kind=kind, stream=stream) | more
    return raw.request(PATHS[kind], body, key=key, headers=(fields | (headers or {})).items())


def ask(gateway: Gateway, model: str, **said: Any) -> Reply:
    """Send one request under a name of its own and return its answer; see `request`."""
    name = said.pop("name", "") or f"ask-{next(NUMBER)}"
    return Reply(name, *raw.ask(gateway.port, request(model, name=name, **said)))


def tried(gateway: Gateway, name: str) -> list[Tried]:
    """Return the attempts in a request's one record, in their order."""
    row = row_of(gateway, name)
    attempts = row["attempts"]
    for each in attempts:
        assert each["started_us"] <= each["ended_us"]
    assert [each["started_us"] for each in attempts] == sorted(each["started_us"] for each in attempts)
    return [Tried(each["target"], each["status"], each["outcome"]) for each in attempts]


def manage(gateway: Gateway, method: str, path: str) -> Any:
    """Ask the console."""
    url = gateway.wait_console()
    connection = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, headers={"authorization": f"Bearer {gateway.admin_token}"})
        reply = connection.getresponse()
        text = reply.read()
        assert reply.status == 200, text
        return json.loads(text)
