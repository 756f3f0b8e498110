from __future__ import annotations

import pytest

from flumegate.config.problem import ConfigInvalid, Path, Problem, dotted, nearest


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("f.yaml", 12, 5, "a.b", "wrong"), "f.yaml:12:5: a.b: wrong"),
        (Problem("$NAME", 0, 0, "a.b", "wrong"), "$NAME: a.b: wrong"),
        (Problem("f.yaml", 1, 2, "", "wrong"), "f.yaml:1:2: wrong"),
    ],
)
def test_a_problem_reads_like_a_compilers(problem: Problem, text: str) -> None:
    """File, line, column, path, message: editors can jump to it."""
    assert str(problem) == text


def test_problems_come_in_the_order_of_the_file_and_the_environment_last() -> None:
    """Lines sort as numbers, not as texts."""
    given = [Problem("$A", 0, 0, "", "m"), Problem("f", 10, 1, "", "m"), Problem("f", 9, 1, "", "m")]
    assert [problem.line for problem in ConfigInvalid(given).problems] == [9, 10, 0]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("models", "smart", "targets", 0, "use"), "models.smart.targets[0].use"),
        (("models", "gpt-4.1"), 'models."gpt-4.1"'),
        (("models", ""), 'models.""'),
        ((), ""),
    ],
)
def test_paths_are_unambiguous(path: Path, text: str) -> None:
    """A name with a dot in it cannot be taken for two."""
    assert dotted(path) == text


def test_only_a_near_name_is_suggested() -> None:
    """A suggestion that fits nothing would mislead."""
    assert nearest("conect", ["connect", "idle"]) == '; did you mean "connect"?'
    assert nearest("zzz", ["connect", "idle"]) == ""
