"""Exchanges without sockets: for modules that only look at one or change it."""

from __future__ import annotations

from flumegate.exchange import Exchange, Source
from flumegate.gates.authenticate import Known
from flumegate.snapshot import BreakerPolicy, Provider, Retry, Snapshot


class KeptReply:
    """A way back that keeps what it is given."""

    def __init__(self, *, http11: bool = True, keep_alive: bool = True) -> None:
        self.http11 = http11
        self.keep_alive = keep_alive
        self.known: Known | None = None
        self.source: Source | None = None
        self.written = b""
        self.ended = ""

    def write(self, data: bytes) -> None:
        self.written += data

    def finish(self, data: bytes) -> None:
        self.written += data
        self.ended = "finished"

    def abort(self) -> None:
        self.ended = "aborted"

    def feed_from(self, source: Source | None) -> None:
        self.source = source


def provider(name: str = "up", **fields: object) -> Provider:
    """Return a provider that speaks OpenAI's dialect, with some fields changed."""
    given: dict[str, object] = {
        "name": name,
        "type": "openai",
        "scheme": "http",
        "host": "127.0.0.1",
        "port": 8080,
        "base_path": "/v1",
        "speaks": ("openai",),
    }
    return Provider(**(given | fields))  # type: ignore[arg-type] # the fields' types differ


def snapshot(*providers: Provider, **fields: object) -> Snapshot:
    """Return a snapshot of some providers, with single attempts unless the fields say otherwise."""
    given: dict[str, object] = {"retry": Retry(max_retries=0), "breaker": BreakerPolicy(enabled=False)}
    return Snapshot(1, {one.name: one for one in providers}, **(given | fields))  # type: ignore[arg-type] # as above


def exchange(
    method: bytes = b"POST",
    path: bytes = b"/v1/chat/completions",
    query: bytes = b"",
    *,
    headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes = b"",
    known: Snapshot | None = None,
) -> Exchange:
    """Return an exchange as the door would make it; every header is also picked."""
    made = Exchange(KeptReply(), method, path, query)
    made.headers = headers or []
    made.picked = dict(made.headers)
    made.special = True
    made.body = body
    made.request_id = b"req-1"
    made.snapshot = known if known is not None else snapshot(provider())
    return made
