"""The laws of the smaller families: samplers, log-densities, codebooks."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genloss.losses._law_tools import (
    Setting,
    derivatives_agree,
    drawn_from_rng,
    finite,
    normal,
    number,
    probe,
    same,
    seeded,
    valued,
)
from genloss.losses.laws import LawBroken, LawSkipped, law
from genloss.losses.maximum_likelihood import LikelihoodLoss
from genloss.losses.samplers import Energy, Sampler
from genloss.losses.vector_quantised import VectorQuantised

__all__: list[str] = []

_CHAINS, _TRANSITIONS = 20_000, 60
_TOLERANCE = 0.2  # of a mean, in standard deviations, and of a variance's ratio; a factor forgotten is off by 0.3


class _Machine:
    """A small restricted Boltzmann machine: an energy that every sampler can use."""

    def __call__(self, visible: Tensor) -> Tensor:
        return -softplus(2.0 * visible - 1.0).sum(1)

    def sample_hidden(self, visible: Tensor, rng: torch.Generator) -> Tensor:
        return torch.bernoulli((2.0 * visible - 1.0).sigmoid(), generator=rng)

    def sample_visible(self, hidden: Tensor, rng: torch.Generator) -> Tensor:
        return torch.bernoulli((2.0 * hidden).sigmoid(), generator=rng)


@law("sampler")
def chains_are_pure(loss: Sampler) -> str:
    """Chains keep shape and start, carry no graph, and draw from their generator alone."""
    energy, start = _Machine(), torch.ones(50, 3, dtype=torch.float64)
    kept, before = start.clone(), torch.get_rng_state()
    first, second = (loss.run(energy, start, 3, seeded(1)) for _ in range(2))
    finite("the chains are", first)
    same("with the same seed the chains are", first, second)
    same("after the run the start is", start, kept)
    if first.shape != start.shape or loss.fresh(start, seeded(2)).shape != start.shape:
        raise LawBroken(f"chains {tuple(start.shape)} became {tuple(first.shape)}, expected the same shape.")
    if first.requires_grad or not torch.equal(before, torch.get_rng_state()):
        raise LawBroken("the chains carry a graph or moved the global generator, expected neither.")
    return "chains are detached and reproducible"


@law("sampler")
def fresh_chains_differ(loss: Sampler) -> str:
    """Fresh chains are spread out, and drawn anew from their generator."""
    like = torch.ones(50, 3, dtype=torch.float64)
    chains = drawn_from_rng("fresh chains", lambda rng: loss.fresh(like, rng))
    finite("fresh chains are", chains)
    if not bool((chains.std(0) > 0.0).all()):
        raise LawBroken(
            f"the standard deviations of 50 fresh chains are {number(chains.std(0))}, expected more than 0."
        )
    return f"standard deviations {number(chains.std(0))}"


def _density(loss: Sampler) -> tuple[Energy, Tensor, float, float]:
    """Returns an energy that suits the sampler, draws from its density, and their mean and variance."""
    rng, like = seeded(4), torch.zeros(_CHAINS, 1, dtype=torch.float64)
    try:
        # How far it moves where the energy is flat is the scale of a density that it crosses in some steps.
        moved = loss.step(lambda x: 0.0 * x.sum(1), like, seeded(3))
    except TypeError:
        # It needs hidden units. With those summed out the machine's visible units are coins of bias sigmoid(1).
        bias = 1.0 / (1.0 + math.exp(-1.0))
        return _Machine(), like.bernoulli(bias, generator=rng), bias, bias * (1.0 - bias)
    variance = 8.0 * float(moved.var())
    if not 0.0 < variance < math.inf:
        raise LawBroken(f"where the energy is flat, chains move by a variance of {variance / 8.0:.3g}, expected more.")
    mean = 3.0 * variance**0.5
    draws = mean + variance**0.5 * torch.empty_like(like).normal_(generator=rng)
    return lambda x: 0.5 * (x - mean).square().sum(1) / variance, draws, mean, variance


@law("sampler")
def chains_keep_the_density(loss: Sampler) -> str:
    """Chains that start as draws from a density stay so: their mean and variance are kept."""
    chosen = [name for name in ("noise", "low", "high", "gradient_clip") if getattr(loss, name, None) is not None]
    if chosen:
        raise LawSkipped(f"{', '.join(chosen)} is set: it draws from another density than that of the energy")
    energy, start, mean, variance = _density(loss)
    chains = loss.run(energy, start, _TRANSITIONS, seeded(5))
    shift, ratio = (float(chains.mean()) - mean) / variance**0.5, float(chains.var()) / variance
    if not (abs(shift) < _TOLERANCE and abs(ratio - 1.0) < _TOLERANCE):
        raise LawBroken(
            f"after {_TRANSITIONS} transitions the mean is {shift:.3g} standard deviations off and the variance "
            f"{ratio:.3g} times the density's, expected 0 and 1: a sign, a half or a root of the step."
        )
    return f"mean {shift:.2g} standard deviations off, variance {ratio:.3g} times the density's"


@probe("likelihood_loss")
def _likelihood_loss_probe(loss: LikelihoodLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns the loss and its gradient in the log-density."""
    log_prob = setting.normal(6).requires_grad_()
    return valued(loss(log_prob), log_prob)


@law("likelihood_loss")
def likelier_data_cost_less(loss: LikelihoodLoss) -> str:
    """The loss falls as the log-density rises, sample by sample, and the derivative is that of the value."""
    log_prob = torch.linspace(-50.0, 5.0, 12, dtype=torch.float64)
    value = loss(log_prob)
    if value.shape != log_prob.shape or not bool((value.diff() < 0.0).all()):
        raise LawBroken(f"the loss is {number(value)} for rising log-densities, expected one falling value a sample.")
    if not loss.couples_batch:
        same("alone the last sample has", loss(log_prob[-1:]), value[-1:])
    return derivatives_agree("the loss", loss, (log_prob,), second=True)


@probe("quantisation")
def _quantisation_probe(loss: VectorQuantised, setting: Setting) -> dict[str, Tensor]:
    """Returns codes, surrogate and the gradient in the latents."""
    latents, codebook = setting.normal(4, 3, 2).requires_grad_(), setting.normal(5, 2, seed=1)
    found = loss.quantise(latents, codebook)
    codes = found.codes.to(torch.promote_types(setting.dtype, torch.float32))
    log_likelihood = -codes.square().sum((1, 2))
    surrogate = loss(latents, found, log_likelihood, codes=5).surrogate
    return {"the codes": found.codes.detach(), **valued(surrogate, latents)}


@law("quantisation")
def codes_are_nearest_and_pass_the_gradient(loss: VectorQuantised) -> str:
    """Codes are the nearest ones, and the decoder's gradient reaches the latents unchanged."""
    latents, codebook = normal(4, 3, 2).requires_grad_(), normal(5, 2, seed=1)
    found = loss.quantise(latents, codebook)
    nearest = codebook[torch.cdist(latents.detach().flatten(0, 1), codebook).argmin(1)].reshape(4, 3, 2)
    same("the codes are", found.codes.detach(), nearest)
    weights = normal(4, 3, 2, seed=2)
    (gradient,) = torch.autograd.grad((found.codes * weights).sum(), latents)
    same("the gradient on the latents is", gradient, weights)
    terms = loss(latents, found, torch.zeros(4, dtype=torch.float64), codes=5)
    finite("the surrogate is", terms.surrogate)
    return f"commitment {number(terms.parts['commitment'])}"
