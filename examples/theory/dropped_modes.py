"""Why the non-saturating loss drops modes: its gradient is that of KL(p_g || p_r) - 2 JS.

Data with two modes. Left: what it costs to give one of them less and less of the model. Forward KL, which likelihood
minimises, grows without bound; the non-saturating objective charges at most 0.26 nats. Right: one Gaussian that starts
between the modes, trained on samples by maximum likelihood, and by that loss with the best discriminator at every step.
"""

from __future__ import annotations

import math

import torch
from _page import MODEL, QUIET, REAL, THIRD, panels, show
from matplotlib.figure import Figure
from torch.distributions import Normal

from genloss.data import GaussianMixture
from genloss.losses import MaximumLikelihood, NonSaturating, forward_kl, jensen_shannon, reverse_kl

DATA = GaussianMixture(means=((-3.0,), (3.0,)), scales=0.7)
GRID = torch.linspace(-9.0, 9.0, 3601, dtype=torch.float64)
SHARES = torch.logspace(math.log10(0.5), -6.0, 60, dtype=torch.float64)


def costs(share: float) -> tuple[float, float, float]:
    """Returns forward KL, reverse KL and reverse KL - 2 JS where the model gives this share to the left mode."""
    model = GaussianMixture(means=DATA.means, scales=DATA.scales, weights=(share, 1.0 - share))
    p, q = (density.log_prob(GRID[:, None]).softmax(0) for density in (DATA, model))
    backward = reverse_kl(p, q).item()
    return forward_kl(p, q).item(), backward, backward - 2.0 * jensen_shannon(p, q).item()


def trained(adversarial: bool) -> tuple[float, float]:
    """Returns mean and deviation of a Gaussian after training from N(0.5, 1)."""
    rng = torch.Generator().manual_seed(0)
    mean, log_deviation = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.5, 0.0))
    optimiser = torch.optim.Adam((mean, log_deviation), lr=0.02)
    for _ in range(800):
        model = Normal(mean, log_deviation.exp())
        if adversarial:
            x = model.rsample((1024,))
            best = Normal(mean.detach(), log_deviation.detach().exp())  # its score is the log-ratio of the densities
            loss = NonSaturating().generator(DATA.log_prob(x[:, None]) - best.log_prob(x))
        else:
            loss = MaximumLikelihood()(model.log_prob(DATA.draw(1024, rng)[0][:, 0]))
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
    return mean.item(), log_deviation.exp().item()


def make() -> tuple[dict[str, float], Figure]:
    """Returns the numbers and the figure."""
    torch.manual_seed(0)
    rows = [costs(share) for share in SHARES.tolist()]
    forward, backward, pulled = zip(*rows, strict=True)
    fits = {"maximum likelihood": (REAL, trained(False)), "non-saturating": (MODEL, trained(True))}
    figure, (left, right) = panels(2)
    left.semilogx(SHARES, forward, color=REAL, label="forward KL (likelihood)")
    left.semilogx(SHARES, backward, color=THIRD, label="reverse KL")
    left.semilogx(SHARES, pulled, color=MODEL, label="reverse KL - 2 JS (non-saturating)")
    left.set(title="The price of dropping a mode", ylabel="nats", ylim=(-0.2, 7.5))
    left.set(xlabel="share of the model on the left mode", xlim=(0.6, 8e-7))
    left.legend(loc="upper left")
    height = DATA.log_prob(GRID[:, None]).exp()
    right.fill_between(GRID, height, color=QUIET, alpha=0.35, label="data", lw=0)
    for name, (colour, (mean, deviation)) in fits.items():
        right.plot(GRID, Normal(mean, deviation).log_prob(GRID).exp(), color=colour, label=name)
    right.set(title="One Gaussian for two modes", xlabel="x", ylabel="density", ylim=(0, 0.78))
    right.legend(loc="upper left")
    numbers = {f"{name} at share 1e-6": rows[-1][i] for i, name in enumerate(("forward KL", "reverse KL", "pull"))}
    for name, (_, (mean, deviation)) in fits.items():
        numbers |= {f"{name}: mean": mean, f"{name}: deviation": deviation}
    return numbers, figure


if __name__ == "__main__":
    show(__file__, make)
