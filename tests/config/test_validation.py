from __future__ import annotations

from flumegate.config.document import parse
from flumegate.config.problem import Mark
from flumegate.config.validation import locate, mark_text, origin, validate


def test_what_can_be_read_is_returned_beside_what_is_wrong() -> None:
    """So that the checks of several values can run on the rest of the document."""
    document = parse(b"server: {workers: x, max_headers: 50}\nmodels: {a: {}}\n", "f.yaml")
    config, problems = validate(document, {}, "f.yaml")
    assert config.server.max_headers == 50
    assert config.server.workers == 1
    assert config.models == {}
    assert [problem.path for problem in problems] == ["server.workers", "models.a.targets"]


def test_a_problem_stands_at_the_nearest_place_that_was_written() -> None:
    """A value that is missing is reported at what holds it; a document without lines by its name."""
    document = parse(b"a:\n  b: {c: 1}\n", "f.yaml")
    assert locate(document, ("a", "b", "c"), "m")[:3] == ("f.yaml", 2, 10)
    assert locate(document, ("a", "b", "c"), "m", at_key=True)[:3] == ("f.yaml", 2, 7)
    assert locate(document, ("a", "x", "y"), "m")[:4] == ("f.yaml", 2, 3, "a.x.y")
    assert locate(parse(b"", "f.yaml"), ("a",), "m", "g.yaml")[:3] == ("g.yaml", 0, 0)


def test_the_inside_of_a_short_form_is_the_short_form_itself() -> None:
    """`models.a: x/y` has no line for its targets; the path says what was written."""
    document = parse(b"models: {a: x/y, b: {targets: [{use: x/y}]}}\n", "f.yaml")
    short = ("models", "a", "targets", 0, "use")
    assert locate(document, short, "m").path == "models.a"
    assert origin(document, short) == Mark("f.yaml", 1, 13)
    assert origin(document, ("models", "b", "strategy")) is None
    assert mark_text(origin(document, ("models", "b", "targets", 0, "use"))) == "f.yaml:1:38"
