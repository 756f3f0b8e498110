"""Rows of the records database as a test waits for them: by request id, with a deadline."""

from __future__ import annotations

import json
import time
from typing import Any

from rig.gateway import Gateway

ROW_SECONDS = 30.0
POLL_SECONDS = 0.02


def row_of(gateway: Gateway, request_id: str) -> dict[str, Any]:
    """Return the one row of a request once it is stored; `attempts` and `losses` as values.

    Raises:
        AssertionError: it was not stored in time, or is there twice.
    """
    limit = time.monotonic() + ROW_SECONDS
    while True:
        found = [row for row in gateway.records() if row["request_id"] == request_id]
        if found:
            assert len(found) == 1, f"{request_id} was recorded {len(found)} times"
            return found[0] | {name: json.loads(found[0][name]) for name in ("attempts", "losses")}
        assert time.monotonic() < limit, f"{request_id} was not recorded in time"
        time.sleep(POLL_SECONDS)
