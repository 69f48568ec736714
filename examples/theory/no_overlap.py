"""Figure 13.9: of distributions that do not overlap, the Jensen-Shannon divergence says nothing and Wasserstein all.

Data N(0, 1), a model N(t, 1). As t grows, JS stops at log 2 and the minimax generator's gradient, at the best
discriminator, falls to 0. The Wasserstein distance is t, and its gradient 1, however far.
"""

from __future__ import annotations

import math

import torch
from _page import MODEL, QUIET, REAL, THIRD, panels, show
from matplotlib.figure import Figure
from torch.distributions import Normal

from genloss.losses import Minimax, Wasserstein, Wasserstein1D, jensen_shannon

GRID = torch.linspace(-12.0, 24.0, 7201, dtype=torch.float64)
SHIFTS = torch.linspace(0.0, 12.0, 49, dtype=torch.float64)
QUANTILES = Normal(0.0, 1.0).icdf((torch.arange(1001, dtype=torch.float64) + 0.5) / 1001)[:, None]


def on_grid(mean: float) -> torch.Tensor:
    """Returns the probabilities of N(mean, 1) over the cells of the grid."""
    return Normal(mean, 1.0).log_prob(GRID).softmax(0)


def generator_slopes(shift: float) -> tuple[float, float]:
    """Returns the slopes in t of both generators' losses, each against its best critic, held fixed."""
    t = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
    fakes = t + GRID  # noise at every point of the grid, with its probability
    logits = Normal(0.0, 1.0).log_prob(fakes) - Normal(shift, 1.0).log_prob(fakes)  # of the best discriminator
    critic = -fakes  # the best 1-Lipschitz critic falls from the data to the model
    slopes = [
        torch.autograd.grad(on_grid(0.0) @ loss.generator(scores), t, retain_graph=True)[0].item()
        for loss, scores in ((Minimax(), logits), (Wasserstein(), critic))
    ]
    return slopes[0], slopes[1]


def make() -> tuple[dict[str, float], Figure]:
    """Returns the numbers and the figure."""
    js = [jensen_shannon(on_grid(0.0), on_grid(t)).item() for t in SHIFTS.tolist()]
    w1 = [Wasserstein1D()(QUANTILES, QUANTILES + t).item() for t in SHIFTS]
    slopes = [generator_slopes(t) for t in SHIFTS.tolist()]
    figure, (densities, values, gradients) = panels(3)
    for t, colour, name in ((0.0, REAL, "data"), (4.0, THIRD, "model, t = 4"), (12.0, MODEL, "model, t = 12")):
        height = Normal(t, 1.0).log_prob(GRID).exp()
        densities.fill_between(GRID, height, color=colour, alpha=0.25)
        densities.plot(GRID, height, color=colour)
        densities.annotate(name, (t, 0.41), ha="center", color=colour)
    densities.set(title="Two models, one of them nearer", xlim=(-4, 16), ylim=(0, 0.47), xlabel="x", ylabel="density")
    values.plot(SHIFTS, js, color=MODEL, label="Jensen-Shannon")
    values.axhline(math.log(2.0), color=QUIET, ls="--", lw=1)
    values.annotate("log 2", (12.0, math.log(2.0)), xytext=(0, -12), textcoords="offset points", ha="right")
    values.plot(SHIFTS, [w / 12.0 for w in w1], color=REAL, label="Wasserstein / 12")
    values.set(title="JS stops, Wasserstein goes on", xlabel="distance t", ylabel="JS in nats, distance as share of 12")
    values.legend(loc="lower right")
    gradients.semilogy(SHIFTS[1:], [s for s, _ in slopes[1:]], color=MODEL, label="minimax, best discriminator")
    gradients.semilogy(SHIFTS, [s for _, s in slopes], color=REAL, label="Wasserstein, best critic")
    gradients.set(title="What the generator is told", xlabel="distance t", ylabel="slope of its loss in t")
    gradients.set(ylim=(1e-8, 100))
    gradients.legend(loc="upper right")
    numbers = {f"JS at t = {SHIFTS[i]:g}": js[i] for i in (0, 16, 48)}
    numbers |= {f"Wasserstein at t = {SHIFTS[i]:g}": w1[i] for i in (0, 16, 48)}
    numbers |= {f"slope of minimax at t = {SHIFTS[i]:g}": slopes[i][0] for i in (4, 16, 48)}
    numbers |= {f"slope of Wasserstein at t = {SHIFTS[i]:g}": slopes[i][1] for i in (4, 16, 48)}
    return numbers, figure


if __name__ == "__main__":
    show(__file__, make)
