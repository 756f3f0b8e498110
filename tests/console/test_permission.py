from __future__ import annotations

import pytest
from fastapi import Depends, FastAPI
from starlette.requests import Request

from flumegate.console import permission
from flumegate.console.permission import OPERATE, READ, UndeclaredError, check_declared
from flumegate.console.problems import ConsoleError


def bare() -> FastAPI:
    return FastAPI(openapi_url=None, docs_url=None, redoc_url=None)


async def nothing() -> None:
    return None


def test_an_endpoint_without_a_permission_stops_the_start() -> None:
    """Nobody decided who may use it."""
    app = bare()
    app.add_api_route("/a", nothing, dependencies=[Depends(READ)])
    check_declared(app)
    app.add_api_route("/b", nothing, dependencies=[Depends(nothing)])
    with pytest.raises(UndeclaredError, match="/b"):
        check_declared(app)


def test_routes_of_other_kinds_stop_it_too() -> None:
    """A page of documentation that came with the framework is an endpoint as well."""
    with pytest.raises(UndeclaredError, match=r"/openapi\.json"):
        check_declared(FastAPI())


async def test_who_lacks_the_permission_is_refused() -> None:
    request = Request({"type": "http", "state": {"permissions": frozenset({READ})}})
    await READ(request)
    with pytest.raises(ConsoleError, match="operate") as refused:
        await OPERATE(request)
    assert (refused.value.status, refused.value.code) == (403, "permission_denied")


def test_roles_differ_by_what_they_may_see_and_do() -> None:
    """Secrets, money, the trail and prompts are not one right; without a token there is one thing to do."""
    rights = {role: {each.name for each in granted} for role, granted in permission.PERMISSIONS.items()}
    assert rights["owner"] == rights["admin"] == {each.name for each in permission.ALL}
    assert rights["operator"] == {"read", "read_usage", "operate", "write"}
    assert rights["viewer"] == {"read", "read_usage"}
    assert rights["auditor"] == {"read", "read_usage", "read_audit"}
    assert {each.name for each in permission.NOBODY} == {"set_up"}
