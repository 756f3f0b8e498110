"""Usage by whatever it is divided by; the sums of every division are the same; on either database."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import insert

from flumegate.manage import usage
from flumegate.manage.usage import DIVISIONS
from flumegate.manage.workers import RefusedError
from flumegate.store.spend import day_name
from flumegate.store.tables import usage_days
from rig.desk import Bench


def fill(desk: Bench) -> int:
    """Return how many requests are stored of the last two days."""
    days = (day_name(desk.time.now), day_name(desk.time.now - 86_400))
    rows = [
        {"day": day, "project": project, "key": key, "provider": "p", "model": model, "requests": number + 1,
         "errors": 1, "input_tokens": 10, "output_tokens": 5, "micros": 3}
        for number, (day, project, key, model) in enumerate(itertools.product(days, "ab", ("k1", "k2"), ("m", "n")))
    ]  # fmt: skip
    with desk.database.transaction() as connection:
        connection.execute(insert(usage_days), rows)
    return sum(int(str(row["requests"])) for row in rows)


def test_however_it_is_divided_the_sum_is_the_same(desk: Bench) -> None:
    total = fill(desk)
    for count in range(len(DIVISIONS) + 1):
        for by in itertools.permutations(DIVISIONS, count):
            report = usage.report(desk, by)
            assert sum(row.requests for row in report.rows) == report.total.requests == total
            assert len({row.place for row in report.rows}) == len(report.rows)
            assert report.whole


def test_a_report_is_narrowed_to_days_project_and_key(desk: Bench) -> None:
    fill(desk)
    today = day_name(desk.time.now)
    assert {row.place for row in usage.report(desk, ["day"], since=today).rows} == {(today,)}
    assert {row.place for row in usage.report(desk, ["project", "key"], project="a", key="k2").rows} == {("a", "k2")}


@pytest.mark.parametrize(("since", "until"), [("2026-02-30", None), ("2030-01-01", "2029-01-01"), ("2000-01-01", None)])
def test_days_that_are_none_are_refused(desk: Bench, since: str, until: str | None) -> None:
    with pytest.raises(RefusedError):
        usage.report(desk, ["day"], since=since, until=until)
