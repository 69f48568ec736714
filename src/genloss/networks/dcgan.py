"""The convolutional generator and critic of DCGAN, for square images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from genloss.errors import InputError
from genloss.networks.base import Architecture, check_generator, check_shape, check_size
from genloss.networks.minibatch_discrimination import MinibatchDiscrimination
from genloss.networks.normalisation import Norm, check_norm, needs_bias, norm_layers, with_reference
from genloss.networks.virtual_batch_norm import VirtualBatchNorm

__all__ = ["DCGAN"]

# Side of the images -> side of the smallest feature map, from which every layer doubles.
SMALLEST = {16: 4, 28: 7, 32: 4, 64: 4, 128: 4}


class _ValuesLast(nn.Module):
    """Moves the values of each pixel from the channels to the last axis."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.values = values

    def forward(self, x: Tensor) -> Tensor:
        """Returns `(batch, channels, height, width, values)` of `(batch, channels * values, height, width)`."""
        return torch.unflatten(x, 1, (-1, self.values)).movedim(2, -1)


@dataclass(frozen=True, kw_only=True)
class DCGAN(Architecture):
    r"""Strided convolutions down, fractionally strided ones up, no pooling and no fully connected hidden layer.

    The generator grows a 4x4 map (7x7 for 28x28 images) by doublings to the image, with ReLU and a normalisation
    everywhere but at the output; the critic mirrors it with LeakyReLU of slope 0.2 and a normalisation everywhere but
    at its input and its output. The channels double with every halving of the side, from `width` at half the image's
    side. Convolutions start from $N(0, 0.02^2)$ and the scales of the normalisation from $N(1, 0.02^2)$.

    Use it for images of 16 to 128 pixels a side. Batch normalisation makes a critic's score depend on the other
    samples: penalties on the slope at one sample (`gradient_penalty`, `r1`) want a critic with `norm="layer"`, as in
    the paper of the gradient penalty, or `spectral_norm=True`.

    Args:
        width: channels at half the side of the image, at least 1; 64 in the paper.
        spectral_norm: divide each weight of the critic by its largest singular value (of the matrix that flattens the
            kernel). It takes the place of `norm` in the critic, whose layers then have biases.
        norm: normalisation of both networks. `batch` is the paper's. `layer` is over channels, height and width of one
            sample, as `torch.nn.LayerNorm((channels, height, width))`, with one scale and shift a channel. `instance`
            is over height and width of one sample. `virtual_batch` is over a fixed reference batch and the sample, for
            generators whose samples must not depend on the rest of their batch. `none` leaves it out. Layers before
            statistics of one sample, or of none, have biases.
        minibatch_discrimination: let the critic see how close a sample is to the others, against collapse: 50 such
            features join those that its last layer reads.

    Raises:
        InputError: width below 1 or an unknown normalisation; when networks are made, a shape other than square images
            of a side listed above.

    Example:
        >>> import torch
        >>> dcgan = DCGAN(width=4)
        >>> images = dcgan.generator(10, (3, 64, 64))(torch.zeros(2, 10))
        >>> images.shape, dcgan.critic((3, 64, 64))(images).shape
        (torch.Size([2, 3, 64, 64]), torch.Size([2]))

    Source: Radford, Metz & Chintala 2015, section 3 and figure 1; spectral normalisation: Miyato et al. 2018, eq. 8;
    layer normalisation in the critic: Gulrajani et al. 2017, section 4; virtual batch normalisation and minibatch
    discrimination: Salimans et al. 2016, sections 3.4 and 3.2.
    """

    width: int = 64
    spectral_norm: bool = False
    norm: Norm = "batch"
    minibatch_discrimination: bool = False

    name: ClassVar[str] = "dcgan"

    def __post_init__(self) -> None:
        check_size(width=self.width)
        check_norm(self.norm)

    def generator(self, noise_dim: int, shape: tuple[int, ...], *, values: int = 1, bounded: bool = True) -> nn.Module:
        """Makes the generator; arguments as for `Architecture.generator`."""
        check_generator(noise_dim, shape, values, bounded)
        smallest, widths = self._plan(shape)
        bias = needs_bias(self.norm)
        layers: list[nn.Module] = [nn.Unflatten(1, (noise_dim, 1, 1))]
        before = noise_dim
        for depth, width in enumerate(reversed(widths)):
            kernel, stride, padding = (4, 2, 1) if depth else (smallest, 1, 0)
            layers.append(nn.ConvTranspose2d(before, width, kernel, stride, padding, bias=bias))
            layers += [*norm_layers(self.norm, width, maps=True), nn.ReLU(inplace=True)]
            before = width
        layers = with_reference(layers, self.norm, (noise_dim,))
        layers.append(nn.ConvTranspose2d(before, shape[0] * values, 4, 2, 1, bias=bias))
        if bounded:
            layers.append(nn.Tanh())
        if values > 1:
            layers.append(_ValuesLast(values))
        return nn.Sequential(*layers).apply(_initialise)

    def critic(self, shape: tuple[int, ...], *, outputs: int = 1) -> nn.Module:
        """Makes the critic; arguments as for `Architecture.critic`."""
        check_shape(shape)
        check_size(outputs=outputs)
        smallest, widths = self._plan(shape)
        norm: Norm = "none" if self.spectral_norm else self.norm
        bias = needs_bias(norm)
        layers: list[nn.Module] = []
        before = shape[0]
        for depth, width in enumerate(widths):
            layers.append(nn.Conv2d(before, width, 4, 2, 1, bias=bias))
            layers += norm_layers(norm, width, maps=True) if depth else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            before = width
        layers = with_reference(layers, norm, shape)
        if self.minibatch_discrimination:
            closeness = MinibatchDiscrimination(before * smallest**2)
            layers += [nn.Flatten(), closeness]
            layers.append(nn.Linear(before * smallest**2 + closeness.kernels, outputs, bias=bias))
        else:
            layers.append(nn.Conv2d(before, outputs, smallest, 1, 0, bias=bias))
        network = nn.Sequential(*layers, nn.Flatten(0 if outputs == 1 else 1)).apply(_initialise)
        if self.spectral_norm:
            for layer in network:
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    spectral_norm(layer)
        return network

    def _plan(self, shape: tuple[int, ...]) -> tuple[int, list[int]]:
        """Returns the side of the smallest map and the channels of the maps, the largest map first."""
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] not in SMALLEST:
            sides = ", ".join(map(str, SMALLEST))
            raise InputError(
                f"dcgan was given samples of shape {tuple(shape)}, expected (channels, side, side) with a side of "
                f"{sides}; set data.size to one of them (data.crop=true cuts a square), or use model.network=mlp."
            )
        doublings = (shape[1] // SMALLEST[shape[1]]).bit_length() - 1
        return SMALLEST[shape[1]], [self.width * 2**depth for depth in range(doublings)]


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(layer.weight, 0.0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, (nn.BatchNorm2d, nn.GroupNorm, VirtualBatchNorm)):
        nn.init.normal_(layer.weight, 1.0, 0.02)
