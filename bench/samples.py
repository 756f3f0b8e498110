"""Medians, percentiles and slopes of small samples."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile; the values may come in any order and must not be empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two middle ones; the values must not be empty."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def error_of_median(values: Sequence[float]) -> float:
    """Return the standard error of the median, from the middle half of the values, so that outliers do not count.

    For normal values half of them lie within 0.6745 deviations of the middle, and a median scatters 1.2533 times as
    much as a mean.
    """
    middle = median(values)
    deviation = median([abs(value - middle) for value in values]) / 0.6745
    return 1.2533 * deviation / math.sqrt(len(values))


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line through (x, y) points by least squares; 0 where x does not vary."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
