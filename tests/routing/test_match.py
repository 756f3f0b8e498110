from __future__ import annotations

import pytest

from flumegate.errors import INVALID_REQUEST, NOT_FOUND, GatewayError
from flumegate.routing.match import Matcher
from flumegate.snapshot import Route, Snapshot, Target, Wildcard
from rig.exchanges import provider, snapshot

KNOWN = snapshot(
    provider("east"),
    provider("west"),
    models={
        "small": Route((Target("west", "small-2024"),)),
        "same": Route((Target("east", ""),)),
        "east/own": Route((Target("west", "not this"),)),
        "north/x": Route((Target("west", "x"),)),
    },
    wildcards=(
        Wildcard("small-long-", "", Route((Target("west", "long"),))),
        Wildcard("small-", "-v2", Route((Target("east", ""),))),
        Wildcard("small-", "", Route((Target("west", ""),))),
    ),
)
DEFAULTED = snapshot(provider("east"), provider("west"), default_provider="west")


@pytest.mark.parametrize(
    ("known", "model", "upstream", "target"),
    [
        (KNOWN, "east/gpt", "", ("east", "gpt")),
        (KNOWN, "east/a/b:c", "", ("east", "a/b:c")),
        (KNOWN, "east/own", "", ("east", "own")),
        (KNOWN, "north/x", "", ("west", "x")),
        (KNOWN, "small", "", ("west", "small-2024")),
        (KNOWN, "same", "", ("east", "same")),
        (KNOWN, "small-long-1", "", ("west", "long")),
        (KNOWN, "small-x-v2", "", ("east", "small-x-v2")),
        (KNOWN, "small--v2", "", ("east", "small--v2")),
        (KNOWN, "small-v2", "", ("west", "small-v2")),
        (KNOWN, "small-", "", ("west", "small-")),
        (DEFAULTED, "anything", "", ("west", "anything")),
        (DEFAULTED, "north/x", "", ("west", "north/x")),
        (DEFAULTED, "east/", "", ("west", "east/")),
        (DEFAULTED, "", "", ("west", "")),
        (snapshot(provider("only")), "", "", ("only", "")),
        (KNOWN, "", "east", ("east", "")),
        (KNOWN, "other", "east", ("east", "other")),
        (KNOWN, "east/gpt", "east", ("east", "gpt")),
        (KNOWN, "west/gpt", "east", ("east", "west/gpt")),
        (KNOWN, "small", "west", ("west", "small-2024")),
        (KNOWN, "small", "east", ("east", "small")),
        (KNOWN, "same", "east", ("east", "same")),
    ],
)
def test_who_serves(known: Snapshot, model: str, upstream: str, target: tuple[str, str]) -> None:
    """Explicit upstream, then provider/model, exact name, longest wildcard, default provider."""
    assert Matcher(known).match(model=model, upstream=upstream).targets == (Target(*target),)


def test_a_model_that_nobody_serves() -> None:
    """404, with the way to find out what there is."""
    with pytest.raises(GatewayError, match="GET /v1/models") as refused:
        Matcher(KNOWN).match(model="other" * 100)
    assert (refused.value.kind, refused.value.code, refused.value.param) == (NOT_FOUND, "model_not_found", "model")
    assert len(refused.value.message) < 400


@pytest.mark.parametrize(("known", "names"), [(KNOWN, "east, west"), (snapshot(), "none")])
def test_an_unknown_upstream_names_the_permitted_ones(known: Snapshot, names: str) -> None:
    """400, as the transparent proxy promises."""
    with pytest.raises(GatewayError, match=rf"one of: {names}\.") as refused:
        Matcher(known).match(model="", upstream="north")
    assert (refused.value.kind, refused.value.code) == (INVALID_REQUEST, "unknown_upstream")


@pytest.mark.parametrize(("known", "names"), [(KNOWN, "east, west"), (snapshot(), "none")])
def test_neither_model_nor_default_is_a_question(known: Snapshot, names: str) -> None:
    """Of several providers none is guessed."""
    with pytest.raises(GatewayError, match=rf"one of {names}\.") as refused:
        Matcher(known).match(model="")
    assert (refused.value.kind, refused.value.code) == (INVALID_REQUEST, "upstream_required")
