"""What the seeds of a comparison say: means, Student t-intervals, and which variants cannot be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

__all__ = ["CONFIDENCE", "Failure", "Standing", "Summary", "standing", "t_interval"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Failure:
    """A seed that gave no number.

    Args:
        seed: which one.
        status: `diverged`, `died` or `failed`.
        message: a sentence on what happened.
    """

    seed: int
    status: str
    message: str


@dataclass(frozen=True)
class Summary:
    """The values of one variant over the seeds of the plan.

    Args:
        name: the variant.
        values: one for each seed in the plan's order; None where the seed failed.
        failures: the seeds that failed, as many as `values` has None.

    Example:
        >>> summary = Summary("hinge", (1.0, None, 3.0), (Failure(1, "diverged", "the loss was nan."),))
        >>> summary.mean
        2.0
    """

    name: str
    values: tuple[float | None, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def finished(self) -> list[float]:
        """The values of the seeds that finished."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        """Their mean, or None when none did."""
        return math.fsum(self.finished) / len(self.finished) if self.finished else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The t-interval of their mean."""
        return t_interval(self.finished)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    r"""Returns the two-sided 95 % Student t-interval of the mean, or None for fewer than two values.

    .. math:: \bar{x} \pm t_{n-1,\,0.975}\, s / \sqrt{n}, \qquad s^2 = \frac{1}{n-1} \sum_i (x_i - \bar{x})^2

    Use it for few seeds: a percentile bootstrap of 3 to 5 values is far too narrow. It fails to cover when the values
    are strongly skewed, and says nothing about seeds that did not finish.

    Args:
        values: the metric of each finished seed.

    Example:
        >>> t_interval([1.0, 2.0, 3.0])
        (-0.484..., 4.484...)

    Source: Student, The probable error of a mean, Biometrika 6 (1908).
    """
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * deviation / math.sqrt(n)
    return mean - half, mean + half


@dataclass(frozen=True)
class Standing:
    """How the variants stand to the one with the best mean.

    Args:
        best: its name, or None when no variant has a finished seed.
        similar: variants that the intervals do not separate from it.
        separated: variants whose interval lies wholly on the worse side of its interval.
        without: variants without a finished seed.
    """

    best: str | None
    similar: tuple[str, ...]
    separated: tuple[str, ...]
    without: tuple[str, ...]


def standing(summaries: Sequence[Summary], *, higher_is_better: bool) -> Standing:
    """Says which variants the intervals separate from the best mean.

    Two variants are separated when their 95 % intervals do not overlap, which asks for more than a test at level 0.05.
    A variant with one finished seed has no interval and is never separated. Not separated does not mean equal.

    Example:
        >>> a, b = Summary("a", (1.0, 1.1, 0.9)), Summary("b", (5.0, 5.1, 4.9))
        >>> standing([b, a], higher_is_better=False)
        Standing(best='a', similar=(), separated=('b',), without=())
    """
    placed = [(s, s.mean) for s in summaries if s.mean is not None]
    without = tuple(s.name for s in summaries if s.mean is None)
    if not placed:
        return Standing(None, (), (), without)
    sign = -1.0 if higher_is_better else 1.0
    best = min(placed, key=lambda pair: sign * pair[1])[0]
    similar: list[str] = []
    separated: list[str] = []
    for summary, _ in placed:
        if summary is not best:
            (similar if _overlap(best.interval, summary.interval) else separated).append(summary.name)
    return Standing(best.name, tuple(similar), tuple(separated), without)


def _overlap(a: tuple[float, float] | None, b: tuple[float, float] | None) -> bool:
    return a is None or b is None or (a[0] <= b[1] and b[0] <= a[1])
