"""`flumegate mock`: the fake provider as a command."""

from __future__ import annotations


def mock(
    *,
    listen: str = "127.0.0.1:4180",
    fd: int | None = None,
    key: str = "",
    quiet: bool = False,
    allow_remote: bool = False,
) -> int:
    """Serve a fake provider: OpenAI, Anthropic, Ollama and Gemini on one port, with faults on demand and a ledger.

    Answers echo the prompt. Faults are asked for by header (`x-mock-fault: status=429`) or by model name
    (`gpt-4o+latency=200`). docs/mock.md lists them all.

    Args:
        listen: Address to listen on; port 0 takes a free one.
        fd: Serve on this inherited listening socket instead.
        key: Demand this credential in each dialect's own header.
        quiet: Say nothing but the ready line.
        allow_remote: Listen on addresses other than loopback too.

    Returns:
        The exit code: 0 after SIGTERM or SIGINT, 1 if the address is in use, 2 if it is not allowed.
    """
    from flumegate.mock.options import Options
    from flumegate.mock.server import serve

    return serve(Options(listen=listen, fd=fd, key=key, quiet=quiet, allow_remote=allow_remote))
