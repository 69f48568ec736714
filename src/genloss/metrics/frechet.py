"""The Frechet distance between the normal distributions fitted to two sets of features."""

from __future__ import annotations

import torch
from torch import Tensor

from genloss.errors import InputError
from genloss.metrics.base import MetricValue, as_pair, signature

__all__ = ["frechet_distance"]


def frechet_distance(fake: Tensor, real: Tensor, *, features: str) -> MetricValue:
    r"""Compares means and covariances.

    $$\lVert\mu_x-\mu_y\rVert^2+\mathrm{tr}\,\Sigma_x+\mathrm{tr}\,\Sigma_y
    -2\,\mathrm{tr}\bigl(\Sigma_x^{1/2}\Sigma_y\Sigma_x^{1/2}\bigr)^{1/2}$$

    The last trace is the sum of the singular values of $R_xR_y^\top$, where $\Sigma=R^\top R$ comes from the QR
    decomposition of the centred samples. No matrix root is taken and no covariance is formed, so features that are
    constant or depend on each other cost no accuracy, and no negative eigenvalue has to be clamped.

    Use it to compare with the literature. It is blind beyond second moments, and it is biased upward by an amount that
    depends on the number of samples and on the model: compare at equal numbers, and with real against real.

    Args:
        fake: generated features `(n, d)`, n more than d.
        real: real features `(m, d)`, m more than d.
        features: the name of the feature space, for the signature.

    Returns:
        The squared distance (as FID is reported), in float64; `note` warns below 10 samples a feature.

    Raises:
        InputError: not more samples than features, values that are not finite, or shapes that do not match.

    Example:
        >>> x = torch.tensor([[0.0], [2.0], [4.0]])
        >>> round(frechet_distance(2.0 * x + 1.0, x, features="values").value, 6)
        13.0

    Source: Dowson & Landau 1982; Heusel et al. 2017, equation 6.
    """
    x, y = as_pair(fake, real)
    fewest, dimensions = min(len(x), len(y)), x.shape[1]
    if fewest <= dimensions:
        raise InputError(
            f"frechet_distance was given {len(x)} fake and {len(y)} real samples of {dimensions} features, expected "
            f"more samples than features: below that the covariances are singular by construction. Use more samples, "
            "fewer features, or mmd2."
        )
    mean_x, root_x = _moments(x)
    mean_y, root_y = _moments(y)
    shift = (mean_x - mean_y).square().sum()
    overlap = torch.linalg.svdvals(root_x @ root_y.mT).sum()
    value = shift + root_x.square().sum() + root_y.square().sum() - 2.0 * overlap
    note = ""
    if fewest < 10 * dimensions:
        note = (
            f"{fewest} samples for {dimensions} features, fewer than 10 a feature: the distance is biased upward; "
            "compare it only with values of the same number of samples."
        )
    line = signature(
        "frechet_distance", squared="yes", covariance="n-1", features=features, d=dimensions, n=len(x), real=len(y)
    )
    # Rounding can leave a value just below 0 for equal sets.
    distance = max(0.0, float(value))
    return MetricValue(
        name="frechet_distance",
        value=distance,
        n=len(x),
        signature=line,
        higher_is_better=False,
        note=note,
        real=len(y),
    )


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean `(d,)` and the triangular root `(d, d)` of the unbiased covariance of samples `(n, d)`."""
    mean = x.mean(dim=0)
    return mean, torch.linalg.qr(x - mean, mode="r").R / (len(x) - 1) ** 0.5
