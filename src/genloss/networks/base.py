"""What an architecture is: a frozen specification that makes a generator or a critic from the shape of the data."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from genloss.errors import InputError

__all__ = [
    "Architecture",
    "CouplesBatch",
    "architectures",
    "check_generator",
    "check_shape",
    "check_size",
    "couples_batch",
]


class Architecture(ABC):
    """Makes networks that fit the shape of the data; knows no loss.

    A subclass is a `@dataclass(frozen=True, kw_only=True)` whose fields are the choices of the architecture, and names
    itself in `name`; a recipe then finds it. Weights are drawn from torch's global generator: to fix them, make the
    networks inside `torch.random.fork_rng()` after `torch.manual_seed(seed)`.

    Example:
        >>> import torch
        >>> from genloss.networks import architectures
        >>> mlp = architectures()["mlp"](width=16)
        >>> mlp.generator(4, (3, 8, 8))(torch.zeros(2, 4)).shape
        torch.Size([2, 3, 8, 8])
        >>> mlp.critic((3, 8, 8))(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2])
    """

    name: ClassVar[str]

    @abstractmethod
    def generator(self, noise_dim: int, shape: tuple[int, ...], *, values: int = 1, bounded: bool = True) -> nn.Module:
        """Makes a network from noise `(batch, noise_dim)` to data.

        Args:
            noise_dim: dimensions of the noise, at least 1.
            shape: shape of one sample, without the batch.
            values: numbers for each value of a sample, such as a mean and a scale of a decoder.
            bounded: end in tanh, for data in [-1, 1]; else end linearly, for logits, points and several values.

        Returns:
            A module with output `(batch, *shape)`, or `(batch, *shape, values)` with more than one value.

        Raises:
            InputError: a size below 1, a shape that the architecture does not make, or bounded with several values.
        """

    @abstractmethod
    def critic(self, shape: tuple[int, ...], *, outputs: int = 1) -> nn.Module:
        """Makes a network from data `(batch, *shape)` to raw scores; with more outputs also an encoder or a classifier.

        Args:
            shape: shape of one sample, without the batch.
            outputs: scores for each sample.

        Returns:
            A module with output `(batch,)` for one output, else `(batch, outputs)`.

        Raises:
            InputError: a size below 1, or a shape that the architecture does not read.
        """


def architectures() -> dict[str, type[Architecture]]:
    """Returns every architecture that has been imported, by its name.

    Example:
        >>> sorted({"dcgan", "mlp"} & set(architectures()))
        ['dcgan', 'mlp']
    """
    found: dict[str, type[Architecture]] = {}
    waiting: list[type[Architecture]] = Architecture.__subclasses__()
    while waiting:
        cls = waiting.pop(0)
        waiting += cls.__subclasses__()
        if not inspect.isabstract(cls):
            found[cls.name] = cls
    return found


class CouplesBatch(nn.Module):
    """Base of layers whose output for one sample depends on the other samples of its batch."""


def couples_batch(module: nn.Module) -> bool:
    """Says whether, in training, the output for one sample depends on the others.

    It does with batch normalisation and with a `CouplesBatch` layer, such as minibatch discrimination; with virtual
    batch normalisation it depends on a fixed reference batch instead. A critic that couples its batch must see real
    and fake samples in two passes, or the two mix.

    Example:
        >>> couples_batch(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
        True
        >>> couples_batch(nn.Linear(2, 2))
        False
    """
    return any(isinstance(part, (_BatchNorm, CouplesBatch)) for part in module.modules())


def check_size(**sizes: int) -> None:
    """Raises InputError unless every size is a whole number of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError(f"{name} is {size!r}, expected a whole number of at least 1.")


def check_shape(shape: tuple[int, ...]) -> None:
    """Raises InputError unless the shape has at least one axis and no empty one."""
    sizes = isinstance(shape, (tuple, list)) and all(isinstance(size, int) and size > 0 for size in shape)
    if not sizes or not shape:
        raise InputError(f"shape is {shape!r}, expected the sizes of one sample, each at least 1, such as (2,).")


def check_generator(noise_dim: int, shape: tuple[int, ...], values: int, bounded: bool) -> None:
    """Raises InputError unless the arguments of `Architecture.generator` agree."""
    check_size(noise_dim=noise_dim, values=values)
    check_shape(shape)
    if bounded and values > 1:
        raise InputError(
            f"bounded=True was asked for with values={values}, but only samples are bounded by tanh and the parameters "
            "of a density are not; pass bounded=False."
        )
