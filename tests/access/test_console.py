"""Row 44, the management API: every endpoint x whose token x how it comes x oddity decides as one function says.

The table is made from the console's own endpoints and the permissions that they declare. Who may not do something asks
for objects that exist, which are the same afterwards; who may asks for objects that do not.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fastapi.routing import APIRoute

from flumegate.console import application
from flumegate.console.application import ENDPOINTS
from flumegate.console.endpoint import Endpoint
from flumegate.console.guard import SETUP_PATH
from flumegate.console.permission import NOBODY, PERMISSIONS, Permission
from flumegate.manage import mint
from flumegate.manage.actor import ROLES, Role
from flumegate.processes import first_start
from rig import managed, raw, road
from rig.carriers import Carrier, carriers_of
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.managed import Managed
from rig.mock import run_mock
from rig.oddities import PLAIN_HOST, Oddity, oddities
from rig.postgres import Postgres
from rig.raw import Answer
from rig.rounds import ask_all

LOOPBACK = b"host: 127.0.0.1"
NOTHING_ODD = Oddity("nothing odd")
PLAIN = "bearer"
UNKNOWN = frozenset({(401, "invalid_admin_token"), (429, "too_many_tries")})
"""A wrong token is told that, or to wait; it is the same refusal."""
DENIED = frozenset({(403, "permission_denied")})
IDS_OF_NOBODY = {"project_id": "p-none", "key_id": "k-none", "token_id": "t-none", "sequence": "999999999"}
NAMES_OF_NOBODY = {"name": "none", "name:path": "none/none"}


class Holder(NamedTuple):
    """Somebody with something that may be a token."""

    name: str
    text: str
    role: Role | None = None
    """None: it is no token that is good for anything."""


class Case(NamedTuple):
    """One cell of the table."""

    endpoint: Endpoint
    path: str
    holder: Holder
    carrier: Carrier
    oddity: Oddity = NOTHING_ODD

    def request(self) -> bytes:
        """Return its bytes, without a body: whoever is refused is so before one is looked at."""
        target = self.oddity.spell(self.path + self.carrier.query)
        fields = [*self.oddity.headers, *self.carrier.headers]
        data = raw.request(target, method=self.endpoint.method, headers=fields)
        return data.replace(PLAIN_HOST, LOOPBACK if self.oddity.host == PLAIN_HOST else self.oddity.host, 1)

    def __str__(self) -> str:
        line = f"{self.endpoint.method} {self.path}"
        return f"{line} · {self.holder.name} · {self.carrier.name} · {self.oddity.name}"


def expected(endpoint: Endpoint, holder: Holder, carrier: Carrier) -> frozenset[tuple[int, str]] | None:
    """Return how a request is refused, None where it is not; the only place where this proof says what is right."""
    if endpoint.path == SETUP_PATH:
        return None  # open to everybody, and good for nothing without a setup token in the body
    if holder.role is None or not carries(carrier):
        return UNKNOWN
    return None if endpoint.permission in PERMISSIONS[holder.role] else DENIED


def carries(carrier: Carrier) -> bool:
    """Tell whether a token counts: one Authorization field with Bearer, whatever else comes beside it."""
    values = [value.strip() for name, value in carrier.headers if name.lower() == "authorization"]
    return len(values) == 1 and re.match("(?i)bearer +[^ ]", values[0]) is not None


class Stage(NamedTuple):
    """A gateway, everybody who may come, and objects that nobody may touch."""

    gateway: Gateway
    managing: Managed
    holders: list[Holder]
    names: dict[str, str]

    def named(self, name: str) -> Holder:
        """Return one of them."""
        return next(holder for holder in self.holders if holder.name == name)

    def state(self) -> list[Any]:
        """Return everything that a change would show in."""
        found = [self.managing.ask("GET", f"/manage/{what}") for what in ("projects", "keys", "budgets", "providers")]
        found.append(
            [{**each, "last_used_at": None} for each in self.managing.ask("GET", "/manage/admin-tokens")["tokens"]]
        )
        found.append([each["state"] for each in self.managing.ask("GET", "/manage/targets")["targets"]])
        return found


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.faults)])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    sections: dict[str, Any] = {}
    if request.param == "postgresql":
        cluster: Postgres = request.getfixturevalue("postgres")
        sections["database"] = {"url": cluster.create_database()}
    with run_mock() as mock, run_gateway(config=managed.settings(mock, workers=1, **sections)) as gateway:
        managing = Managed(gateway)
        key = managing.key(managing.project())
        managing.known(key)
        managing.ask("PUT", "/manage/budgets", {"scope": f"key:{key.id}", "period": "day", "limit_micros": 10**9})
        owner = managing.ask("POST", "/manage/admin-tokens", {"name": "untouched", "role": "owner"})
        names = {"project_id": key.project, "key_id": key.id, "token_id": owner["id"], "sequence": "1"}
        holders = [*people(gateway, managing), Holder("a client", key.text)]
        yield Stage(gateway, managing, holders, names | {"name": "up", "name:path": "up/m"})


def people(gateway: Gateway, managing: Managed) -> Iterator[Holder]:
    """Yield those who may something, those who no longer may, and those who never could."""
    made = {role: managing.ask("POST", "/manage/admin-tokens", {"name": role, "role": role}) for role in ROLES}
    yield Holder("the file's owner", gateway.admin_token, "owner")
    yield from (Holder(role, made[role]["token"], role) for role in ROLES)
    revoked = managing.ask("POST", "/manage/admin-tokens", {"name": "gone", "role": "owner"})
    managing.ask("DELETE", f"/manage/admin-tokens/{revoked['id']}")
    yield Holder("revoked", revoked["token"])
    text = made["owner"]["token"]
    digest = mint.digest_of(first_start.pepper(gateway.data_dir), text)
    yield Holder("with a stored digest", digest.hex())
    yield Holder("with another secret", text[:-12] + "A" * 12)
    yield Holder("with half a token", text[:-10])
    yield Holder("with more than a token", text + "x")
    yield Holder("with a key of the configuration", road.KEY)
    yield Holder("with the provider's credential", road.CREDENTIAL)
    yield Holder("nobody", "")


def path_of(endpoint: Endpoint, names: dict[str, str]) -> str:
    path = endpoint.path
    for name, value in names.items():
        path = path.replace("{" + name + "}", value)
    assert "{" not in path, f"say what stands for the parameter in {endpoint.path}"
    return path


def case_of(stage: Stage, endpoint: Endpoint, holder: Holder, carrier: Carrier, oddity: Oddity = NOTHING_ODD) -> Case:
    """Return a cell that asks for what exists where that must be refused."""
    refused = expected(endpoint, holder, carrier) is not None
    names = stage.names if refused else IDS_OF_NOBODY | NAMES_OF_NOBODY
    return Case(endpoint, path_of(endpoint, names), holder, carrier, oddity)


def plain(holder: Holder) -> Carrier:
    return next(each for each in carriers_of(holder.text, "") if each.name == PLAIN)


def check(stage: Stage, cases: list[Case], what: str) -> None:
    """Ask, judge, note the figure, and see that nothing was changed by anybody."""
    random.Random(44).shuffle(cases)
    before = stage.state()
    answers = ask_all(stage.managing.port, (case.request() for case in cases))
    let_in, wrong = 0, []
    for case, answer in zip(cases, answers, strict=True):
        want = expected(case.endpoint, case.holder, case.carrier)
        let_in += want is not None and answer.status < 300
        if not is_right(case, want, answer):
            wrong.append(f"{case}: {answer.status} {answer.body[:120]!r}, not {want}")
    figure(44, f"{what}: unauthorised 2xx {let_in} (0), other decisions {len(wrong)} (0) of {len(cases)}")
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(sorted(wrong)[:40])
    assert stage.state() == before


def is_right(case: Case, want: frozenset[tuple[int, str]] | None, answer: Answer) -> bool:
    """Tell whether a case was decided as it must be."""
    if case.endpoint.path == SETUP_PATH:
        return answer.status >= 400
    if case.oddity.spell is not str or case.oddity.host != PLAIN_HOST:
        return want is None or answer.status >= 400  # another place, or none; or a name that is not this machine's
    told = (answer.status, code_of(answer))
    return told not in UNKNOWN | DENIED if want is None else told in want


def code_of(answer: Answer) -> str:
    """Return the code of a refusal; empty of anything else."""
    if answer.status < 400 or not answer.body.startswith(b"{"):
        return ""
    return str(json.loads(answer.body)["error"]["code"])


@pytest.mark.parametrize("_", [0, pytest.param(1, marks=pytest.mark.faults)])  # a figure of the fault matrix, too
def test_every_route_declares_a_permission(_: int) -> None:
    """One of those that roles have; without a token there is one thing to do; nothing stands beside the table."""
    served = [route for route in application.compose().routes if isinstance(route, APIRoute)]
    assert len(served) == len(application.compose().routes) == len(ENDPOINTS)
    undeclared = []
    for route in served:
        declared = {each.dependency for each in route.dependencies if isinstance(each.dependency, Permission)}
        if len(declared) != 1 or not declared <= PERMISSIONS["owner"] | NOBODY:
            undeclared.append(route.path)
    figure(44, f"management: routes without one declared permission: {len(undeclared)} of {len(served)} (0)")
    assert not undeclared
    assert [endpoint.path for endpoint in ENDPOINTS if endpoint.permission in NOBODY] == [SETUP_PATH]


def test_every_endpoint_decides_for_every_token(stage: Stage) -> None:
    """Each endpoint x each holder: of every role, of none any more, of none ever."""
    cases = [case_of(stage, endpoint, holder, plain(holder)) for endpoint in ENDPOINTS for holder in stage.holders]
    check(stage, cases, "management, endpoints x tokens")


def test_a_token_counts_in_one_carrier_alone(stage: Stage) -> None:
    """Each endpoint x each way in which a token may come: elsewhere than in one Authorization field it is none."""
    owner = stage.named("owner")
    cases = [
        case_of(stage, endpoint, owner, carrier)
        for endpoint in ENDPOINTS
        for carrier in carriers_of(owner.text, stage.named("viewer").text)
    ]
    check(stage, cases, "management, endpoints x carriers")


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.faults)])
def test_no_odd_request_does_what_a_plain_one_may_not(stage: Stage, every: bool) -> None:
    """Endpoints x each oddity of path, host, method and forwarding, for those who may nothing, or little.

    By default one endpoint of each method and permission, since each denial is a row of the audit trail.
    """
    kinds = {(each.method, each.permission.name): each for each in ENDPOINTS}
    cases = [
        case_of(stage, endpoint, holder, plain(holder), oddity)
        for endpoint in (ENDPOINTS if every else kinds.values())
        for holder in (stage.named("nobody"), stage.named("auditor"))
        for oddity in oddities("127.0.0.1")
    ]
    check(stage, cases, "management, endpoints x oddities")


def test_nothing_is_served_beside_the_table(stage: Stage) -> None:
    """Not even to the owner: no pages of a framework's, no data plane, no health."""
    owner = plain(stage.named("owner"))
    paths = "/ /docs /redoc /openapi.json /docs/oauth2-redirect /metrics /health /v1/models /v1/chat/completions"
    paths += " /manage /manage/ /manage/setup /static/x /admin /.git/config"
    requests = [
        raw.request(path, method=method, headers=owner.headers).replace(PLAIN_HOST, LOOPBACK)
        for path in paths.split()
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH")
    ]
    statuses = {answer.status for answer in ask_all(stage.managing.port, requests)}
    # What is there beside the table wants a body, and is not asked too often: /manage/setup.
    assert statuses <= {400, 404, 405, 429}


@pytest.mark.parametrize("role", ROLES)
def test_nobody_makes_or_ends_a_token_above_their_own(stage: Stage, role: Role) -> None:
    """Each role x a token of each role: made and taken away by whoever may, and by nobody else."""
    ranks = {"owner": 3, "admin": 2, "operator": 1, "viewer": 0, "auditor": 0}
    mine = stage.named(role).text
    for other in ROLES:
        theirs = stage.managing.ask("POST", "/manage/admin-tokens", {"name": "theirs", "role": other})
        may = role in ("owner", "admin") and ranks[role] >= ranks[other]
        asked = {"name": "new", "role": other}
        made, _ = stage.managing.request("POST", "/manage/admin-tokens", asked, token=mine)
        ended, _ = stage.managing.request("DELETE", f"/manage/admin-tokens/{theirs['id']}", token=mine)
        assert (made, ended) == ((201, 204) if may else (403, 403)), other
        left = stage.managing.ask("GET", f"/manage/admin-tokens/{theirs['id']}")["state"]
        assert left == ("revoked" if may else "active")
