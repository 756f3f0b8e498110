"""Promise: what is cut when the time to drain is over is recorded, over TLS, too."""

from __future__ import annotations

from pathlib import Path

from rig import raw, road
from rig.authority import Authority
from rig.gateway import run_gateway
from rig.scripted import Step, scripted_upstream
from rig.sockets import Caller

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"


def test_answers_that_are_cut_at_the_end_of_the_drain_are_recorded(tmp_path: Path) -> None:
    """TLS tells of a lost connection one turn of the event loop later than TCP does; its records are not late."""
    authority = Authority(tmp_path)
    mine = authority.issue("localhost")
    tls = {"cert": str(mine.certificate), "key": str(mine.key)}
    tags = [f"drained-{number}" for number in range(5)]
    with scripted_upstream() as upstream:
        upstream.play(HEAD, Step.HANG)
        settings = road.settings({"up": road.compatible(upstream.port, default=True)})
        settings["server"] = {"tls": tls, "drain_seconds": 0}
        with run_gateway(config=settings) as gateway:
            callers = [Caller(gateway.port, authority.client()) for _ in tags]
            for caller, tag in zip(callers, tags, strict=True):
                caller.send(raw.request(body=road.chat(), key=road.KEY, headers=[("x-request-id", tag)]))
                assert caller.read_head()[0] == 200
            assert gateway.stop() == 0
            for caller in callers:
                caller.close()
            assert sorted(row["request_id"] for row in road.rows(gateway, "outcome = 'cancelled'")) == tags
