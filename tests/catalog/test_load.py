"""The catalogue's file: every row is sound, and contradictions are told."""

from __future__ import annotations

import pytest

from flumegate.catalog.load import FACTS, CatalogError, Rates, Row, canonical, load, read, read_facts
from flumegate.catalog.lookup import find
from flumegate.ir.request import EFFORTS

ROWS = list(load().rows.values())
HEAD = 'checked = 2026-11-21\nprefixes = []\n[[server]]\ntype = "s"\n'


def _count(row: Row, name: str) -> int | None:
    value = row.facts.get(name)
    assert value is None or isinstance(value, int)
    return value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_consistent(row: Row) -> None:
    """What one row says of a model does not contradict itself."""
    name, vendor, facts, price = row
    context, output = _count(row, "context_tokens"), _count(row, "max_output_tokens")
    efforts = facts.get("efforts")
    if isinstance(efforts, tuple):
        assert list(efforts) == [level for level in EFFORTS if level in efforts], "unknown, doubled, or out of order"
        assert efforts != ("none",)
    for count in (context, output):
        assert count is None or count > 0
    assert context is None or output is None or output <= context
    if facts.get("sampling") is False:
        assert facts.get("temperature_and_top_p") is not True or name.startswith("claude")
    if price is not None:
        assert vendor, "a price is the vendor's"
        assert isinstance(price.input, int)
        assert isinstance(price.output, int)
        assert not any(getattr(price, member) == 0 for member in Rates.__struct_fields__), "unknown is absent"
        assert 0 < price.input < price.output
        assert price.cached_input is None or price.cached_input < price.input
        assert price.cache_write is None or price.cache_write >= price.input
        assert price.cache_write_1h is None or price.cache_write_1h >= (price.cache_write or 0)
        if price.long is not None:
            assert 0 < price.long.above_tokens < (context or 1 << 60)
            for member in Rates.__struct_fields__:
                short, long = getattr(price, member), getattr(price.long, member)
                assert (short is None) == (long is None)
                assert short is None or long >= short


def test_every_row_can_be_found() -> None:
    """A pattern that another one always beats would be dead."""
    catalog = load()
    found = [find(name) for name in catalog.exact]
    found += [find(f"{beginning}0{end}") for beginning, end, _ in catalog.patterns]
    found += [find(f"{beginning}{end}") for beginning, end, _ in catalog.patterns]
    assert {row.name for row in found if row is not None} == {row.name for row in ROWS}


def test_patterns_are_compared_in_one_spelling() -> None:
    assert canonical("Claude-Opus-4.7") == "claude-opus-4-7"


def test_every_server_row_says_something() -> None:
    """And nothing that belongs to a model."""
    wire = {"developer_role", "max_completion_tokens", "reasoning_field"}
    for facts in load().servers.values():
        assert facts
        assert set(facts) <= wire


def test_a_row_may_state_every_ability() -> None:
    """What a writer asks for, the catalogue can say."""
    assert {"sampling", "efforts", "cache_marks", "num_ctx"} <= set(FACTS)
    assert not {"model", "server"} & set(FACTS)


def test_facts_are_inherited_and_prices_are_not() -> None:
    text = (
        HEAD + '[[model]]\nname = "a"\nmatch = ["a*"]\nvendor = "s"\ntools = true\nimages = true\n'
        "price = { input = 1, output = 2 }\n"
        '[[model]]\nname = "b"\nlike = "a"\nmatch = ["a-b"]\nimages = false\n'
    )
    row = read(text).rows["b"]
    assert row.facts == {"tools": True, "images": False}
    assert row.vendor == "s"
    assert row.price is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[server]]\ntype = "s"\n', "server s: it stands there twice"),
        ('[[server]]\ntype = "t"\ntoolz = true\n', "server t: no fact is called 'toolz'"),
        ('[[server]]\ntype = "t"\nmodel = "x"\n', "no fact is called 'model'"),
        ('[[model]]\nname = "a"\nmatch = ["a"]\ntools = "yes"\n', "model a: Expected `bool | null`"),
        ('[[model]]\nmatch = ["a"]\n', "model None: Object missing required field `name`"),
        ('[[model]]\nname = "a"\nmatch = ["a*b*"]\n', "more than one star"),
        ('[[model]]\nname = "a"\nmatch = ["a.b", "A-B"]\n', "'A-B' stands there twice"),
        ('[[model]]\nname = "a"\nmatch = ["a.*", "a-*"]\n', "'a-*' stands there twice"),
        ('[[model]]\nname = "a"\nlike = "b"\nmatch = ["a"]\n', "there is no row 'b' before it"),
        (
            '[[model]]\nname = "a"\nmatch = ["a"]\n[[model]]\nname = "a"\nmatch = ["b"]\n',
            "model a: it stands there twice",
        ),
        ('[[model]]\nname = "a"\nmatch = ["a"]\nprice = { inputs = 1 }\n', "unknown field `inputs`"),
    ],
)
def test_contradictions_are_told_with_their_place(text: str, told: str) -> None:
    body = text if "[[model]]" in text else text + '[[model]]\nname = "m"\nmatch = ["m"]\n'
    with pytest.raises(CatalogError) as raised:
        read(HEAD + body)
    assert told in str(raised.value)


def test_facts_get_the_types_that_abilities_want() -> None:
    """A list of a configuration becomes the tuple that a frozen value holds."""
    assert read_facts({"efforts": ["low"], "num_ctx": 4096}, "here") == {"efforts": ("low",), "num_ctx": 4096}
