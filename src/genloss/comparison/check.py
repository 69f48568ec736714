"""What is checked and measured once before the first run: every variant is built, real data is measured as a floor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

from genloss.comparison.plan import Plan, Variant
from genloss.data import Dataset
from genloss.errors import InputError
from genloss.protocols import HasBound
from genloss.runs.build import Built, build
from genloss.runs.evaluation import Evaluator
from genloss.runs.recipes import parse_recipe
from genloss.training.randomness import stream
from genloss.training.state import TrainingState

__all__ = ["check_plan"]


class _Replay:
    """Training data in the place of a model's samples: what a generator that had learned the data would score."""

    def __init__(self, dataset: Dataset, n: int) -> None:
        device = dataset.splits["train"].values.device
        self._x = dataset.all("train", limit=n, rng=stream(0, "comparison/floor", device)).x
        self._given = 0
        self.model = self

    @contextmanager
    def sampling(self) -> Iterator[_Replay]:
        yield self

    def sample(self, n: int, *, rng: torch.Generator) -> Tensor:
        self._given += n
        return self._x[self._given - n : self._given]


def check_plan(plan: Plan) -> dict[str, Any]:
    """Builds every variant, so that whatever is wrong with one of them shows before the first run.

    Returns:
        What the report says beside the plan: the data, the parameters of each variant, and the floor, which is the
        metric of the training split against the split that the comparison measures on, or None for a bound.

    Raises:
        InputError: a variant cannot be built, or does not have the metric.
    """
    parameters, bounds, first = {}, {}, None
    for variant in plan.variants:
        try:
            built, evaluator = _build(plan, variant)
        except InputError as error:
            raise InputError(f"variant {variant.name!r}: {error}") from error
        except Exception as error:  # whatever a loss of the user's own raises
            raise InputError(f"variant {variant.name!r}: {type(error).__name__}: {error}") from error
        parameters[variant.name] = dict(built.state.model.description())
        if isinstance(built.state.model, HasBound):
            bounds[variant.name] = built.state.model.bound_name
        first = first or (built, evaluator)
    if plan.metric == "bound" and len(set(bounds.values())) > 1:
        named = ", ".join(f"{name}: {bound}" for name, bound in bounds.items())
        raise InputError(
            f"the variants report different bounds of log p(x) ({named}), which do not compare; give all the same one, "
            "or add evaluation.metric=mmd2."
        )
    assert first is not None
    built, evaluator = first
    return {
        "parameters": parameters,
        "data": built.dataset.describe(),
        "device": str(next(built.state.model.parameters()).device),
        **_floor(plan, built, evaluator),
    }


def _build(plan: Plan, variant: Variant) -> tuple[Built, Evaluator]:
    built = build(parse_recipe({**variant.recipe, "seed": plan.seeds[0]}))
    evaluator = Evaluator(built.recipe, built.dataset, plan.split, plan.samples)
    evaluator.metric(built.state.model)
    return built, evaluator


def _floor(plan: Plan, built: Built, evaluator: Evaluator) -> dict[str, Any]:
    n = min(plan.samples, len(built.dataset.splits["train"]))
    if plan.metric == "bound":
        return {"floor": None, "floor_samples": None}
    if n < plan.samples:
        evaluator = Evaluator(built.recipe, built.dataset, plan.split, n)
    found = evaluator.quick(cast(TrainingState, _Replay(built.dataset, n)))
    return {"floor": found[plan.metric].value, "floor_samples": n}
