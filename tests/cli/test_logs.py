from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flumegate.cli import logs
from flumegate.cli.main import run
from flumegate.records.request import Content
from flumegate.store.ingest import Ingest
from rig.records import make_content, make_record

_HOSTILE = "\x1b]0;owned\x07\r\n\x9b31m\x7f\u202e{}\0"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    ingest = Ingest(f"sqlite:///{tmp_path}/flumegate.db")
    records = [make_record(number) for number in range(3)]
    records.append(make_record(3, tags=_HOSTILE, model=_HOSTILE, request_id=_HOSTILE, path=_HOSTILE))
    ingest.insert(records, [make_content(1), Content("record-00000003", _HOSTILE.encode(), b"\xff\x1b")])
    ingest.close()
    return tmp_path


def _add(data_dir: Path, number: int) -> None:
    ingest = Ingest(f"sqlite:///{data_dir}/flumegate.db")
    ingest.insert([make_record(number)])
    ingest.close()


def test_tail_prints_one_line_a_request(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest come last, where the eye is; no field breaks a line."""
    assert run(["logs", "tail", "--lines", "3", "--data-dir", str(data_dir)]) == 0
    output = capsys.readouterr().out
    lines = output.split("\n")
    assert [line[-len("record-00000001") :] for line in lines[:-1]] == [
        f"record-0000000{number}" for number in (1, 2, 3)
    ]
    assert lines[-1] == ""
    assert all(line.isprintable() for line in lines)


def test_json_is_one_object_a_line_and_plain_ascii(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get every field; hostile bytes arrive as escapes, and as what they were once parsed."""
    database = str(data_dir / "flumegate.db")
    for arguments in (["tail"], ["search", "record-"], ["show", "record-00000003"]):
        assert run(["logs", *arguments, "--json", "--database", database]) == 0
        output = capsys.readouterr().out
        assert output.isascii()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", output)
        rows = [json.loads(line) for line in output.splitlines()]
        (hostile,) = [row for row in rows if row["id"] == "record-00000003"]
        assert hostile["model"] == hostile["tags"] == _HOSTILE
        assert hostile["attempts"][0]["target"] == "openai/gpt-4o"
        if arguments[0] == "show":
            assert (hostile["request_body"], hostile["response_body"]) == (_HOSTILE, "\\xff\x1b")


def test_show_prints_a_page(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One request, by either id, with its bodies and without control characters."""
    assert run(["logs", "show", "req-00000001", "--data-dir", str(data_dir)]) == 0
    output = capsys.readouterr().out
    assert "record-00000001" in output
    assert "request body (100 bytes kept)" in output
    assert run(["logs", "show", "record-00000003", "--data-dir", str(data_dir)]) == 0
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


def test_unknown_id_is_an_error_with_a_hint(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing found is exit code 1, and nothing hostile is echoed."""
    assert run(["logs", "show", "\x1b[31mno", "--data-dir", str(data_dir)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "flumegate logs search" in captured.err
    assert "\x1b" not in captured.err


def test_search_pages_with_its_cursor(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hint on stderr leads to the next page; the last page has none; stdout holds requests only."""
    arguments = ["logs", "search", "--limit", "2", "--json", "--data-dir", str(data_dir)]
    assert run(arguments) == 0
    first = capsys.readouterr()
    match = re.fullmatch(r"more: add --cursor (\S+)\n", first.err)
    assert match is not None
    assert run([*arguments, "--cursor", match[1]]) == 0
    second = capsys.readouterr()
    assert second.err == ""
    ids = [json.loads(line)["id"][-1] for line in (first.out + second.out).splitlines()]
    assert ids == ["3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["REQ-00000002"], "2"),
        (["--provider", "openai", "--status", "2xx", "--model", "gpt-4o"], "210"),
        (["--key", "static-0a1b2c3d", "--outcome", "ok", "--since", "2025-06-15", "--until", "0s"], "3210"),
        (["' OR '1'='1"], ""),
        (["--since", "1s"], ""),
    ],
)
def test_search_narrows(data_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], found: str) -> None:
    """Each option narrows the list; nothing found is said, and is no error."""
    assert run(["logs", "search", *arguments, "--json", "--data-dir", str(data_dir)]) == 0
    captured = capsys.readouterr()
    assert "".join(json.loads(line)["id"][-1] for line in captured.out.splitlines()) == found
    assert ("no request matches" in captured.err) == (not found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "yesterday"], "is no time"),
        (["--status", "fine"], "is no status"),
        (["--limit", "0"], "between 1 and 1000"),
        (["--cursor", "x"], "copy it whole"),
        (["x" * 300], "use a part of it"),
    ],
)
def test_search_explains_what_it_cannot_use(
    data_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """What cannot be understood ends with exit code 1 and with what would be right."""
    assert run(["logs", "search", *arguments, "--data-dir", str(data_dir)]) == 1
    assert message in capsys.readouterr().err


def test_before_the_first_start_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a database every command names the file and the remedy, and makes nothing."""
    for arguments in (["tail"], ["tail", "--follow"], ["search"], ["show", "x"]):
        assert run(["logs", *arguments, "--data-dir", str(tmp_path)]) == 1
        assert "start the gateway with `flumegate serve`" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_follow_shows_new_requests_until_interrupted(data_dir: Path) -> None:
    """New requests appear as they are stored, each once; Ctrl-C ends it with exit code 0 and no noise."""
    script = "import sys; from flumegate.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "logs", "tail", "--follow", "--lines", "1", "--json"]
    with subprocess.Popen(
        [*command, "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        text=True,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["id"] == "record-00000003"
        for number in (7, 5):
            _add(data_dir, number)
            assert json.loads(process.stdout.readline())["id"] == f"record-0000000{number}"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert (process.returncode, output, errors) == (0, "", "")


def test_default_is_the_data_folder_here(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without options the database of a gateway started in this folder is read."""
    (data_dir / "data").mkdir()
    (data_dir / "flumegate.db").rename(data_dir / "data" / "flumegate.db")
    monkeypatch.chdir(data_dir)
    assert logs.tail() == 0
    assert logs.show("record-00000001") == 0
    assert logs.search("nothing at all") == 0
