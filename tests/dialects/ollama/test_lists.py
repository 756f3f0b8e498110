from __future__ import annotations

import json

from ollama import ListResponse, ProcessResponse, ShowResponse

from flumegate.dialects.ollama.lists import VERSION, write_ps, write_show, write_tags, write_version


def test_tags() -> None:
    """Every model under its own name, since when it is there, and a digest that clients can shorten."""
    models = json.loads(write_tags([("heron", 0), ("sea/gull:8b", 1772600767)]))["models"]
    assert [(one["name"], one["model"], one["modified_at"]) for one in models] == [
        ("heron", "heron", "1970-01-01T00:00:00Z"),
        ("sea/gull:8b", "sea/gull:8b", "2026-03-04T05:06:07Z"),
    ]
    assert len({one["digest"] for one in models}) == 2
    assert {len(one["digest"]) for one in models} == {64}
    assert json.loads(write_tags([])) == {"models": []}


def test_the_vendors_client_takes_them() -> None:
    """Their own types accept every list."""
    assert ListResponse.model_validate_json(write_tags([("heron", 0)])).models[0].model == "heron"
    assert not ProcessResponse.model_validate_json(write_ps()).models
    assert ShowResponse.model_validate_json(write_show("heron")).capabilities == ["completion", "tools"]


def test_version() -> None:
    """Three numbers, which clients compare."""
    assert json.loads(write_version()) == {"version": VERSION}
    assert all(part.isdigit() for part in VERSION.split("."))
