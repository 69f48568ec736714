"""A whole training loop of one's own, in plain torch, with a single loss imported: a GAN on eight Gaussians.

The loss takes the critic's scores and returns one value a sample. The networks, the data, the optimisers and the mean
are yours. Run it with `python examples/own_loop.py`; it prints how many of the samples lie on the ring as it trains.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from genloss.losses import Hinge

MODES, SIGMA, NOISE, BATCH = 8, 0.05, 8, 256


def real_batch(rng: torch.Generator) -> Tensor:
    """Draws points near eight places on the unit circle."""
    angle = 2.0 * math.pi / MODES * torch.randint(MODES, (BATCH,), generator=rng)
    centres = torch.stack((angle.cos(), angle.sin()), 1)
    return centres + SIGMA * torch.randn(BATCH, 2, generator=rng)


def near_a_mode(points: Tensor) -> tuple[float, int]:
    """Returns which share of the points lies within three sigmas of a mode, and how many modes have a point."""
    angle = 2.0 * math.pi / MODES * torch.arange(MODES)
    distance, mode = torch.cdist(points, torch.stack((angle.cos(), angle.sin()), 1)).min(1)
    close = distance < 3.0 * SIGMA
    return close.float().mean().item(), len(mode[close].unique())


def train(turns: int = 2000, seed: int = 0) -> list[tuple[float, int]]:
    """Trains a generator against a critic; returns what `near_a_mode` saw at the start, halfway and at the end."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    generator = nn.Sequential(nn.Linear(NOISE, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    sizes = [(2, 128), (128, 128), (128, 1)]
    linear = [spectral_norm(nn.Linear(*size)) for size in sizes]  # bounds the slope, which the hinge loss needs
    critic = nn.Sequential(linear[0], nn.LeakyReLU(0.2), linear[1], nn.LeakyReLU(0.2), linear[2])
    loss = Hinge()
    players = [torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.0, 0.9)) for network in (critic, generator)]

    def fakes() -> Tensor:
        return generator(torch.randn(BATCH, NOISE, generator=rng))

    seen = []
    for turn in range(turns + 1):
        if turn % (turns // 2) == 0:
            with torch.no_grad():
                seen.append(near_a_mode(torch.cat([fakes() for _ in range(8)])))
            print(
                f"turn {turn:5d}: {seen[-1][0]:6.1%} of the samples lie on the ring, on {seen[-1][1]} of {MODES} modes"
            )
        for _ in range(2):
            players[0].zero_grad()
            loss.discriminator(critic(real_batch(rng)), critic(fakes().detach())).mean().backward()
            players[0].step()
        players[1].zero_grad()
        loss.generator(critic(fakes())).mean().backward()
        players[1].step()
    return seen


if __name__ == "__main__":
    train()
