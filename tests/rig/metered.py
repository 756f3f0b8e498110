"""Models that cost what a test can count, behind one provider, for proofs about limits and budgets."""

from __future__ import annotations

from typing import Any

from flumegate.catalog.load import Price
from flumegate.records.access import Project
from flumegate.snapshot import PriceRow, Provider, Route, Snapshot, Target
from rig.mock import Mock

MICROS_A_TOKEN = 10
PRICE = Price(input=0, output=MICROS_A_TOKEN * 1_000_000)
"""Only output costs: ten micro-dollars a token, and an answer's length is the request's own word."""


def known(mock: Mock, **fields: Any) -> Snapshot:
    up = Provider("up", "openai_compatible", "http", "127.0.0.1", mock.port, "/v1", ("openai",), credential="sk-own")
    names = {"m": "m", "tokens": "m+tokens=10", "slow": "m+tokens=10,latency_ms=300", "long": "m+tokens=100000"}
    given: dict[str, Any] = {
        "models": {name: Route((Target("up", model),)) for name, model in names.items()},
        "prices": (PriceRow("up/*", PRICE),),
        "projects": {"p1": Project("p1", "one"), "off": Project("off", "off", active=False)},
    }
    return Snapshot(1, {"up": up}, **(given | fields))


def chat(nonce: str, model: str = "m", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": f"nonce-{nonce} hello"}], **more}


def calls(mock: Mock, nonce: str) -> int:
    return len(mock.ledger(tag=f"nonce-{nonce}"))
