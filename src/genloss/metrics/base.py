"""What a metric returns, and how it reads samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from genloss import __version__
from genloss.errors import InputError

__all__ = ["MetricValue", "as_pair", "as_samples", "checked_pair", "checked_samples", "signature"]


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """A number and everything that one must know to compare it.

    Args:
        name: the metric.
        value: the number.
        n: samples that were measured.
        signature: one line with every convention; two values compare only when their signatures are equal.
        higher_is_better: the direction.
        note: a sentence of caution, or empty.
        real: real samples that they were compared with, or None for a metric that compares with none.
        measures: what the `n` samples are: generated, or real ones that a model's density is read at.

    Example:
        >>> value = MetricValue(name="kl", value=0.1, n=100, signature="kl|n:100", higher_is_better=False)
        >>> value.note
        ''
    """

    name: str
    value: float
    n: int
    signature: str
    higher_is_better: bool
    note: str = ""
    real: int | None = None
    measures: Literal["generated", "real"] = "generated"


def signature(name: str, **conventions: str | float | Sequence[float]) -> str:
    """Returns one line that carries the name, the conventions in the given order and the version of genloss.

    Example:
        >>> signature("mmd2", kernel="gaussian", bandwidths=(0.5, 1.0), n=100).rpartition("|")[0]
        'mmd2|kernel:gaussian|bandwidths:0.5,1|n:100'
    """
    parts = [name, *(f"{key}:{_written(value)}" for key, value in conventions.items()), f"genloss:{__version__}"]
    return "|".join(parts)


def _written(value: str | float | Sequence[float]) -> str:
    if isinstance(value, (str, int)):
        return str(value)
    return f"{value:.8g}" if isinstance(value, float) else ",".join(f"{number:.8g}" for number in value)


def checked_samples(name: str, samples: Tensor) -> Tensor:
    """Returns features `(n, d)` without their graph, in their dtype.

    They stay on their device, except where it has no float64 (mps): then they go to the processor.

    Raises:
        InputError: not a floating tensor `(n, d)` with at least one sample and one feature, or a value is not finite.
    """
    if not isinstance(samples, Tensor) or not samples.is_floating_point():
        kind = str(samples.dtype) if isinstance(samples, Tensor) else type(samples).__name__
        raise InputError(f"{name} is {kind}, expected a tensor of floating dtype; convert it with .float().")
    if samples.ndim != 2 or samples.numel() == 0:
        raise InputError(
            f"{name} has shape {tuple(samples.shape)}, expected (samples, features) with at least one of each; flatten "
            "images with x.flatten(1)."
        )
    low, high = samples.aminmax(dim=1)  # NaN goes through; needs no copy of the samples
    wrong = ~(low.isfinite() & high.isfinite())
    if wrong.any():
        raise InputError(
            f"{name} holds NaN or infinity in {int(wrong.sum())} of {len(samples)} samples, the first in row "
            f"{int(wrong.nonzero()[0])}, expected finite values; the model diverged, or its features overflow."
        )
    samples = samples.detach()
    return samples.cpu() if samples.device.type == "mps" else samples


def checked_pair(fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Returns both sets as `checked_samples` does.

    Raises:
        InputError: as `checked_samples` does, or the sets differ in their number of features or in their device.
    """
    x, y = checked_samples("fake", fake), checked_samples("real", real)
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"fake has {x.shape[1]} features and real has {y.shape[1]}, expected equally many; extract both with the "
            "same function."
        )
    if x.device != y.device:
        raise InputError(f"fake is on {x.device} and real on {y.device}, expected one device; move one with .to(...).")
    return x, y


def as_samples(name: str, samples: Tensor) -> Tensor:
    """Returns what `checked_samples` does, in float64."""
    return checked_samples(name, samples).double()


def as_pair(fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Returns what `checked_pair` does, in float64."""
    x, y = checked_pair(fake, real)
    return x.double(), y.double()
