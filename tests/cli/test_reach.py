from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flumegate.cli import operator
from flumegate.cli.operator import NETWORK_EXIT, CommandError
from flumegate.cli.reach import Reach


class Pages(Reach):
    """A console with a list of 250 entries."""

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        assert (method, body) == ("GET", None)
        asked = dict(each.split("=") for each in path.partition("?")[2].split("&"))
        first, limit = int(asked.get("cursor", 0)), int(asked["limit"])
        last = min(first + limit, 250)
        return {"rows": [{"n": number} for number in range(first, last)], "next": str(last) if last < 250 else None}


@pytest.mark.parametrize("most", [0, 1, 100, 101, 250, 1000])
def test_a_list_goes_on_until_its_end(most: int) -> None:
    """Each entry once, and no more than are wanted."""
    for path in ("/list", "/list?a=b"):
        found = [row["n"] for row in Pages().every(path, "rows", most)]
        assert found == list(range(min(most, 250)))


def test_a_console_that_is_nowhere_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as refused:
        Reach(data_dir=tmp_path).operator()
    assert refused.value.code == NETWORK_EXIT == operator.NETWORK_EXIT
