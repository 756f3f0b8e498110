from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from flumegate.dialects.registry import ENDPOINTS
from flumegate.engine.outgoing import Outgoing
from flumegate.engine.request import (
    edit_body,
    is_asked_as_events,
    read_envelope,
    read_path,
    signature_lines,
    undo_coding,
    write_head,
)
from flumegate.errors import INVALID_REQUEST, TOO_LARGE, UNSUPPORTED_ENCODING, GatewayError
from flumegate.exchange import Exchange
from flumegate.routing.plan import Plan
from flumegate.snapshot import Route, Signing, Target
from rig import cuts
from rig.exchanges import exchange, provider, snapshot
from rig.plans import plan_of, planner_of

BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
ASKED = b'"stream_options":{"include_usage":true}'
BODY = b'{"model":"m"}'


def planned(asked: Exchange, name: str = "chat", **fields: Any) -> Plan:
    """Plan as the engine does: by the endpoint's name and the model in the body."""
    asked.endpoint = BY_NAME[name]
    known = snapshot(provider(**fields), default_provider="up", models={"alias": Route((Target("up", "real"),))})
    return plan_of(planner_of(known).course(asked.endpoint, asked.model_requested))


def edited(body: bytes, name: str = "chat", **fields: Any) -> tuple[bytes, bool]:
    """Return the body as it is sent, and whether usage is to be withheld from the client."""
    asked = exchange(body=body)
    seen = read_envelope(asked)
    outgoing = Outgoing(asked)
    edit_body(asked, outgoing, planned(asked, name, **fields), seen)
    assert asked.body == body, "another target may be asked with the client's own bytes"
    return outgoing.body, outgoing.withhold


def compressed(coding: bytes, body: bytes, limit: int = 1000) -> Exchange:
    asked = exchange(headers=[(b"content-encoding", coding), (b"content-type", b"application/json")], body=body)
    undo_coding(asked, limit)
    return asked


@pytest.mark.parametrize(
    ("coding", "body"),
    [(b"gzip", gzip.compress(BODY)), (b"ZSTD", zstandard.compress(BODY)), (b"gzip, zstd", b"")],
)
def test_a_compressed_body_is_sent_on_plain(coding: bytes, body: bytes) -> None:
    """Upstreams need not know the coding, and the head no longer names one."""
    asked = compressed(coding, body or zstandard.compress(gzip.compress(BODY)))
    assert asked.body == BODY
    head = write_head(asked, Outgoing(asked), planned(asked_model(asked)), b"\r\n\r\n")
    assert b"content-encoding" not in head
    assert b"content-type: application/json\r\n\r\n" in head


def asked_model(asked: Exchange) -> Exchange:
    read_envelope(asked)
    return asked


@pytest.mark.parametrize("headers", [[], [(b"content-encoding", b" Identity ")]])
def test_a_plain_body_stays(headers: list[tuple[bytes, bytes]]) -> None:
    """Identity is no coding; the field travels on as it came."""
    asked = exchange(headers=headers, body=BODY)
    undo_coding(asked, 5)
    assert (asked.body, asked.coding_undone) == (BODY, False)


@pytest.mark.parametrize(
    ("coding", "body", "kind", "code"),
    [
        (b"compress", BODY, UNSUPPORTED_ENCODING, "unsupported_content_encoding"),
        (b"gzip", BODY, INVALID_REQUEST, "invalid_content_encoding"),
        (b"gzip", gzip.compress(BODY)[:-4], INVALID_REQUEST, "invalid_content_encoding"),
        (b"gzip", gzip.compress(bytes(1001)), TOO_LARGE, "body_too_large"),
        (b"zstd", zstandard.compress(bytes(1 << 20)), TOO_LARGE, "body_too_large"),
    ],
)
def test_a_body_that_cannot_be_decoded(coding: bytes, body: bytes, kind: object, code: str) -> None:
    """415, 400 and 413 tell what to change."""
    with pytest.raises(GatewayError) as refused:
        compressed(coding, body)
    assert (refused.value.kind, refused.value.code) == (kind, code)


def test_the_envelope_is_noted() -> None:
    """Model and stream flag go into the exchange, hence into the record."""
    asked = exchange(body=b'{"model":"m","stream":true}')
    read_envelope(asked)
    assert (asked.model_requested, asked.stream) == ("m", True)
    bare = exchange(body=b'{"stream":null}')
    read_envelope(bare, model_required=False)
    assert (bare.model_requested, bare.stream) == ("", False)


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        b'{ "model" : "m" , "n":9007199254740993, "x": 1.0, "a":1, "a":2 }',
        b'{"model":"m","stream":false,"stream_options":null}',
        b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
        b'{"model":"m","stream":true,"stream_options":{"include_usage":false}}',
        b'{"model":"m","stream":true,"stream_options":{"include_obfuscation":false}}',
        b'{"model":"m","stream":true,"\\u0073tream_options":{"include_obfuscation":false}}',
        b'{"model":"m","stream":true,"stream_options":[]}',
        b'{"model":"m","stream":true,"stream_options":null,"stream_options":null}',
    ],
)
def test_nothing_to_change_is_nothing_changed(body: bytes) -> None:
    """Same dialect, same bytes; what a client says about its stream is the client's decision."""
    assert edited(body) == (body, False)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"model":"alias"}', b'{"model":"real"}'),
        (b'{"model":"up/x"}', b'{"model":"x"}'),
        (b'{"a":{"model":"alias"},"model" : "alias" ,"b":1.0}', b'{"a":{"model":"alias"},"model" : "real" ,"b":1.0}'),
        (b'{"mode\\u006c":"\\u0061lias"}', b'{"mode\\u006c":"real"}'),
    ],
)
def test_an_alias_changes_the_name_and_no_other_byte(body: bytes, sent: bytes) -> None:
    """However the key is written and wherever else it stands."""
    assert edited(body) == (sent, False)


@pytest.mark.parametrize("name", ["chat", "completions"])
@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (
            b'{"model":"m","stream":true}',
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            b'{"model":"m","stream":true,"stream_options":{ } }\n',
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true} }\n',
        ),
        (
            b'{"stream_options": null,"model":"m","stream":true}',
            b'{"stream_options": {"include_usage":true},"model":"m","stream":true}',
        ),
        (
            b'{"model":"alias","stream":true,"user":"stream_options"}',
            b'{"model":"real","stream":true,"user":"stream_options","stream_options":{"include_usage":true}}',
        ),
        (
            b'{"model":"m","stream":true,"tools":[{"stream_options":{"type":"object"}}]}',
            b'{"model":"m","stream":true,"tools":[{"stream_options":{"type":"object"}}],%b}' % ASKED,
        ),
    ],
)
def test_a_stream_is_asked_for_its_usage(name: str, body: bytes, sent: bytes) -> None:
    """Where the client said nothing, usage is asked for and withheld; a tool's property of that name is no option."""
    assert edited(body, name) == (sent, True)


def test_usage_is_asked_for_only_where_that_is_understood() -> None:
    """Not of servers that refuse the field, not in dialects that always report it."""
    body = b'{"model":"m","stream":true}'
    assert edited(body, stream_usage=False) == (body, False)
    assert edited(body, "responses") == (body, False)
    assert edited(body, "messages", speaks=("anthropic",)) == (body, False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["messages", "tools", "model", "stream", "stream_options"])


@cuts.law
@given(st.dictionaries(KEYS, st.dictionaries(KEYS, JSON) | JSON), st.booleans(), st.booleans())
def test_edits_touch_two_members_at_most(members: dict[str, Any], ascii_only: bool, streaming: bool) -> None:
    """Whatever a body holds, only model and stream options may differ in what is sent, and only as promised."""
    members |= {"model": "alias", "stream": streaming}
    sent, withhold = edited(json.dumps(members, ensure_ascii=ascii_only).encode())
    got = json.loads(sent)
    expected = members | {"model": "real"}
    if withhold:
        assert streaming
        assert members.get("stream_options") in (None, {})
        expected["stream_options"] = {"include_usage": True}
    assert got == expected


def lines_of(asked: Exchange, framing: bytes = b"\r\ncontent-length: 3\r\n\r\n", **fields: Any) -> list[bytes]:
    asked.model_requested = "m"
    head = write_head(asked, Outgoing(asked), planned(asked, **fields), framing)
    assert head.endswith(b"\r\n\r\n")
    return head.removesuffix(b"\r\n\r\n").split(b"\r\n")


def test_a_head_is_the_clients_dressed_for_the_provider() -> None:
    """Request line, our fields, the client's that travel, framing; the credential is ours alone."""
    headers = [
        (b"host", b"gateway"),
        (b"authorization", b"Bearer sk-client"),
        (b"content-type", b"application/json"),
        (b"x-api-key", b"sk-client"),
        (b"x-stainless-lang", b"python"),
        (b"content-length", b"99"),
        (b"accept-encoding", b"gzip"),
        (b"anthropic-beta", b"a"),
        (b"anthropic-beta", b"b"),
    ]
    assert lines_of(exchange(query=b"?beta=true", headers=headers), credential="sk-up") == [
        b"POST /v1/chat/completions?beta=true HTTP/1.1",
        b"host: 127.0.0.1:8080",
        b"accept-encoding: identity",
        b"authorization: Bearer sk-up",
        b"content-type: application/json",
        b"x-stainless-lang: python",
        b"anthropic-beta: a",
        b"anthropic-beta: b",
        b"content-length: 3",
    ]


@pytest.mark.parametrize("framing", [b"\r\ncontent-length: 0\r\n\r\n", b"\r\n\r\n"])
def test_a_head_without_fields_of_the_client_is_well_formed(framing: bytes) -> None:
    """No empty line slips in before the end."""
    lines = lines_of(exchange(), framing)
    assert all(lines)
    assert lines[2:] == [b"accept-encoding: identity", *framing.strip().splitlines()]


def test_fields_named_by_connection_go_no_further() -> None:
    """Hop-by-hop by the client's own word (RFC 9110 §7.6.1); ordinary values name none."""
    kept = [(b"x-hop", b"1"), (b"x-end", b"2")]
    lines = lines_of(exchange(headers=[(b"connection", b"close, X-Hop"), *kept]))
    assert b"x-end: 2" in lines
    assert b"x-hop: 1" not in lines
    for value in (b"keep-alive", b"Keep-Alive", b"close", b"Close"):
        assert b"x-hop: 1" in lines_of(exchange(headers=[(b"connection", value), *kept]))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], b"Anthropic-Version: 2023-06-01"),
        ([(b"anthropic-version", b"2024-01-01")], b"anthropic-version: 2024-01-01"),
        ([(b"connection", b"anthropic-version"), (b"anthropic-version", b"x")], b"Anthropic-Version: 2023-06-01"),
    ],
)
def test_defaults_stand_in_for_what_the_client_did_not_send(sent: list[tuple[bytes, bytes]], expected: bytes) -> None:
    """The version is the client's choice, and there is always exactly one."""
    lines = lines_of(exchange(headers=sent), default_headers=(("Anthropic-Version", "2023-06-01"),))
    assert [line for line in lines if line.lower().startswith(b"anthropic-version")] == [expected]


def test_a_query_joins_the_providers_own() -> None:
    """Azure's path already has one."""
    asked = exchange(query=b"?a=1")
    (first, *_) = lines_of(asked, base_path="/openai", azure_api_version="2024-10-21")
    assert first == b"POST /openai/deployments/m/chat/completions?api-version=2024-10-21&a=1 HTTP/1.1"


def test_azure_is_asked_with_one_api_version() -> None:
    """The configured version counts; the one that an Azure client adds by itself does not contradict it."""
    asked = exchange(query=b"?api-version=1999-01-01&a=1")
    (first, *_) = lines_of(asked, base_path="/openai", azure_api_version="2024-10-21")
    assert first == b"POST /openai/deployments/m/chat/completions?api-version=2024-10-21&a=1 HTTP/1.1"


def test_a_signature_covers_what_is_sent() -> None:
    """Query, media type and body of the client's own bytes: each of them changes it, and nothing else does."""
    signing = Signing("AKID", "s", "eu-west-3", "bedrock", "t-1")

    def signature(body: bytes = b"{}", query: bytes = b"?a=1", media: bytes = b"application/json") -> bytes:
        headers = [(b"Content-Type", media), (b"x-other", body)] if media else [(b"x-other", body)]
        asked = exchange(headers=headers, body=body, query=query)
        asked.model_requested = "m"
        plan = planned(asked, signing=signing)
        assert plan.signer is not None
        return signature_lines(asked, Outgoing(asked), plan, plan.signer, 1_440_938_160)

    lines = signature()
    assert lines.startswith(b"\r\nx-amz-date: 20150830T123600Z\r\nx-amz-security-token: t-1\r\nauthorization: AWS4-")
    assert b"SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, " in lines
    assert signature() == lines
    others = {signature(b"{1}"), signature(query=b"?a=2"), signature(media=b"text/plain"), signature(media=b"")}
    assert len(others | {lines}) == 5


@pytest.mark.parametrize(
    ("query", "events"),
    [
        (b"", False),
        (b"?alt=sse", True),
        (b"?$alt=sse&key=a", True),
        (b"?alt=json", False),
        (b"?alt=sse&alt=json", False),
        (b"?xalt=sse", False),
        (b"?%61lt=sse", True),
    ],
)
def test_alt_selects_the_form_of_geminis_streams(query: bytes, events: bool) -> None:
    """Events only where they are asked for; the last word counts."""
    assert is_asked_as_events(query) is events


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (b"?key=a", b""),
        (b"?alt=sse&key=a&KEY=b&k%65y=c&key", b"?alt=sse"),
        (b"?monkey=a&&keys=b", b"?monkey=a&keys=b"),
    ],
)
def test_no_key_of_a_query_travels_on(query: bytes, left: bytes) -> None:
    """However it is spelled."""
    asked = exchange(path=b"/v1beta/models/m:generateContent", query=query)
    assert read_path(asked, BY_NAME["gemini"]).model == "m"
    assert asked.query == left
