"""Row 44, the data plane: every place x whose key x how it comes decides as one function says.

The table is made from the door's routes and the fields that carry keys. Each decision is told twice, by the answer and
by the record: who was taken for whom, and why not.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pytest

from rig import managed, raw, road
from rig.carriers import Carrier, carriers_of, plain_carriers_of
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.managed import Key, Managed
from rig.mock import Mock, run_mock
from rig.oddities import PLAIN_HOST, Oddity, oddities
from rig.places import KINDS, LISTS, Place, places
from rig.rounds import ask_all

MODEL = "m"
INSIDE = "10.1.2.3"
"""From where the key that may come from elsewhere could be used."""
REFUSED, ADMITTED = "nonce-refused", "nonce-admitted"
"""Two texts: no call with the first may ever reach the upstream."""


class Decision(NamedTuple):
    """What a request is told: 0 = whatever its endpoint answers, but let in."""

    status: int
    code: str = ""


LET_IN = Decision(0)
NO_KEY = Decision(401, "missing_api_key")
UNKNOWN = Decision(401, "invalid_api_key")

CARRIED_WRONGLY = {"two": Decision(400, "conflicting_credentials"), "foreign": Decision(400, "invalid_authorization")}


class Holder(NamedTuple):
    """Somebody with something that may be a key."""

    name: str
    text: str
    refused: Decision = LET_IN
    """Wherever it is used."""
    endpoints: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    id: str = ""
    project: str = ""


def expected(place: Place, holder: Holder, carrier: Carrier) -> Decision:
    """Return the decision; the only place where this proof says what is right."""
    if carrier.meaning == "malformed":
        return Decision(400, "malformed_request")  # no place is looked for in what two readers could read differently
    if place.public:
        return LET_IN
    if carrier.meaning in CARRIED_WRONGLY:
        return CARRIED_WRONGLY[carrier.meaning]
    return NO_KEY if carrier.meaning == "nothing" or not holder.text else _by_rights(place, holder)


def _by_rights(place: Place, holder: Holder) -> Decision:
    if holder.refused is not LET_IN or place.kind in LISTS:
        return holder.refused
    if holder.endpoints and place.kind not in holder.endpoints:
        return Decision(403, "endpoint_not_permitted")
    # All lists of models name others than MODEL.
    return Decision(403, "model_not_permitted") if holder.models else LET_IN


class Case(NamedTuple):
    """One cell of the table."""

    place: Place
    holder: Holder
    carrier: Carrier
    oddity: Oddity = Oddity("nothing odd")

    @property
    def want(self) -> Decision:
        """What is right where nothing is odd."""
        return expected(self.place, self.holder, self.carrier)

    def request(self) -> bytes:
        """Return its bytes."""
        place = self.place
        target = self.oddity.spell(place.path + self.carrier.query)
        fields = [*self.oddity.headers, *self.carrier.headers]
        data = raw.request(target, place.body, method=place.method, headers=fields)
        return data.replace(PLAIN_HOST, self.oddity.host, 1)

    def __str__(self) -> str:
        return f"{self.place} · {self.holder.name} · {self.carrier.name} · {self.oddity.name}"


@dataclasses.dataclass
class Told:
    """What became of a case."""

    case: Case
    status: int
    record: str
    code: str = ""
    whose: str = ""

    @property
    def decision(self) -> Decision:
        """Return it as `expected` says it."""
        # What the upstream refused has passed all of our gates.
        refused = self.status in (400, 401, 403) and not self.code.startswith("upstream_")
        return Decision(self.status, self.code) if refused else LET_IN


class Stage(NamedTuple):
    """A gateway, its management, and everybody who may come."""

    gateway: Gateway
    mock: Mock
    managing: Managed
    own: Holder
    other: Holder
    holders: list[Holder]

    def named(self, name: str) -> Holder:
        """Return one of them."""
        return next(holder for holder in self.holders if holder.name == name)


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.faults)])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with run_mock() as mock:
        config = managed.settings(mock, workers=request.param)
        config["providers"]["claude"] = road.anthropic(mock.port)
        config["providers"]["up"]["default"] = True
        config["models"]["stored"] = "claude/m"
        config["records"] = {"content": "full"}
        with run_gateway(config=config) as gateway:
            managing = Managed(gateway)
            holders = holders_of(gateway, managing)
            yield Stage(gateway, mock, managing, holders[0], holders[1], holders)


def holders_of(gateway: Gateway, managing: Managed) -> list[Holder]:
    """Return everybody; whoever is refused was good a moment ago where that can be."""
    own, other = managing.key(managing.project()), managing.key(managing.project())
    narrow: dict[str, dict[str, Any]] = {
        "only embeddings": {"endpoints": ["embeddings"]},
        "only another model": {"models": ["other", "o*"]},
        "only from elsewhere": {"networks": [f"{INSIDE}/8", "2001:db8::/32"]},
    }
    narrowed = {name: managing.key(managing.project(), **fields) for name, fields in narrow.items()}
    bound = managing.key(managing.project(endpoints=["responses"]))
    left_with_nothing = managing.key(managing.project(), endpoints=["embeddings"])
    names = ("revoked", "closed", "ended", "replaced")
    gone = {name: managing.key(managing.project()) for name in names}
    managing.ask("PATCH", f"/manage/projects/{left_with_nothing.project}", {"endpoints": ["chat"]})
    managing.known(
        own, other, bound, left_with_nothing, *(narrowed[name] for name in narrow if "from" not in name), *gone.values()
    )
    managing.ask("DELETE", f"/manage/keys/{gone['revoked'].id}")
    managing.ask("PATCH", f"/manage/projects/{gone['closed'].project}", {"active": False})
    managing.ask("PATCH", f"/manage/keys/{gone['ended'].id}", {"expires_at": "2020-01-01T00:00:00Z"})
    managing.ask("POST", f"/manage/keys/{gone['replaced'].id}/rotate", {"overlap_days": 0})
    until_refused(gateway, gone.values())
    revoked, expired = Decision(401, "key_revoked"), Decision(401, "key_expired")
    return [
        of("own", own),
        of("of another project", other),
        Holder("of the configuration", road.KEY),
        of("only embeddings", narrowed["only embeddings"], endpoints=("embeddings",)),
        of("only what its project may", bound, endpoints=("responses",)),
        of("whose project was narrowed", left_with_nothing, endpoints=("none",)),
        of("only another model", narrowed["only another model"], models=("other", "o*")),
        of("only from elsewhere", narrowed["only from elsewhere"], Decision(403, "network_not_allowed")),
        of("revoked", gone["revoked"], revoked),
        of("replaced", gone["replaced"], revoked),
        of("expired", gone["ended"], expired),
        of("of a closed project", gone["closed"], Decision(403, "project_inactive")),
        *strangers(gateway, managing, own),
    ]


def of(name: str, key: Key, refused: Decision = LET_IN, **more: Any) -> Holder:
    return Holder(name, key.text, refused, id=key.id, project=key.project, **more)


def strangers(gateway: Gateway, managing: Managed, own: Key) -> Iterator[Holder]:
    """Yield those whose key is none of this plane, or of nobody."""
    yield Holder("nobody", "")
    yield Holder("the console's owner", gateway.admin_token, UNKNOWN)
    viewer = managing.ask("POST", "/manage/admin-tokens", {"name": "v", "role": "viewer"})
    yield Holder("the console's viewer", viewer["token"], UNKNOWN)
    yield Holder("with the provider's credential", road.CREDENTIAL, UNKNOWN)
    digests = managed.table(gateway, "SELECT hex(digest) FROM keys WHERE id = ?", own.id)
    yield Holder("with a stored digest", digests[0][0].lower(), UNKNOWN)
    yield Holder("with an id alone", own.id, UNKNOWN)
    yield Holder("with half a key", own.text[:-20], UNKNOWN)
    yield Holder("with more than a key", own.text + "x", UNKNOWN)
    yield Holder("with another secret", own.text[:-12] + "A" * 12, UNKNOWN)
    yield Holder("with other letters", own.text.swapcase(), UNKNOWN)
    for text in ("null", "undefined", "*", "%", "' OR '1'='1", "sk-fg-", "\xff\xfe"):
        yield Holder(f"who says {text!r}", text, UNKNOWN)


def until_refused(gateway: Gateway, keys: Iterable[Key]) -> None:
    """Return once every worker refuses these keys."""

    def is_out(key: Key) -> bool:
        asked = raw.request("/v1/models", key=key.text)
        return all(raw.ask(gateway.port, asked).status >= 400 for _ in range(managed.KNOWN_IN_A_ROW))

    for key in keys:
        road.eventually(lambda key=key: is_out(key), f"{key.id} is out")  # type: ignore[misc]  # a bound default


def tell(gateway: Gateway, cases: list[Case]) -> list[Told]:
    """Ask them all, in random order: nobody is taken for who came before on the same connection."""
    random.Random(44).shuffle(cases)
    answers = ask_all(gateway.port, (case.request() for case in cases))
    told = [
        Told(case, answer.status, answer.headers.get("x-request-id", ""))
        for case, answer in zip(cases, answers, strict=True)
    ]
    with_records(gateway, told)
    return told


def with_records(gateway: Gateway, told: list[Told]) -> None:
    """Add what was recorded of each: the error's code, in whichever dialect it was said, and whose request it was."""
    rows: dict[str, dict[str, Any]] = {}
    wanted = {each.record for each in told if not each.case.place.public}

    def stored() -> bool:
        found = road.rows(gateway, columns="request_id, error_code, key_id, sequence")
        rows.update({row["request_id"]: row for row in found})
        return wanted <= rows.keys()

    road.eventually(stored, f"{len(wanted)} records", seconds=60)
    for each in told:
        row = rows.get(each.record)
        if row is not None:
            each.code, each.whose = row["error_code"] or "", row["key_id"] or ""


def is_right(told: Told) -> bool:
    """Tell whether a case was decided as it must be."""
    case, want = told.case, told.case.want
    if want is not LET_IN and 200 <= told.status < 300:
        return False
    if not case.oddity.same:
        return want is not LET_IN or told.status not in (401, 403) or bool(case.holder.endpoints or case.holder.models)
    if told.decision != want:
        return False
    return want is not LET_IN or case.place.public or told.whose == case.holder.id or not case.holder.id


def check(stage: Stage, cases: list[Case], what: str) -> list[Told]:
    """Ask, judge, and note the figure."""
    seen = tell(stage.gateway, cases)
    let_in = [each for each in seen if each.status < 300 and each.case.want is not LET_IN]
    wrong = [f"{each.case}: {each.status} {each.code}, not {each.case.want}" for each in seen if not is_right(each)]
    figure(44, f"{what}: unauthorised 2xx {len(let_in)} (0), other decisions {len(wrong)} (0) of {len(seen)}")
    assert not wrong, f"{len(wrong)} of {len(seen)}:\n" + "\n".join(sorted(wrong)[:40])
    assert not stage.mock.ledger(tag=REFUSED), "what was refused reached the upstream"
    return seen


def asked_by(holder: Holder, place: Place) -> bool:
    """Tell whether somebody is let in at a place with their key in a plain carrier."""
    return expected(place, holder, Carrier("", "key")) is LET_IN


def table(holder: Holder) -> list[Place]:
    """Return all places, with a text that says whether this holder may come in."""
    welcome = places(MODEL, ADMITTED)
    turned_away = places(MODEL, REFUSED)
    return [one if asked_by(holder, one) else other for one, other in zip(welcome, turned_away, strict=True)]


def test_the_table_has_every_place() -> None:
    """Whatever the door knows stands in it, and only what says so itself is public."""
    table = places(MODEL, ADMITTED)
    assert {place.kind for place in table} == KINDS
    assert {place.path for place in table if place.public} == {
        "/", "/health", "/api/health", "/live", "/ready", "/metrics", "/metrics/prometheus",
    }  # fmt: skip


def test_every_place_decides_alike_for_every_key(stage: Stage) -> None:
    """Each place x each holder x each field that carries a key."""
    cases = [
        Case(place, holder, carrier)
        for holder in stage.holders
        for place in table(holder)
        for carrier in plain_carriers_of(holder.text)
    ]
    told = check(stage, cases, "data plane, places x keys")
    answered = {str(each.case.place) for each in told if each.case.holder is stage.own and each.status < 300}
    silent = [str(place) for place in table(stage.own) if str(place) not in answered and place.kind != "transparent"]
    assert not silent, f"nobody was answered at {silent}, so refusals there prove nothing"


def test_every_carrier_decides_alike_at_every_place(stage: Stage) -> None:
    """Each place x each way in which a key may come: spelt oddly, twice, beside another, where none is read."""
    turned_away = {str(place): place for place in places(MODEL, REFUSED)}
    cases = [
        Case(place if carrier.meaning == "key" else turned_away[str(place)], holder, carrier)
        for holder in (stage.own, stage.named("revoked"))
        for place in table(holder)
        for carrier in carriers_of(holder.text, stage.other.text)
    ]
    told = check(stage, cases, "data plane, places x carriers")
    decisions = defaultdict(set)
    for each in told:
        if each.case.carrier.meaning == "key":
            decisions[str(each.case.place), each.case.holder.name].add((each.status, each.code, each.whose))
    differing = [f"{place} {holder}: {seen}" for (place, holder), seen in decisions.items() if len(seen) > 1]
    figure(44, f"data plane: decisions that differ between carriers: {len(differing)} of {len(decisions)} (0)")
    assert not differing, "\n".join(differing)


def test_no_odd_request_gets_in_where_a_plain_one_does_not(stage: Stage) -> None:
    """Each place x each oddity of path, host, method and forwarding, for those who may nothing, or little."""
    names = ("own", "nobody", "revoked", "only embeddings", "only another model", "only from elsewhere")
    cases = [
        Case(place, holder, next(plain_carriers_of(holder.text)), oddity)
        for holder in map(stage.named, names)
        for place in table(holder)
        for oddity in oddities(INSIDE)
        if not place.public
    ]
    check(stage, cases, "data plane, places x oddities")


def test_what_comes_behind_a_body_is_no_key(stage: Stage) -> None:
    """Neither as a trailer, nor behind another request's body, nor folded into another field's value."""
    port, own = stage.gateway.port, stage.own.text
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n"
    body = json.dumps(road.chat(MODEL, REFUSED)).encode()
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    bearer = f"authorization: Bearer {own}\r\n".encode()
    chunked = head + b"transfer-encoding: chunked\r\n"
    for request, status in (
        (chunked + b"\r\n" + chunk + bearer + b"\r\n", 401),
        (chunked + b"trailer: authorization\r\n\r\n" + chunk + bearer + b"\r\n", 401),
        (head + b"x-note: a\r\n " + bearer + b"content-length: 0\r\n\r\n", 400),
        (head + b"x-note: a\r" + bearer + b"content-length: 0\r\n\r\n", 400),
        (head + b"x-note: a\n" + bearer + b"content-length: 0\r\n\r\n", 400),
        (head + bearer.replace(b":", b" :") + b"content-length: 0\r\n\r\n", 400),
        (b"GET /v1/models HTTP/1.0\r\nhost: h\r\n\r\n", 401),
        (b"GET /v1/models HTTP/1.1\r\nhost: h\r\n" + bearer[:-2].replace(b"Bearer", b"Bearer\0") + b"\r\n\r\n", 400),
    ):
        assert raw.ask(port, request).status == status, request
    first = raw.request("/v1/models", key=own) + raw.request("/v1/models")
    with raw.wire(port) as wire:
        wire.send(first)
        assert [answer.status for answer in wire.answers(2)] == [200, 401]
    assert not stage.mock.ledger(tag=REFUSED)


def test_objects_of_others_are_not_there(stage: Stage) -> None:
    """A stored response exists for the key that made it, and for nobody else, whatever is asked of it."""
    asked = {"model": "stored", "input": ADMITTED}
    made = raw.ask(stage.gateway.port, raw.request("/v1/responses", asked, key=stage.own.text))
    name = made.json()["id"]
    seen: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for holder in stage.holders:
        for carrier in plain_carriers_of(holder.text):
            for request in _about(name, carrier):
                if holder is not stage.own:
                    answer = raw.ask(stage.gateway.port, request)
                    seen[holder.name].add((answer.status, answer.code))
    for stranger in ("of another project", "of the configuration"):
        assert {status for status, _ in seen[stranger]} == {404}
    let_in = {name: said for name, said in seen.items() if any(status < 300 for status, _ in said)}
    figure(44, f"data plane: answers about another's stored response: {len(let_in)} of {len(seen)} keys (0)")
    assert not let_in
    own = raw.ask(stage.gateway.port, raw.request(f"/v1/responses/{name}", key=stage.own.text))
    assert (own.status, own.json()["id"]) == (200, name)


def _about(name: str, carrier: Carrier) -> Iterator[bytes]:
    path = f"/v1/responses/{name}"
    for method, place in (("GET", path), ("GET", f"{path}/input_items"), ("POST", f"{path}/cancel"), ("DELETE", path)):
        yield raw.request(place, method=method, headers=carrier.headers)
    continued = {"model": "stored", "input": REFUSED, "previous_response_id": name}
    yield raw.request("/v1/responses", continued, headers=carrier.headers)
