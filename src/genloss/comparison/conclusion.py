"""What a comparison's numbers allow to say: the order of the variants, sentences, JSON."""

from __future__ import annotations

import math
from typing import Any

from genloss.comparison.run import Comparison
from genloss.comparison.statistics import Standing, Summary, standing

__all__ = ["headline", "metric_title", "ranked", "standing_of", "summary_json"]

CONFIRMING = 10


def metric_title(metric: str) -> str:
    """Returns a metric's name as it is written.

    >>> metric_title("mmd2")
    'MMD²'
    """
    return {"mmd2": "MMD²", "kl": "KL", "bound": "ELBO in nats"}.get(metric, metric.replace("_", " "))


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


def standing_of(comparison: Comparison) -> Standing:
    """Returns which variants the intervals separate from the best mean."""
    return standing(comparison.summaries, higher_is_better=comparison.plan.higher_is_better)


def ranked(comparison: Comparison) -> list[Summary]:
    """The variants from the best mean to the worst, those without a number last."""
    sign = -1.0 if comparison.plan.higher_is_better else 1.0
    return sorted(comparison.summaries, key=lambda s: math.inf if s.mean is None else sign * s.mean)


def headline(comparison: Comparison) -> list[str]:
    """Returns what the numbers allow to say, in sentences; never more than the intervals do."""
    plan, seeds = comparison.plan, len(comparison.plan.seeds)
    sentences = _order(comparison)
    for summary in comparison.summaries:
        if summary.failures:
            mean = "no number" if summary.mean is None else f"its mean is over the other {len(summary.finished)}"
            sentences.append(f"{summary.name}: {len(summary.failures)} of {seeds} seeds failed; {mean}.")
    if seeds < CONFIRMING:
        count = f"{seeds} {'seed' if seeds == 1 else 'seeds'}"
        sentences.append(
            f"Exploratory: {count} a variant with untuned settings can suggest, not decide; confirm with {CONFIRMING} "
            "or more fresh seeds."
        )
    if len({result.signature for result in comparison.results.values() if result.signature}) > 1:
        sentences.append("The runs were measured with different conventions (comparison.json): do not compare them.")
    if plan.differences:
        sentences.append(f"The variants also differ in {', '.join(plan.differences)}.")
    return sentences


def _order(comparison: Comparison) -> list[str]:
    plan, found = comparison.plan, standing_of(comparison)
    best = next((summary for summary in comparison.summaries if summary.name == found.best), None)
    if best is None:
        return ["No run finished: there is nothing to compare."]
    number = f"{metric_title(plan.metric)} {best.mean:.4g}"
    if len(plan.seeds) == 1:
        return [
            f"One seed has no interval, so nothing tells the variants apart; the best number is {number}, "
            f"of {best.name}."
        ]
    if not found.similar and not found.separated:
        return [f"Only {best.name} has a number (mean {number})."]
    if not found.similar:
        return [
            f"The 95 % interval of {best.name} (mean {number}) lies apart from those of all others, on the better side."
        ]
    others = f"{', '.join(found.similar)} {'is' if len(found.similar) == 1 else 'are'}"
    sentences = [
        f"{best.name} has the best mean ({number}), but {others} not distinguishable from it by 95 % intervals."
    ]
    if found.separated:
        sentences.append(f"Apart from it, on the worse side: {', '.join(found.separated)}.")
    return sentences
