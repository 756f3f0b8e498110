from __future__ import annotations

from pydantic import Field, ValidationError

from flumegate.config.shapes import NOT_YET, Section, Share


class Part(Section):
    """A section of two settings."""

    share: Share = Field(default=0.5, description="A share.")
    name: str | None = Field(default=None, description="A name.")


def faults(data: object) -> list[tuple[str, ...]]:
    """Return kind and place of everything that is wrong with a part."""
    try:
        Part.model_validate(data)
    except ValidationError as error:
        return [(each["type"], *map(str, each["loc"])) for each in error.errors()]
    return []


def test_a_section_takes_what_it_knows_and_nothing_else() -> None:
    """An unknown setting would be one that has no effect."""
    assert faults({"share": 1}) == []
    assert faults({"shar": 1}) == [("extra_forbidden", "shar")]
    assert faults({"shar": None}) == [("extra_forbidden", "shar")]
    assert faults([1]) == [("model_type",)]


def test_a_setting_left_empty_is_at_its_default() -> None:
    """As in a file where everything behind the colon is commented out."""
    assert Part.model_validate({"share": None, "name": None}) == Part(share=0.5, name=None)


def test_a_share_is_a_number_from_nothing_to_all() -> None:
    """Not a number of per cent, and not infinity."""
    assert faults({"share": 0}) == []
    assert faults({"share": 5}) == [("less_than_equal", "share")]
    assert faults({"share": -0.1}) == [("greater_than_equal", "share")]
    assert faults({"share": float("nan")}) == [("finite_number", "share")]


def test_the_mark_of_later_features_says_what_it_is() -> None:
    """It stands in the types that a developer prints."""
    assert repr(NOT_YET) == "NOT_YET"
