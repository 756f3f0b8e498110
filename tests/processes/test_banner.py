from __future__ import annotations

from flumegate import __version__
from flumegate.processes import first_start
from flumegate.processes.banner import Start, banner

PLAIN = Start(
    url="http://127.0.0.1:4100",
    providers=["anthropic", "openai"],
    mock=False,
    source="flumegate.yaml",
    records="data/flumegate.db",
    key="",
    key_file="",
    auth_open=False,
    model="openai/gpt-4o",
)


def test_a_start_says_where_what_and_how_to_stop() -> None:
    """Plain text off a terminal, no key, no example that would not work."""
    text = banner(PLAIN, colour=False)
    for part in (__version__, PLAIN.url, "anthropic, openai", "data/flumegate.db", "Ctrl-C", "auth.static_keys"):
        assert part in text
    assert "\x1b" not in text
    assert "curl" not in text
    assert "MADE UP" not in text


def test_the_start_that_made_the_key_shows_it_with_a_line_to_try() -> None:
    """Twice: on its own, and in the curl line."""
    text = banner(PLAIN._replace(key="sk-fg-x", key_file="data/client.key"), colour=False)
    assert text.count("sk-fg-x") == 2
    assert "curl http://127.0.0.1:4100/v1/chat/completions" in text
    assert '"model": "openai/gpt-4o"' in text


def test_later_starts_say_where_the_key_is() -> None:
    """The path, not the key."""
    assert "the key in data/client.key" in banner(PLAIN._replace(key_file="data/client.key"), colour=False)


def test_the_mock_is_said_loudly_with_the_way_out() -> None:
    """Nobody takes made-up answers for real ones."""
    text = banner(PLAIN._replace(mock=True, providers=["mock"], source=""), colour=False)
    assert "NO PROVIDER IS CONFIGURED: every answer is MADE UP" in text
    assert "OPENAI_API_KEY" in text


def test_an_open_gateway_says_so_and_needs_no_key_to_try() -> None:
    """The example stands without a header that would not be looked at."""
    text = banner(PLAIN._replace(auth_open=True), colour=False)
    assert "no key is asked for" in text
    assert "curl" in text
    assert "Authorization" not in text


def test_it_fits_an_ordinary_terminal() -> None:
    """Eighty columns, but for key and body of the example, which are copied as a whole; its lines belong together."""
    key = first_start.make_key()
    start = PLAIN._replace(mock=True, source="", key=key, key_file="data/client.key", path="/v1/messages")
    lines = banner(start, colour=False).splitlines()
    assert [line for line in lines if len(line) > 80 and key not in line and " -d " not in line] == []
    example = lines[lines.index("Try it:") + 1 :]
    assert all(line.endswith(" \\") for line in example[:-1])
    assert not example[-1].endswith("\\")


def test_a_terminal_gets_emphasis() -> None:
    """And every emphasis ends."""
    text = banner(PLAIN, colour=True)
    assert text.count("\x1b[1m") == text.count("\x1b[0m") > 0


def test_the_first_start_shows_the_setup_token_with_what_it_is_for() -> None:
    """Once; later starts have none."""
    text = banner(PLAIN._replace(setup="fg-st-x"), colour=False)
    assert text.count("fg-st-x") == 1
    assert "flumegate setup" in text
    assert "setup" not in banner(PLAIN, colour=False)
