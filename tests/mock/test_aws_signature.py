"""The mock's own check of AWS signatures."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flumegate.mock.aws_signature import SKEW_SECONDS, Key, fault, read_key

KEY = Key("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SCOPE = "AKIDEXAMPLE/20150830/us-east-1/bedrock/aws4_request"
MOMENT = 1_440_938_160.0
"""2015-08-30 12:36:00 UTC, the moment of AWS's own test suite."""
TARGET = "/model/a.b-v1%3A0/converse?b=2&a=1"
BODY = b'{"messages":[]}'
SIGNATURE = "0f82cf0e5ac4197a36b46643b041f9fe8026f210bb89c3c3165e925fcca77f8c"


def fields(**changed: str) -> list[tuple[bytes, bytes]]:
    """Return the header fields of a signed request, some changed; an empty one is left out."""
    usual = {
        "host": "h",
        "x_amz_date": "20150830T123600Z",
        "content_type": "application/json",
        "authorization": f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=content-type;host;x-amz-date, "
        f"Signature={SIGNATURE}",
    } | changed
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in usual.items() if value]


def found(*, target: str = TARGET, body: bytes = BODY, now: float = MOMENT, key: Key = KEY, **changed: str) -> str:
    """Return what is wrong with a request."""
    return fault(key, "POST", target, fields(**changed), body, now)


def test_a_right_signature_passes() -> None:
    """Made by openssl, step by step after the specification."""
    assert found() == ""
    assert found(content_type="application/json  ", now=MOMENT + SKEW_SECONDS) == ""


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"host": "other"}, "does not match"),
        ({"x_amz_date": "20150830T123601Z"}, "does not match"),
        ({"x_amz_date": "20150831T000000Z"}, "another than that"),
        ({"x_amz_date": "yesterday"}, "x-amz-date is missing"),
        ({"x_amz_target": "unsigned"}, "must be all of"),
        ({"x_amz_security_token": "t"}, "security token"),
        ({"content_type": ""}, "must be all of"),
        ({"authorization": "Bearer k"}, "no signature of version 4"),
        ({"authorization": ""}, "no signature of version 4"),
    ],
)
def test_whatever_was_changed_on_the_way_is_found(changed: dict[str, str], words: str) -> None:
    """Every part of the request is covered, and the message says which rule was broken."""
    assert words in fault(KEY, "POST", TARGET, fields(**changed), BODY, MOMENT)


def test_path_body_moment_and_key_count() -> None:
    """The path as it was sent, not decoded."""
    assert "does not match" in found(target="/model/a.b-v1:0/converse?b=2&a=1")
    assert found(target="/model/a.b-v1%3A0/converse?a=1&b=2") == ""
    assert "does not match" in found(body=b"{}")
    assert "too far" in found(now=MOMENT + SKEW_SECONDS + 1)
    assert "security token" in found(key=Key("OTHER", "s"))
    assert "does not match" in found(key=Key("AKIDEXAMPLE", "s"))
    other = fields()[-1][1].decode().replace("/bedrock/", "/s3/")
    assert "correct service" in found(authorization=other)


def test_a_key_is_written_with_colons() -> None:
    """What cannot be one is refused before the mock starts."""
    assert read_key("a:b") == Key("a", "b")
    assert read_key("a:b:c:d") == Key("a", "b", "c:d")
    command = [sys.executable, "-m", "flumegate.mock", "--listen", "127.0.0.1:0", "--aws-key", "only-id"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "ID:SECRET" in done.stderr
