"""`flumegate budget …` and `flumegate usage`: what may be spent, and what was. Amounts are dollars."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlencode

from flumegate.cli import operator
from flumegate.cli.amounts import read_dollars, read_end, show_dollars
from flumegate.cli.operator import USAGE_EXIT, CommandError
from flumegate.cli.page import print_rows, short_time
from flumegate.cli.reach import HERE, Reach

Period = Literal["day", "month", "total"]
By = Literal["day", "project", "key", "provider", "model"]


def list_budgets(scope: str | None = None, /, *, reach: Reach = HERE) -> int:
    """List budgets, with what was spent of them.

    Args:
        scope: Of this scope only.
        reach: Where the console is.
    """

    def action() -> None:
        query = f"?{urlencode({'scope': scope})}" if scope else ""
        _show(reach, reach.ask("GET", f"/manage/budgets{query}"))

    return operator.run("budget list", action)


def set_budget(
    scope: str,
    /,
    *,
    daily: str | None = None,
    monthly: str | None = None,
    total: str | None = None,
    soft_percent: int = 80,
    reach: Reach = HERE,
) -> int:
    """Set what may be spent. At the limit requests are refused, and running streams are ended.

    Args:
        scope: key:ID, project:ID, model:NAME or project:ID/model:NAME.
        daily: Dollars in a day (UTC).
        monthly: Dollars in a month.
        total: Dollars in all.
        soft_percent: From this part on, answers warn.
        reach: Where the console is.
    """

    def action() -> None:
        given = [(period, read_dollars(amount)) for period, amount in _named(daily, monthly, total)]
        if not given:
            raise CommandError(USAGE_EXIT, "say how much, with --daily, --monthly or --total")
        told = [
            reach.ask(
                "PUT",
                "/manage/budgets",
                {"scope": scope, "period": period, "limit_micros": micros, "soft_percent": soft_percent},
            )
            for period, micros in given
        ]
        _show(reach, {"budgets": told})

    return operator.run("budget set", action)


def raise_budget(scope: str, amount: str, /, *, until: str, period: Period = "month", reach: Reach = HERE) -> int:
    """Raise a budget for a while.

    Args:
        scope: Whose it is, as in budget list.
        amount: Dollars on top of its limit; 0 takes a raise back.
        until: When the raise ends, as 12h, 3d or 2027-01-31.
        period: Which of its budgets.
        reach: Where the console is.
    """

    def action() -> None:
        body = {"scope": scope, "period": period, "micros": read_dollars(amount), "expires_at": read_end(until)}
        _show(reach, {"budgets": [reach.ask("POST", "/manage/budgets/raise", body)]})

    return operator.run("budget raise", action)


def remove_budget(scope: str, /, *, period: Period, reach: Reach = HERE) -> int:
    """Take a budget away; what was spent stays known.

    Args:
        scope: Whose it is.
        period: Which of its budgets.
        reach: Where the console is.
    """
    query = urlencode({"scope": scope, "period": period})
    return operator.run("budget remove", lambda: _done(reach, reach.ask("DELETE", f"/manage/budgets?{query}")))


def show_usage(
    *,
    by: list[By] | None = None,
    since: str | None = None,
    until: str | None = None,
    project: str | None = None,
    key: str | None = None,
    reach: Reach = HERE,
) -> int:
    """Sum up requests, tokens and dollars; of the last 30 days where no others are named.

    Args:
        by: day, project, key, provider or model; several times to divide further. Without it, day.
        since: First day, as 2026-11-01, in UTC.
        until: Last day, included.
        project: Of this project only, by id.
        key: Of this key only, by id.
        reach: Where the console is.
    """

    def action() -> None:
        from flumegate.cli.projects import find_id

        divisions = by or ["day"]
        named = {"since": since, "until": until, "key_id": key}
        if project is not None:
            named["project_id"] = find_id(reach, project)
        query = urlencode([("by", each) for each in divisions] + [(k, v) for k, v in named.items() if v is not None])
        told = reach.ask("GET", f"/manage/usage?{query}")
        if reach.json:
            operator.print_json(told)
            return
        headings = (*divisions, "requests", "errors", "tokens in", "tokens out", "cost")
        rows = [(*row["of"].values(), *_amounts(row)) for row in told["rows"]]
        rows.append((*("total", *[""] * (len(divisions) - 1)), *_amounts(told["total"])))
        print_rows(headings, rows, "")
        if not told["whole"]:
            raise CommandError(operator.REFUSED_EXIT, "there is more than one report holds: name fewer days")

    return operator.run("usage", action)


def _amounts(row: dict[str, Any]) -> tuple[str, ...]:
    counts = (row["requests"], row["errors"], row["input_tokens"], row["output_tokens"])
    return (*(f"{count:,}" for count in counts), show_dollars(row["micros"]))


def _named(daily: str | None, monthly: str | None, total: str | None) -> list[tuple[Period, str]]:
    periods: tuple[tuple[Period, str | None], ...] = (("day", daily), ("month", monthly), ("total", total))
    return [(period, amount) for period, amount in periods if amount is not None]


def _show(reach: Reach, told: dict[str, Any]) -> None:
    if reach.json:
        operator.print_json(told)
        return
    rows = [
        (
            each["scope"],
            each["period"],
            show_dollars(each["limit_micros"]),
            show_dollars(each["spent_micros"]),
            f"{show_dollars(each['raised_micros'])} until {short_time(each['raised_until'])}"
            if each["raised_micros"]
            else "",
        )
        for each in told["budgets"]
    ]
    print_rows(("scope", "period", "limit", "spent", "raised"), rows, "there are no budgets: flumegate budget set")


def _done(reach: Reach, told: dict[str, Any]) -> None:
    if reach.json:
        operator.print_json(told)
