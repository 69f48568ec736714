"""Inference networks: from a sample to the mean and the log-variance of a diagonal normal over its latent."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from genloss.errors import InputError
from genloss.networks.base import check_shape, check_size

__all__ = ["GaussianInference", "TwoLayerInference", "log_softplus"]


def log_softplus(t: Tensor) -> Tensor:
    r"""Returns $\log\log(1+e^t)$ without the underflow of the inner logarithm; the result tends to $t$ on the left.

    Args:
        t: any shape, floating.

    Returns:
        The same shape; finite, with a finite gradient, for every finite `t`.

    Example:
        >>> log_softplus(torch.tensor([-200.0, 0.0])).tolist()
        [-200.0, -0.366512...]
    """
    # Both branches are computed, so the one not taken must be finite too or its gradient would be NaN times 0.
    inner = functional.softplus(t.clamp(min=-20.0)).log()
    return torch.where(t < -20.0, t - 0.5 * t.clamp(max=-20.0).exp(), inner)


class TwoLayerInference(nn.Module):
    r"""The two-layer inference network of a textbook VAE.

    $$h=\mathrm{ReLU}(W_1x+b_1),\qquad \mu=W_2h+b_2,\qquad \sigma=\mathrm{softplus}(W_3h+b_3)$$

    It returns $2\log\sigma$, computed so that it stays finite where softplus underflows. Use it for small images and
    points; for more depth use `GaussianInference` on any critic.

    Args:
        shape: shape of one sample.
        latent: dimensions of the latent, at least 1.
        width: units of the hidden layer, at least 1.

    Raises:
        InputError: a size below 1.

    Example:
        >>> mean, log_variance = TwoLayerInference((1, 8, 8), 3, width=16)(torch.zeros(5, 1, 8, 8))
        >>> mean.shape, log_variance.shape
        (torch.Size([5, 3]), torch.Size([5, 3]))

    Source: NNDL, equations 13.8 to 13.10.
    """

    def __init__(self, shape: tuple[int, ...], latent: int, width: int = 512) -> None:
        super().__init__()
        check_shape(shape)
        check_size(latent=latent, width=width)
        self.hidden = nn.Linear(math.prod(shape), width)
        self.mean = nn.Linear(width, latent)
        self.scale = nn.Linear(width, latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log-variance, each `(batch, latent)`, of samples `(batch, *shape)`."""
        h = functional.relu(self.hidden(x.flatten(1)))
        return self.mean(h), 2.0 * log_softplus(self.scale(h))


class GaussianInference(nn.Module):
    r"""Reads the outputs of any critic as $(\mu, \log\sigma^2)$.

    Args:
        network: maps `(batch, *shape)` to `(batch, 2 * latent)`, such as `MLP().critic(shape, outputs=2 * latent)`.

    Raises:
        InputError: when called, an output that is not `(batch, even)`.

    Example:
        >>> from genloss.networks import MLP
        >>> mean, log_variance = GaussianInference(MLP().critic((2,), outputs=6))(torch.zeros(5, 2))
        >>> mean.shape, log_variance.shape
        (torch.Size([5, 3]), torch.Size([5, 3]))

    Source: Kingma & Welling 2014, appendix C.2.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log-variance, each `(batch, latent)`, of samples `(batch, *shape)`."""
        outputs: Tensor = self.network(x)
        if outputs.ndim != 2 or outputs.shape[1] % 2:
            raise InputError(
                f"the network of GaussianInference returned shape {tuple(outputs.shape)}, expected (batch, 2 * latent)"
                "; make it with critic(shape, outputs=2 * latent)."
            )
        mean, log_variance = outputs.chunk(2, dim=1)
        return mean, log_variance
