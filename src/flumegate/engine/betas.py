"""Anthropic's beta values, by a provider's own policy: each is forwarded, dropped, or sent under another name.

The same value is legal at one cloud and a 400 at another, and members of the body belong to betas: who drops a beta
must drop its members, or the provider refuses them as unknown.
"""

from __future__ import annotations

from flumegate.engine.outgoing import Outgoing
from flumegate.exchange import Exchange
from flumegate.snapshot import Provider
from flumegate.wire import splice

HEADER = b"anthropic-beta"
DROP = "drop"
EVERY_OTHER = "*"
_MEMBERS = {
    "context-management": b'"context_management"',
    "mcp-client": b'"mcp_servers"',
    "fast-mode": b'"speed"',
    "compact": b'"context_management"',
}
"""Beginning of a beta's name → the top-level member that only it makes legal."""


def apply_policy(exchange: Exchange, outgoing: Outgoing, provider: Provider) -> None:
    """Change header and body of a request as the provider's policy says; what was dropped is a loss."""
    asked = [
        value.strip()
        for name, field in exchange.headers
        if name == HEADER
        for value in field.decode("latin-1").split(",")
        if value.strip()
    ]
    if not asked:
        return
    policy = provider.betas
    kept: list[str] = []
    dropped: list[str] = []
    for value in asked:
        verdict = policy.get(value, policy.get(EVERY_OTHER, value))
        if verdict == DROP:
            dropped.append(value)
        else:
            kept.append(verdict)
    headers = [field for field in exchange.headers if field[0] != HEADER]
    if kept:
        headers.append((HEADER, ",".join(dict.fromkeys(kept)).encode("latin-1")))
    outgoing.headers = headers
    for value in dropped:
        _drop_members(outgoing, value, kept)
    outgoing.losses += tuple(f"dropped:anthropic-beta.{value}" for value in dropped)


def _drop_members(outgoing: Outgoing, value: str, kept: list[str]) -> None:
    for beginning, key in _MEMBERS.items():
        needed = any(_MEMBERS.get(other) == key and name.startswith(other) for name in kept for other in _MEMBERS)
        if value.startswith(beginning) and not needed:
            outgoing.body = splice.remove(outgoing.body, key)
