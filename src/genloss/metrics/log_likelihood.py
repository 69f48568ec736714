"""The log-likelihood of data under a model with latents, by importance sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from genloss.errors import InputError
from genloss.losses import DiagonalNormal
from genloss.metrics.base import MetricValue, signature

__all__ = ["ImportanceEstimates", "importance_estimates", "log_likelihood_statistics"]

# Images that go through the inference network at a time.
INFERRED = 1000
# An estimate that rests on fewer weights than this is a matter of luck.
FEWEST_EFFECTIVE = 10.0


class ImportanceEstimates(NamedTuple):
    """What importance sampling says of each data point.

    Args:
        log_likelihood: estimates of log p(x), nats, float64 `(n,)`.
        effective_samples: how many of the samples carry the estimate, from 1 to all, float64 `(n,)`.
    """

    log_likelihood: Tensor
    effective_samples: Tensor


@torch.no_grad()
def importance_estimates(
    x: Tensor,
    infer: Callable[[Tensor], DiagonalNormal],
    log_joint: Callable[[Tensor, Tensor], Tensor],
    *,
    rng: torch.Generator,
    samples: int = 5000,
    batch_size: int = 1000,
) -> ImportanceEstimates:
    r"""Estimates log p(x) of every data point from samples of the inference network.

    $$\log\frac1K\sum_{k=1}^Kw_k,\qquad w_k=\frac{p(x,z_k)}{q(z_k|x)},\quad z_k\sim q(z|x)$$

    The weights' sum is unbiased, its logarithm is not: the estimate is low in the mean, by about half of
    $(1/ESS-1/K)$, and rises to log p(x) with the samples. Use it to compare models with latents, such as a VAE trained
    by different losses. It fails where $q$ misses what $p(z|x)$ covers: few samples then carry all weight, which
    $ESS=(\sum_kw_k)^2/\sum_kw_k^2$ tells, and no number of samples in reach helps.

    A running maximum and sum replace the weights, so that memory depends on `batch_size` and the number of data points
    alone, not on the number of samples.

    Args:
        x: data `(n, ...)`, floating.
        infer: maps data `(b, ...)` to the posterior $q(z|x)$, parameters `(b, dim)`.
        log_joint: maps data `(b, ...)` and latents `(k, b, dim)` to $\log p(x,z)$ in nats, `(k, b)`.
        rng: draws the latents.
        samples: $K$, at least 1.
        batch_size: latents decoded at a time, at least 1: about a thousand suit a processor, tens of thousands a GPU.

    Returns:
        The estimate and the effective number of samples, of each data point.

    Raises:
        InputError: no data, a number below 1, or weights that are NaN or of the wrong shape.

    Example:
        >>> from genloss.losses import Gaussian
        >>> def infer(x):  # the true posterior of p(z) = N(0, 1), p(x|z) = N(z, 1)
        ...     return DiagonalNormal(mean=0.5 * x, log_variance=torch.full_like(x, 0.5).log())
        >>> def log_joint(x, z):
        ...     return DiagonalNormal(mean=0 * x, log_variance=0 * x).log_prob(z) + Gaussian().log_prob(x, z)
        >>> x = torch.zeros(1, 1, dtype=torch.float64)
        >>> importance_estimates(x, infer, log_joint, rng=torch.Generator(), samples=3).log_likelihood
        tensor([-1.2655], dtype=torch.float64)

    Source: Burda, Grosse & Salakhutdinov 2016, equation 8 and section 5; Kong 1992 (effective samples).
    """
    if min(samples, batch_size) < 1:
        raise InputError(f"samples is {samples} and batch_size {batch_size}, expected at least 1 of each.")
    if x.ndim == 0 or len(x) == 0:
        raise InputError(f"x has shape {tuple(x.shape)}, expected (n, ...) with at least one data point.")
    drawn = min(samples, batch_size)
    points = batch_size // drawn
    found = []
    for images in x.split(INFERRED):
        posterior = infer(images)
        for part, mean, log_variance in zip(
            images.split(points), posterior.mean.split(points), posterior.log_variance.split(points), strict=True
        ):
            own = DiagonalNormal(mean=mean, log_variance=log_variance)
            found.append(_estimate(part, own, log_joint, rng, samples, drawn))
    estimates, effective = (torch.cat(column) for column in zip(*found, strict=True))
    wrong = estimates.isnan()
    if wrong.any():
        raise InputError(
            f"the weights of {int(wrong.sum())} of {len(x)} data points are NaN, the first of point "
            f"{int(wrong.nonzero()[0])}, expected numbers; the model diverged, or its log-density overflows."
        )
    return ImportanceEstimates(estimates, effective)


def _estimate(
    x: Tensor,
    posterior: DiagonalNormal,
    log_joint: Callable[[Tensor, Tensor], Tensor],
    rng: torch.Generator,
    samples: int,
    drawn: int,
) -> tuple[Tensor, Tensor]:
    """Streams over the samples; the sums are in units of the largest weight so far."""
    largest = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=posterior.mean.device)
    total, squares = torch.zeros_like(largest), torch.zeros_like(largest)
    for begin in range(0, samples, drawn):
        z = posterior.sample(rng, min(drawn, samples - begin))
        joint = log_joint(x, z)
        if joint.shape != z.shape[:2]:
            raise InputError(
                f"log_joint returned shape {tuple(joint.shape)}, expected (samples, batch) = {tuple(z.shape[:2])}; sum "
                "it over the data axes."
            )
        log_weights = (joint - posterior.log_prob(z)).double()
        higher = torch.maximum(largest, log_weights.amax(0))
        unit = torch.where(higher.isneginf(), 0.0, higher)  # while every weight is 0
        shrink, weights = (largest - unit).exp(), (log_weights - unit).exp()
        total = total * shrink + weights.sum(0)
        squares = squares * shrink.square() + weights.square().sum(0)
        largest = higher
    mean = largest + (total / samples).log()
    return torch.where(largest.isneginf(), largest, mean), torch.where(total > 0.0, total.square() / squares, total)


def log_likelihood_statistics(estimates: ImportanceEstimates, *, samples: int, data: str) -> tuple[MetricValue, ...]:
    """Sums up the estimates of a data set.

    Args:
        estimates: from `importance_estimates`.
        samples: how many samples each rests on, for the signature.
        data: the name of the data and how they were made binary, for the signature.

    Returns:
        `log_likelihood`, the mean in nats, whose note warns of points with too few effective samples, and
        `effective_samples`, their median.

    Example:
        >>> estimates = ImportanceEstimates(torch.tensor([-1.0, -3.0]), torch.tensor([40.0, 2.0]))
        >>> value, effective = log_likelihood_statistics(estimates, samples=50, data="points")
        >>> value.value, value.note
        (-2.0, '1 of 2 points have fewer than 10 effective samples: their values are likely too low.')
    """
    n, few = len(estimates.log_likelihood), int((estimates.effective_samples < FEWEST_EFFECTIVE).sum())
    note = (
        f"{few} of {n} points have fewer than {FEWEST_EFFECTIVE:g} effective samples: their values are likely too low."
    )
    values = {
        "log_likelihood": float(estimates.log_likelihood.mean()),
        "effective_samples": float(estimates.effective_samples.median()),
    }
    return tuple(
        MetricValue(
            name=name,
            value=value,
            n=n,
            signature=signature(
                name, units="nats" if name == "log_likelihood" else "1", samples=samples, data=data, n=n
            ),
            higher_is_better=True,
            measures="real",
            note=note if few and name == "log_likelihood" else "",
        )
        for name, value in values.items()
    )
