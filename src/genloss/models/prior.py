"""Priors of the latent, each a fixed transform of standard normal noise."""

from __future__ import annotations

import torch
from torch import Tensor

from genloss.errors import InputError, did_you_mean

__all__ = ["PRIORS", "Prior"]

PRIORS = ("normal", "uniform", "exponential")


class Prior:
    r"""Latent noise $z = F^{-1}(\Phi(u))$ with $u \sim N(0, I)$ and $F$ the prior's distribution function.

    All priors start from the same normal draws, so that runs with one seed stay paired across priors. A model that
    infers a latent does so in the space of $u$: a divergence does not change under a bijection, hence
    $KL(q(z|x) \Vert p(z)) = KL(q(u|x) \Vert N(0, I))$ is exact for each of them.

    Args:
        name: `normal`, `uniform` on [-1, 1], or `exponential` with rate 1.
        dim: number of latent dimensions, at least 1.

    Example:
        >>> z = Prior("uniform", 3).draw(5, torch.Generator().manual_seed(0))
        >>> tuple(z.shape), bool((z.abs() <= 1).all())
        ((5, 3), True)
    """

    def __init__(self, name: str, dim: int) -> None:
        if name not in PRIORS:
            raise InputError(f"model.prior is {name!r}, expected one of {PRIORS}.{did_you_mean(name, PRIORS)}")
        self.name = name
        self.dim = dim

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """Draws noise `(n, dim)` on the generator's device."""
        return self.transform(torch.randn(n, self.dim, generator=rng, device=rng.device))

    def transform(self, u: Tensor) -> Tensor:
        """Maps standard normal values to the prior, elementwise; the exponential keeps its tail in log space."""
        if self.name == "uniform":
            uniform: Tensor = 2.0 * torch.special.ndtr(u) - 1.0
            return uniform
        if self.name == "exponential":
            exponential: Tensor = -torch.special.log_ndtr(-u)
            return exponential
        return u
