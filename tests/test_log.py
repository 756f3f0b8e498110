from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flumegate import log
from flumegate.log import Log


class Sink:
    """A log that writes into a file, and what it wrote."""

    def __init__(self, path: Path, layout: log.Layout) -> None:
        self.path = path
        self.log = Log(os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600))
        self.log.layout = layout
        self.log.process = "test"

    def lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True)


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    made = Sink(tmp_path / "log", "json")
    yield made
    os.close(made.log.descriptor)


def test_a_json_line_holds_time_level_process_event_and_fields(sink: Sink) -> None:
    """One event is one JSON object with the fixed names first."""
    sink.log.write("info", "started", {"port": 4100, "host": "::1", "none": None})
    row = json.loads(sink.lines()[0])
    assert list(row) == ["time", "level", "process", "event", "port", "host", "none"]
    assert (row["level"], row["process"], row["event"], row["port"], row["none"]) == (
        "info",
        "test",
        "started",
        4100,
        None,
    )


def test_a_field_cannot_pass_itself_off_as_the_level(sink: Sink) -> None:
    """The fixed names keep their meaning whatever a field is called."""
    sink.log.write("error", "failed", {"level": "info", "process": "other", "event": "fine"})
    row = json.loads(sink.lines()[0])
    assert (row["level"], row["process"], row["event"]) == ("error", "test", "failed")


def test_lines_below_the_level_are_not_written(sink: Sink) -> None:
    """The level is a floor."""
    sink.log.rank = 30
    for level in ("debug", "info", "warning", "error"):
        sink.log.write(log.level(level), level, {})
    assert [json.loads(line)["level"] for line in sink.lines()] == ["warning", "error"]


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=200), max_size=4), st.text(max_size=40))
def test_no_field_can_forge_a_line(fields: dict[str, str], name: str) -> None:
    """One event is one line, and no control byte reaches a terminal or a log reader, whatever the fields hold."""
    written = Log()
    written.process = "test"
    as_json = written._json("info", name, dict(fields))
    assert json.loads(as_json)["level"] == "info"
    for line in (as_json, written._console("info", name, dict(fields), colour=False)):
        text = line.decode()
        assert text.endswith("\n")
        assert text[:-1].isprintable()


def test_known_secrets_are_masked_wherever_they_stand(sink: Sink) -> None:
    """A loaded secret never appears, not in a name, not in a value, not inside an exception, not inside another."""
    log_before = log._LOG.secrets
    try:
        log.hide(["sk-canary", "sk-canary-longer", "ab"])
        sink.log.secrets = log._LOG.secrets
    finally:
        log._LOG.secrets = log_before
    sink.log.write("info", "at sk-canary", {"sk-canary": "x sk-canary-longer y", "problem": ValueError("sk-canary")})
    sink.log.layout = "console"
    sink.log.write("info", "at sk-canary", {"sk-canary": "x sk-canary-longer y", "problem": ValueError("sk-canary")})
    output = b"".join(sink.lines())
    assert b"canary" not in output
    assert b"longer" not in output
    assert output.count(b"***") == 8


def test_long_lines_are_cut_to_what_a_pipe_takes_at_once(sink: Sink) -> None:
    """No line is longer than 4096 bytes, and a cut JSON line is still JSON."""
    sink.log.write("info", "long", {"text": "ü" * 9000})
    sink.log.layout = "console"
    sink.log.write("info", "long", {"text": "ü" * 9000})
    first, second = sink.lines()
    assert json.loads(first)["event"] == "long"
    assert len(first) <= 4096
    assert len(second) <= 4096


def test_a_reader_that_hangs_costs_lines_and_nothing_else() -> None:
    """A full pipe drops lines, counts them, and says so in the next line that gets through."""
    reader, writer = os.pipe()
    try:
        written = Log(writer)
        written.layout = "json"
        for _ in range(200):
            written.write("info", "filling", {"text": "x" * 2000})
        dropped = written.dropped
        assert dropped > 0
        while len(os.read(reader, 65536)) == 65536:
            pass
        written.write("info", "again", {})
        assert json.loads(os.read(reader, 65536).splitlines()[-1])["lines_dropped"] == dropped
        assert written.dropped == 0
    finally:
        os.close(reader)
        os.close(writer)


def test_a_closed_or_full_stderr_is_no_error() -> None:
    """Logging never raises."""
    reader, writer = os.pipe()
    os.close(reader)
    broken = Log(writer)
    broken.write("error", "nobody reads", {})
    os.close(writer)
    broken.write("error", "nobody is there", {})
    assert broken.dropped == 2
    full = Log(os.open("/dev/full", os.O_WRONLY))
    full.write("error", "no space", {})
    assert full.dropped == 1
    os.close(full.descriptor)


def test_console_lines_are_aligned_and_quote_what_holds_spaces(tmp_path: Path) -> None:
    """Text for people: time, level, process, event, then fields that can still be told apart."""
    sink = Sink(tmp_path / "log", "console")
    sink.log.write("warning", "child_ended", {"child": "w0", "end": "exit 1", "empty": "", "quote": 'a"b'})
    line = sink.lines()[0].decode()
    os.close(sink.log.descriptor)
    assert line[12:].startswith(" warning test       child_ended            ")
    assert line.rstrip().endswith(r'child=w0 end="exit 1" empty="" quote="a\"b"')


def test_events_go_to_standard_error_under_the_configured_name(capfd: pytest.CaptureFixture[str]) -> None:
    """`configure` and `event` are all that a process needs."""
    before = (log._LOG.rank, log._LOG.layout, log._LOG.process)
    try:
        log.configure(log.level("warn-me-not"), log.layout("json"), "w7")
        log.event("info", "serving", version=3)
    finally:
        log._LOG.rank, log._LOG.layout, log._LOG.process = before
    row = json.loads(capfd.readouterr().err)
    assert (row["process"], row["event"], row["version"]) == ("w7", "serving", 3)
