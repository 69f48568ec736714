"""Exercise 13-2: which functions are Lipschitz continuous, seen through their slopes.

x^2 is on [-1, 1], with constant 2, and not on the whole line; the root of x is not near 0. The critic of a Wasserstein
GAN must be: spectral normalisation holds its constant at 1. `R1` measures half the squared slope of any function.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from _page import MODEL, QUIET, REAL, THIRD, panels, show
from matplotlib.figure import Figure
from torch import Tensor

from genloss.losses import R1, Wasserstein
from genloss.networks import MLP

WIDTHS = torch.logspace(0.0, 3.0, 31, dtype=torch.float64)


def steepest(function: Callable[[Tensor], Tensor], low: float, high: float) -> float:
    """Returns the largest slope of a function of one number over an interval, at a thousand points."""
    x = torch.linspace(low, high, 1001, dtype=torch.float64)[:, None]
    penalty = R1()(lambda points: function(points).flatten(), x, x, torch.Generator())
    return (2.0 * penalty).sqrt().max().item()


def critic() -> Callable[[Tensor], Tensor]:
    """Returns a critic, trained to tell 1 from -1, whose slope spectral normalisation bounds by 1."""
    torch.manual_seed(0)
    network = MLP(width=32, depth=2, activation="tanh", spectral_norm=True).critic((1,)).double()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    real = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(400):
        optimiser.zero_grad()
        Wasserstein().discriminator(network(real), network(-real)).mean().backward()
        optimiser.step()
    return network.eval()


def make() -> tuple[dict[str, float], Figure]:
    """Returns the numbers and the figure."""
    network = critic()
    curves = {
        "$x^2$ on $[-r, r]$": (MODEL, [steepest(torch.square, -r, r) for r in WIDTHS.tolist()]),
        r"$\sqrt{x}$ on $[1/r, r]$": (THIRD, [steepest(torch.sqrt, 1.0 / r, r) for r in WIDTHS.tolist()]),
        "spectrally normalised critic": (REAL, [steepest(network, -r, r) for r in WIDTHS.tolist()]),
    }
    figure, (shapes, slopes) = panels(2)
    x = torch.linspace(-2.0, 2.0, 801, dtype=torch.float64)
    shapes.plot(x, x.square(), color=MODEL, label="$x^2$")
    shapes.plot(x[x >= 0], x[x >= 0].sqrt(), color=THIRD, label=r"$\sqrt{x}$")
    with torch.no_grad():
        shapes.plot(x, network(x[:, None]), color=REAL, label="spectrally normalised critic")
    shapes.axvspan(-1.0, 1.0, color=QUIET, alpha=0.15, lw=0)
    shapes.annotate("$[-1, 1]$", (0.0, 3.6), ha="center", color="#555555")
    shapes.set(title="Three functions", xlabel="x", ylim=(-2.2, 4.0))
    shapes.legend(loc="lower right")
    for name, (colour, values) in curves.items():
        slopes.loglog(WIDTHS, values, color=colour, label=name)
    slopes.set(title="Only one stays bounded", xlabel="r, the interval grows", ylabel="largest slope")
    slopes.legend(loc="upper left")
    return {
        "largest slope of x^2 on [-1, 1]": steepest(torch.square, -1.0, 1.0),
        "largest slope of x^2 on [-1000, 1000]": steepest(torch.square, -1000.0, 1000.0),
        "largest slope of the root on [0.001, 1000]": steepest(torch.sqrt, 1e-3, 1e3),
        "largest slope of the critic on [-1000, 1000]": steepest(network, -1000.0, 1000.0),
    }, figure


if __name__ == "__main__":
    show(__file__, make)
