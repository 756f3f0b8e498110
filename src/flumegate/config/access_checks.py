"""Checks of who may use the gateway: keys that can be guessed, doors that stand open, master keys that are none."""

from __future__ import annotations

from collections.abc import Iterator

from flumegate.config.address import read_listen
from flumegate.config.problem import Path
from flumegate.config.sections import Config

Finding = tuple[Path, str]

MIN_KEY_CHARACTERS = 16
MIN_MASTER_CHARACTERS = 32
_ADVICE = "choose one of your own, as from: openssl rand -hex 16"
_PUBLISHED = frozenset(
    (
        "changeme",
        "change-me",
        "change_me",
        "changemechangeme",
        "replace-me",
        "replaceme",
        "your-api-key",
        "your-api-key-here",
        "your-key-here",
        "your_api_key_here",
        "your-secret-key-here",
        "sk-your-api-key-here",
        "sk-test",
        "sk-1234",
        "sk-12345",
        "sk-123456",
        "sk-1234567890",
        "sk-1234567890abcdef",
        "sk-example",
        "sk-xxxx",
        "sk-xxxxxxxxxxxxxxxx",
        "sk-your-key",
        "sk-flumegate",
        "sk-placeholder",
        "sk-placeholder-key",
        "test-key",
        "testkey1",
        "example-key",
        "secret",
        "secretkey",
        "secret-key",
        "supersecret",
        "supersecretkey123",
        "password",
        "password1",
        "passw0rd",
        "passwordpassword",
        "letmein1",
        "12345678",
        "123456789",
        "1234567890",
        "1234567890123456",
        "0123456789abcdef",
        "00000000",
        "0000000000000000",
        "qwertyuiop",
        "qwertyuiopasdfgh",
    )
)
"""What tutorials and samples show; compared in lower case."""


def refusals(config: Config) -> Iterator[Finding]:
    """Yield what would let in whom nobody invited."""
    listen = read_listen(config.server.listen)
    if config.auth.mode == "open" and not listen.is_loopback:
        yield (
            ("auth", "mode"),
            f"open lets everyone who reaches {listen} spend your credit; use mode: keys, or listen on 127.0.0.1",
        )
    if config.auth.mode == "keys":
        for index, secret in enumerate(config.auth.static_keys):
            for key in secret.entries():
                weakness = weakness_of(key)
                if weakness:
                    yield ("auth", "static_keys", index), weakness
    for index, secret in enumerate(config.encryption.keys):
        if len(secret.reveal()) < MIN_MASTER_CHARACTERS:
            yield (
                ("encryption", "keys", index),
                f"a master key has {MIN_MASTER_CHARACTERS} characters or more, as from: openssl rand -base64 32",
            )


def weakness_of(key: str) -> str:
    """Return why a key can be guessed, with what to do; empty if it cannot."""
    if key.lower() in _PUBLISHED:
        return f"this key stands in every tutorial; {_ADVICE}"
    if len(key) < MIN_KEY_CHARACTERS or len(set(key)) < MIN_KEY_CHARACTERS // 4:
        return f"a key of {len(key)} characters can be guessed, use {MIN_KEY_CHARACTERS} or more; {_ADVICE}"
    return ""
