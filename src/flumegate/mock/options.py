"""How the mock is started: its command line, and the rule that it listens on loopback unless told otherwise."""

from __future__ import annotations

import argparse
import ipaddress
from typing import NamedTuple

from flumegate.mock import aws_signature


class OptionError(ValueError):
    """An option cannot be used; the message says which and what to write instead."""


class Options(NamedTuple):
    """How one mock runs.

    Attributes:
        listen: `host:port`; port 0 takes a free one.
        fd: an inherited listening socket to serve on instead.
        key: the credential that every dialect demands; empty = none.
        quiet: say nothing but the ready line.
        allow_remote: any address may be listened on.
        seed: of the dice that the fault `share` throws.
        aws_key: `ID:SECRET[:TOKEN]` by which requests may be signed, and Bedrock's must be without `key`.
    """

    listen: str = "127.0.0.1:4180"
    fd: int | None = None
    key: str = ""
    quiet: bool = False
    allow_remote: bool = False
    seed: int = 0
    aws_key: str = ""


def read(argv: list[str] | None) -> Options:
    """Return the options of a command line; argparse ends the process with code 2 where it cannot be read."""
    parser = argparse.ArgumentParser(
        prog="flumegate mock", description="A fake provider: every dialect on one port, faults on demand, a ledger."
    )
    usual = Options()
    parser.add_argument("--listen", default=usual.listen, help="address to listen on, port 0 for a free one")
    parser.add_argument("--fd", type=int, default=None, help="serve on this inherited listening socket instead")
    parser.add_argument("--key", default=usual.key, help="demand this credential in each dialect's own header")
    parser.add_argument("--quiet", action="store_true", help="say nothing but the ready line")
    parser.add_argument("--allow-remote", action="store_true", help="listen on addresses other than loopback too")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the dice that the fault `share` throws")
    parser.add_argument("--aws-key", default=usual.aws_key, help="ID:SECRET[:TOKEN]: verify AWS signatures by it")
    options = Options(**vars(parser.parse_args(argv)))
    try:
        if options.aws_key:
            aws_signature.read_key(options.aws_key)
    except ValueError as problem:
        parser.error(str(problem))
    return options


def address(options: Options) -> tuple[str, int]:
    """Return host and port to listen on.

    Raises:
        OptionError: the address has no port, or is not loopback and `--allow-remote` was not given.
    """
    host, colon, port = options.listen.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise OptionError(f"--listen takes host:port, as in 127.0.0.1:4180, not `{options.listen}`")
    if not options.allow_remote and not _is_loopback(host):
        raise OptionError(
            f"The mock answers anyone who reaches it, so it listens on loopback only: use 127.0.0.1:{port}, "
            f"or add --allow-remote to listen on {host}"
        )
    return host, int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
