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
from genloss.networks.minibatch_discrimination import MinibatchDiscrimination
from genloss.networks.normalisation import Norm, check_norm, needs_bias, norm_layers, with_reference

__all__ = ["MLP"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
}
NORMS: tuple[Norm, ...] = ("batch", "layer", "virtual_batch", "none")  # a single value has no instance to normalise


@dataclass(frozen=True, kw_only=True)
class MLP(Architecture):
    r"""Multilayer perceptrons of equal hidden layers, $h_{l+1}=\phi(W_lh_l+b_l)$, linear at the end.

    Use it for points and tables, and for images of up to about 28x28; it knows no neighbourhood, so larger images need
    convolutions. Weights keep torch's default initialisation.

    Args:
        width: units of each hidden layer, at least 1.
        depth: hidden layers, at least 1.
        activation: $\phi$: `relu`, `leaky_relu` (slope 0.2), `tanh` or `silu`. A penalty on slopes wants a smooth one.
        spectral_norm: divide each weight matrix of the critic by its largest singular value, which bounds its slope. It
            takes the place of `norm` in the critic.
        norm: normalisation of every hidden layer before its activation: `none`, `batch`, `layer` or `virtual_batch`
            (a fixed reference batch). In a critic under a penalty on slopes take `layer`: see `DCGAN`.
        minibatch_discrimination: let the critic see how close a sample is to the others, against collapse: 50 such
            features join its last hidden layer.

    Raises:
        InputError: width or depth below 1, or an unknown activation or normalisation.

    Example:
        >>> import torch
        >>> critic = MLP(width=8, depth=2, spectral_norm=True).critic((2,), outputs=3)
        >>> critic(torch.zeros(5, 2)).shape
        torch.Size([5, 3])

    Source: spectral normalisation is Miyato et al. 2018, equation 8; layer normalisation Ba, Kiros & Hinton 2016;
    virtual batch normalisation and minibatch discrimination Salimans et al. 2016, sections 3.4 and 3.2.
    """

    width: int = 128
    depth: int = 3
    activation: Literal["relu", "leaky_relu", "tanh", "silu"] = "relu"
    spectral_norm: bool = False
    norm: Literal["batch", "layer", "virtual_batch", "none"] = "none"
    minibatch_discrimination: bool = False

    name: ClassVar[str] = "mlp"

    def __post_init__(self) -> None:
        check_size(width=self.width, depth=self.depth)
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation is {self.activation!r}, expected one of {', '.join(ACTIVATIONS)}.")
        check_norm(self.norm, NORMS)

    def generator(self, noise_dim: int, shape: tuple[int, ...], *, values: int = 1, bounded: bool = True) -> nn.Module:
        """Makes a perceptron from noise to data; arguments as for `Architecture.generator`."""
        check_generator(noise_dim, shape, values, bounded)
        target = (*shape, values) if values > 1 else shape
        hidden = with_reference(self._hidden(noise_dim, self.norm), self.norm, (noise_dim,))
        ending: list[nn.Module] = [nn.Tanh()] if bounded else []
        return nn.Sequential(*hidden, nn.Linear(self.width, math.prod(target)), *ending, nn.Unflatten(1, target))

    def critic(self, shape: tuple[int, ...], *, outputs: int = 1) -> nn.Module:
        """Makes a perceptron from data to raw scores; arguments as for `Architecture.critic`."""
        check_shape(shape)
        check_size(outputs=outputs)
        norm: Norm = "none" if self.spectral_norm else self.norm
        layers = with_reference([nn.Flatten(), *self._hidden(math.prod(shape), norm)], norm, shape)
        features = self.width
        if self.minibatch_discrimination:
            layers.append(closeness := MinibatchDiscrimination(features))
            features += closeness.kernels
        layers.append(nn.Linear(features, outputs))
        if self.spectral_norm:
            layers = [spectral_norm(layer) if isinstance(layer, nn.Linear) else layer for layer in layers]
        return nn.Sequential(*layers, *([nn.Flatten(0)] if outputs == 1 else []))

    def _hidden(self, inputs: int, norm: Norm) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for before in [inputs] + [self.width] * (self.depth - 1):
            layers.append(nn.Linear(before, self.width, bias=needs_bias(norm)))
            layers += [*norm_layers(norm, self.width, maps=False), ACTIVATIONS[self.activation]()]
        return layers
