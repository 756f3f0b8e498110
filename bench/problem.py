"""The one error of the bench: a measurement that cannot be made, or that would mislead, with what to do about it."""

from __future__ import annotations


class BenchError(Exception):
    """Nothing was measured; the message says why and what to do next."""
