"""Gaussian mixtures in closed form: the ring, the grid and any other."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genloss.data.base import Modes, ToyDensity
from genloss.errors import InputError

__all__ = ["GaussianMixture", "Grid", "IsotropicMixture", "Ring", "log_mixture", "positive"]

_PAIRS_AT_ONCE = 2**20


def positive(**values: float) -> None:
    """Raises InputError unless every value is a positive, finite number."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value < math.inf):
            raise InputError(f"{name} is {value!r}; it must be a positive number.")


def log_mixture(x: Tensor, means: Tensor, sigma: Tensor, log_weights: Tensor) -> Tensor:
    r"""Returns $\log \sum_k w_k \mathcal{N}(x; \mu_k, \sigma_k^2 I)$ in float64.

    Differences $x - \mu_k$ are taken before they are squared: a narrow mode far from zero loses no digits. Memory is
    linear in the number of points.

    Args:
        x: points, floating, `(batch, dimensions)`.
        means: `(components, dimensions)`.
        sigma: standard deviations `(components,)`.
        log_weights: logarithms of weights that sum to 1, `(components,)`.

    Returns:
        nats, `(batch,)`.

    Raises:
        InputError: the points are not floating or have another number of dimensions than the means.
    """
    dimensions = means.shape[1]
    if x.ndim != 2 or x.shape[1] != dimensions or not x.is_floating_point():
        raise InputError(
            f"log_prob was given {x.dtype} points of shape {tuple(x.shape)}; "
            f"it expects floating points of shape (batch, {dimensions})."
        )
    means, sigma, log_weights = (tensor.to(x.device, torch.float64) for tensor in (means, sigma, log_weights))
    height = log_weights - dimensions * (sigma.log() + 0.5 * math.log(2 * math.pi))
    parts = []
    for chunk in torch.split(x.double(), max(1, _PAIRS_AT_ONCE // len(means))):
        distance = (chunk[:, None, :] - means).div(sigma[:, None]).square().sum(-1)
        parts.append((height - 0.5 * distance).logsumexp(1))
    return torch.cat(parts) if parts else x.new_zeros(0, dtype=torch.float64)


class IsotropicMixture(ToyDensity):
    """A mixture of Gaussians, each the same in every direction."""

    @abstractmethod
    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns means `(k, d)`, standard deviations `(k,)` and weights `(k,)` that sum to 1, all float64."""

    @property
    def modes(self) -> Modes | None:
        """Means and standard deviation; None when scales or weights differ, for mode metrics presume equal modes."""
        means, sigma, weights = self.components()
        if not (torch.all(sigma == sigma[0]) and torch.all(weights == weights[0])):
            return None
        return Modes(means.float(), float(sigma[0]))

    def log_prob(self, x: Tensor) -> Tensor:
        """Returns log p(x) in nats, float64 `(batch,)`, of points `(batch, dimensions)`, on their device."""
        means, sigma, weights = self.components()
        return log_mixture(x, means, sigma, weights.log())

    def draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns `n` points, float64 `(n, dimensions)`, and the mode each came from, int64 `(n,)`."""
        means, sigma, weights = (tensor.to(rng.device) for tensor in self.components())
        chosen = torch.multinomial(weights, n, replacement=True, generator=rng)
        noise = torch.randn(n, means.shape[1], generator=rng, device=rng.device, dtype=torch.float64)
        return means[chosen] + sigma[chosen, None] * noise, chosen


@dataclass(frozen=True, kw_only=True)
class Ring(IsotropicMixture):
    r"""Equal Gaussians at equal angles on a circle: `count` distinct means, the angle $2\pi$ not among them.

    Use it to count modes: with the defaults the modes lie 77 standard deviations apart, so that a generator which drops
    one cannot hide it. The defaults are those of VEEGAN (Srivastava et al. 2017, section 4.1) and PacGAN (Lin et al.
    2018, section 4.1).

    Args:
        count: number of modes, 2 or more.
        radius: of the circle.
        sigma: standard deviation of a mode.

    Raises:
        InputError: a number is out of its range.

    Example:
        >>> Ring().modes.means.shape, Ring().modes.sigma
        (torch.Size([8, 2]), 0.01)
    """

    count: int = 8
    radius: float = 1.0
    sigma: float = 0.01

    def __post_init__(self) -> None:
        positive(radius=self.radius, sigma=self.sigma)
        _at_least("count", self.count, 2)

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns means `(count, 2)`, standard deviations and weights `(count,)`."""
        angles = 2 * math.pi / self.count * torch.arange(self.count, dtype=torch.float64)
        return _equal(self.radius * torch.stack((angles.cos(), angles.sin()), 1), self.sigma)


@dataclass(frozen=True, kw_only=True)
class Grid(IsotropicMixture):
    r"""Equal Gaussians on a square lattice around zero: by default $\{-4, -2, 0, 2, 4\}^2$.

    Use it to count modes when many of them are surrounded by others. Defaults as in VEEGAN (Srivastava et al. 2017,
    section 4.1) and PacGAN (Lin et al. 2018, section 4.1).

    Args:
        side: modes a side, 2 or more; the lattice has `side ** 2`.
        spacing: distance between neighbours.
        sigma: standard deviation of a mode.

    Raises:
        InputError: a number is out of its range.

    Example:
        >>> len(Grid().modes.means)
        25
    """

    side: int = 5
    spacing: float = 2.0
    sigma: float = 0.05

    def __post_init__(self) -> None:
        positive(spacing=self.spacing, sigma=self.sigma)
        _at_least("side", self.side, 2)

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns means `(side ** 2, 2)`, standard deviations and weights `(side ** 2,)`."""
        ticks = self.spacing * (torch.arange(self.side, dtype=torch.float64) - (self.side - 1) / 2)
        return _equal(torch.cartesian_prod(ticks, ticks), self.sigma)


@dataclass(frozen=True, kw_only=True)
class GaussianMixture(IsotropicMixture):
    """Any mixture of isotropic Gaussians, in any number of dimensions.

    Args:
        means: one point per component, each of the same length, in lists or an array.
        scales: standard deviation of every component, or one each.
        weights: how much of the probability each component has, relative to the others; None means equal.

    Raises:
        InputError: the lengths disagree, a value is no number, or a scale or weight is not positive.

    Example:
        >>> import torch
        >>> mixture = GaussianMixture(means=[[0.0], [3.0]], scales=0.5, weights=[1, 3])
        >>> mixture.log_prob(torch.tensor([[3.0]])).exp()
        tensor([0.5984], dtype=torch.float64)
    """

    means: Sequence[Sequence[float]] | np.ndarray
    scales: float | Sequence[float] | np.ndarray = 1.0
    weights: Sequence[float] | np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("means", "scales", "weights"):  # lists can be compared and are printed in one line
            if hasattr(values := getattr(self, name), "tolist"):
                object.__setattr__(self, name, values.tolist())
        means = _array("means", self.means)
        if means.ndim != 2 or means.size == 0 or not np.isfinite(means).all():
            raise InputError(
                f"means is {self.means!r}; it must list one point per component, all of the same length, "
                "such as [[0, 0], [3, 0]]."
            )
        for name, values, shapes in (
            ("scales", self.scales, ((), (len(means),))),
            ("weights", self.weights, ((len(means),),)),
        ):
            if values is None:
                continue
            array = _array(name, values)
            if array.shape not in shapes or not (np.isfinite(array) & (array > 0)).all():
                raise InputError(f"{name} is {values!r}; it must list {len(means)} positive numbers, one per mean.")

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns means `(k, d)`, standard deviations and weights `(k,)`."""
        means = torch.tensor(self.means, dtype=torch.float64)
        sigma = torch.as_tensor(self.scales, dtype=torch.float64).expand(len(means))
        weights = torch.as_tensor([1.0] * len(means) if self.weights is None else self.weights, dtype=torch.float64)
        return means, sigma, weights / weights.sum()


def _array(name: str, values: object) -> np.ndarray:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "iuf":  # text that reads like a number is none: '1' in a recipe is a slip
            raise TypeError(f"{array.dtype} values are no numbers")
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is {values!r}; it must hold numbers only, in lists of equal length.") from error
    return array.astype(float)


def _at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}; it must be a whole number, {least} or more.")


def _equal(means: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    count = len(means)
    return means, torch.full((count,), sigma, dtype=torch.float64), torch.full((count,), 1 / count, dtype=torch.float64)
