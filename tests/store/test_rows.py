from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from flumegate.records.access import Limits
from flumegate.store.rows import Place, columns_of, page_of, read_cursor, read_list, write_cursor, write_list
from flumegate.store.tables import keys

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.lists(_TEXT).map(tuple))
def test_a_list_comes_back(items: tuple[str, ...]) -> None:
    assert read_list(write_list(items)) == items


@given(st.floats(allow_nan=False, allow_infinity=False), _TEXT)
def test_a_cursor_comes_back(created_at: float, row_id: str) -> None:
    assert read_cursor(write_cursor(Place(created_at, row_id))) == Place(created_at, row_id)


@given(st.text() | st.sampled_from(["W10", "WzEsMl0", "e30", "WyJhIiwiYiJd", "AAAA====", "ÄÖ"]))
def test_any_other_text_is_no_cursor(text: str) -> None:
    """Whatever a client sends in its place is refused with a hint, not with a crash."""
    with pytest.raises(ValueError, match="not one of ours"):
        read_cursor(text)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_its_limits(limit: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 1000"):
        page_of(select(keys), keys, None, limit)


def test_limits_have_columns_of_their_own() -> None:
    """One to one, under their names, so that they can be asked for with plain SQL."""
    columns = columns_of({"limits": Limits(1, 2, 3, 4), "models": ("a",), "name": "x"})
    assert columns == {
        "requests_per_minute": 1,
        "tokens_per_minute": 2,
        "concurrency": 3,
        "max_requests": 4,
        "models": '["a"]',
        "name": "x",
    }
    assert set(Limits.__struct_fields__) <= {column.name for column in keys.columns}
