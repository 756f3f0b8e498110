from __future__ import annotations

import json

from flumegate.dialects.bedrock.errors import read_error


def test_a_wrong_signature_does_not_repeat_what_was_signed() -> None:
    """AWS answers with all signed fields, a session token among them: none of it is for the client."""
    message = (
        "The request signature we calculated does not match the signature you provided. Check your key.\n\n"
        "The Canonical String for this request should have been\n'POST\n/model/m/converse\n\n"
        "host:h\nx-amz-date:20261121T120000Z\nx-amz-security-token:very-secret\n'"
    )
    failure = read_error(403, json.dumps({"message": message}).encode())
    assert failure.reason == "authentication"
    assert failure.message.endswith("Check your key.")
