"""`flumegate audit list|verify|export`: who did what, whether the trail is whole, the trail itself."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from urllib.parse import urlencode

from flumegate.cli import operator
from flumegate.cli.operator import CommandError
from flumegate.cli.page import print_fields, print_rows, short_time
from flumegate.cli.reach import HERE, OrStdin, Reach

_LINES_AT_ONCE = 10_000


def list_audit(*, action: str = "", actor: str = "", search: str = "", limit: int = 50, reach: Reach = HERE) -> int:
    """Show who did what, newest first.

    Args:
        action: Only this, as key.create.
        actor: Only of this one, as admin.token or token:ID.
        search: Only where this stands in any part of it.
        limit: How many at most.
        reach: Where the console is.
    """

    def show() -> None:
        query = urlencode({"action": action, "actor": actor, "search": search})
        found = list(reach.every(f"/manage/audit?{query}", "entries", limit))
        if reach.json:
            operator.print_json({"entries": found})
            return
        rows = [
            (
                each["sequence"],
                short_time(each["at"]),
                each["actor"],
                each["action"],
                each["target"],
                each["outcome"],
                each["client"],
            )
            for each in found
        ]
        print_rows(("entry", "time", "who", "what", "of what", "outcome", "from"), rows, "nothing was done yet")

    return operator.run("audit list", show)


def verify_audit(*, reach: Reach = HERE) -> int:
    """Read the whole trail, and say whether it is as it was written. Exits with 1 if it is not.

    Args:
        reach: Where the console is.
    """

    def show() -> None:
        told = reach.ask("GET", "/manage/audit/verify")
        operator.print_json(told) if reach.json else print_fields(told)
        if not told["whole"]:
            raise CommandError(operator.REFUSED_EXIT, f"the audit trail was touched: {told['fault']}")

    return operator.run("audit verify", show)


def export_audit(output: OrStdin[Path], /, *, after: int = 0, reach: Reach = HERE) -> int:
    """Write the trail as JSON lines, oldest first, with what proves each entry.

    Args:
        output: The file, which must not be there yet; - writes to stdout.
        after: Number of the last entry that you have already.
        reach: Where the console is.
    """

    def write() -> None:
        try:
            with Path("/dev/stdout" if str(output) == "-" else output).open("w" if str(output) == "-" else "x") as file:
                last = after
                while lines := operator.ask_lines(
                    reach.operator(), f"/manage/audit/export?after={last}&limit={_LINES_AT_ONCE}"
                ):
                    file.writelines(f"{line}\n" for line in lines)
                    last = int(json_text.loads(lines[-1])["sequence"])
        except OSError as problem:
            raise CommandError(operator.REFUSED_EXIT, f"{output}: cannot be written ({problem})") from problem

    return operator.run("audit export", write)
