"""Distances between two sets of samples: scalars that a generator minimises without a critic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from genloss.losses import _likelihood_references as source
from genloss.losses._checks import at_least_float32, finite_data, floating, not_empty, same_kind
from genloss.losses._fields import each_positive, one_of, true_or_false
from genloss.losses._kernels import KERNELS, kernel_function, negative_distance
from genloss.losses._pairwise import PairFunction, pair_sum, row_sum
from genloss.losses.card import Card, Loss, Reference

__all__ = ["MMD", "EnergyDistance", "SampleDistance", "median_bandwidth"]

_LEAST_BANDWIDTH = 1e-15
_UNDER_ROOT = 1e-8  # keeps the gradient of the root finite where both sets agree


class SampleDistance(Loss, ABC):
    """A distance between the distributions behind two sets of samples, estimated from the samples alone.

    A subclass writes `_distance`, which gets both sets flattened to `(n, features)` and `(m, features)` in float32 or
    better. The statistic belongs to the whole batch.

    Class attributes:
        random: draws numbers (random projections) and therefore needs `rng`.
    """

    family: ClassVar[str] = "distance"
    couples_batch: ClassVar[bool] = True
    random: ClassVar[bool] = False

    @property
    def pairs_samples(self) -> bool:
        """Says whether the order of the samples matters, since neighbours are paired."""
        return False

    @final
    def __call__(self, x: Tensor, y: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        """Returns the distance, a scalar in float32 or better.

        Args:
            x: samples `(n, ...)`, floating; gradients flow to both sets.
            y: samples `(m, ...)` of the same shape, dtype and device; `n` and `m` may differ unless the class says so.
            rng: where a class with `random` draws from; the others ignore it.

        Raises:
            TypeError: a tensor is not floating, or dtypes or devices differ.
            ValueError: a set is empty, shapes of one sample differ, or a random distance has no `rng`.
        """
        if self.random and rng is None:
            raise ValueError(f"{type(self).__name__} draws random numbers and got no rng; pass rng=torch.Generator().")
        return self._distance(*self._prepared(x, y), rng)

    @staticmethod
    def _prepared(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Checks both sets and flattens each sample to its features."""
        floating(x=x, y=y)
        not_empty(x=x, y=y)
        same_kind(x=x, y=y)
        if x.shape[1:] != y.shape[1:]:
            raise ValueError(
                f"one sample of x has shape {tuple(x.shape[1:])} and one of y {tuple(y.shape[1:])}; expected equal "
                f"shapes, since a distance compares like with like. Reshape one set."
            )
        return _features(x), _features(y)

    @abstractmethod
    def _distance(self, x: Tensor, y: Tensor, rng: torch.Generator | None) -> Tensor: ...


def _features(samples: Tensor) -> Tensor:
    return at_least_float32(samples).reshape(len(samples), -1)


def _placed(x: Tensor, y: Tensor, function: PairFunction) -> tuple[Tensor, Tensor]:
    """Returns both sets in the dtype of the function, and where it may be around 0: far from there sums cancel."""
    if function.precise:
        x, y = x.double(), y.double()
    if not function.invariant:
        return x, y
    with torch.no_grad():
        centre = 0.5 * (x.mean(0) + y.mean(0))
    return x - centre, y - centre


def _discrepancy(x: Tensor, y: Tensor, function: PairFunction, estimator: str) -> Tensor:
    """Returns E f(x, x') + E f(y, y') - 2 E f(x, y), estimated."""
    n, m = len(x), len(y)
    if estimator == "unbiased" and min(n, m) < 2:
        raise ValueError(f"the unbiased estimate got {n} and {m} samples, expected at least 2 of each; use 'biased'.")
    dtype = x.dtype
    x, y = _placed(x, y, function)
    between = pair_sum(x, y, function) / (n * m)
    within_x, within_y = (_within(samples, function, estimator) for samples in (x, y))
    squared = within_x + within_y - 2.0 * between
    if estimator == "biased":  # a squared norm: only rounding takes it below 0; its gradient stays
        squared = squared + squared.detach().clamp(max=0.0).neg()
    return squared.to(dtype)


def _within(x: Tensor, function: PairFunction, estimator: str) -> Tensor:
    n = len(x)
    different = pair_sum(x, None, function)
    return different / (n * (n - 1)) if estimator == "unbiased" else (different + row_sum(x, x, function)) / n**2


def _linear_time(x: Tensor, y: Tensor, function: PairFunction) -> Tensor:
    if len(x) != len(y) or len(x) % 2:
        raise ValueError(
            f"the linear-time estimate got {len(x)} and {len(y)} samples, expected an equal and even number of each: "
            f"it pairs neighbours. Drop the surplus."
        )
    dtype = x.dtype
    x, y = _placed(x, y, function)
    (x1, x2), (y1, y2) = (x[0::2], x[1::2]), (y[0::2], y[1::2])
    same = row_sum(x1, x2, function) + row_sum(y1, y2, function)
    return ((same - row_sum(x1, y2, function) - row_sum(x2, y1, function)) / len(x1)).to(dtype)


@dataclass(frozen=True, kw_only=True)
class MMD(SampleDistance):
    r"""The squared maximum mean discrepancy with a sum of kernels.

    $$\mathrm{MMD}^2=E\,k(x,x')+E\,k(y,y')-2E\,k(x,y)$$

    with, for the Gaussian kernel, $k=\sum_\sigma\exp(-\lVert x-y\rVert^2/(2\sigma^2))$. Zero exactly when both
    distributions agree. The unbiased estimate leaves out the pairs of a sample with itself, has mean 0 for equal
    distributions and may be negative; the biased one keeps them and is never negative. Use it to train a small
    generator without a critic, or to test. It fails where no bandwidth fits the distances: the kernel is then 0 or 1
    everywhere and the gradient vanishes, so start from `median_bandwidth` of the data. In many dimensions it needs
    large batches or a good feature space.

    Other conventions: for $\exp(-d^2/(2s))$ (the code of GMMN) give $\sigma=\sqrt s$, for $\exp(-\gamma d^2)$ give
    $\sigma=1/\sqrt{2\gamma}$. Memory is linear in the number of samples, gradient included; differentiable once. In
    float32 distances below about a thousandth of the spread of the samples are lost: with such bandwidths give float64.

    Args:
        kernel: `gaussian`; `rational_quadratic` $\sum_\alpha(1+d^2/(2\alpha\sigma^2))^{-\alpha}$ over $\alpha$ in 0.2,
            0.5, 1, 2, 5; `laplace` $e^{-d/\sigma}$; `inverse_multiquadric` $\sigma^2/(\sigma^2+d^2)$; `linear` $x\cdot
            y/\sigma^2$ (means only); or `polynomial` $(1+x\cdot y/(\sigma^2\dim x))^3$ (three moments, as the kernel
            inception distance).
        bandwidths: the $\sigma$, in the units of the data, positive; the kernels are summed.
        estimator: `unbiased` (at least 2 samples on either side), `biased`, or `linear_time` (equal and even numbers;
            unbiased, noisy, linear in time).
        root: returns $\sqrt{\mathrm{MMD}^2+10^{-8}}$; needs the biased estimate.

    Raises:
        ValueError: a field is out of its range, or too few samples.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> x, y = torch.randn(100, 2, generator=rng), torch.randn(100, 2, generator=rng)
        >>> near, far = MMD()(x, y), MMD()(x, y + 3.0)
        >>> bool(near.abs() < 0.05), bool(far > 0.5)
        (True, True)

    Source: Gretton et al. 2012, equations 3 (unbiased) and 5 (biased), lemma 14 (linear time); Li, Swersky & Zemel
    2015, equation 7 (rooted); Binkowski et al. 2018, section 4 (rational quadratic, polynomial).
    """

    card: ClassVar[Card] = Card(
        name="mmd",
        aliases=("maximum_mean_discrepancy", "gmmn"),
        formula={
            "generator": r"E\,k(x,x')+E\,k(y,y')-2E\,k(x,y),\quad k=\sum_\sigma e^{-\lVert x-y\rVert^2/(2\sigma^2)}"
        },
        minimised_by="The generator minimises the discrepancy between its samples and real ones; there is no critic.",
        when="For low-dimensional data or good features, when a critic is unwanted: stable, one player, a value that "
        "means something.",
        fails="With no bandwidth near the distances between samples the gradient vanishes; on raw images it needs "
        "large batches.",
        references=(
            source.GRETTON_2012.at("(3), (5), lemma 14"),
            source.LI_2015.at("(7)"),
            Reference(
                authors="Binkowski, Sutherland, Arbel, Gretton",
                year=2018,
                title="Demystifying MMD GANs",
                venue="ICLR",
                url="https://arxiv.org/abs/1801.01401",
                equation="section 4",
            ),
        ),
        paper={"loss.estimator": "biased", "loss.root": True},
    )

    kernel: Literal["gaussian", "rational_quadratic", "laplace", "inverse_multiquadric", "linear", "polynomial"] = (
        "gaussian"
    )
    bandwidths: tuple[float, ...] = (1.0,)
    estimator: Literal["unbiased", "biased", "linear_time"] = "unbiased"
    root: bool = False

    def __post_init__(self) -> None:
        one_of("kernel", self.kernel, KERNELS)
        one_of("estimator", self.estimator, ("unbiased", "biased", "linear_time"))
        each_positive(bandwidths=self.bandwidths)
        object.__setattr__(self, "bandwidths", tuple(self.bandwidths))  # a list would have no hash
        if not all(_LEAST_BANDWIDTH <= bandwidth <= 1.0 / _LEAST_BANDWIDTH for bandwidth in self.bandwidths):
            raise ValueError(
                f"bandwidths is {self.bandwidths!r}, expected each from {_LEAST_BANDWIDTH:g} to "
                f"{1.0 / _LEAST_BANDWIDTH:g}, whose squares float32 holds; rescale the data."
            )
        true_or_false(root=self.root)
        if self.root and self.estimator != "biased":
            raise ValueError(
                f"root=True needs estimator='biased', got {self.estimator!r}: the unbiased estimate can be negative."
            )

    @property
    def pairs_samples(self) -> bool:
        """Yes for the linear-time estimate."""
        return self.estimator == "linear_time"

    def _distance(self, x: Tensor, y: Tensor, rng: torch.Generator | None) -> Tensor:
        function = kernel_function(self.kernel, self.bandwidths, x.shape[1])
        if self.estimator == "linear_time":
            return _linear_time(x, y, function)
        squared = _discrepancy(x, y, function, self.estimator)
        return (squared + _UNDER_ROOT).sqrt() if self.root else squared


@dataclass(frozen=True, kw_only=True)
class EnergyDistance(SampleDistance):
    r"""The energy distance, an MMD without a bandwidth.

    $$2E\lVert x-y\rVert-E\lVert x-x'\rVert-E\lVert y-y'\rVert$$

    Not rooted: scaling the data by $c$ scales it by $c$. Zero exactly when both distributions agree. Use it where no
    scale of the data is known: it sees all of them. It fails to see fine detail beside large distances, and like every
    distance on raw values it needs large batches in many dimensions. Differentiable once; the gradient between equal
    points is 0. Computed in float64 inside, since the Gram expansion of small distances cancels.

    Args:
        estimator: `unbiased` (at least 2 samples on either side; may be negative) or `biased` (never negative).

    Raises:
        ValueError: a field is out of its range, or too few samples.

    Example:
        >>> EnergyDistance()(torch.tensor([[0.0], [1.0]]), torch.tensor([[4.0], [5.0]]))
        tensor(6.)

    Source: Szekely & Rizzo 2013, equation 5.
    """

    card: ClassVar[Card] = Card(
        name="energy_distance",
        aliases=("energy", "cramer"),
        formula={"generator": r"2E\lVert x-y\rVert-E\lVert x-x'\rVert-E\lVert y-y'\rVert"},
        minimised_by="The generator minimises the distance between its samples and real ones; there is no critic.",
        when="As MMD, where no bandwidth is known: all scales of the data count.",
        fails="Large distances drown fine detail; on raw images it needs large batches.",
        references=(
            Reference(
                authors="Szekely, Rizzo",
                year=2013,
                title="Energy statistics: A class of statistics based on distances",
                venue="Journal of Statistical Planning and Inference",
                url="https://doi.org/10.1016/j.jspi.2013.03.018",
                equation="(5)",
            ),
        ),
    )

    estimator: Literal["unbiased", "biased"] = "unbiased"

    def __post_init__(self) -> None:
        one_of("estimator", self.estimator, ("unbiased", "biased"))

    def _distance(self, x: Tensor, y: Tensor, rng: torch.Generator | None) -> Tensor:
        return _discrepancy(x, y, negative_distance, self.estimator)


def median_bandwidth(x: Tensor, rng: torch.Generator | None = None) -> float:
    """Returns the median distance between two samples: a bandwidth that fits the data.

    Real data alone decides, so that the kernel stays the same during training. Use it as the centre of a few
    bandwidths, for example 1/4 to 4 times.

    Args:
        x: real samples `(n, ...)`, at least 2; of more than 2000, 2000 are used.
        rng: draws those 2000; without it they are evenly spaced rows.

    Returns:
        The median over pairs of different samples, in the units of the data.

    Raises:
        ValueError: fewer than 2 samples, values that are not finite (checked on the CPU only), or more than half of the
            pairs are equal.

    Example:
        >>> median_bandwidth(torch.tensor([[0.0], [3.0], [4.0]]))
        3.0

    Source: Gretton et al. 2012, section 8 (the median heuristic).
    """
    floating(x=x)
    not_empty(x=x)
    finite_data(x=x)
    if len(x) < 2:
        raise ValueError(f"x holds {len(x)} sample, expected at least 2 to have a distance.")
    limit = 2000
    if len(x) > limit:
        device = x.device if rng is None else rng.device
        rows = (
            torch.linspace(0, len(x) - 1, limit).long()
            if rng is None
            else torch.randperm(len(x), generator=rng, device=device)[:limit]
        )
        x = x[rows.to(x.device)]
    median = float(torch.pdist(_features(x.detach())).median())
    if median == 0.0:
        raise ValueError(
            f"more than half of the pairs among {len(x)} samples are equal, so their median distance is 0; "
            f"choose the bandwidths yourself."
        )
    return median
