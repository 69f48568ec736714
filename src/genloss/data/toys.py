"""Two-dimensional toys whose log-density is exact."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from genloss.data.base import Dataset, Split, ToyDensity
from genloss.data.curves import Pinwheel, SwissRoll, TwoMoons
from genloss.data.mixtures import GaussianMixture, Grid, Ring
from genloss.errors import InputError, did_you_mean

__all__ = [
    "TOYS",
    "TOY_SIZES",
    "Checkerboard",
    "GaussianMixture",
    "Grid",
    "Pinwheel",
    "Ring",
    "SwissRoll",
    "TwoMoons",
    "make_toy",
    "toy_dataset",
]

TOY_SIZES = {"train": 100_000, "select": 10_000, "test": 10_000}


@dataclass(frozen=True)
class Checkerboard(ToyDensity):
    r"""Uniform on every other square of side 2 of $[-4, 4)^2$: sharp edges and holes.

    Its density is $1/32$ on its eight squares and 0 elsewhere, its entropy $\ln 32 = 3.466$ nats. Continuous models
    cannot match the edges; the log-density is $-\infty$ outside, so reverse divergences from samples are infinite. As
    in FFJORD (Grathwohl et al. 2019, figure 2).

    Example:
        >>> import torch
        >>> Checkerboard().log_prob(torch.tensor([[0.5, 0.5], [0.5, 2.5]]))
        tensor([-3.4657,    -inf], dtype=torch.float64)
    """

    def log_prob(self, x: Tensor) -> Tensor:
        """Returns log p(x) in nats, float64 `(batch,)`, of points `(batch, 2)`, on their device."""
        if x.ndim != 2 or x.shape[1] != 2 or not x.is_floating_point():
            raise InputError(
                f"log_prob was given {x.dtype} points of shape {tuple(x.shape)}; "
                "it expects floating points of shape (batch, 2)."
            )
        even = x.div(2).floor().sum(1).remainder(2) == 0
        inside = ((x >= -4) & (x < 4)).all(1) & even
        return torch.where(inside, -math.log(32), -math.inf).double()

    def draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns `n` points, float64 `(n, 2)`, and the square each lies in, int64 `(n,)`."""
        square = torch.randint(8, (n,), generator=rng, device=rng.device)
        column, pair = square // 2, square % 2
        corner = torch.stack((column, 2 * pair + column % 2), 1) * 2 - 4
        # On a lattice that float32 holds: rounding must not carry a point over an edge, where the density is 0.
        ticks = torch.randint(2**20, (n, 2), generator=rng, device=rng.device)
        return corner + (ticks.double() + 0.5) / 2**19, square


TOYS: dict[str, Callable[..., ToyDensity]] = {
    "ring": Ring,
    "grid": Grid,
    "two_moons": TwoMoons,
    "swiss_roll": SwissRoll,
    "pinwheel": Pinwheel,
    "checkerboard": Checkerboard,
    "gaussian_mixture": GaussianMixture,
}


def make_toy(name: str, **options: object) -> ToyDensity:
    """Returns the toy of this name.

    Args:
        name: a key of `TOYS`.
        **options: fields of its class.

    Raises:
        InputError: the name or an option is unknown, or an option has a wrong value.

    Example:
        >>> make_toy("ring", count=4)
        Ring(count=4, radius=1.0, sigma=0.01)
    """
    if name not in TOYS:
        raise InputError(f"There is no toy {name!r}.{did_you_mean(name, TOYS)}")
    toy = TOYS[name]
    known = [field.name for field in fields(toy)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            hint = did_you_mean(option, known) if known else " It has no options."
            raise InputError(f"The toy {name!r} has no option {option!r}.{hint}")
    if name == "gaussian_mixture" and "means" not in options:
        raise InputError("The toy 'gaussian_mixture' needs its means: data.options={means: [[0, 0], [3, 0]]}.")
    return toy(**options)


def toy_dataset(name: str, density: ToyDensity, *, seed: int = 0, limit: int | None = None) -> Dataset:
    """Returns a data set drawn once from a density: 100,000 points to train on, 10,000 to select by, 10,000 to test.

    Args:
        name: what the data is called.
        density: where the points come from.
        seed: of the draws.
        limit: at most so many training points; None for all.

    Returns:
        points float32 `(samples, dimensions)`, labelled by their component where there is more than one.

    Example:
        >>> data = toy_dataset("ring", Ring(), limit=1000)
        >>> {name: len(split) for name, split in data.splits.items()}
        {'train': 1000, 'select': 10000, 'test': 10000}
    """
    points, labels = density.draw(sum(TOY_SIZES.values()), torch.Generator().manual_seed(seed))
    components = int(labels.max()) + 1
    sizes = list(TOY_SIZES.values())
    splits = {}
    for part, values, classes in zip(
        TOY_SIZES, torch.split(points.float(), sizes), torch.split(labels, sizes), strict=True
    ):
        size = limit if part == "train" else None
        splits[part] = Split(values[:size].clone(), classes[:size].clone() if components > 1 else None)
    return Dataset(
        name=name,
        kind="points",
        shape=(points.shape[1],),
        splits=splits,
        class_names=tuple(str(index) for index in range(components)) if components > 1 else (),
        notes=(f"Points were drawn from {density} with seed {seed}.",),
        density=density,
    )
