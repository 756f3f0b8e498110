"""Signature Version 4, against the values that AWS has published in its test suite and its guides."""

from __future__ import annotations

import hashlib

import pytest

from flumegate.providers.bedrock import model_path
from flumegate.providers.sigv4 import Credentials, Scope, sign

SUITE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SUITE_TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwt"
    "hAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVX"
    "AkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
MOMENT = 1_440_938_160
"""2015-08-30T12:36:00Z."""


def signature(
    method: str,
    path: str = "/",
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    token: str = "",
    service: str = "service",
) -> str:
    signed = sign(
        method,
        path,
        query=query,
        headers={"Host": "example.amazonaws.com", **(headers or {})},
        body=body,
        credentials=SUITE._replace(session_token=token),
        scope=Scope("us-east-1", service),
        unix_seconds=MOMENT,
        encode_path=False,
    )
    return signed["authorization"].rpartition("Signature=")[2]


@pytest.mark.parametrize(
    ("name", "expected", "request_"),
    [
        ("get-vanilla", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", {"method": "GET"}),
        (
            "get-vanilla-query-order-key-case",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            {"method": "GET", "query": "Param2=value2&Param1=value1"},
        ),
        (
            "get-vanilla-empty-query-key",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
            {"method": "GET", "query": "Param1=value1"},
        ),
        (
            "get-utf8",
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
            {"method": "GET", "path": "/%E1%88%B4"},
        ),
        ("post-vanilla", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b", {"method": "POST"}),
        (
            "post-x-www-form-urlencoded",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            {
                "method": "POST",
                "headers": {"Content-Type": "application/x-www-form-urlencoded"},
                "body": b"Param1=value1",
            },
        ),
        (
            "post-sts-header-before",
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            {"method": "POST", "token": SUITE_TOKEN},
        ),
        (
            "guide, IAM ListUsers",
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            {
                "method": "GET",
                "query": "Action=ListUsers&Version=2010-05-08",
                "headers": {
                    "Host": "iam.amazonaws.com",
                    "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
                },
                "service": "iam",
            },
        ),
    ],
)
def test_published_requests_get_their_published_signatures(name: str, expected: str, request_: dict[str, str]) -> None:
    """The names are those of the AWS Signature Version 4 test suite."""
    assert signature(**request_) == expected, name  # type: ignore[arg-type] # rows of a table


def test_the_guide_of_s3_signs_its_path_as_it_is() -> None:
    """`GetObject` of the S3 API reference, whose secret key is spelled a little differently."""
    empty = hashlib.sha256(b"").hexdigest()
    signed = sign(
        "GET",
        "/test.txt",
        headers={"Host": "examplebucket.s3.amazonaws.com", "Range": "bytes=0-9", "x-amz-content-sha256": empty},
        body=b"",
        credentials=Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        scope=Scope("us-east-1", "s3"),
        unix_seconds=1_369_353_600,
        encode_path=False,
    )
    assert signed == {
        "x-amz-date": "20130524T000000Z",
        "authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        ),
    }


def test_a_session_token_is_sent_and_signed() -> None:
    signed = sign(
        "POST",
        "/",
        headers={"host": "example.amazonaws.com"},
        body=b"",
        credentials=SUITE._replace(session_token="made-up-token"),
        scope=Scope("eu-central-1", "bedrock"),
        unix_seconds=MOMENT,
    )
    assert signed["x-amz-security-token"] == "made-up-token"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in signed["authorization"]


def bedrock(path: str, *, encode_path: bool) -> str:
    return sign(
        "POST",
        path,
        headers={"host": "bedrock-runtime.us-east-1.amazonaws.com"},
        body=b"{}",
        credentials=SUITE,
        scope=Scope("us-east-1", "bedrock"),
        unix_seconds=MOMENT,
        encode_path=encode_path,
    )["authorization"]


def test_the_colon_of_a_model_is_sent_encoded_and_signed_encoded_twice() -> None:
    """Whoever signs `%3A` gets a 403 that says nothing of the path."""
    path = model_path("us.anthropic.claude-sonnet-4-5-20250929-v1:0", streamed=False)
    assert path == "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    twice = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%253A0/converse"
    assert bedrock(path, encode_path=True) == bedrock(twice, encode_path=False)


def test_an_empty_path_is_the_root() -> None:
    assert signature("GET", "") == signature("GET", "/")
    assert bedrock("", encode_path=True) == bedrock("/", encode_path=True)


def test_white_space_of_a_value_does_not_count() -> None:
    assert signature("GET", headers={"My-Header": "  a   b  "}) == signature("GET", headers={"my-header": "a b"})
