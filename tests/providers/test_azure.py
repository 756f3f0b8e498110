from __future__ import annotations

import pytest

from flumegate.providers.azure import is_version, place


@pytest.mark.parametrize(
    ("path", "version", "expected"),
    [
        ("", "", ("/openai/v1", "")),
        ("", "v1", ("/openai/v1", "")),
        ("", "preview", ("/openai/v1", "")),
        ("/openai", "", ("/openai/v1", "")),
        ("/openai/v1", "", ("/openai/v1", "")),
        ("", "2024-10-21", ("/openai", "2024-10-21")),
        ("/openai/v1", "2024-10-21", ("/openai", "2024-10-21")),
        ("/openai/deployments", "2024-10-21", ("/openai", "2024-10-21")),
        ("/gateway", "2024-10-01-preview", ("/gateway/openai", "2024-10-01-preview")),
    ],
)
def test_the_version_chooses_the_path_style(path: str, version: str, expected: tuple[str, str]) -> None:
    """Whichever form of the endpoint was copied from the portal or from a snippet."""
    assert place(path, version) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2024-10-21", True), ("2024-10-01-preview", True), ("v1", True), ("2024", False), ("soon", False), ("", False)],
)
def test_versions_are_dates_or_v1(text: str, expected: bool) -> None:
    """A typo would be a 404 of Azure's."""
    assert is_version(text) is expected
