"""Exercise 13-1: the best discriminator is D*(x) = p_r(x) / (p_r(x) + p_g(x)), and descent finds it.

Once with a score for every point, which the loss alone decides, and once with a network that sees samples only.
"""

from __future__ import annotations

import torch
from _page import MODEL, QUIET, REAL, THIRD, panels, show
from matplotlib.figure import Figure
from torch import Tensor

from genloss.data import GaussianMixture
from genloss.losses import Minimax, optimal_discriminator

DATA = GaussianMixture(means=((-2.0,), (1.5,)), scales=0.6)
MODEL_DENSITY = GaussianMixture(means=((0.5,),), scales=1.2)
GRID = torch.linspace(-5.0, 5.0, 401, dtype=torch.float64)
P_R, P_G = (density.log_prob(GRID[:, None]).exp() for density in (DATA, MODEL_DENSITY))


def free_scores() -> Tensor:
    """Returns D at every point of the grid, each score free: Newton's method on the loss, point by point."""
    scores = torch.zeros_like(GRID)
    zero = torch.zeros_like(GRID)

    def loss(a: Tensor) -> Tensor:
        # p_r L(real, .) + p_g L(., fake): a fixed score of 0 on the other side adds a constant.
        return (P_R * Minimax().discriminator(a, zero) + P_G * Minimax().discriminator(zero, a)).sum()

    for _ in range(100):
        a = scores.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(a), a, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), a)
        scores -= (slope.detach() / curvature.clamp(min=1e-300)).clamp(-1.0, 1.0)  # short steps: it is far at first
    return scores.sigmoid()


def network() -> Tensor:
    """Returns D on the grid from a network trained on samples of both."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    critic = torch.nn.Sequential(torch.nn.Linear(1, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh())
    critic.append(torch.nn.Linear(64, 1))
    optimiser = torch.optim.Adam(critic.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1500)
    for _ in range(1500):
        real, fake = (density.draw(512, rng)[0].float() for density in (DATA, MODEL_DENSITY))
        optimiser.zero_grad()
        Minimax().discriminator(critic(real), critic(fake)).mean().backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        return critic(GRID[:, None].float()).squeeze(1).sigmoid()


def make() -> tuple[dict[str, float], Figure]:
    """Returns the numbers and the figure."""
    best, free, learned = optimal_discriminator(P_R, P_G), free_scores(), network()
    figure, (densities, answers) = panels(2)
    for height, colour, name in ((P_R, REAL, "data $p_r$"), (P_G, MODEL, "model $p_g$")):
        densities.fill_between(GRID, height, color=colour, alpha=0.25)
        densities.plot(GRID, height, color=colour, label=name)
    densities.set(title="Two densities", xlabel="x", ylabel="density", ylim=(0, None))
    answers.plot(GRID, best, color=QUIET, lw=5, alpha=0.6, label=r"$p_r/(p_r+p_g)$")
    answers.plot(GRID[::16], free[::16], "o", ms=4, color=REAL, label="a free score at each point")
    answers.plot(GRID, learned, color=THIRD, label="a network, from samples")
    answers.set(title="The best discriminator", xlabel="x", ylabel="D(x)", ylim=(-0.03, 1.25))
    for axis in (densities, answers):
        axis.legend(loc="upper right")
    weight = (P_R + P_G) / (P_R + P_G).sum()
    return {
        "largest error of free scores": (free - best).abs().max().item(),
        "mean error of the network, where samples lie": (weight @ (learned - best).abs()).item(),
    }, figure


if __name__ == "__main__":
    show(__file__, make)
