"""What a start prints on stdout: where it listens, what it serves, and what to do first. Pure text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flumegate import __version__


class Start(NamedTuple):
    """What the banner speaks of."""

    url: str
    providers: Sequence[str]
    mock: bool
    """The built-in mock is all that answers."""
    source: str
    """The configuration file; empty = none."""
    records: str
    key: str
    """The client key, if this start made it; empty otherwise."""
    key_file: str
    """Where the generated client key is kept; empty = keys come from the configuration, or none is asked for."""
    auth_open: bool
    model: str
    """A model name that works, for the example."""
    setup: str = ""
    """The setup token, if this is the first start."""
    path: str = "/v1/chat/completions"
    """Where that model is asked."""


def banner(start: Start, *, colour: bool) -> str:
    """Return the banner, ending in a line feed."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if colour else ("", "")
    rows = [
        ("listening", start.url),
        ("providers", ", ".join(start.providers) or "none"),
        ("settings", start.source or "environment and defaults (no flumegate.yaml)"),
        ("records", start.records),
        ("clients", _clients(start)),
        ("stop", "Ctrl-C, or SIGTERM"),
    ]
    lines = [f"{bold}Flumegate {__version__}{plain}", *(f"  {name:<10} {value}" for name, value in rows)]
    if start.mock:
        lines += [
            "",
            f"{bold}NO PROVIDER IS CONFIGURED: every answer is MADE UP by the built-in mock.{plain}",
            "  To add a real one, set OPENAI_API_KEY, ANTHROPIC_API_KEY or another provider's",
            "  key and start again, or write it into flumegate.yaml;",
            "  `flumegate config schema` lists all settings.",
        ]
    if start.key:
        lines += [
            "",
            f"{bold}Your client key, shown only this once (kept in {start.key_file}):{plain}",
            f"  {start.key}",
        ]
    if start.setup:
        lines += [
            "",
            f"{bold}Your setup token for the console, good once and for an hour:{plain}",
            f"  {start.setup}",
            "  `flumegate setup` exchanges it for a token of your own.",
        ]
    if start.key or start.auth_open:
        lines += ["", "Try it:", *_example(start)]
    return "\n".join(lines) + "\n"


def _clients(start: Start) -> str:
    if start.auth_open:
        return "no key is asked for (auth.mode: open)"
    if start.key_file:
        return f"the key in {start.key_file}"
    return "the keys in auth.static_keys"


def _example(start: Start) -> list[str]:
    limit = '"max_tokens": 100, ' if start.path == "/v1/messages" else ""
    body = f'{{"model": "{start.model}", {limit}"messages": [{{"role": "user", "content": "Hello"}}]}}'
    authorization = [f"    -H 'Authorization: Bearer {start.key}' \\"] if start.key else []
    return [
        f"  curl {start.url}{start.path} \\",
        *authorization,
        "    -H 'Content-Type: application/json' \\",
        f"    -d '{body}'",
    ]
