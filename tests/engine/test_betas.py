"""Anthropic's beta values by a provider's policy, and the members that belong to them."""

from __future__ import annotations

import json

import pytest

from flumegate.engine.betas import apply_policy
from flumegate.engine.outgoing import Outgoing
from rig.exchanges import exchange, provider

BODY = b'{"model": "m", "context_management": {"edits": [{"a": 1}]}, "mcp_servers": [], "max_tokens": 9}'


@pytest.mark.parametrize(
    ("policy", "sent", "left", "losses"),
    [
        (
            {"other": "drop"},
            b"context-management-2025-06-27,mcp-client-2025-04-04",
            {"context_management", "mcp_servers"},
            (),
        ),
        (
            {"context-management-2025-06-27": "drop"},
            b"mcp-client-2025-04-04",
            {"mcp_servers"},
            ("dropped:anthropic-beta.context-management-2025-06-27",),
        ),
        (
            {"mcp-client-2025-04-04": "mcp-client-2026-01-01"},
            b"context-management-2025-06-27,mcp-client-2026-01-01",
            {"context_management", "mcp_servers"},
            (),
        ),
        (
            {"*": "drop", "mcp-client-2025-04-04": "mcp-client-2025-04-04"},
            b"mcp-client-2025-04-04",
            {"mcp_servers"},
            ("dropped:anthropic-beta.context-management-2025-06-27",),
        ),
        (
            {"*": "drop"},
            None,
            set(),
            (
                "dropped:anthropic-beta.context-management-2025-06-27",
                "dropped:anthropic-beta.mcp-client-2025-04-04",
            ),
        ),
    ],
)
def test_values_are_sent_dropped_or_renamed(
    policy: dict[str, str], sent: bytes | None, left: set[str], losses: tuple[str, ...]
) -> None:
    """However many header lines there are; who drops a value drops its members, and says so."""
    headers = [
        (b"anthropic-beta", b"context-management-2025-06-27"),
        (b"accept", b"*/*"),
        (b"anthropic-beta", b" mcp-client-2025-04-04 ,"),
    ]
    one = exchange(path=b"/v1/messages", headers=headers, body=BODY)
    outgoing = Outgoing(one)
    apply_policy(one, outgoing, provider(betas=policy))
    assert dict(outgoing.headers).get(b"anthropic-beta") == sent
    assert (b"accept", b"*/*") in outgoing.headers
    assert set(json.loads(outgoing.body)) == {"model", "max_tokens"} | left
    assert outgoing.losses == losses
    assert (one.headers, one.body) == (headers, BODY), "another target may be asked with the client's own words"


def test_a_request_without_betas_stays_as_it_is() -> None:
    """Nothing is looked for that nobody asked for."""
    one = exchange(path=b"/v1/messages", body=BODY)
    outgoing = Outgoing(one)
    apply_policy(one, outgoing, provider(betas={"*": "drop"}))
    assert (outgoing.body, outgoing.losses) == (BODY, ())
