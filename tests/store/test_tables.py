from __future__ import annotations

import types
import typing

from flumegate.records.request import Content, Record
from flumegate.store.ingest import RECORD_COLUMNS
from flumegate.store.tables import contents, requests


def test_every_field_of_a_record_has_its_column_in_the_same_order() -> None:
    """A field that is appended to the Record without a column fails here, not in a running gateway."""
    assert Record.__struct_fields__ == RECORD_COLUMNS
    fields = set(Content.__struct_fields__)
    assert {column.name for column in contents.columns} == fields | {"stored_at"}


def test_only_fields_that_may_be_missing_have_columns_that_may_be_empty() -> None:
    """NULL means not reported, and nothing else."""
    hints = typing.get_type_hints(Record)
    may_be_none = {name for name, hint in hints.items() if isinstance(hint, types.UnionType)}
    assert {column.name for column in requests.columns if column.nullable} == may_be_none


def test_lists_and_filters_have_their_indexes() -> None:
    """Time, key, provider, model, status, outcome and the client's id are found without reading every row."""
    first = {next(iter(index.columns)).name for index in requests.indexes}
    assert first >= {"started_at", "key_id", "provider", "model", "status", "outcome", "request_id"}
