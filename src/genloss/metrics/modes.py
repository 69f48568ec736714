"""Which known modes of a toy a model covers, how well, and how evenly."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genloss.errors import InputError
from genloss.metrics.base import MetricValue, as_samples, signature

__all__ = ["ModeCounts", "count_modes", "mode_statistics"]

# A sample is of high quality within so many standard deviations of a mode.
REACH = 3.0


class ModeCounts(NamedTuple):
    """How samples fall on modes.

    Args:
        counts: high-quality samples of each mode, int64 `(modes,)`.
        off: samples within reach of no mode.
        sigma_ratio: spread of each mode's samples over its true spread, float64 `(modes,)`; 1 is right, less means
            that the mode has shrunk, NaN that it has fewer than 2 samples.
    """

    counts: Tensor
    off: int
    sigma_ratio: Tensor


def count_modes(samples: Tensor, means: Tensor, sigma: Tensor | float) -> ModeCounts:
    r"""Assigns every sample to its nearest mode, if that is within three standard deviations.

    Distances are Euclidean, in units of the mode's $\sigma$. The spread of a mode is corrected for the tail beyond
    three $\sigma$ that it cannot see, so that true samples of modes that stand apart have a ratio of 1.

    Args:
        samples: generated points `(n, d)`.
        means: centres of the modes `(modes, d)`; moved to the device of the samples.
        sigma: standard deviation of the modes, the same in every direction, positive: a number or `(modes,)`.

    Returns:
        The counts of each mode, the samples off every mode, and the ratio of spreads.

    Raises:
        InputError: values that are not finite, shapes that do not match, or a sigma that is not positive.

    Example:
        >>> samples = torch.tensor([[0.0], [0.2], [5.0], [9.0]])
        >>> found = count_modes(samples, torch.tensor([[0.0], [5.0]]), 0.1)
        >>> found.counts.tolist(), found.off
        ([2, 1], 1)

    Source: Srivastava et al. 2017 (VEEGAN); Lin et al. 2018 (PacGAN), section 4.1.
    """
    x, centres = as_samples("samples", samples), as_samples("means", means).to(samples.device)
    scale = torch.as_tensor(sigma, dtype=torch.float64, device=x.device)
    if x.shape[1] != centres.shape[1]:
        raise InputError(f"samples have {x.shape[1]} dimensions and means {centres.shape[1]}, expected equally many.")
    if scale.shape not in {(), (len(centres),)} or not bool((scale > 0).all() & scale.isfinite().all()):
        raise InputError(
            f"sigma is {sigma!r}, expected a positive number or one for each of the {len(centres)} modes, shape "
            f"({len(centres)},)."
        )
    scale = scale.expand(len(centres))
    distance, mode = _nearest(x, centres, scale)
    good = distance <= REACH
    mode, points = mode[good], x[good]
    counts = torch.bincount(mode, minlength=len(centres))
    return ModeCounts(counts, int((~good).sum()), _sigma_ratio(points, mode, counts, scale))


def mode_statistics(samples: Tensor, means: Tensor, sigma: Tensor | float) -> tuple[MetricValue, ...]:
    r"""Measures mode collapse on a mixture of equally likely, isotropic modes that are known.

    $$\mathrm{KL}(p\Vert q)=\sum_{b}p_b\log\frac{p_b}{q_b}$$

    over one bin for each of the K modes and one for what lies off them; $p$ is the share of **all** samples,
    $q=(1-\epsilon)/K$ for a mode and $\epsilon=P(\chi^2_d>9)$ off them ($0.0111$ in two dimensions). Report all: the
    number of modes is silent on their mass, quality on balance, and a quality above $1-\epsilon$ is no success but
    shrunken modes, which `sigma_ratio` shows. Compare with the same numbers of as many true samples.

    Args:
        samples: generated points `(n, d)`.
        means: centres of the modes `(modes, d)`.
        sigma: standard deviation of the modes, a number or `(modes,)`.

    Returns:
        `modes` (those with at least one sample within three sigma), `high_quality` (the share of such samples), `kl` in
        nats and, when some mode has at least 2 samples, `sigma_ratio` (its mean over those modes).

    Raises:
        InputError: as `count_modes` does.

    Example:
        >>> samples = torch.tensor([[0.0], [0.2], [5.0], [9.0]])
        >>> {v.name: round(v.value, 3) for v in mode_statistics(samples, torch.tensor([[0.0], [5.0]]), 0.1)}
        {'modes': 2.0, 'high_quality': 0.75, 'kl': 0.961, 'sigma_ratio': 1.433}

    Source: Srivastava et al. 2017 (VEEGAN) and Lin et al. 2018 (PacGAN), section 4.1, for modes and quality.
    """
    found = count_modes(samples, means, sigma)
    modes, n = len(found.counts), len(samples)
    tail = _tail(samples.shape[1])
    share = torch.cat((found.counts, found.counts.new_tensor([found.off]))).double() / n
    target = share.new_tensor([(1.0 - tail) / modes] * modes + [tail])
    kl = torch.special.xlogy(share, share / target).sum()
    values = {
        "modes": float((found.counts > 0).sum()),
        "high_quality": 1.0 - found.off / n,
        "kl": float(kl),
    }
    spread = found.sigma_ratio[found.counts >= 2]
    if len(spread):
        values["sigma_ratio"] = float(spread.mean())
    conventions: dict[str, str | float] = {"modes": modes, "within": f"{REACH:g}sigma", "off": tail, "n": n}
    return tuple(
        MetricValue(
            name=name,
            value=value,
            n=n,
            signature=signature(name, **conventions),
            higher_is_better=name != "kl",
            note="1 is right; less means that the modes have shrunk." if name == "sigma_ratio" else "",
        )
        for name, value in values.items()
    )


def _nearest(x: Tensor, centres: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the least distance in sigmas to a mode and which mode it is, each `(n,)`; memory linear in n."""
    best = x.new_full((len(x),), torch.inf)
    mode = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    for index in range(len(centres)):
        distance = (x - centres[index]).norm(dim=1) / scale[index]
        nearer = distance < best
        best = torch.where(nearer, distance, best)
        mode[nearer] = index
    return best, mode


def _sigma_ratio(points: Tensor, mode: Tensor, counts: Tensor, scale: Tensor) -> Tensor:
    dimensions = points.shape[1]
    sums = points.new_zeros(len(counts), dimensions).index_add_(0, mode, points)
    centred = points - (sums / counts[:, None])[mode]
    squares = points.new_zeros(len(counts)).index_add_(0, mode, centred.square().sum(1))
    variance = squares / ((counts - 1) * dimensions)
    # The variance of a normal cut off at three sigma: P(chi2 with d + 2 < 9) / P(chi2 with d < 9).
    cut = (1.0 - _tail(dimensions + 2)) / (1.0 - _tail(dimensions))
    ratio = (variance / cut).sqrt() / scale
    return torch.where(counts >= 2, ratio, torch.nan)


def _tail(dimensions: int) -> float:
    """Returns the mass of an isotropic normal beyond three sigma."""
    half = torch.tensor(0.5 * dimensions, dtype=torch.float64)
    return float(torch.special.gammaincc(half, torch.full_like(half, 0.5 * REACH**2)))
