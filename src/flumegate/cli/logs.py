"""`flumegate logs tail|show|search`: the records of requests, for people and, with --json, for programs.

JSON is one object a line, in ASCII: no field can command a terminal or pass for a second line.
"""

from __future__ import annotations

import json as json_text
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from flumegate.store.errors import QueryTooSlow, StoreUnavailable

if TYPE_CHECKING:
    from flumegate.records.request import Content, Record

DATABASE_NAME = "flumegate.db"
FOLLOW_SECONDS = 0.25
_DATA_DIR = Path("data")


def tail(
    *,
    follow: bool = False,
    lines: int = 20,
    json: bool = False,
    data_dir: Path = _DATA_DIR,
    database: Path | None = None,
) -> int:
    """Show the newest requests, oldest of them first.

    Args:
        follow: Go on with new ones as they are stored, until Ctrl-C.
        lines: How many to begin with.
        json: Print one JSON object a line.
        data_dir: Folder that the gateway writes to.
        database: Database file, in place of the one in the data folder.
    """
    from flumegate.manage import logs

    path = database or data_dir / DATABASE_NAME
    interrupted = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if follow:
        # As an exception it could come within a callback of the database's library, where exceptions get lost.
        signal.signal(signal.SIGINT, lambda _number, _frame: interrupted.set())
    try:
        arrivals = logs.tail(path, lines)
        _print_lines(arrivals.records, as_json=json)
        while follow and not interrupted.is_set():
            # Full pages follow at once; otherwise the next look is due in a moment.
            if not arrivals.records:
                interrupted.wait(FOLLOW_SECONDS)
            arrivals = logs.follow(path, arrivals.sequence)
            _print_lines(arrivals.records, as_json=json)
    except (StoreUnavailable, QueryTooSlow) as problem:
        return _fail(str(problem))
    finally:
        signal.signal(signal.SIGINT, before)
    return 0


def show(identifier: str, /, *, json: bool = False, data_dir: Path = _DATA_DIR, database: Path | None = None) -> int:
    """Show all that is known of one request, its attempts and its bodies (where they are kept) included.

    Args:
        identifier: Id of the record, or the x-request-id that the client saw.
        json: Print one JSON object a line.
        data_dir: Folder that the gateway writes to.
        database: Database file, in place of the one in the data folder.
    """
    from flumegate.manage import logs
    from flumegate.manage.lines import render_page

    try:
        found = logs.show(database or data_dir / DATABASE_NAME, identifier)
    except (StoreUnavailable, QueryTooSlow) as problem:
        return _fail(str(problem))
    if not found:
        return _fail(f"no request with id {identifier!r}: `flumegate logs search` finds requests by parts of their ids")
    if json:
        for record, content in found:
            print(_as_json(record, content))
    else:
        rule = "\n" + "-" * 72 + "\n"
        print(f"\n{rule}\n".join(render_page(record, content, color=_colored()) for record, content in found))
    return 0


def search(  # noqa: PLR0913 - one parameter an option
    text: str = "",
    /,
    *,
    since: str | None = None,
    until: str | None = None,
    status: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    key: str | None = None,
    outcome: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    json: bool = False,
    data_dir: Path = _DATA_DIR,
    database: Path | None = None,
) -> int:
    """Find requests, newest first.

    Args:
        text: Part of an id, model, provider, path, error code or tags.
        since: Started at or after: an age (30m, 2h, 7d), a date or a time (2026-07-25T14:00).
        until: Started before: likewise.
        status: HTTP status: 404, or 4xx.
        provider: Name of the provider.
        model: Name of the model, as asked for or as sent upstream.
        key: Id of the key.
        outcome: One of ok, refused, upstream_error, failed, truncated, cancelled.
        limit: Requests of one page, up to 1000.
        cursor: Where to go on, from the page before.
        json: Print one JSON object a line.
        data_dir: Folder that the gateway writes to.
        database: Database file, in place of the one in the data folder.
    """
    from flumegate.manage import logs

    wanted = logs.Search(text, since, until, status, provider, model, key, outcome)
    try:
        page = logs.search(database or data_dir / DATABASE_NAME, wanted, now=time.time(), limit=limit, cursor=cursor)
    except (StoreUnavailable, QueryTooSlow, ValueError) as problem:
        return _fail(str(problem))
    _print_lines(page.records, as_json=json, date=True)
    if page.cursor is not None:
        _note(f"more: add --cursor {page.cursor}")
    elif not page.records:
        _note("no request matches")
    return 0


def _print_lines(records: Iterable[Record], *, as_json: bool, date: bool = False) -> None:
    from flumegate.manage.lines import render_line

    width = shutil.get_terminal_size((200, 24)).columns
    color = _colored()
    lines = [
        _as_json(record) if as_json else render_line(record, width=width, color=color, date=date) for record in records
    ]
    if lines:
        print("\n".join(lines), flush=True)


def _as_json(record: Record, content: Content | None = None) -> str:
    import msgspec

    fields = msgspec.structs.asdict(record)
    fields["attempts"] = [msgspec.structs.asdict(attempt) for attempt in record.attempts]
    if content is not None:
        fields["request_body"] = content.request_body.decode("utf-8", "backslashreplace")
        fields["response_body"] = content.response_body.decode("utf-8", "backslashreplace")
    # The one control character that JSON lets through as it is.
    return json_text.dumps(fields).replace("\x7f", "\\u007f")


def _colored() -> bool:
    return sys.stdout.isatty()


def _note(text: str) -> None:
    from flumegate.log import visible

    print(visible(text), file=sys.stderr)


def _fail(text: str) -> int:
    _note(f"flumegate logs: {text}")
    return 1
