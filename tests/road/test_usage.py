"""What the records say of a request: tokens, finish reason, times, sizes, who and where, for every endpoint."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rig.gateway import Gateway, run_gateway
from rig.mock import Mock, run_mock
from rig.peer import Peer, answer, run_peer, stream
from rig.rows import row_of
from rig.sockets import Caller, WireAnswer, call, head

KEY = "sk-road-usage-canary"
OTHER_KEY = "sk-road-usage-other"
TAGS = (f"usage-{number}" for number in itertools.count())
Row = dict[str, Any]


class Case(NamedTuple):
    """An endpoint: its path, the provider and model that the alias means, a body, and how its answers end."""

    path: str
    alias: str
    provider: str
    model: str
    body: dict[str, Any]
    finish: str
    streams: bool = True
    answers: bool = True
    """It brings output tokens."""


SAID = [{"role": "user", "content": "count these five words please"}]
CASES = {
    "chat": Case("/v1/chat/completions", "smart", "openai", "gpt-4o", {"messages": SAID}, "stop"),
    "completions": Case("/v1/completions", "smart", "openai", "gpt-4o", {"prompt": "once upon a time"}, "stop"),
    "responses": Case("/v1/responses", "smart", "openai", "gpt-4o", {"input": "hello there you"}, "completed"),
    "embeddings": Case(
        "/v1/embeddings", "vectors", "openai", "embed-3", {"input": ["a b", "c"]}, "", streams=False, answers=False
    ),
    "messages": Case(
        "/v1/messages", "sonnet", "claude", "claude-real", {"max_tokens": 9999, "messages": SAID}, "end_turn"
    ),
    "count_tokens": Case(
        "/v1/messages/count_tokens",
        "sonnet",
        "claude",
        "claude-real",
        {"messages": SAID},
        "",
        streams=False,
        answers=False,
    ),
}
FORMS = [(name, streamed) for name, case in CASES.items() for streamed in (False, True) if case.streams or not streamed]
STREAMS = [name for name, case in CASES.items() if case.streams]
each_form = pytest.mark.parametrize(("name", "streamed"), FORMS)


class Stage(NamedTuple):
    gateway: Gateway
    mock: Mock
    peer: Peer

    def post(self, path: str, body: bytes, *headers: tuple[str, str], key: str = KEY) -> WireAnswer:
        return call(self.gateway.port, "POST", path, headers, body=body, key=key)

    def row(self, got: WireAnswer) -> Row:
        """Return the record of a request."""
        return row_of(self.gateway, got.header("x-request-id") or "")

    def send(self, path: str, body: bytes, *headers: tuple[str, str], key: str = KEY) -> tuple[WireAnswer, Row]:
        """Return the answer to a request, and its record."""
        got = self.post(path, body, *headers, key=key)
        return got, self.row(got)

    def ask(
        self, name: str, *headers: tuple[str, str], streamed: bool = False, **members: object
    ) -> tuple[WireAnswer, Row, Row]:
        """Return the answer, the record, and what the provider itself counted."""
        got, counted = self.attempt(name, *headers, streamed=streamed, **members)
        return got, self.row(got), counted

    def attempt(
        self, name: str, *headers: tuple[str, str], streamed: bool = False, **members: object
    ) -> tuple[WireAnswer, Row]:
        """Return the answer and what the provider itself counted; the record may come later."""
        case, tag = CASES[name], next(TAGS)
        body: dict[str, Any] = {"model": case.alias, **case.body, **members}
        if streamed:
            body["stream"] = True
        got = self.post(case.path, json.dumps(body).encode(), ("x-mock-tag", tag), *headers)
        return got, self.mock.ended(tag)[0]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with run_mock() as mock, run_peer() as peer:
        providers = {
            "openai": {"type": "openai", "base_url": mock.url + "/v1", "api_key": "sk-up"},
            "claude": {"type": "anthropic", "base_url": mock.url, "api_key": "sk-up"},
            "peer": {
                "type": "openai_compatible",
                "base_url": peer.url + "/v1",
                "api_key": "sk-up",
                "dialects": ["openai", "anthropic"],
            },
            "vendor": {"type": "anthropic", "base_url": peer.url, "api_key": "sk-up"},
        }
        models = {
            "smart": "openai/gpt-4o",
            "vectors": "openai/embed-3",
            "sonnet": "claude/claude-real",
            "odd": "peer/m",
            "hourly": "vendor/claude-sonnet-4-5",
        }
        settings = {"auth": {"static_keys": [KEY, OTHER_KEY]}, "providers": providers, "models": models}
        with run_gateway(config=settings) as gateway:
            yield Stage(gateway, mock, peer)


@each_form
def test_a_record_of_every_endpoint(stage: Stage, name: str, streamed: bool) -> None:
    """Tokens, finish reason, names, lane, status, key, sizes and times are right, unary and streamed."""
    case = CASES[name]
    tags = ("x-flumegate-tags", "team=a,b")
    trace = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    got, row, counted = stage.ask(name, tags, trace, streamed=streamed)
    assert got.status == 200
    assert (row["input_tokens"], row["usage_source"]) == (counted["input_tokens"], "upstream")
    assert row["input_tokens"] > 0
    assert row["output_tokens"] == (counted["output_tokens"] if case.answers else None)
    assert row["finish_reason"] == case.finish
    assert (row["endpoint"], row["dialect"]) == (name, "anthropic" if case.provider == "claude" else "openai")
    assert (row["provider"], row["model_requested"], row["model"]) == (case.provider, case.alias, case.model)
    assert (row["lane"], row["method"], row["path"]) == ("verbatim", "POST", case.path)
    assert (row["status"], row["outcome"], row["error_code"]) == (200, "ok", "")
    assert bool(row["stream"]) == streamed
    assert row["response_bytes"] == len(got.body)
    assert (row["tags"], row["trace_id"]) == ("team=a,b", "0af7651916cd43dd8448eb211c80319c")
    assert (row["client"], bool(row["client_abort"])) == ("127.0.0.1", False)
    assert re.fullmatch(r"static-[0-9a-f]{8}", row["key_id"])
    (attempt,) = row["attempts"]
    assert (attempt["target"], attempt["status"]) == (f"{case.provider}/{case.model}", 200)
    assert attempt["outcome"] == "ok"
    assert 0 < row["first_byte_us"] <= row["duration_us"]
    assert 0 < row["upstream_us"] <= row["duration_us"]
    if streamed:
        assert row["first_byte_us"] <= row["first_token_us"] <= row["duration_us"]
    else:
        assert row["first_token_us"] is None


@each_form
def test_compressed_answers_are_counted(stage: Stage, name: str, streamed: bool) -> None:
    """An answer that came compressed is counted and sized as what the client got."""
    for got, counted in [
        stage.attempt(name, ("x-mock-fault", coding), streamed=streamed) for coding in ("gzip", "br", "zstd", "deflate")
    ]:
        row = stage.row(got)
        assert row["input_tokens"] == counted["input_tokens"]
        assert row["output_tokens"] == (counted["output_tokens"] if CASES[name].answers else None)
        assert row["finish_reason"] == CASES[name].finish
        assert row["response_bytes"] == len(got.body)


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_counted_however_they_come(stage: Stage, name: str) -> None:
    """Cut into bytes, glued together, with other line ends, large or long: a stream's usage is found."""
    faults = ["one_byte", "chunk=3", "crlf", "cr", "event_bytes=20000", "tokens=2000"]
    for fault, (got, counted) in [
        (fault, stage.attempt(name, ("x-mock-fault", fault), streamed=True)) for fault in faults
    ]:
        row = stage.row(got)
        assert (row["input_tokens"], row["output_tokens"]) == (counted["input_tokens"], counted["output_tokens"]), fault
        assert (row["finish_reason"], row["outcome"]) == (CASES[name].finish, "ok"), fault
        assert row["first_token_us"] is not None, fault


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("name", "effort"),
    [
        ("chat", {"reasoning_effort": "low"}),
        ("responses", {"reasoning": {"effort": "low"}}),
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    ],
)
def test_kinds_of_tokens(stage: Stage, name: str, effort: dict[str, Any], streamed: bool) -> None:
    """Tokens read from and written to a cache stand inside the input, reasoning inside the output, in every dialect."""
    faults = ("x-mock-fault", "cached=2,cache_write=1")
    _, row, counted = stage.ask(name, faults, streamed=streamed, **effort)
    assert (row["cached_tokens"], row["cache_write_tokens"]) == (2, 1)
    assert row["input_tokens"] == counted["input_tokens"]
    assert row["output_tokens"] == counted["output_tokens"]
    assert 0 < row["reasoning_tokens"] <= row["output_tokens"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("name", "limit", "reason"),
    [
        ("chat", "max_tokens", "length"),
        ("completions", "max_tokens", "length"),
        ("messages", "max_tokens", "max_tokens"),
    ],
)
def test_other_finish_reasons(stage: Stage, name: str, limit: str, reason: str, streamed: bool) -> None:
    """The reason is kept as the provider said it."""
    _, row, _ = stage.ask(name, streamed=streamed, **{limit: 2})
    assert (row["finish_reason"], row["output_tokens"]) == (reason, 2)


@pytest.mark.parametrize(("name", "streamed"), [form for form in FORMS if form[0] != "count_tokens"])
def test_an_answer_without_usage(stage: Stage, name: str, streamed: bool) -> None:
    """Where no usage came none is invented, and the answer is not disturbed."""
    got, row, _ = stage.ask(name, ("x-mock-fault", "no_usage"), streamed=streamed)
    assert (got.status, got.complete) == (200, True)
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (None, None, "")
    assert row["outcome"] == "ok"


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("how", ["cut", "rst"])
def test_a_stream_that_breaks_off(stage: Stage, name: str, how: str) -> None:
    """A stream that is cut is recorded as truncated, with what was passed on of it, whatever was said at its start."""
    got, row, _ = stage.ask(name, ("x-mock-fault", f"{how}=9000,tokens=500"), streamed=True)
    assert got.status == 200
    assert (row["status"], row["outcome"], row["error_code"]) == (200, "truncated", "upstream_cut")
    assert bool(row["stream"])
    assert row["attempts"][0]["outcome"] == "upstream_cut"
    events = got.body.count(b"data: ")
    assert row["usage_source"] == "estimated"
    assert row["input_tokens"] == 5 if name == "messages" else 0 < row["input_tokens"] < 100
    assert 0.5 * events < row["output_tokens"] < 1.5 * events
    assert row["first_token_us"] is not None
    assert row["response_bytes"] == len(got.body)


@pytest.mark.parametrize("name", CASES)
def test_an_answer_that_breaks_off(stage: Stage, name: str) -> None:
    """A unary answer that is cut never looks whole, and its record says so."""
    got, row, _ = stage.ask(name, ("x-mock-fault", "cut=10"))
    if got.status == 200:
        assert not got.complete
        assert row["outcome"] == "truncated"
    else:
        assert (got.status, row["outcome"]) == (502, "failed")
    assert row["error_code"] == "upstream_cut"
    assert row["status"] == got.status
    assert row["output_tokens"] is None


@each_form
def test_error_answers(stage: Stage, name: str, streamed: bool) -> None:
    """An error of the provider is recorded with its status, without tokens, as not ours."""
    for status, (got, _) in [
        (status, stage.attempt(name, ("x-mock-status", str(status)), streamed=streamed))
        for status in (400, 401, 429, 500, 529)
    ]:
        row = stage.row(got)
        assert got.status == status
        assert (row["status"], row["outcome"], row["error_code"]) == (status, "upstream_error", f"upstream_{status}")
        assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (None, None, "")
        assert row["response_bytes"] == len(got.body)
        assert row["attempts"][0]["status"] == status


@pytest.mark.parametrize("name", STREAMS)
def test_an_error_in_a_stream(stage: Stage, name: str) -> None:
    """An error event within a stream that began well is an error of the provider; what came before it is counted."""
    got, row, _ = stage.ask(name, ("x-mock-fault", "error_in_stream=100,tokens=500"), streamed=True)
    assert (row["status"], row["outcome"], row["error_code"]) == (200, "upstream_error", "error_in_stream")
    events = got.body.count(b"data: ")
    assert row["usage_source"] == "estimated"
    assert row["input_tokens"] == 5 if name == "messages" else 0 < row["input_tokens"] < 100
    assert 0.5 * events < row["output_tokens"] < 1.5 * events


@pytest.mark.parametrize("name", CASES)
def test_refusals(stage: Stage, name: str) -> None:
    """A refused request is recorded with the endpoint and the reason, and without a provider."""
    case = CASES[name]
    got, row = stage.send(case.path, b'{"model":"smart"}', key="sk-wrong")
    assert got.status == 401
    assert (row["endpoint"], row["status"], row["outcome"]) == (name, 401, "refused")
    assert (row["error_code"], row["key_id"], row["provider"]) == ("invalid_api_key", "", "")
    assert row["attempts"] == []
    got, row = stage.send(case.path, b'{"model":"unheard-of"}')
    assert (row["status"], row["error_code"], row["model_requested"]) == (404, "model_not_found", "unheard-of")


def test_keys_are_told_apart(stage: Stage) -> None:
    """Each key has an id of its own, the same for all its requests, that does not hold the key."""
    ids = [stage.send("/v1/chat/completions", b"{", key=key)[1]["key_id"] for key in (KEY, OTHER_KEY, KEY)]
    assert ids[0] == ids[2] != ids[1]
    assert all(re.fullmatch(r"static-[0-9a-f]{8}", each) for each in ids)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", STREAMS)
def test_known_endpoints_below_the_prefix_are_counted(stage: Stage, name: str, streamed: bool) -> None:
    """The transparent proxy passes a known endpoint on unread, and its usage is found all the same."""
    case, tag = CASES[name], next(TAGS)
    body: dict[str, Any] = {"model": case.model, **case.body}
    if streamed:
        body |= {"stream": True} | ({"stream_options": {"include_usage": True}} if case.provider == "openai" else {})
        body.pop("stream_options") if name == "responses" else None
    headers = (("x-upstream-name", case.provider), ("x-mock-tag", tag))
    got, row = stage.send(f"/proxy{case.path}", json.dumps(body).encode(), *headers)
    counted = stage.mock.ended(tag)[0]
    assert got.status == 200
    assert (row["lane"], row["provider"]) == ("transparent", case.provider)
    assert (row["input_tokens"], row["output_tokens"]) == (counted["input_tokens"], counted["output_tokens"])


# Sizes


@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/proxy/v1/chat/completions", "/v1/other"])
def test_sizes_are_those_of_the_client(stage: Stage, path: str, coding: str) -> None:
    """Request bytes are what the client sent (compressed, if so), answer bytes what it got, without any framing."""
    body = b'{"model":"odd","messages":[],"x":"%b"}' % (b"abc" * 5000)
    sent = gzip.compress(body) if coding else body
    stage.peer.say(answer(gzip.compress(b'{"x":"%b"}' % (b"y" * 9000)), ("content-encoding", "gzip")))
    headers = [("x-upstream-name", "peer")] + ([("content-encoding", coding)] if coding else [])
    got, row = stage.send(path, sent, *headers)
    assert got.status == 200
    assert (row["request_bytes"], row["response_bytes"]) == (len(sent), len(got.body))
    assert len(got.body) == 9008


def test_a_body_in_chunks_has_the_size_of_its_content(stage: Stage) -> None:
    """Chunk framing counts in neither direction."""
    stage.peer.say(*stream([b'{"a":', b"1}"], content_type="application/json"))
    body = b'{"model":"odd"}'
    with Caller(stage.gateway.port) as caller:
        fields = [("transfer-encoding", "chunked"), ("content-type", "application/json")]
        pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        caller.send(head("POST", "/v1/chat/completions", fields, key=KEY) + pieces + b"0\r\n\r\n")
        got = caller.read_answer()
    row = row_of(stage.gateway, got.header("x-request-id") or "")
    assert (row["request_bytes"], row["response_bytes"]) == (len(body), 7)


def test_head_answers_have_no_size(stage: Stage) -> None:
    """HEAD has no body, whatever length its head names."""
    stage.peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n")
    got = call(stage.gateway.port, "HEAD", "/proxy/v1/files/1", [("x-upstream-name", "peer")], key=KEY)
    row = row_of(stage.gateway, got.header("x-request-id") or "")
    assert (row["method"], row["response_bytes"], row["status"]) == ("HEAD", 0, 200)


# Odd usage

ODD_USAGE: dict[str, tuple[str, tuple[int | None, int | None]]] = {
    "null": ("null", (None, None)),
    "empty": ("{}", (None, None)),
    "only input": ('{"prompt_tokens":3}', (3, None)),
    "null parts": ('{"prompt_tokens":3,"completion_tokens":null,"prompt_tokens_details":null}', (3, None)),
    "more than known": ('{"prompt_tokens":3,"completion_tokens":4,"x":{"y":[1]},"total_tokens":7}', (3, 4)),
    "a list": ("[1,2]", (None, None)),
    "a string": ('"3"', (None, None)),
    "a string of digits": ('{"prompt_tokens":"3","completion_tokens":4}', (None, None)),
    "a fraction": ('{"prompt_tokens":3.5,"completion_tokens":4}', (None, None)),
    "huge": ('{"prompt_tokens":%d,"completion_tokens":4}' % 10**30, (None, 4)),
    "beyond 64 bits": ('{"prompt_tokens":%d,"completion_tokens":4}' % 2**63, (None, 4)),
    "negative": ('{"prompt_tokens":-3,"completion_tokens":4}', (None, 4)),
}


@pytest.mark.parametrize("odd", ODD_USAGE)
@pytest.mark.parametrize("streamed", [False, True])
def test_odd_usage_never_disturbs_the_answer(stage: Stage, odd: str, streamed: bool) -> None:
    """Usage of any shape leaves the answer as it is, and what cannot be a count of tokens is not recorded as one."""
    usage, expected = ODD_USAGE[odd]
    choice = '{"index":0,"%s":{"content":"a"},"finish_reason":"stop"}'
    if streamed:
        events = [f'data: {{"choices":[{choice % "delta"}],"usage":{usage}}}\n\n'.encode(), b"data: [DONE]\n\n"]
        stage.peer.say(*stream(events))
        whole = b"".join(events)
    else:
        whole = f'{{"choices":[{choice % "message"}],"usage":{usage}}}'.encode()
        stage.peer.say(answer(whole))
    got, row = stage.send("/v1/chat/completions", b'{"model":"odd","stream":%b}' % str(streamed).lower().encode())
    assert (got.status, got.body, got.complete) == (200, whole, True)
    assert (row["input_tokens"], row["output_tokens"]) == expected
    assert (row["outcome"], row["status"]) == ("ok", 200)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_cache_of_an_hour_is_billed_as_one(stage: Stage, path: str, streamed: bool) -> None:
    """In the caller's own dialect and translated: 500 of the 900 tokens that were written stay for an hour."""
    written = {"cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 500}}
    usage = {"input_tokens": 100, "cache_creation_input_tokens": 900, "output_tokens": 10} | written
    message = {"type": "message", "id": "msg_1", "role": "assistant", "model": "m", "content": [], "usage": usage}
    if streamed:
        ends = {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 10}}
        events: dict[str, dict[str, Any]] = {
            "message_start": {"message": message},
            "message_delta": ends,
            "message_stop": {},
        }
        stage.peer.say(
            *stream(
                f"event: {name}\ndata: {json.dumps({'type': name} | event)}\n\n".encode()
                for name, event in events.items()
            )
        )
    else:
        stage.peer.say(answer(json.dumps(message | {"stop_reason": "end_turn"}).encode()))
    body = {"model": "hourly", "max_tokens": 10, "messages": SAID, "stream": streamed}
    got, row = stage.send(path, json.dumps(body).encode())
    assert got.status == 200
    assert (row["input_tokens"], row["cache_write_tokens"]) == (1_000, 900)
    assert row["cost_micros"] == 100 * 3 + 400 * 3.75 + 500 * 6 + 10 * 15


@pytest.mark.parametrize("size", [300_000, 3_000_000])
def test_usage_behind_a_large_answer(stage: Stage, size: int) -> None:
    """The usage at the end of an answer of megabytes is found."""
    body = b'{"object":"list","data":[{"embedding":"%b"}],"model":"m","usage": {"prompt_tokens":12,"total_tokens":12}}'
    stage.peer.say(answer(body % (b"A" * size)))
    got, row = stage.send("/v1/embeddings", b'{"model":"odd","input":"x"}')
    assert len(got.body) > size
    assert (row["input_tokens"], row["usage_source"]) == (12, "upstream")


def test_cumulative_usage_is_not_summed(stage: Stage) -> None:
    """Anthropic's counts are cumulative: the last ones hold, and input is not counted twice."""
    events = [
        (
            b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":10,'
            b'"cache_read_input_tokens":5,"cache_creation_input_tokens":2,"output_tokens":1}}}\n\n'
        ),
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta"}}\n\n',
        b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":3}}\n\n',
        (
            b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"stop_sequence"},'
            b'"usage":{"input_tokens":11,"output_tokens":9}}\n\n'
        ),
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ]
    stage.peer.say(*stream(events))
    got, row = stage.send("/v1/messages", b'{"model":"odd","max_tokens":9,"messages":[],"stream":true}')
    assert got.body == b"".join(events)
    assert (row["input_tokens"], row["output_tokens"]) == (18, 9)
    assert (row["cached_tokens"], row["cache_write_tokens"]) == (5, 2)
    assert row["finish_reason"] == "stop_sequence"


def test_azures_odd_first_chunk(stage: Stage) -> None:
    """A first chunk without choices, and a choice without a delta, neither start the clock nor break the count."""
    events = [
        b'data: {"id":"","object":"","model":"","created":0,"choices":[],"prompt_filter_results":[{}]}\n\n',
        b'data: {"id":"c","model":"m","choices":[{"index":0,"content_filter_results":{}}]}\n\n',
        b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n',
        b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}\n\n',
        b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}\n\n',
        b"data: [DONE]\n\n",
    ]
    stage.peer.say(*stream(events))
    got, row = stage.send("/v1/chat/completions", b'{"model":"odd","stream":true}')
    assert got.body == b"".join((*events[:4], events[5]))
    assert (row["input_tokens"], row["output_tokens"], row["finish_reason"]) == (2, 1, "content_filter")
