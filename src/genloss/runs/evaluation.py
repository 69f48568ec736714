"""Measuring a model on held-out data, without touching the streams of its training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genloss.data import Dataset
from genloss.errors import InputError, did_you_mean
from genloss.metrics import (
    MetricValue,
    fixed_bandwidths,
    frechet_distance,
    manifold_metrics,
    mmd2,
    mode_statistics,
    sliced_wasserstein,
)
from genloss.metrics.base import checked_pair
from genloss.models import GenerativeModel
from genloss.protocols import HasBound
from genloss.runs.features import FeatureSpace, feature_space
from genloss.runs.schema import Recipe
from genloss.training.randomness import stream
from genloss.training.state import TrainingState

__all__ = ["Evaluator", "all_finite", "draw"]

CHUNK = 250


def draw(model: GenerativeModel, n: int, rng: torch.Generator) -> Tensor:
    """Draws `n` samples in chunks, so that memory stays that of one chunk of activations."""
    first = model.sample(min(CHUNK, n), rng=rng).float()
    if n <= CHUNK:
        return first
    samples = first.new_empty(n, *first.shape[1:])
    samples[:CHUNK] = first
    for part in samples[CHUNK:].split(CHUNK):
        part.copy_(model.sample(len(part), rng=rng))
    return samples


def all_finite(samples: Tensor) -> bool:
    """Says whether no value is NaN or infinite, without a copy of the samples."""
    return bool(torch.stack(torch.aminmax(samples)).isfinite().all())


@dataclass
class Evaluator:
    """Measures a model against one split.

    Real samples, bandwidths, features and the noise are fixed by the recipe, so that all evaluations of a run, and all
    runs of a comparison, are measured alike.

    Args:
        recipe: names the features and the selecting metric.
        dataset: the data.
        split: `select` in training, `test` for a report, `train` to see what was learned by heart.
        samples: generated samples, and at most so many real ones.

    Raises:
        InputError: the data have no such split.
    """

    recipe: Recipe
    dataset: Dataset
    split: str
    samples: int

    def __post_init__(self) -> None:
        if self.split not in self.dataset.splits:
            raise InputError(f"split is {self.split!r}, expected one of {', '.join(sorted(self.dataset.splits))}.")
        self._space: FeatureSpace = feature_space(self.recipe.evaluation.features, self.dataset)
        reference = self.dataset.all("train", limit=1000, rng=self._stream("bandwidths")).x
        self._bandwidths = fixed_bandwidths(self._space.extract(reference), self._stream("median"))
        count = min(self.samples, len(self.dataset.splits[self.split]))
        self._features = self._space.extract(self.dataset.all(self.split, limit=count, rng=self._stream("real")).x)

    def _stream(self, purpose: str) -> torch.Generator:
        return stream(self.recipe.seed if purpose == "noise" else 0, f"evaluation/{purpose}", self._device())

    def _device(self) -> torch.device:
        return self.dataset.splits[self.split].values.device

    def metric(self, model: GenerativeModel) -> str:
        """Returns the name of the metric that selects the best checkpoint."""
        chosen = self.recipe.evaluation.metric or ("bound" if isinstance(model, HasBound) else "mmd2")
        known = ["mmd2", "sliced_wasserstein"]
        known += ["bound"] if isinstance(model, HasBound) else []
        known += ["modes", "high_quality", "kl"] if self._modes() is not None else []
        if chosen not in known:
            raise InputError(
                f"evaluation.metric is {chosen!r}, which this run does not measure in training."
                f"{did_you_mean(chosen, known)} `genloss evaluate` measures more of a trained run."
            )
        return chosen

    def _modes(self) -> tuple[Tensor, float] | None:
        density = self.dataset.density
        return density.modes if density is not None else None

    def quick(self, state: TrainingState) -> dict[str, MetricValue]:
        """Returns the metrics that are cheap enough for training."""
        with state.sampling() as model:
            found = {} if not isinstance(model, HasBound) else {"bound": self._bound(model)}
            fake = draw(model, self.samples, self._stream("noise"))
            if not all_finite(fake):  # the loop reports it as a divergence
                return {
                    "samples": MetricValue(
                        name="samples", value=math.nan, n=len(fake), signature="", higher_is_better=True
                    )
                }
        modes = self._mode_metrics(fake)
        features = self._space.extract(fake)
        found["mmd2"] = mmd2(features, self._features, self._bandwidths, self._space.name)
        if self.metric(state.model) == "sliced_wasserstein":
            found["sliced_wasserstein"] = sliced_wasserstein(
                features, self._features, features=self._space.name, rng=self._stream("projections")
            )
        return self._signed(found | modes)

    def full(self, state: TrainingState) -> tuple[dict[str, MetricValue], list[str]]:
        """Measures everything that the data allow.

        Returns:
            The metrics, for toys with modes with the row of true samples under `true/`; and a sentence for each that
            is left out because there are too few samples.
        """
        with state.sampling() as model:
            found = {} if not isinstance(model, HasBound) else {"bound": self._bound(model)}
            fake = draw(model, self.samples, self._stream("noise"))
        modes = self._mode_metrics(fake)
        features, name = self._space.extract(fake), self._space.name
        checked_pair(features, self._features)  # samples that no metric can read are an error
        measures: tuple[Callable[[], tuple[MetricValue, ...]], ...] = (
            lambda: (mmd2(features, self._features, self._bandwidths, name),),
            lambda: (sliced_wasserstein(features, self._features, features=name, rng=self._stream("projections")),),
            lambda: (frechet_distance(features, self._features, features=name),),
            lambda: manifold_metrics(features, self._features, features=name),
        )
        left_out = []
        for measure in measures:
            try:
                found |= {value.name: value for value in measure()}
            except InputError as error:
                left_out.append(str(error))
        found |= modes
        true = self._mode_metrics(self.dataset.all("test", limit=self.samples, rng=self._stream("true")).x)
        found |= {f"true/{key}": replace(value, measures="real") for key, value in true.items()}
        return self._signed(found), left_out

    def _signed(self, found: dict[str, MetricValue]) -> dict[str, MetricValue]:
        """Adds to every signature what the metric itself does not know: numbers of other data do not compare."""
        where = f"|data:{self.dataset.name}|split:{self.split}"
        return {name: replace(value, signature=value.signature + where) for name, value in found.items()}

    def _mode_metrics(self, x: Tensor) -> dict[str, MetricValue]:
        modes = self._modes()
        if modes is None:
            return {}
        return {value.name: value for value in mode_statistics(x, *modes)}

    def _bound(self, model: HasBound) -> MetricValue:
        """The mean bound of log p(x) over the split, each sample with a fresh draw of what the data draw afresh."""
        rng, data = self._stream("posterior"), self._stream("data")
        indices = torch.arange(min(self.samples, len(self.dataset.splits[self.split])))
        total = 0.0
        for chunk in indices.split(CHUNK):
            total += float(model.bound(self.dataset.batch(self.split, chunk, data).x, rng).double().sum())
        signature = f"bound|units:nats|of:{model.bound_name}|binarise:{self.recipe.data.binarise}"
        return MetricValue(
            name="bound",
            value=total / len(indices),
            n=len(indices),
            signature=signature,
            higher_is_better=True,
            measures="real",
        )
