"""Patterns with `*`, as they stand in rules, lists of models and prices."""

from __future__ import annotations


def fits(pattern: str, text: str) -> bool:
    """Tell whether a text fits a pattern in which `*` stands for anything; in time linear in the text for each star."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    if not text.startswith(first):
        return False
    at = len(first)
    last = rest.pop()
    for part in rest:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(last) and text.endswith(last)
