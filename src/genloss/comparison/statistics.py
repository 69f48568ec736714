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
        untold: variants without an interval: fewer than two seeds finished.
    """

    best: str | None
    similar: tuple[str, ...]
    separated: tuple[str, ...]
    untold: tuple[str, ...]


def standing(summaries: Sequence[Summary], *, higher_is_better: bool) -> Standing:
    """Says which variants the intervals separate from the best mean.

    Two variants are separated when their 95 % intervals do not overlap, which asks for more than a test at level 0.05.
    Not separated does not mean equal. A single finished seed is the best only where no variant has two.

    Example:
        >>> a, b = Summary("a", (1.0, 1.1, 0.9)), Summary("b", (5.0, 5.1, 4.9))
        >>> standing([b, a], higher_is_better=False)
        Standing(best='a', similar=(), separated=('b',), untold=())
    """
    sign = -1.0 if higher_is_better else 1.0
    means = [(sign * s.mean, s) for s in summaries if s.mean is not None]
    if not means:
        return Standing(None, (), (), tuple(s.name for s in summaries))
    certain = [pair for pair in means if pair[1].interval is not None]
    best = min(certain or means, key=lambda pair: pair[0])[1]
    similar: list[str] = []
    separated: list[str] = []
    untold: list[str] = []
    for summary in summaries:
        if summary.interval is None or best.interval is None:
            own = untold
        else:
            apart = summary.interval[0] > best.interval[1] or summary.interval[1] < best.interval[0]
            own = separated if apart else similar
        if summary is not best:
            own.append(summary.name)
    return Standing(best.name, tuple(similar), tuple(separated), tuple(untold))
