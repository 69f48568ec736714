"""Critics beyond a plain network: an autoencoder whose error is the score, and the features of any critic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from genloss.errors import InputError

__all__ = ["AutoencoderCritic", "HasHead", "caught_features", "head_of"]


@runtime_checkable
class HasHead(Protocol):
    """A critic that says what its features are."""

    @property
    def head(self) -> nn.Module:
        """The submodule whose input is the critic's features."""
        ...


class AutoencoderCritic(nn.Module):
    r"""A critic whose score is the energy of a sample: how badly an autoencoder reconstructs it.

    $$E(x)=\frac1d\sum_{i=1}^d\lvert x_i-\mathrm{Dec}(\mathrm{Enc}(x))_i\rvert^p$$

    Low for samples like those that it learned. Use it with the losses that read energies, `EnergyBased` and
    `BoundaryEquilibrium`. It fails with so many codes that it copies whatever comes: then all energies are alike. Its
    features are the codes.

    Args:
        encoder: maps `(batch, *shape)` to codes `(batch, codes)`.
        decoder: maps codes to `(batch, *shape)`, unbounded, so that the energy is too.
        power: $p$: 2 is the squared error, 1 the absolute one.

    Raises:
        InputError: the power is neither.

    Example:
        >>> critic = AutoencoderCritic(nn.Identity(), nn.Identity())
        >>> critic(torch.ones(3, 2))
        tensor([0., 0., 0.])

    Source: Zhao et al. 2017, section 2.3 (squared); Berthelot et al. 2017, section 3.1 (absolute).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, power: int = 2) -> None:
        super().__init__()
        if power not in (1, 2):
            raise InputError(f"power is {power!r}, expected 1 (absolute error) or 2 (squared error).")
        self.encoder = encoder
        self.decoder = decoder
        self.power = power

    @property
    def head(self) -> nn.Module:
        """The decoder: the features are the codes."""
        return self.decoder

    def forward(self, x: Tensor) -> Tensor:
        """Returns the energies `(batch,)` of samples `(batch, *shape)`, at least 0."""
        reconstruction: Tensor = self.decoder(self.encoder(x))
        # The mean of many small squares is too much for half precision.
        error = (reconstruction - x).to(torch.promote_types(x.dtype, torch.float32)).flatten(1)
        energy: Tensor = (error.square() if self.power == 2 else error.abs()).mean(1)
        return energy


def head_of(critic: nn.Module) -> nn.Module:
    """Returns the submodule that reads a critic's features: the one that it names, else its last layer with weights.

    Raises:
        InputError: it names none and has no such layer.

    Example:
        >>> head_of(nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)))
        Linear(in_features=8, out_features=1, bias=True)
    """
    if isinstance(critic, HasHead):
        return critic.head
    layers = [module for module in critic.modules() if isinstance(module, (nn.Linear, _ConvNd))]
    if not layers:
        raise InputError(
            f"the critic {type(critic).__name__} has no linear or convolutional layer, so its features are unknown; "
            "give it a property `head` that returns the submodule whose input they are."
        )
    return layers[-1]


@contextmanager
def caught_features(critic: nn.Module) -> Iterator[list[Tensor]]:
    """Yields a list that receives the critic's features `(batch, ...)` at each of its forward passes inside.

    The values of the pass that is made anyway are taken, so that nothing is computed twice.

    Example:
        >>> critic = nn.Sequential(nn.Flatten(), nn.Linear(2, 1))
        >>> with caught_features(critic) as features:
        ...     _ = critic(torch.zeros(3, 2))
        >>> features[0].shape
        torch.Size([3, 2])
    """
    caught: list[Tensor] = []
    handle = head_of(critic).register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
    try:
        yield caught
    finally:
        handle.remove()
