"""What a comparison's numbers allow to say: the order of the variants, sentences, JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from genloss.comparison.run import Comparison
from genloss.comparison.statistics import Standing, Summary, standing

__all__ = ["headline", "metric_title", "number_of", "ranked", "standing_of", "summary_json"]

CONFIRMING = 10


def metric_title(metric: str) -> str:
    """Returns a metric's name as it is written.

    >>> metric_title("mmd2")
    'MMD²'
    """
    return {"mmd2": "MMD²", "kl": "KL", "bound": "bound of log p(x) in nats"}.get(metric, metric.replace("_", " "))


def number_of(things: Sequence[object], name: str) -> str:
    """Returns how many there are, in words.

    >>> number_of([1], "seed"), number_of([1, 2], "seed")
    ('1 seed', '2 seeds')
    """
    return f"{len(things)} {name}" + ("s" if len(things) != 1 else "")


def summary_json(comparison: Comparison) -> dict[str, Any]:
    """Returns what the command prints as JSON."""
    plan = comparison.plan
    return {
        "plan": plan.sha256,
        "folder": str(comparison.folder),
        "metric": plan.metric,
        "higher_is_better": plan.higher_is_better,
        "seeds": list(plan.seeds),
        "variants": [
            {
                "name": summary.name,
                "seeds": list(summary.values),
                "mean": summary.mean,
                "interval": summary.interval,
                "failures": [{"seed": f.seed, "status": f.status, "message": f.message} for f in summary.failures],
            }
            for summary in comparison.summaries
        ],
        "report": str(comparison.folder / "report.html"),
    }


def ranked(comparison: Comparison) -> list[Summary]:
    """The variants from the best mean to the worst, then those without an interval, last those without a number.

    Numbers of different conventions have no order: then it is the plan's.
    """
    if len(comparison.conventions) > 1:
        return list(comparison.summaries)
    sign = -1.0 if comparison.plan.higher_is_better else 1.0

    def place(summary: Summary) -> tuple[bool, float]:
        return summary.interval is None, math.inf if summary.mean is None else sign * summary.mean

    return sorted(comparison.summaries, key=place)


def standing_of(comparison: Comparison) -> Standing:
    """Returns which variants the intervals separate from the best mean, in the order of their means."""
    if len(comparison.conventions) > 1:
        return Standing(None, (), (), tuple(summary.name for summary in comparison.summaries))
    return standing(ranked(comparison), higher_is_better=comparison.plan.higher_is_better)


def headline(comparison: Comparison) -> list[str]:
    """Returns what the numbers allow to say, in sentences; never more than the intervals do."""
    plan, seeds = comparison.plan, len(comparison.plan.seeds)
    if len(comparison.conventions) > 1:
        sentences = [f"The numbers do not compare: they were measured as {' and as '.join(comparison.conventions)}."]
    else:
        sentences = _order(comparison)
    if comparison.failed:
        failed = [f"{s.name} {len(s.failures)} of {seeds}" for s in comparison.summaries if s.failures]
        sentences.append(f"Failed seeds: {', '.join(failed)}. Means are over the seeds that finished.")
    if seeds < CONFIRMING:
        sentences.append(
            f"Exploratory: {number_of(plan.seeds, 'seed')} a variant with untuned settings can suggest, not decide; "
            f"confirm with {CONFIRMING} or more fresh seeds."
        )
    if plan.differences:
        sentences.append(f"Besides what was varied, the variants differ in {', '.join(plan.differences)}.")
    return sentences


def _order(comparison: Comparison) -> list[str]:
    found = standing_of(comparison)
    best = next((summary for summary in comparison.summaries if summary.name == found.best), None)
    if best is None:
        return ["No run finished: there is nothing to compare."]
    number = f"{metric_title(comparison.plan.metric)} {best.mean:.4g}"
    if len(comparison.summaries) == 1:
        low, high = best.interval or (math.nan, math.nan)
        interval = f", 95 % interval of the mean {low:.4g} to {high:.4g}" if best.interval else ""
        return [f"{best.name}: mean {number}{interval}. One variant alone is compared with nothing."]
    if best.interval is None:
        return [f"One finished seed has no interval: nothing tells the variants apart. The best number is {number}."]
    if found.similar:
        others = f"{', '.join(found.similar)} {'is' if len(found.similar) == 1 else 'are'}"
        first = f"{best.name} has the best mean ({number}), but {others} not distinguishable from it by 95 % intervals."
    elif found.separated:
        first = f"The 95 % interval of {best.name} (mean {number}) lies apart from every other, on the better side."
    else:
        first = f"Only {best.name} has two finished seeds or more (mean {number})."
    sentences = [first]
    if found.similar and found.separated:
        sentences.append(f"Apart from it, on the worse side: {', '.join(found.separated)}.")
    return sentences
