"""An exchange that no client sent: a question about a request, read as the door would read the request itself."""

from __future__ import annotations

from flumegate.door.head import READ
from flumegate.door.routes import find
from flumegate.engine.nobody import NoReply
from flumegate.exchange import Exchange
from flumegate.records.manage import Explain
from flumegate.snapshot import Snapshot


def imagine(asked: Explain, snapshot: Snapshot, started: float, started_at: float) -> Exchange:
    """Return the exchange of a request that somebody asks about.

    Raises:
        GatewayError: no such request is served here.
    """
    path, mark, query = asked.path.encode("latin-1", "replace").partition(b"?")
    method = asked.method.upper().encode("latin-1", "replace")
    route, plain = find(method, path, snapshot.door.proxy_prefix.rstrip("/").encode("latin-1"))
    exchange = Exchange(NoReply(), method, plain, mark + query)
    exchange.headers = [
        (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in asked.headers
        if name.lower() not in ("host", "content-length", "transfer-encoding", "connection")
    ]
    exchange.picked = {name: value for name, value in exchange.headers if name in READ}
    exchange.special = any(READ[name] for name in exchange.picked)
    exchange.snapshot = snapshot
    exchange.started, exchange.started_at = started, started_at
    exchange.record_id, exchange.request_id = "explain", b"explain"
    exchange.client = ""
    exchange.body = asked.body
    exchange.request_bytes = len(asked.body)
    exchange.kind, exchange.family, exchange.endpoint = route.kind, route.family, route.endpoint
    return exchange
