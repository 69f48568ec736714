"""Two moons, swiss roll and pinwheel: a random point of a curve plus Gaussian noise, with the density by quadrature."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from genloss.data.base import ToyDensity
from genloss.data.mixtures import log_mixture, positive
from genloss.errors import InputError

__all__ = ["NoisyCurve", "Pinwheel", "SwissRoll", "TwoMoons"]


class NoisyCurve(ToyDensity):
    r"""A place $t$ on one of `branches` curves, drawn with density $q$, plus Gaussian noise:

    $$p(x) = \frac{1}{K} \sum_{k=1}^{K} \int q(t)\, \mathcal{N}(x; c_k(t), \sigma^2 I)\, dt.$$

    The integral is Gauss-Legendre quadrature with `nodes` nodes a branch: $c$ and $q$ are analytic on the interval, so
    it converges exponentially once the nodes lie closer than $\sigma$ along the curve. `sigma` has a least value for
    that reason; with it the log-density is exact to ten digits.
    """

    branches: ClassVar[int]
    interval: ClassVar[tuple[float, float]]
    nodes: ClassVar[int]
    least_sigma: ClassVar[float] = 0.05
    sigma: float

    def __post_init__(self) -> None:
        positive(sigma=self.sigma)
        if self.sigma < self.least_sigma:
            raise InputError(
                f"sigma is {self.sigma}, too thin for the quadrature of {type(self).__name__}'s density; "
                f"set it to {self.least_sigma} or more."
            )

    @abstractmethod
    def curve(self, t: Tensor, branch: Tensor) -> Tensor:
        """Returns the points `(n, 2)` at the places `t` of the branches `branch`, both `(n,)`."""

    def log_density_of_place(self, t: Tensor) -> Tensor:
        """Returns log q(t), uniform unless overridden."""
        low, high = self.interval
        return torch.full_like(t, -math.log(high - low))

    def draw_places(self, n: int, rng: torch.Generator) -> Tensor:
        """Returns `n` places drawn from q, float64 `(n,)`."""
        low, high = self.interval
        return low + (high - low) * torch.rand(n, generator=rng, device=rng.device, dtype=torch.float64)

    def log_prob(self, x: Tensor) -> Tensor:
        """Returns log p(x) in nats, float64 `(batch,)`, of points `(batch, 2)`, on their device."""
        nodes, weights = _legendre(self.nodes)
        low, high = self.interval
        places = low + (high - low) * (nodes + 1) / 2
        log_weights = self.log_density_of_place(places) + (weights * (high - low) / (2 * self.branches)).log()
        branch = torch.arange(self.branches).repeat_interleave(self.nodes)
        means = self.curve(places.repeat(self.branches), branch)
        sigma = torch.full((len(means),), self.sigma, dtype=torch.float64)
        return log_mixture(x, means, sigma, log_weights.repeat(self.branches))

    def draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns `n` points, float64 `(n, 2)`, and the branch each came from, int64 `(n,)`."""
        branch = torch.randint(self.branches, (n,), generator=rng, device=rng.device)
        places = self.draw_places(n, rng)
        noise = torch.randn(n, 2, generator=rng, device=rng.device, dtype=torch.float64)
        return self.curve(places, branch) + self.sigma * noise, branch


@dataclass(frozen=True, kw_only=True)
class TwoMoons(NoisyCurve):
    r"""Two interleaved half circles of radius 2 with noise, one mode each that no Gaussian fits.

    The upper moon is $2(\cos t, \sin t) - (1, 0.2)$, the lower one $2(1 - \cos t, \tfrac12 - \sin t) - (1, 0.2)$, with
    $t$ uniform on $[0, \pi]$: scikit-learn's `make_moons(noise=0.1)`, scaled as in FFJORD (Grathwohl et al. 2019). Its
    entropy is 2.394 nats.

    Args:
        sigma: standard deviation of the noise, 0.05 or more.

    Raises:
        InputError: sigma is too small for the quadrature.

    Example:
        >>> import torch
        >>> TwoMoons().log_prob(torch.tensor([[-1.0, 1.8], [9.0, 9.0]])).exp().round(decimals=3)
        tensor([0.1590, 0.0000], dtype=torch.float64)
    """

    branches: ClassVar[int] = 2
    interval: ClassVar[tuple[float, float]] = (0.0, math.pi)
    nodes: ClassVar[int] = 512
    sigma: float = 0.2

    def curve(self, t: Tensor, branch: Tensor) -> Tensor:
        """Returns the points `(n, 2)` at the angles `t` of the moons `branch`, both `(n,)`."""
        lower = branch.to(t)
        sign = 1 - 2 * lower
        return torch.stack((2 * (lower + sign * t.cos()) - 1, 2 * (lower / 2 + sign * t.sin()) - 0.2), 1)


@dataclass(frozen=True, kw_only=True)
class SwissRoll(NoisyCurve):
    r"""A spiral of one and a half turns with noise: one long, curved, connected mode.

    The curve is $\tfrac{t}{5}(\cos t, \sin t)$ with $t$ uniform on $[\tfrac{3\pi}{2}, \tfrac{9\pi}{2}]$: the first
    and last coordinate of scikit-learn's `make_swiss_roll(noise=1)`, scaled as in FFJORD (Grathwohl et al. 2019).

    Args:
        sigma: standard deviation of the noise, 0.05 or more.

    Raises:
        InputError: sigma is too small for the quadrature.

    Example:
        >>> import torch
        >>> SwissRoll().sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
    """

    branches: ClassVar[int] = 1
    interval: ClassVar[tuple[float, float]] = (1.5 * math.pi, 4.5 * math.pi)
    nodes: ClassVar[int] = 1024
    sigma: float = 0.2

    def curve(self, t: Tensor, branch: Tensor) -> Tensor:
        """Returns the points `(n, 2)` at the angles `t` `(n,)`; there is one branch."""
        return t[:, None] / 5 * torch.stack((t.cos(), t.sin()), 1)


@dataclass(frozen=True, kw_only=True)
class Pinwheel(NoisyCurve):
    r"""Five curved arms around zero with noise, dense near the middle of each arm.

    Arm $k$ is $2a\,(\cos \theta, \sin \theta)$ with $\theta = \tfrac{2\pi k}{5} + \tfrac14 e^a$ and $a \sim
    \mathcal{N}(1, 0.3^2)$, cut off at three standard deviations. It is the pinwheel of Johnson et al. 2016 (Composing
    graphical models with neural networks, figure 1) with the noise in the plane instead of across the arm, which would
    fold the plane onto itself and leave the density without a closed form.

    Args:
        sigma: standard deviation of the noise, 0.05 or more.

    Raises:
        InputError: sigma is too small for the quadrature.

    Example:
        >>> import torch
        >>> Pinwheel().draw(1000, torch.Generator().manual_seed(0))[1].unique()
        tensor([0, 1, 2, 3, 4])
    """

    branches: ClassVar[int] = 5
    interval: ClassVar[tuple[float, float]] = (0.1, 1.9)
    nodes: ClassVar[int] = 512
    sigma: float = 0.2

    def curve(self, t: Tensor, branch: Tensor) -> Tensor:
        """Returns the points `(n, 2)` at the places `t` of the arms `branch`, both `(n,)`."""
        angle = 2 * math.pi / self.branches * branch.to(t) + 0.25 * t.exp()
        return 2 * t[:, None] * torch.stack((angle.cos(), angle.sin()), 1)

    def log_density_of_place(self, t: Tensor) -> Tensor:
        """Returns the log-density of the cut-off normal."""
        inside = math.erf(3 / math.sqrt(2))
        return -0.5 * ((t - 1) / 0.3).square() - math.log(0.3 * math.sqrt(2 * math.pi) * inside)

    def draw_places(self, n: int, rng: torch.Generator) -> Tensor:
        """Returns `n` places by the inverse of the cut-off normal's distribution function, float64 `(n,)`."""
        uniform = torch.rand(n, generator=rng, device=rng.device, dtype=torch.float64)
        inside = math.erf(3 / math.sqrt(2))
        return 1 + 0.3 * math.sqrt(2) * torch.erfinv((2 * uniform - 1) * inside)


@cache
def _legendre(nodes: int) -> tuple[Tensor, Tensor]:
    """Returns nodes and weights of Gauss-Legendre quadrature on [-1, 1]."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    return torch.from_numpy(places), torch.from_numpy(weights)
