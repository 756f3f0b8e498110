from __future__ import annotations

from itertools import permutations
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate.errors import INVALID_REQUEST, GatewayError
from flumegate.wire.headers import (
    CREDENTIALS,
    HOP_BY_HOP,
    answer_verdicts,
    as_header_value,
    bearer_of,
    credential_of,
    named_by_connection,
    request_verdicts,
    valid_request_id,
)
from rig import cuts


@pytest.mark.parametrize(
    "name",
    [
        *HOP_BY_HOP,
        *CREDENTIALS,
        b"Authorization",
        b"Host",
        b"content-length",
        b"Expect",
        b"accept-encoding",
        b"Cookie",
        b"Forwarded",
        b"via",
        b"x-real-ip",
        b"X-Forwarded-For",
        b"x-forwarded-anything",
        b"cf-connecting-ip",
        b"x-flumegate-tags",
        b"X-Upstream-Name",
        b"http2-settings",
    ],
)
def test_what_stops_at_the_gateway_on_the_way_up(name: bytes) -> None:
    """Hop-by-hop fields, credentials, cookies, addresses and our own fields are never sent upstream."""
    assert request_verdicts()[name] == b""


@pytest.mark.parametrize(
    "name",
    [b"Content-Type", b"anthropic-beta", b"x-stainless-lang", b"traceparent", b"x-request-id", b"x-Anything", b"cf"],
)
def test_everything_else_travels_up_as_it_came(name: bytes) -> None:
    """The list is of what stops; fields nobody here knows pass."""
    assert request_verdicts()[name] == name.lower() + b": "


def test_fields_that_the_provider_sets_replace_the_clients() -> None:
    """Two fields of one name would leave the choice to the upstream."""
    assert request_verdicts(frozenset((b"openai-beta",)))[b"OpenAI-Beta"] == b""


@pytest.mark.parametrize(
    "name",
    [
        *HOP_BY_HOP,
        b"Content-Length",
        b"Set-Cookie",
        b"alt-svc",
        b"openai-organization",
        b"anthropic-organization-id",
        b"x-ratelimit-remaining-tokens",
        b"anthropic-ratelimit-tokens-limit",
        b"x-flumegate-lane",
        b"access-control-allow-origin",
        b"cf-ray",
        b"strict-transport-security",
    ],
)
def test_what_stops_at_the_gateway_on_the_way_down(name: bytes) -> None:
    """The upstream's account, limits, cookies and policies are not the client's."""
    assert answer_verdicts()[name] == b""


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        (b"Content-Type", b"content-type: "),
        (b"retry-after", b"retry-after: "),
        (b"X-Request-Id", b"x-upstream-request-id: "),
        (b"request-id", b"x-upstream-request-id: "),
    ],
)
def test_what_travels_down(name: bytes, sent: bytes) -> None:
    """The upstream's request id keeps its value under another name; ours takes its place."""
    assert answer_verdicts()[name] == sent


def test_verdicts_are_remembered_but_not_without_bound() -> None:
    """Nobody fills the memory with made-up field names, and the verdict is right all the same."""
    verdicts = request_verdicts()
    for number in range(3000):
        assert verdicts[b"x-%d" % number] == b"x-%d: " % number
        assert len(verdicts) <= 1024
    assert verdicts[b"x" * 1000] == b"x" * 1000 + b": "
    assert b"x" * 1000 not in verdicts
    assert b"x-2999" in verdicts
    assert verdicts[b"cookie"] == b""


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (b"close", ()),
        (b"Keep-Alive", ()),
        (b"close, X-Secret", (b"x-secret",)),
        (b" te ,,upgrade", (b"te", b"upgrade")),
    ],
)
def test_fields_named_by_connection(value: bytes, named: tuple[bytes, ...]) -> None:
    """`connection` may name further fields that go no further (RFC 9110 §7.6.1)."""
    assert named_by_connection(value) == set(named)


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (b"req-1", True),
        (b"A.b:c_d/e@f+g=h-", True),
        (b"x" * 128, True),
        (b"", False),
        (b"x" * 129, False),
        (b"a b", False),
        (b"a\r\nb", False),
        (b"a\n", False),
        ("ä".encode(), False),
    ],
)
def test_request_ids_that_can_be_kept(value: bytes, valid: bool) -> None:
    """A client's id goes into headers, records and logs: plain characters only."""
    assert valid_request_id(value) is valid


@cuts.law
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_is_safe_in_a_header(text: str) -> None:
    """Nothing but visible ASCII comes out, and percent-decoding gives the text back."""
    value = as_header_value(text)
    assert all(0x21 <= byte <= 0x7E for byte in value)
    assert unquote(value.decode()) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("gpt-4o", b"gpt-4o"), ("a b", b"a%20b"), ("ü", b"%C3%BC"), ("50%", b"50%25"), ("a\r\nb: c", b"a%0D%0Ab:%20c")],
)
def test_header_values_stay_readable(text: str, value: bytes) -> None:
    """Plain names stay as they are; the rest is percent-encoded."""
    assert as_header_value(text) == value


def test_a_lone_surrogate_and_a_long_text_do_no_harm() -> None:
    """Broken text has a value, too, and no text makes a header of any length."""
    assert as_header_value("\ud800") == b"?"
    assert len(as_header_value("ü" * 1000)) == 3 * 256


@pytest.mark.parametrize("field", CREDENTIALS)
def test_a_key_is_found_in_each_of_its_fields(field: bytes) -> None:
    """Every vendor's library sends its key in its own field."""
    value = b"Bearer sk-1" if field == b"authorization" else b"sk-1"
    assert credential_of({field: value, b"host": b"x"}) == b"sk-1"


@pytest.mark.parametrize("value", [b"Bearer sk-1", b"bearer sk-1", b"BEARER  sk-1", b"Bearer  sk-1 "])
def test_the_scheme_is_read_as_the_standard_has_it(value: bytes) -> None:
    """Case does not matter, nor how many blanks follow (RFC 9110 §11.4)."""
    assert bearer_of({b"authorization": value}) == b"sk-1"
    assert credential_of({b"authorization": value, b"x-api-key": b"sk-1"}) == b"sk-1"


@pytest.mark.parametrize("field", CREDENTIALS[1:])
@pytest.mark.parametrize("value", [b"sk-1 ", b"sk-1\t", b" sk-1 \t "])
def test_white_space_around_a_key_is_no_part_of_it(field: bytes, value: bytes) -> None:
    """In every carrier alike (RFC 9110 §5.5), and it makes no second key of the same one; alone it is none."""
    assert credential_of({field: value}) == b"sk-1"
    assert credential_of({b"authorization": b"Bearer sk-1", field: value}) == b"sk-1"
    assert not credential_of({field: value.replace(b"sk-1", b"")})


@pytest.mark.parametrize("value", [b"Basic c2s=", b"sk-1", b"Bearer", b"", b"Bearersk-1"])
def test_another_scheme_is_refused(value: bytes) -> None:
    """A key without its scheme is a mistake worth a clear answer."""
    with pytest.raises(GatewayError) as refused:
        credential_of({b"authorization": value})
    assert (refused.value.kind, refused.value.code) == (INVALID_REQUEST, "invalid_authorization")


def test_no_field_is_no_key() -> None:
    """What that means is the gate's to say."""
    assert credential_of({}) is None
    assert bearer_of({b"x-api-key": b"sk-1"}) is None


@pytest.mark.parametrize("fields", [*permutations(CREDENTIALS, 2)])
@pytest.mark.parametrize("same", [True, False])
def test_two_carriers_must_agree(fields: tuple[bytes, bytes], same: bool) -> None:
    """Whichever of two keys we took, the client might have meant the other."""
    picked = {}
    for field, key in zip(fields, (b"sk-1", b"sk-1" if same else b"sk-2"), strict=True):
        picked[field] = b"Bearer " + key if field == b"authorization" else key
    if same:
        assert credential_of(picked) == b"sk-1"
    else:
        with pytest.raises(GatewayError) as refused:
            credential_of(picked)
        assert (refused.value.status, refused.value.code) == (400, "conflicting_credentials")
        assert "sk-" not in refused.value.message


def test_an_empty_field_is_no_key() -> None:
    """A client library that always sends `x-api-key`, empty or not, does not contradict its own bearer."""
    assert credential_of({b"authorization": b"Bearer sk-1", b"x-api-key": b""}) == b"sk-1"
    assert credential_of({b"x-api-key": b"", b"api-key": b"sk-2"}) == b"sk-2"
