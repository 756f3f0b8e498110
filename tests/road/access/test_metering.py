"""Keys, limits and budgets on the road: what is refused never reaches the upstream, what is held is given back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from flumegate.dialects.tap import STREAM_BYTES_A_TOKEN
from flumegate.engine import meter
from flumegate.gates.digest import digest
from flumegate.keytable import build
from flumegate.quota.period import name_of
from flumegate.records.access import Budget, Key, Limits, Project
from flumegate.records.balance import Balance, Sought
from flumegate.snapshot import PriceRow, Provider, Route, Snapshot, Target
from rig.metered import MICROS_A_TOKEN, PRICE, calls, chat, known
from rig.mock import Mock, run_mock
from rig.worker import PEPPER, Worker, run_worker, until


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with run_mock() as running:
        yield running


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    async with run_worker(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        (Key("k", state="revoked"), 401, "key_revoked"),
        (Key("k", expires_at=1.0), 401, "key_expired"),
        (Key("k", project="off"), 403, "project_inactive"),
        (Key("k", project="gone"), 403, "project_inactive"),
        (Key("k", models=("other", "o*")), 403, "model_not_permitted"),
        (Key("k", endpoints=("embeddings",)), 403, "endpoint_not_permitted"),
        (Key("k", networks=("10.0.0.0/8", "fd00::/8")), 403, "network_not_allowed"),
        (None, 401, "invalid_api_key"),
    ],
)
async def test_a_key_that_may_not_is_refused(
    worker: Worker, mock: Mock, key: Key | None, status: int, code: str
) -> None:
    """With a code of its own for each reason, and before anything is sent."""
    worker.apply(known(mock), {"sk-one": key} if key is not None else {})
    reply = await worker.post("sk-one", chat(code))
    assert (reply.status, reply.error()["code"]) == (status, code)
    assert calls(mock, code) == 0


async def test_a_key_that_may_is_served(worker: Worker, mock: Mock) -> None:
    """Patterns, endpoints and networks that fit; the expiry lies ahead."""
    key = Key(
        "k", "p1", expires_at=time.time() + 60, models=("x", "m*"), endpoints=("chat",), networks=("127.0.0.0/8",)
    )
    worker.apply(known(mock), {"sk-one": key})
    assert (await worker.post("sk-one", chat("may"))).status == 200


async def test_a_budget_that_is_nearly_spent_warns(
    worker: Worker, mock: Mock, capfd: pytest.CaptureFixture[str]
) -> None:
    """In every answer from its part on, of all budgets the one of which most is spent; once in the log."""
    cost = 10 * MICROS_A_TOKEN
    own = Budget("key:k", "total", 10 * cost, soft_percent=50)
    snapshot = known(
        mock, projects={"p1": Project("p1", "one", budgets=(Budget("project:p1", "month", 4 * cost, 50),))}
    )
    worker.apply(snapshot, {"sk-one": Key("k", budgets=(own,)), "sk-two": Key("l", "p1", budgets=(own,))})
    warned = {}
    for key, count in (("sk-one", 6), ("sk-two", 4)):
        replies = [await worker.post(key, chat("soft", "tokens", max_tokens=10)) for _ in range(count)]
        assert [reply.status for reply in replies] == [200] * count
        warned[key] = [reply.headers.get("x-flumegate-budget-warning") for reply in replies]
    assert warned["sk-one"] == [None] * 5 + ["key total 50%"]
    # The same budget of the other key goes on where the first has left it.
    assert warned["sk-two"] == [f"key total {part}%" for part in (60, 70, 80, 90)]
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "budget_nearly_spent" in line]
    assert [(line["budget"], line["percent"]) for line in lines] == [("key:k", 50), ("project:p1", 50)]


async def test_a_projects_own_credential_travels(worker: Worker, mock: Mock) -> None:
    """And nobody else's requests carry it."""
    snapshot = known(mock, project_credentials={"p1": {"up": "sk-of-the-project"}})
    worker.apply(snapshot, {"sk-one": Key("k", "p1"), "sk-two": Key("l")})
    await worker.post("sk-one", chat("project"))
    await worker.post("sk-two", chat("nobody"))
    for nonce, credential in (("project", "sk-of-the-project"), ("nobody", "sk-own")):
        assert ["authorization", f"Bearer {credential}"] in mock.ledger(tag=f"nonce-{nonce}")[0]["headers"]


async def test_requests_a_minute(worker: Worker, mock: Mock) -> None:
    """The fourth of three is refused with the limit, whose it is and when to come back; headers tell what is left."""
    worker.apply(known(mock), {"sk-one": Key("k", limits=Limits(requests_per_minute=3))})
    replies = [await worker.post("sk-one", chat("rpm")) for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies[:3]] == ["2", "1", "0"]
    assert all(1 <= int(reply.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 61 for reply in replies[:3])
    refused = replies[3]
    assert refused.error()["code"] == "rate_limit_exceeded"
    assert "3 requests a minute of this key" in refused.error()["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert calls(mock, "rpm") == 3


async def test_a_projects_limit_binds_all_of_its_keys(worker: Worker, mock: Mock) -> None:
    """However many keys it has."""
    snapshot = known(mock, projects={"p1": Project("p1", "one", limits=Limits(requests_per_minute=2))})
    worker.apply(snapshot, {"sk-one": Key("k", "p1"), "sk-two": Key("l", "p1")})
    statuses = [(await worker.post(key, chat("shared"))).status for key in ("sk-one", "sk-two", "sk-one")]
    assert statuses == [200, 200, 429]


async def test_tokens_a_minute_count_what_was_used(worker: Worker, mock: Mock) -> None:
    """Not what was expected: an answer of a hundred thousand tokens leaves nothing for the next request."""
    worker.apply(known(mock), {"sk-one": Key("k", limits=Limits(tokens_per_minute=1_000))})
    assert (await worker.post("sk-one", chat("tpm", "long"))).status == 200
    refused = await worker.post("sk-one", chat("tpm"))
    assert (refused.status, refused.error()["code"]) == (429, "rate_limit_exceeded")


async def test_a_request_that_needs_more_than_a_minute_has_is_served_alone(worker: Worker, mock: Mock) -> None:
    """Else it never were; what is left then is nothing, not less."""
    worker.apply(known(mock), {"sk-one": Key("k", limits=Limits(requests_per_minute=9, tokens_per_minute=1))})
    reply = await worker.post("sk-one", chat("more than a minute"))
    assert (reply.status, reply.headers["x-ratelimit-remaining-tokens"]) == (200, "0")
    assert (await worker.post("sk-one", chat("more than a minute"))).status == 429


async def test_concurrency_is_a_lease_of_the_connection(worker: Worker, mock: Mock) -> None:
    """Two at once, the third refused; whoever ends, well or by leaving, makes room."""
    worker.apply(known(mock), {"sk-one": Key("k", limits=Limits(concurrency=2))})
    running = [asyncio.create_task(worker.post("sk-one", chat("lease", "slow"))) for _ in range(2)]
    await until(lambda: worker.app.active_of("key:k") == 2)
    refused = await worker.post("sk-one", chat("lease-third"))
    assert (refused.status, refused.error()["code"]) == (429, "concurrency_limit_exceeded")
    running[0].cancel()
    await asyncio.wait({running[0]})
    assert (await running[1]).status == 200
    await until(lambda: worker.app.active_of("key:k") == 0)
    assert (await worker.post("sk-one", chat("lease-after"))).status == 200
    assert calls(mock, "lease-third") == 0


async def test_requests_of_a_lifetime(worker: Worker, mock: Mock) -> None:
    """What earlier workers have served counts; control is asked once."""
    worker.balance = Balance({"key:k": 8})
    worker.apply(known(mock), {"sk-one": Key("k", limits=Limits(max_requests=10))})
    replies = [await worker.post("sk-one", chat("life")) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[2].error()["code"] == "request_quota_exceeded"
    assert "retry-after" not in replies[2].headers
    assert len(worker.asked) == 1


async def test_a_budget_for_exactly_n_calls_lets_n_through(worker: Worker, mock: Mock) -> None:
    """Two hundred at once: none more than the money is for, none fewer, and nothing is left held."""
    paid = 50
    budget = Budget("key:k", "total", paid * 10 * MICROS_A_TOKEN)
    worker.apply(known(mock), {"sk-one": Key("k", budgets=(budget,))})
    replies = await asyncio.gather(
        *(worker.post("sk-one", chat("exact", "slow", max_tokens=10, stream=number % 2 == 0)) for number in range(200))
    )
    statuses = [reply.status for reply in replies]
    assert (statuses.count(200), statuses.count(429)) == (paid, 200 - paid)
    assert {reply.error()["code"] for reply in replies if reply.status == 429} == {"budget_exceeded"}
    assert calls(mock, "exact") == paid
    assert worker.app.held_micros() == 0
    assert (await worker.post("sk-one", chat("exact-after", "tokens", max_tokens=10))).status == 429


async def test_what_was_spent_before_counts(worker: Worker, mock: Mock) -> None:
    """By this period's name; what control cannot tell is not guessed."""
    account = f"key:k@{name_of('month', time.time())}"
    budget = Budget("key:k", "month", 1_000)
    worker.balance = None
    worker.apply(known(mock), {"sk-one": Key("k", budgets=(budget,))})
    unknown = await worker.post("sk-one", chat("before", "tokens", max_tokens=10))
    assert (unknown.status, unknown.error()["code"]) == (503, "balance_unknown")
    worker.balance = Balance(micros={account: 950})
    refused = await worker.post("sk-one", chat("before", "tokens", max_tokens=10))
    assert refused.status == 429
    assert "month budget of this key" in refused.error()["message"]
    assert int(refused.headers["retry-after"]) > 0
    assert (await worker.post("sk-one", chat("before", "tokens", max_tokens=5))).status == 200


async def test_a_crowd_that_meets_a_budget_first_asks_once(worker: Worker, mock: Mock) -> None:
    """What was spent before; all wait for the one answer, and nobody is refused for want of it."""
    asked: list[Sought] = []
    answered = asyncio.Event()

    async def tell(sought: Sought) -> Balance:
        asked.append(sought)
        await answered.wait()
        return Balance()

    worker.app.ask_balance(tell)
    budget = Budget("key:k", "total", 1_000_000)
    worker.apply(known(mock), {"sk-one": Key("k", budgets=(budget,))})
    crowd = [asyncio.create_task(worker.post("sk-one", chat("crowd", "tokens", max_tokens=10))) for _ in range(50)]
    await until(lambda: bool(asked))
    # One more is heard only behind those that were sent before it.
    assert (await worker.post("sk-nobody", chat("crowd"))).status == 401
    answered.set()
    assert {reply.status for reply in await asyncio.gather(*crowd)} == {200}
    assert len(asked) == 1


async def test_all_budgets_hold_at_once(worker: Worker, mock: Mock) -> None:
    """The key's, the project's, the model's, the model's within the project: the tightest decides."""
    wide, tight = 1_000_000, 50
    for scope in ("key:k", "project:p1", "model:tokens", "project:p1/model:tokens"):
        budgets = {
            name: Budget(name, "day", tight if name == scope else wide)
            for name in ("key:k", "project:p1", "model:tokens", "project:p1/model:tokens")
        }
        snapshot = known(
            mock,
            projects={"p1": Project("p1", "one", budgets=(budgets["project:p1"],))},
            model_budgets={name: (budgets[name],) for name in ("model:tokens", "project:p1/model:tokens")},
        )
        worker.apply(snapshot, {"sk-one": Key("k", "p1", budgets=(budgets["key:k"],))})
        refused = await worker.post("sk-one", chat(f"tight-{scope}", "tokens", max_tokens=10))
        assert (refused.status, refused.error()["code"]) == (429, "budget_exceeded"), scope
        assert calls(mock, f"tight-{scope}") == 0


async def test_a_model_without_a_price_is_not_free(worker: Worker, mock: Mock) -> None:
    """Unknown is unknown, never zero; without a budget it is served."""
    snapshot = known(mock, prices=())
    worker.apply(snapshot, {"sk-one": Key("k", budgets=(Budget("key:k", "day", 1_000),)), "sk-two": Key("l")})
    worker.balance = None  # no later than this would be asked for what was spent
    refused = await worker.post("sk-one", chat("unpriced"))
    assert (refused.status, refused.error()["code"]) == (403, "price_unknown")
    assert (await worker.post("sk-two", chat("unpriced"))).status == 200


async def test_what_is_passed_on_as_it_is_goes_on_no_budget(worker: Worker, mock: Mock) -> None:
    """Nobody can tell its cost, whatever the model's price; the refusal promises no remedy that is none."""
    worker.apply(known(mock), {"sk-one": Key("k", budgets=(Budget("key:k", "day", 10**9),)), "sk-two": Key("l")})
    body, path = chat("passed on"), "/proxy/v1/chat/completions"
    refused = await worker.post("sk-one", body, path, x_upstream_name="up")
    assert (refused.status, refused.error()["code"]) == (403, "price_unknown")
    assert "prices" not in refused.error()["message"]
    assert (await worker.post("sk-two", body, path, x_upstream_name="up")).status == 200


async def test_a_stream_that_outgrows_its_budget_is_ended(worker: Worker, mock: Mock) -> None:
    """Cleanly: an error event in the caller's dialect, the upstream is left, and the money is not overrun by far."""
    budget = Budget("key:k", "total", 60_000)
    worker.apply(known(mock), {"sk-one": Key("k", budgets=(budget,))})
    reply = await worker.post("sk-one", chat("outgrown", "long", stream=True) | {"model": "long"})
    assert reply.status == 200
    assert b"budget_exceeded" in reply.body
    assert b'"finish_reason":"stop"' not in reply.body
    assert mock.ended("nonce-outgrown")[0]["outcome"] == "client_closed"
    assert worker.app.held_micros() == 0


async def test_a_stream_that_nobody_spoke_of_is_ended_likewise(worker: Worker, mock: Mock) -> None:
    """Ollama streams by default, whatever is strange in the rest of the body."""
    ollama = Provider("ollama", "ollama", "http", "127.0.0.1", mock.port, "", ("ollama",))
    snapshot = known(
        mock, models={"long": Route((Target("ollama", "m+tokens=100000"),))}, prices=(PriceRow("ollama/*", PRICE),)
    )
    worker.apply(
        msgspec.structs.replace(snapshot, providers={"ollama": ollama}),
        {"sk-one": Key("k", budgets=(Budget("key:k", "total", 60_000),))},
    )
    body = chat("unspoken", "long", stream_options=5, max_tokens=[])
    reply = await worker.post("sk-one", body, "/api/chat")
    assert b"budget of this key" in reply.body
    assert b'"done":true' not in reply.body
    assert worker.app.held_micros() == 0


@pytest.mark.parametrize("fault", ["cut=20000", "error_in_stream=150"])
async def test_a_stream_that_breaks_off_costs_what_came_of_it(worker: Worker, mock: Mock, fault: str) -> None:
    """Though its provider began with a count of one token, and never came to the last."""
    claude = Provider("claude", "anthropic", "http", "127.0.0.1", mock.port, "", ("anthropic",), credential="sk-own")
    routes = {"broken": Route((Target("claude", f"m+tokens=1000,{fault}"),))}
    snapshot = known(mock, models=routes, prices=(PriceRow("claude/*", PRICE),))
    most, worth = 1_000, 50
    worker.apply(
        msgspec.structs.replace(snapshot, providers={"claude": claude}),
        {"sk-one": Key("k", budgets=(Budget("key:k", "total", (most + worth) * MICROS_A_TOKEN),))},
    )
    replies = [
        await worker.post("sk-one", chat("broken", "broken", stream=True, max_tokens=most), "/v1/messages")
        for _ in range(2)
    ]
    assert [reply.status for reply in replies] == [200, 429]
    assert replies[0].body.count(b"text_delta") > 2 * worth


@pytest.mark.parametrize(("client", "provider"), [("/v1/chat/completions", "openai"), ("/api/chat", "ollama")])
async def test_a_stream_of_many_words_an_event_is_ended_at_its_budget(
    worker: Worker, mock: Mock, client: str, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before its bytes, taken for single tokens each with its JSON, would tell; each of several, in turn."""
    monkeypatch.setattr(meter, "MOST_WEIGHED", 1)
    prefix = "" if provider == "ollama" else "/v1"
    provided = Provider(provider, provider, "http", "127.0.0.1", mock.port, prefix, (provider,), credential="sk-own")
    routes = {"packed": Route((Target(provider, "m+tokens=1000000,event_bytes=2000,interval=20"),))}
    snapshot = known(mock, models=routes, prices=(PriceRow(f"{provider}/*", PRICE),))
    tokens = 10_000
    worker.apply(
        msgspec.structs.replace(snapshot, providers={provider: provided}),
        {key: Key(key, budgets=(Budget(f"key:{key}", "total", tokens * MICROS_A_TOKEN),)) for key in ("a", "b", "c")},
    )
    asked = chat("packed", "packed", stream=True)
    for reply in await asyncio.gather(*(worker.post(key, asked, client) for key in ("a", "b", "c"))):
        assert b"budget of this key" in reply.body
        assert tokens * 4 <= len(reply.body) < tokens * STREAM_BYTES_A_TOKEN // 2
    assert worker.app.held_micros() == 0


async def test_what_only_says_that_it_streams_is_forgotten_when_it_has_ended(worker: Worker, mock: Mock) -> None:
    """Embeddings never do, and a translation knows that only after the money is held."""
    google = Provider("google", "gemini", "http", "127.0.0.1", mock.port, "/v1beta", ("gemini",), credential="sk-own")
    snapshot = known(mock, models={"e": Route((Target("google", "m"),))}, prices=(PriceRow("google/*", PRICE),))
    snapshot = msgspec.structs.replace(snapshot, providers={"google": google})
    worker.apply(snapshot, {"sk-one": Key("k", budgets=(Budget("key:k", "total", 10**6),))})
    reply = await worker.post("sk-one", {"model": "e", "input": "text", "stream": True}, "/v1/embeddings")
    assert reply.status == 200
    assert worker.app.held_micros() == 0
    assert not worker.app._settlement.meter._streams


async def test_a_clock_that_was_ahead_does_not_part_a_budget_in_two(
    worker: Worker, mock: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its day comes back all of a project's keys count there again, also one that was used in days to come."""
    cost, now = 10 * MICROS_A_TOKEN, time.time()
    account = f"project:p1@{name_of('day', now)}"
    monkeypatch.setattr(meter, "time", lambda: now)
    projects = {"p1": Project("p1", "one", budgets=(Budget("project:p1", "day", 2 * cost),))}
    keys = {"sk-one": Key("k", "p1"), "sk-two": Key("l", "p1"), "sk-ahead": Key("m", "p1")}
    worker.apply(known(mock, projects=projects), keys)
    assert (await worker.post("sk-one", chat("first", "tokens", max_tokens=10))).status == 200
    monkeypatch.setattr(meter, "time", lambda: now + 3 * 86_400)
    assert (await worker.post("sk-ahead", chat("ahead", "tokens", max_tokens=10))).status == 200
    worker.app._settlement.meter.sweep()
    monkeypatch.setattr(meter, "time", lambda: now)
    worker.balance = Balance({}, {account: cost})
    replies = [
        await worker.post(key, chat("back", "tokens", max_tokens=10)) for key in ("sk-two", "sk-one", "sk-ahead")
    ]
    assert [reply.status for reply in replies] == [200, 429, 429]


async def test_a_day_ends_for_the_next_request(worker: Worker, mock: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the one before it came in the same second, after whose look at the clock nobody looks again."""
    cost, midnight = 10 * MICROS_A_TOKEN, 1_795_305_600.0
    worker.apply(known(mock), {"sk-one": Key("k", budgets=(Budget("key:k", "day", cost),))})
    monkeypatch.setattr(meter, "monotonic", lambda: 1_000.0)
    statuses = []
    for unix_time in (midnight - 0.9, midnight - 0.001, midnight, midnight):
        monkeypatch.setattr(meter, "time", lambda now=unix_time: now)
        statuses.append((await worker.post("sk-one", chat("midnight", "tokens", max_tokens=10))).status)
    assert statuses == [200, 429, 200, 429]


async def test_failures_cost_nothing(worker: Worker, mock: Mock) -> None:
    """Refused by the provider, or never reached: what was held is given back whole."""
    routes = {"bad": Route((Target("up", "m+status=400"),)), "tokens": Route((Target("up", "m+tokens=10"),))}
    worker.apply(known(mock, models=routes), {"sk-one": Key("k", budgets=(Budget("key:k", "total", 100),))})
    for _ in range(5):
        assert (await worker.post("sk-one", chat("fails", "bad", max_tokens=10))).status == 400
    assert (await worker.post("sk-one", chat("fails", "tokens", max_tokens=10))).status == 200


async def test_keys_that_cannot_be_read_are_not_called_unknown(worker: Worker, mock: Mock, tmp_path: Path) -> None:
    """A table that is not whole leaves the one before in use, and the same table is read once it is whole."""
    worker.apply(known(mock), {"sk-one": Key("k")})
    table = tmp_path / "next.tbl"
    table.write_bytes(b"half a table")
    worker.app.apply(known(mock, pepper=PEPPER, key_table=str(table)))
    assert (await worker.post("sk-one", chat("before"))).status == 200
    unknown = await worker.post("sk-two", chat("unread"))
    assert (unknown.status, unknown.error()["code"]) == (503, "keys_unavailable")
    table.write_bytes(build([(digest(PEPPER, b"sk-two"), Key("l"))]))
    worker.app.apply(known(mock, pepper=PEPPER, key_table=str(table)))
    assert (await worker.post("sk-two", chat("read"))).status == 200
    assert (await worker.post("sk-one", chat("gone"))).status == 401


async def test_a_revoked_key_is_refused_from_the_next_request_on(worker: Worker, mock: Mock) -> None:
    """Also on a connection that knew it."""
    worker.apply(known(mock), {"sk-one": Key("k")})
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    body = json.dumps(chat("revoked")).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer sk-one\r\ncontent-length: %d\r\n\r\n"
    )
    for expected in (b"HTTP/1.1 200", b"HTTP/1.1 401"):
        writer.write(request % len(body) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(expected)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        worker.apply(known(mock), {"sk-one": Key("k", state="revoked")})
    writer.close()
    await writer.wait_closed()


async def test_a_budget_that_was_removed_and_is_set_again_knows_what_was_spent_between(
    worker: Worker, mock: Mock
) -> None:
    """What the records say counts, not what this worker saw of the first one."""
    limit = 10 * 10 * MICROS_A_TOKEN
    for since, spent in ((1_000, 0), (0, 0), (2_000, limit)):
        budgets = (Budget("key:k", "total", limit, since=since),) if since else ()
        worker.balance = Balance({}, {"key:k@total": spent})
        worker.apply(known(mock), {"sk-one": Key("k", budgets=budgets)})
        reply = await worker.post("sk-one", chat(f"again-{since}", "tokens", max_tokens=10))
        assert reply.status == (429 if spent else 200)
    assert worker.asked == [Sought((), ("key:k@total",))] * 2


async def test_who_shares_another_requests_answer_has_taken_nothing(worker: Worker) -> None:
    """Neither tokens nor money: the one that travelled has, also where the provider counts an output of nothing."""
    released = asyncio.Event()
    answer = b'{"object":"list","data":[],"usage":{"prompt_tokens":400,"completion_tokens":0,"total_tokens":400}}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await released.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        up = Provider("up", "openai_compatible", "http", "127.0.0.1", port, "/v1", ("openai",), credential="sk-own")
        route = Route((Target("up", "e"),), coalesce=True)
        worker.apply(Snapshot(1, {"up": up}, models={"e": route}), {"sk-one": Key("k", limits=Limits(0, 10_000))})
        asked = [
            asyncio.create_task(worker.post("sk-one", {"model": "e", "input": "text"}, "/v1/embeddings"))
            for _ in range(3)
        ]
        await until(lambda: worker.app.active_of("key:k") == 3)
        released.set()
        assert [(await each).status for each in asked] == [200] * 3
        await until(lambda: worker.app.active_of("key:k") == 0)
        last = await worker.post("sk-one", {"model": "e", "input": "text"}, "/v1/embeddings")
    assert 9_500 < int(last.headers["x-ratelimit-remaining-tokens"]) < 9_600
