"""Perceptrons, for points, tables and small images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from genloss.errors import InputError
from genloss.networks.base import Architecture, check_generator, check_shape, check_size

__all__ = ["MLP"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
}


@dataclass(frozen=True, kw_only=True)
class MLP(Architecture):
    r"""Multilayer perceptrons of equal hidden layers, $h_{l+1}=\phi(W_lh_l+b_l)$, linear at the end.

    Use it for points and tables, and for images of up to about 28x28; it knows no neighbourhood, so larger images need
    convolutions. Weights keep torch's default initialisation.

    Args:
        width: units of each hidden layer, at least 1.
        depth: hidden layers, at least 1.
        activation: $\phi$: `relu`, `leaky_relu` (slope 0.2), `tanh` or `silu`. A penalty on slopes wants a smooth one.
        spectral_norm: divide each weight matrix of the critic by its largest singular value, which bounds its slope.

    Raises:
        InputError: width or depth below 1, or an unknown activation.

    Example:
        >>> import torch
        >>> critic = MLP(width=8, depth=2, spectral_norm=True).critic((2,), outputs=3)
        >>> critic(torch.zeros(5, 2)).shape
        torch.Size([5, 3])

    Source: spectral normalisation is Miyato et al. 2018, equation 8.
    """

    width: int = 128
    depth: int = 3
    activation: Literal["relu", "leaky_relu", "tanh", "silu"] = "relu"
    spectral_norm: bool = False

    name: ClassVar[str] = "mlp"

    def __post_init__(self) -> None:
        check_size(width=self.width, depth=self.depth)
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation is {self.activation!r}, expected one of {', '.join(ACTIVATIONS)}.")

    def generator(self, noise_dim: int, shape: tuple[int, ...], *, values: int = 1, bounded: bool = True) -> nn.Module:
        """Makes a perceptron from noise to data; arguments as for `Architecture.generator`."""
        check_generator(noise_dim, shape, values, bounded)
        target = (*shape, values) if values > 1 else shape
        layers = self._layers(noise_dim, math.prod(target))
        if bounded:
            layers.append(nn.Tanh())
        return nn.Sequential(*layers, nn.Unflatten(1, target))

    def critic(self, shape: tuple[int, ...], *, outputs: int = 1) -> nn.Module:
        """Makes a perceptron from data to raw scores; arguments as for `Architecture.critic`."""
        check_shape(shape)
        check_size(outputs=outputs)
        layers = self._layers(math.prod(shape), outputs)
        if self.spectral_norm:
            layers = [spectral_norm(layer) if isinstance(layer, nn.Linear) else layer for layer in layers]
        ending = [nn.Flatten(0)] if outputs == 1 else []
        return nn.Sequential(nn.Flatten(), *layers, *ending)

    def _layers(self, inputs: int, outputs: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for before in [inputs] + [self.width] * (self.depth - 1):
            layers += [nn.Linear(before, self.width), ACTIVATIONS[self.activation]()]
        return [*layers, nn.Linear(self.width, outputs)]
