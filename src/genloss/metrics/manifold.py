"""Precision, recall, density and coverage: fidelity and diversity by nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from genloss.errors import InputError
from genloss.metrics.base import MetricValue, as_pair, signature

__all__ = ["manifold_metrics"]

# Distances held at a time, 8 bytes each.
BUDGET = 1 << 22

# A distance by the Gram expansion is wrong by a few roundings of the squared norms. This share of them counts as equal,
# so that a tie is a tie whatever the chunks.
TOLERANCE = 1e-12


def manifold_metrics(fake: Tensor, real: Tensor, *, features: str, k: int = 5) -> tuple[MetricValue, ...]:
    r"""Measures fidelity (precision, density) and diversity (recall, coverage) apart.

    With $B(x)$ the closed ball around $x$ up to its k-th nearest neighbour in its own set, precision is the share of
    fake samples in some real ball, recall the share of real samples in some fake ball, coverage the share of real balls
    with a fake sample, and density, for n fake samples $y$ and real ones $x$,
    $\frac1{kn}\sum_{j}\lvert\{i:y_j\in B(x_i)\}\rvert$.

    Use them to say whether a model loses quality or diversity. They are not all 1 for equal distributions: for as many
    real samples against real ones density is near 1 and coverage near $1-2^{-k}$, while precision and recall depend on
    the dimensions (near one half for normal data of 1000). Outliers inflate precision and recall more than the others.

    Args:
        fake: generated features `(n, d)`, n more than k.
        real: real features `(m, d)`, m more than k.
        features: the name of the feature space, for the signature.
        k: neighbours, at least 1.

    Returns:
        `precision`, `recall`, `density` and `coverage`, all better when higher; distances in float64, memory linear in
        the number of samples.

    Raises:
        InputError: not more than k samples in a set, values that are not finite, or shapes that do not match.

    Example:
        >>> real = torch.arange(12.0)[:, None]
        >>> precision, recall, density, coverage = manifold_metrics(real[:6] + 0.1, real, features="values", k=2)
        >>> precision.value, recall.value < 1.0
        (1.0, True)

    Source: Kynkaanniemi et al. 2019, equations 1 and 2; Naeem et al. 2020, section 3.
    """
    x, y = as_pair(fake, real)
    if k < 1:
        raise InputError(f"k is {k}, expected at least 1 neighbour.")
    if min(len(x), len(y)) <= k:
        raise InputError(
            f"precision, recall, density and coverage were given {len(x)} fake and {len(y)} real samples, expected "
            f"more than k={k} of each, so that every sample has k neighbours."
        )
    centre = y.mean(dim=0)
    x, y = x - centre, y - centre
    values = _shares(x, y, _radii(x, k), _radii(y, k), k)
    return tuple(
        MetricValue(
            name=name,
            value=value,
            n=len(x),
            signature=signature(name, k=k, ball="closed", features=features, n=len(x), real=len(y)),
            higher_is_better=True,
            real=len(y),
        )
        for name, value in values.items()
    )


def _squared_distances(x: Tensor, y: Tensor, tolerance: float = 0.0) -> Tensor:
    """Returns `(n, m)` squared distances, lowered by this share of the squared norms."""
    norms_x, norms_y = x.square().sum(1, keepdim=True), y.square().sum(1)
    return torch.addmm((1.0 - tolerance) * norms_y, x, y.mT, alpha=-2.0).add_((1.0 - tolerance) * norms_x)


def _radii(x: Tensor, k: int) -> Tensor:
    """Returns the squared distance of every sample to its k-th nearest neighbour, `(n,)`."""
    parts = []
    for start, part in _chunks(x, len(x)):
        tile = _squared_distances(part, x)
        tile.diagonal(start).fill_(torch.inf)  # a sample is not its own neighbour
        parts.append(tile.topk(k, dim=1, largest=False).values[:, -1].clamp(min=0.0))
    return torch.cat(parts)


def _chunks(x: Tensor, columns: int) -> list[tuple[int, Tensor]]:
    rows = max(1, BUDGET // columns)
    return [(start, x[start : start + rows]) for start in range(0, len(x), rows)]


def _shares(x: Tensor, y: Tensor, radii_x: Tensor, radii_y: Tensor, k: int) -> dict[str, float]:
    """Counts which fake samples `x` lie in which real balls around `y`, and the reverse, in one pass."""
    balls_of_fake = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    recalled = covered = 0
    for start, part in _chunks(y, len(x)):
        tile = _squared_distances(part, x, TOLERANCE)
        in_real_ball = tile <= radii_y[start : start + len(part), None]
        balls_of_fake += in_real_ball.sum(0)
        covered += int(in_real_ball.any(1).sum())
        recalled += int((tile <= radii_x).any(1).sum())
    return {
        "precision": int((balls_of_fake > 0).sum()) / len(x),
        "recall": recalled / len(y),
        "density": int(balls_of_fake.sum()) / (k * len(x)),
        "coverage": covered / len(y),
    }
