"""Equations 13.41 and 13.47: what the first GAN's players reach at the best discriminator D*, verified.

13.41: the game's value is 2 JS - 2 log 2. 13.47: the non-saturating generator raises
-KL(p_g || p_r) + 2 JS - 2 log 2 - E_r[log D*]. The last term depends on the generator too, through D*. With D* held
fixed, as in training, the gradient is that of -KL + 2 JS alone, and not that of the value of 13.47.
"""

from __future__ import annotations

import math

import torch
from _page import MODEL, QUIET, REAL, THIRD, panels, show
from matplotlib.figure import Figure
from torch.distributions import Normal

import genloss.losses as losses

GRID = torch.linspace(-10.0, 14.0, 4801, dtype=torch.float64)
SHIFTS = torch.linspace(0.0, 4.0, 33, dtype=torch.float64)
DATA = Normal(0.0, 1.0).log_prob(GRID).softmax(0)


def measure(shift: float) -> dict[str, float]:
    """Returns both sides of both equations, and slopes in t, for data N(0, 1) and a model N(t, 1)."""
    t = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
    model = Normal(t, 1.0).log_prob(GRID).softmax(0)
    logits = (DATA.log() - model.log()).detach()  # of D* = p_r / (p_r + p_g), held fixed
    log_real, log_fake = (
        -losses.NonSaturating().generator(logits),
        losses.Minimax().generator(logits),
    )  # log D*, log(1 - D*)
    raised = model @ log_real
    pieces = -losses.reverse_kl(DATA, model) + 2.0 * losses.jensen_shannon(DATA, model)
    moving = losses.optimal_discriminator(DATA, model).log()  # log D* with its dependence on t
    values = {
        "game": DATA @ log_real + model @ log_fake,
        "13.41": losses.minimax_value(DATA, model),
        "raised": raised,
        "13.47": pieces - 2.0 * math.log(2.0) - DATA @ moving,
    }
    slopes = {"raised, D* fixed": raised, "-KL + 2 JS": pieces, "13.47": losses.non_saturating_value(DATA, model)}
    found = {name: value.item() for name, value in values.items()}
    for name, value in slopes.items():
        found[f"slope of {name}"] = torch.autograd.grad(value, t, retain_graph=True)[0].item()
    return found


def make() -> tuple[dict[str, float], Figure]:
    """Returns the numbers and the figure."""
    rows = [measure(t) for t in SHIFTS.tolist()]
    lines = {name: [row[name] for row in rows] for name in rows[0]}
    figure, axes = panels(3)
    dots = slice(0, None, 4)
    for axis, equation, left, label in (
        (axes[0], "13.41", "game", "$-L_D$"),
        (axes[1], "13.47", "raised", r"$E\,\log D^*$"),
    ):
        axis.plot(SHIFTS, lines[equation], color=REAL, label=f"right-hand side of {equation}")
        axis.plot(SHIFTS[dots], lines[left][dots], "o", color=MODEL, label=f"measured with the losses: {label}")
        axis.set(xlabel="distance t of the model", ylabel="nats")
        axis.legend(loc="upper left" if left == "game" else "lower left")
    axes[0].set_title("The minimax game (13.41)")
    axes[0].set_ylim(-1.45, 0.35)
    axes[0].axhline(0.0, color=QUIET, ls="--", lw=1)
    axes[1].set_title("The non-saturating generator (13.47)")
    axes[2].plot(SHIFTS, lines["slope of -KL + 2 JS"], color=REAL, label="of -KL + 2 JS")
    axes[2].plot(SHIFTS[dots], lines["slope of raised, D* fixed"][dots], "o", color=MODEL, label="measured, D* fixed")
    axes[2].plot(SHIFTS, lines["slope of 13.47"], color=THIRD, ls="--", label="of 13.47, D* moving along")
    axes[2].set(title="Their slopes in t", xlabel="distance t of the model", ylabel="nats per unit of t")
    axes[2].legend(loc="lower left")
    return {f"{name} at t = {SHIFTS[i]:g}": lines[name][i] for i in (0, 8, 32) for name in lines}, figure


if __name__ == "__main__":
    show(__file__, make)
