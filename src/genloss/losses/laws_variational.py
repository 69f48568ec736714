"""The laws of variational losses, on a linear-Gaussian model whose evidence is exact."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genloss.losses._law_tools import finite, number, same, same_under_autocast, seeded
from genloss.losses.laws import LawBroken, law
from genloss.losses.variational import DiagonalNormal, VariationalLoss, VariationalTerms

__all__: list[str] = []

_BATCH = 4
_DRAWS = 300  # of the batch, for means
_NOISE = 0.5  # the model: z is standard normal in one dimension, x = z + noise


def _evidence(x: Tensor) -> Tensor:
    variance = 1.0 + _NOISE**2
    return -0.5 * (x.square() / variance + math.log(2.0 * math.pi * variance))


def _log_likelihood(x: Tensor, z: Tensor) -> Tensor:
    return -0.5 * (((x - z[..., 0]) / _NOISE).square() + math.log(2.0 * math.pi * _NOISE**2))


def _data(size: int) -> Tensor:
    return torch.linspace(-1.0, 1.5, _BATCH, dtype=torch.float64).repeat(size // _BATCH)


def _posterior(x: Tensor, error: float) -> DiagonalNormal:
    """Returns the true posterior, with `error` added to its mean and log-variance."""
    mean = (x / (1.0 + _NOISE**2))[:, None] + error
    log_variance = torch.full_like(mean, math.log(_NOISE**2 / (1.0 + _NOISE**2)) + error)
    return DiagonalNormal(mean=mean, log_variance=log_variance)


def _run(loss: VariationalLoss, size: int = _BATCH, error: float = 0.5, seed: int = 0) -> VariationalTerms:
    x = _data(size)
    q = _posterior(x, error)
    z = q.sample(seeded(seed), loss.samples)
    return loss(q, DiagonalNormal.standard_like(q), z, _log_likelihood(x, z), rng=seeded(1))


@law("variational")
def returns_one_value_a_sample(loss: VariationalLoss) -> str:
    """Surrogate, bound and every part are finite and have one value a sample."""
    terms = _run(loss)
    for name, value in {"surrogate": terms.surrogate, "bound": terms.bound, **terms.parts}.items():
        if value.shape != (_BATCH,):
            raise LawBroken(f"{name} has shape {tuple(value.shape)}, expected ({_BATCH},).")
        finite(f"{name} is", value)
    return f"parts {', '.join(sorted(terms.parts))}"


@law("variational")
def bound_is_below_the_evidence(loss: VariationalLoss) -> str:
    """What is reported does not exceed log p(x) in the mean, and reaches it at the true posterior."""
    size = _DRAWS * _BATCH
    evidence = _evidence(_data(size)).mean()
    # The error makes a surrogate such as the weighted mean of log w exceed the evidence.
    rough = _run(loss, size, error=1.0).bound
    slack = 5.0 * float(rough.std()) / size**0.5
    if rough.mean() > evidence + slack:
        raise LawBroken(
            f"the bound reported is {number(rough.mean())} in the mean for an evidence of {number(evidence)}, expected "
            f"no more; report the bound and not the surrogate."
        )
    tight = _run(loss, size, error=0.0).bound
    slack = 5.0 * float(tight.std()) / size**0.5 + 1e-6
    same("at the true posterior the mean bound is", tight.mean(), evidence, relative=0.0, absolute=slack)
    return (
        f"{number(rough.mean())} with a rough posterior, {number(tight.mean())} with the true one: {number(evidence)}"
    )


@law("variational")
def trusts_likelier_latents(loss: VariationalLoss) -> str:
    """Minimising raises the log-likelihood at every latent, and not more at the less likely ones."""
    x = _data(_BATCH)
    q = _posterior(x, 0.0)
    z = q.sample(seeded(2), loss.samples)
    log_likelihood = (torch.arange(loss.samples).double() * 3.0)[:, None].repeat(1, _BATCH).requires_grad_()
    # With posterior and prior alike, the log-likelihoods alone decide the weights.
    terms = loss(q, q, z, log_likelihood, rng=seeded(3))
    (gradient,) = torch.autograd.grad(terms.surrogate.sum(), log_likelihood)
    weights = -gradient
    same("the weights over latents sum to", weights.sum(0), torch.ones(_BATCH).double(), relative=1e-6)
    if bool((weights < -1e-9).any()) or bool((weights.diff(dim=0) < -1e-9).any()):
        raise LawBroken(
            f"latents of rising likelihood get the weights {number(weights[:, 0])}, expected none below 0 and none to "
            f"fall; the softmax is of log w, not of its negative."
        )
    return f"weights {number(weights[:, 0])}"


@law("variational")
def declares_what_couples_the_batch(loss: VariationalLoss) -> str:
    """A sample's terms do not depend on the rest of its batch, unless couples_batch says so."""
    if loss.couples_batch:
        return "couples_batch is declared"
    x = _data(_BATCH)
    q = _posterior(x, 0.5)
    z = q.sample(seeded(4), loss.samples)
    terms = loss(q, DiagonalNormal.standard_like(q), z, _log_likelihood(x, z), rng=seeded(1))
    one = DiagonalNormal(mean=q.mean[:1], log_variance=q.log_variance[:1])
    alone = loss(one, DiagonalNormal.standard_like(one), z[:, :1], _log_likelihood(x, z)[:, :1], rng=seeded(1))
    same("alone in its batch the surrogate is", alone.surrogate, terms.surrogate[:1])
    same("alone in its batch the bound is", alone.bound, terms.bound[:1])
    return "samples do not see each other"


@law("variational")
def ignores_autocast(loss: VariationalLoss) -> str:
    """bfloat16 autocast changes nothing."""

    def surrogate() -> Tensor:
        q = DiagonalNormal(mean=torch.full((_BATCH, 2), 0.3), log_variance=torch.zeros(_BATCH, 2))
        z = q.sample(seeded(5), loss.samples)
        return loss(q, DiagonalNormal.standard_like(q), z, -z.square().sum(-1), rng=seeded(1)).surrogate

    return same_under_autocast("the surrogate", surrogate)


@law("variational")
def draws_from_its_generator(loss: VariationalLoss) -> str:
    """One seed gives one value, and the global generator is left alone."""
    before = torch.get_rng_state()
    same("with the same seed the surrogate is", _run(loss).surrogate, _run(loss).surrogate)
    if not torch.equal(before, torch.get_rng_state()):
        raise LawBroken("the global generator moved, expected all numbers to come from rng.")
    return "the global generator stands still"
