"""Row 42: whoever steals the database, the Redis or the key table has nothing that opens anything.

Everything in them that could be a secret is sent as one, as it stands and in the usual encodings: as a client key, as a
token of the console, and as a setup token. The thief has no pepper, which stands in a file of its own.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from flumegate.manage import mint
from flumegate.manage.offer import SETUP_NAME
from flumegate.processes import first_start
from rig import managed, raw
from rig.figures import figure
from rig.gateway import Gateway, run_gateway
from rig.managed import Managed
from rig.mock import run_mock
from rig.oddities import PLAIN_HOST
from rig.postgres import Postgres
from rig.redis import Redis, redis_server
from rig.rounds import ask_all

WORD = re.compile(rb"[!-~]{8,512}")
HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){16,}")
PIECES = re.compile(rb"[\w.+/=-]{8,512}")
IMPORTED = "sk-a-key-from-elsewhere-0123456789"
BY_HASH = "sk-another-key-from-elsewhere-0123"


@pytest.fixture
def redis() -> Iterator[Redis]:
    with redis_server() as running:
        yield running


def used(managing: Managed, gateway: Gateway) -> dict[str, str]:
    """Use everything that leaves something behind, and return the secrets that open something."""
    key = managing.key(managing.project(credentials={"up": "sk-project-0123456789"}), limits={"concurrency": 100})
    managing.ask("PUT", "/manage/budgets", {"scope": f"key:{key.id}", "period": "day", "limit_micros": 10**9})
    old = managing.key(key.project)
    rotated = managing.ask("POST", f"/manage/keys/{old.id}/rotate", {"overlap_days": 1})
    hashed = hashlib.sha256(BY_HASH.encode()).hexdigest()
    managing.ask("POST", "/manage/keys/import", {"keys": [{"token": IMPORTED}, {"sha256": hashed}]})
    tokens = {
        role: managing.ask("POST", "/manage/admin-tokens", {"name": role, "role": role})["token"]
        for role in ("owner", "admin", "viewer")
    }
    repeated = _once(managing)
    assert repeated == _once(managing)  # so its answer, with the key in it, is kept
    managing.known(key)
    assert managed.ask(gateway, key).status == 200
    keys = {"key": key.text, "old": old.text, "rotated": rotated["key"], "imported": IMPORTED, "by hash": BY_HASH}
    return keys | tokens | {"repeated": repeated}


def _once(managing: Managed) -> str:
    head = [("authorization", f"Bearer {managing.gateway.admin_token}"), ("idempotency-key", "once")]
    asked = raw.request("/manage/keys", {"name": "once"}, headers=head).replace(PLAIN_HOST, b"host: 127.0.0.1")
    return str(raw.ask(managing.port, asked).json()["key"])


def values_of(path: Path) -> Iterator[bytes]:
    """Yield every value of every table of an SQLite file."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            for row in database.execute(f'SELECT * FROM "{name}"'):  # noqa: S608 - the schema's own names
                yield from (value if isinstance(value, bytes) else str(value).encode() for value in row)


def redis_values(redis: Redis) -> Iterator[bytes]:
    """Yield names and contents of everything in Redis."""
    names = [line for line in redis.command("KEYS", "*").decode().split("\r\n") if line[:1] not in ("*", "$", "")]
    assert names
    for name in names:
        yield name.encode()
        yield redis.command("DUMP", name)


def candidates_of(values: Iterable[bytes]) -> set[str]:
    """Return everything that could be sent as a secret, made from what was found."""
    found: set[bytes] = set()
    for value in values:
        found.add(value)
        found.update(WORD.findall(value))
        found.update(PIECES.findall(value))
        for text in HEX.findall(value):
            found.add(bytes.fromhex(text.decode()))
    texts: set[str] = set()
    for each in found:
        if len(each) > 512:
            continue
        if WORD.fullmatch(each):
            texts.add(each.decode())
        if len(each) >= 16:
            texts |= {each.hex(), each.hex().upper(), base64.b64encode(each).decode()}
            texts.add(base64.urlsafe_b64encode(each).decode().rstrip("="))
            texts.add(each.decode("latin-1"))  # its very bytes
    dressed = {_dressed(text, kind) for text in texts for kind in (mint.KEY, mint.TOKEN) if len(text) == 43}
    return {text for text in texts | dressed if not re.search(r"[\0\r\n]", text) and text == text.strip()}


def _dressed(text: str, kind: mint.Kind) -> str:
    """Return a text in the form of our secrets, with right check digits."""
    body = f"{kind}00000000-{text.replace('.', '-').replace('+', '-').replace('/', '_')}"
    return body + mint._check(body)


def opens(gateway: Gateway, managing: Managed, texts: list[str]) -> list[str]:
    """Return which of them open something."""
    usable = []
    bearers = [[("authorization", f"Bearer {text}")] for text in texts]
    keys = ask_all(gateway.port, (raw.request("/v1/models", headers=fields) for fields in bearers))
    asked = (raw.request("/manage/self", headers=fields).replace(PLAIN_HOST, b"host: 127.0.0.1") for fields in bearers)
    tokens = ask_all(managing.port, asked)
    for text, key, token in zip(texts, keys, tokens, strict=True):
        if key.status < 300:
            usable.append(f"key {text[:40]}")
        if token.status < 300:
            usable.append(f"token {text[:40]}")
    return usable


@pytest.mark.parametrize(
    "engine", ["sqlite", *(pytest.param(each, marks=pytest.mark.faults) for each in ("sqlite", "postgresql"))]
)
def test_what_is_stored_opens_nothing(engine: str, redis: Redis, request: pytest.FixtureRequest) -> None:
    """Nothing in the database, in Redis, in the key table and in the setup offer is a credential, or becomes one."""
    cluster: Postgres | None = request.getfixturevalue("postgres") if engine == "postgresql" else None
    url = cluster.create_database() if cluster is not None else ""
    with run_mock() as mock:
        settings = managed.settings(mock, workers=1, redis=redis.url)
        if url:
            settings["database"] = {"url": url}
        with run_gateway(config=settings) as gateway:
            managing = Managed(gateway)
            set_up = replayed_offers(gateway, managing)
            secrets = used(managing, gateway)
            right = opens(gateway, managing, [*secrets.values(), gateway.admin_token])
            assert len(right) == len(secrets) + 1, "what opens something is not told by this proof"
            stolen = list(redis_values(redis))
            stolen += [path.read_bytes() for path in (gateway.data_dir / "run").glob("*.tbl")]
            if cluster is not None:
                stolen += cluster.dump(url.rpartition("/")[2]).encode().split()
            else:
                stolen += values_of(gateway.data_dir / "flumegate.db")
                stolen += [path.read_bytes() for path in gateway.data_dir.glob("flumegate.db*")]
            texts = candidates_of(_pieces(stolen))
            digests = {mint.digest_of(first_start.pepper(gateway.data_dir), each).hex() for each in secrets.values()}
            assert len(digests - texts) <= 1, "the digests were not found, so this proved nothing"  # one is of a hash
            usable = opens(gateway, managing, sorted(texts))
    figure(42, f"{engine}: usable credentials among {len(texts)} texts: {len(usable)} (0)")
    figure(42, f"{engine}: setup tokens among what is kept of one: {set_up} (0)")
    assert not usable
    assert not set_up
    assert not texts & set(secrets.values())


def replayed_offers(gateway: Gateway, managing: Managed) -> int:
    """Return how often what is kept of the setup token is taken for it; the token itself is, afterwards, once."""
    kept = json.loads((gateway.data_dir / SETUP_NAME).read_bytes())["digest"]
    found = base64.b64decode(kept)
    body = f"{mint.SETUP}00000000-{base64.urlsafe_b64encode(found).decode().rstrip('=')}"
    tries = [kept, found.hex(), body + mint._check(body), found.decode("latin-1")]
    printed = re.search(r"fg-st-[\w-]+", gateway.logs())
    assert printed is not None
    statuses = [managing.request("POST", "/manage/setup", {"setup_token": text}, token="-")[0] for text in tries]
    right, _ = managing.request("POST", "/manage/setup", {"setup_token": printed[0]}, token="-")
    assert right == 201
    assert set(statuses) <= {400, 401, 422}  # what is random may hold a NUL, which no text of a request may
    return sum(status < 300 for status in statuses)


def _pieces(stolen: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what was stolen, and every aligned 32 bytes of a file that holds digests in a row."""
    for value in stolen:
        if len(value) <= 4096:
            yield value
        else:
            yield from (match for match in WORD.findall(value) if len(match) >= 16)
        if value.startswith(b"FGKT"):
            yield from (value[start : start + 32] for start in range(len(value) - 31))
