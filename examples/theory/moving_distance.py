"""MMD and Wasserstein as a distance moves: what a generator without a critic is told from near and from far.

Data N(0, 1), a model N(t, 1), both as fixed quantiles. The Wasserstein distance has slope 1 everywhere. The MMD of a
narrow kernel saturates: far away its slope is 0. A wide kernel sees further; the energy distance has no scale at all.
"""

from __future__ import annotations

import torch
from _page import MODEL, QUIET, REAL, THIRD, panels, show
from matplotlib.figure import Figure
from torch.distributions import Normal

from genloss.losses import MMD, EnergyDistance, SampleDistance, Wasserstein1D

QUANTILES = Normal(0.0, 1.0).icdf((torch.arange(500, dtype=torch.float64) + 0.5) / 500)[:, None]
SHIFTS = torch.linspace(0.0, 20.0, 41, dtype=torch.float64)
DISTANCES: dict[str, tuple[str, SampleDistance]] = {
    "Wasserstein": (REAL, Wasserstein1D()),
    "energy distance": (THIRD, EnergyDistance(estimator="biased")),
    "MMD, bandwidth 1": (MODEL, MMD(bandwidths=(1.0,), estimator="biased")),
    "MMD, bandwidth 5": (QUIET, MMD(bandwidths=(5.0,), estimator="biased")),
}


def value_and_slope(distance: SampleDistance, shift: float) -> tuple[float, float]:
    """Returns the distance at t, and how fast it grows with t."""
    t = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
    value = distance(QUANTILES + t, QUANTILES)
    return value.item(), torch.autograd.grad(value, t)[0].item()


def make() -> tuple[dict[str, float], Figure]:
    """Returns the numbers and the figure."""
    figure, (values, slopes) = panels(2)
    numbers = {}
    for name, (colour, distance) in DISTANCES.items():
        rows = [value_and_slope(distance, t) for t in SHIFTS.tolist()]
        value, slope = zip(*rows, strict=True)
        values.plot(SHIFTS, [v / value[-1] for v in value], color=colour, label=name)
        slopes.plot(SHIFTS[1:], slope[1:], color=colour, label=name)
        for i in (0, 4, 20):
            numbers[f"{name} at t = {SHIFTS[i]:g}"] = value[i]
            numbers[f"slope of {name} at t = {SHIFTS[i]:g}"] = slope[i]
    values.set(title="The distance", xlabel="distance t of the model", ylabel="share of its value at t = 20")
    slopes.set(title="Its pull on the generator", xlabel="distance t of the model", ylabel="slope in t")
    slopes.legend(loc="center right", bbox_to_anchor=(1.0, 0.66))
    return numbers, figure


if __name__ == "__main__":
    show(__file__, make)
