"""A posterior, a prior, latents and their log-likelihood, all drawn from fixed seeds."""

import torch

from genloss.losses import DiagonalNormal

BATCH, DIM = 6, 3


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def posterior(requires_grad=False, batch=BATCH):
    mean, log_variance = normal(batch, DIM, seed=1), 0.5 * normal(batch, DIM, seed=2)
    return DiagonalNormal(
        mean=mean.requires_grad_(requires_grad), log_variance=log_variance.requires_grad_(requires_grad)
    )


def prior(batch=BATCH):
    return DiagonalNormal(mean=0.3 * normal(batch, DIM, seed=3), log_variance=0.2 * normal(batch, DIM, seed=4))


def setting(samples, requires_grad=False):
    q = posterior(requires_grad)
    z = q.sample(rng(5), samples)
    return q, prior(), z, -z.square().sum(-1) - 1.0
