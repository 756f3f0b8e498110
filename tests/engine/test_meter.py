"""The short way into limits and budgets beside the long one; what both do: see tests/quota, tests/road/access."""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flumegate.catalog.load import LongRates, Price
from flumegate.dialects import envelope
from flumegate.dialects.registry import ENDPOINTS, Endpoint
from flumegate.engine.meter import Meter
from flumegate.errors import GatewayError
from flumegate.exchange import Exchange
from flumegate.gates.keyring import Access
from flumegate.quota.ledger import line_of
from flumegate.records.access import NO_LIMITS, Budget, Key, Limits, Project
from flumegate.routing.healths import Healths
from flumegate.routing.planner import Planner
from flumegate.snapshot import PriceRow, Snapshot
from rig import cuts
from rig.courses import CHAT
from rig.exchanges import exchange, provider, snapshot
from rig.records import make_record

_DOLLAR = 1_000_000
KNOWN = snapshot(
    provider(),
    default_provider="up",
    prices=(
        PriceRow("free", Price(input=0, output=0)),
        PriceRow("flat", Price(input=_DOLLAR, output=3 * _DOLLAR)),
        PriceRow("long", Price(input=_DOLLAR, output=_DOLLAR, long=LongRates(input=9 * _DOLLAR, above_tokens=50))),
    ),
)
PLANNER = Planner(KNOWN, Healths())
LIMITS = st.builds(
    Limits,
    requests_per_minute=st.sampled_from([0, 2, 5]),
    tokens_per_minute=st.sampled_from([0, 90, 300]),
    concurrency=st.sampled_from([0, 2]),
    max_requests=st.sampled_from([0, 3]),
)
MONEY = st.integers(1, 5_000)
STEPS = st.tuples(
    st.sampled_from(["flat", "flat", "free", "long", "unpriced"]),
    st.sampled_from([None, 7, 7, 200]),
    st.integers(0, 300),
    st.booleans(),
    st.sampled_from([None, None, 0, 40, 400]),
)
"""Model, what bounds the answer, the prompt's length, whether it streams, the tokens that it took; None = it stays."""


class Side:
    """One worker's meter with a key that enters by one of the two ways."""

    def __init__(
        self, key: Limits, project: Limits, money: Sequence[int], *, closely: bool, known: Snapshot = KNOWN
    ) -> None:
        self.known = known
        self.meter = Meter()
        self.enter = self.meter._enter_closely if closely else self.meter.enter
        budgets = [Budget(scope, "total", limit) for scope, limit in zip(("key:k", "project:p"), money, strict=False)]
        self.access = Access(
            Key("k", project="p", limits=key, budgets=tuple(budgets[:1])),
            Project("p", "p", limits=project, budgets=tuple(budgets[1:])),
        )
        for budget in budgets:
            self.meter.ledger.open(line_of(budget, time()).account, 0)
        for holder in self.access.holders:
            self.meter.book.tell(holder.name, 0)

    def ask(self, model: str, body: bytes, took: int | None = None, endpoint: Endpoint = CHAT) -> tuple[object, ...]:
        """Enter, and leave if it took something; return all that can be seen of it."""
        made: Exchange = exchange(body=body, known=self.known)
        seen = envelope.read(body)
        made.stream = bool(seen.stream)
        made.model_requested = model
        made.record_id = str(id(made))
        try:
            lines = self.enter(made, self.access, PLANNER.course(endpoint, model), seen)
        except GatewayError as error:
            return error.code, made.stay
        assert isinstance(lines, bytes)
        stay = made.stay
        held = (stay.held, stay.tokens) if stay is not None else None
        if took is not None:
            made.sent, made.status = 0.0, 200
            self.meter.settle([made], [make_record(1, input_tokens=0, output_tokens=took, cost_micros=took)])
            assert made.stay is None
        return lines, held

    @property
    def counted(self) -> list[object]:
        """All that stands in its book and its ledger, and how many streams it watches."""
        allowance = self.access.allowance
        sheets = [(sheet.requests, sheet.tokens, sheet.active, sheet.served) for sheet in allowance.sheets]
        return [sheets, [(account.spent, account.held) for account in allowance.accounts], len(self.meter._streams)]


@settings(cuts.law, max_examples=500)
@given(
    LIMITS.filter(lambda limits: limits != NO_LIMITS),
    st.just(NO_LIMITS) | LIMITS,
    st.tuples(MONEY) | st.lists(MONEY, max_size=2),
    st.lists(STEPS, min_size=3, max_size=9),
)
def test_the_short_way_and_the_long_one_are_the_same(
    key: Limits,
    project: Limits,
    money: Sequence[int],
    steps: list[tuple[str, int | None, int, bool, int | None]],
) -> None:
    """For every request that enters, or does not; what it holds, what it is told, and what is counted of it."""
    short, long = (Side(key, project, money, closely=closely) for closely in (False, True))
    for model, most, length, stream, took in steps:
        words = {"max_tokens": most, "stream": stream, "prompt": "x" * length}
        body = json.dumps({"model": model, **words}).encode()
        assert short.ask(model, body, took) == long.ask(model, body, took)
        assert short.counted == long.counted


OTHERS = ("max_completion_tokens", "max_output_tokens", "n", "options", "generationConfig")
INNER = {"num_predict": 900, "candidateCount": 2}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("value", [None, 0, 9, 900, INNER])
@pytest.mark.parametrize("most", [None, -1, 0, 1, 200, 2**62])
def test_whatever_bounds_an_answer_the_same_is_held(most: int | None, other: str, value: object) -> None:
    """Where there is room for all of it."""
    short, long = (Side(Limits(9), NO_LIMITS, [10**30], closely=closely) for closely in (False, True))
    for words in ({"max_tokens": most}, {"max_tokens": most, other: value}, {other: value}):
        body = json.dumps({"model": "flat", **words}).encode()
        assert short.ask("flat", body) == long.ask("flat", body)


@pytest.mark.parametrize("limits", [Limits(2), Limits(0, 20), Limits(0, 0, 2), Limits(0, 0, 0, 2)], ids=str)
def test_the_last_place_is_given_and_none_beyond_it(limits: Limits) -> None:
    """Of requests, tokens, those under way, those of a life."""
    body = json.dumps({"model": "flat", "max_tokens": 1}).encode()
    sides = [Side(limits, NO_LIMITS, [1_000], closely=closely) for closely in (False, True)]
    told = [[side.ask("flat", body) for side in sides] for _ in range(5)]
    assert all(short == long for short, long in told)
    assert any("exceeded" in str(short[0]) for short, _ in told)


@pytest.mark.parametrize("spent", [29, 30, 31])
def test_what_is_free_needs_a_budget_with_something_left(spent: int) -> None:
    """The last cent is given, and nothing beyond it."""
    for closely in (False, True):
        side = Side(Limits(9), NO_LIMITS, [30], closely=closely)
        side.ask("flat", b'{"model":"flat","max_tokens":1}', spent)
        (told, *_) = side.ask("free", b'{"model":"free","max_tokens":1}')
        assert (told == "budget_exceeded") == (spent >= 30)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_an_answer_whose_length_is_not_stated_is_held_for_all_the_same(endpoint: Endpoint) -> None:
    """Where there is an answer that has a length; three dollars a million tokens of it, one of the prompt's.

    Vendors count tokens for nothing.
    """
    side = Side(Limits(9), NO_LIMITS, [10**6], closely=False)
    body = b'{"model":"flat"}'
    wanted = {"answer": len(body) // 4 + 3 * 4_096, "embed": len(body) // 4, "count": 0}[endpoint.does]
    for _ in range(2):
        assert side.ask("flat", body, 0, endpoint)[1] == (wanted, len(body) // 4)


def test_a_models_own_budget_counts_for_a_key_that_is_known_already() -> None:
    """The short way is for keys alone."""
    budget = Budget("model:flat", "total", 1)
    side = Side(Limits(9), NO_LIMITS, [10**6], closely=False)
    side.ask("flat", b'{"model":"flat","max_tokens":1}', 0)
    side.known = replace(KNOWN, model_budgets={budget.scope: (budget,)})
    side.meter.ledger.open(line_of(budget, time()).account, 0)
    assert side.ask("flat", b'{"model":"flat","max_tokens":1}')[0] == "budget_exceeded"
    assert side.ask("free", b'{"model":"free","max_tokens":1}')[0] != "budget_exceeded"
