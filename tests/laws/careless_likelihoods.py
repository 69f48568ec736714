"""Variational, likelihood and energy losses as a careless person writes them, and the law that each mistake breaks."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch.nn.functional import logsigmoid

from genloss.losses import EnergyLoss, EnergyTerms, Likelihood, Sampler, VariationalLoss, VariationalTerms


class OwnELBO(VariationalLoss):
    """The evidence lower bound written out, in units of the prior; subclasses differ in one line."""

    samples = 1

    def kl(self, mean, log_variance):
        return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1)

    def in_units_of(self, prior, posterior):
        mean = (posterior.mean - prior.mean) * (-0.5 * prior.log_variance).exp()
        return mean, posterior.log_variance - prior.log_variance

    def reported(self, reconstruction, kl):
        return reconstruction - kl

    def _terms(self, posterior, prior, z, log_likelihood, rng):
        kl = self.kl(*self.in_units_of(prior, posterior))
        reconstruction = log_likelihood.mean(0)
        bound = self.reported(reconstruction, kl)
        return VariationalTerms(surrogate=kl - reconstruction, bound=bound, parts={"kl": kl})


class MeanOverLatents(OwnELBO):
    """`.mean()` where the sum over latent dimensions belongs."""

    def kl(self, mean, log_variance):
        return super().kl(mean, log_variance) / mean.shape[-1]


class PriorIgnored(OwnELBO):
    """N(0, I) whatever prior is handed over."""

    def in_units_of(self, prior, posterior):
        return posterior.mean, posterior.log_variance


class LogVarianceForDeviation(OwnELBO):
    """The log-variance taken for the log of the standard deviation."""

    def kl(self, mean, log_variance):
        return super().kl(mean, 2 * log_variance)


class ReversedDivergence(OwnELBO):
    """KL(prior, posterior) instead of KL(posterior, prior)."""

    def kl(self, mean, log_variance):
        return 0.5 * (log_variance + (1 + mean.square()) * (-log_variance).exp() - 1).sum(-1)


class KLTermAdded(OwnELBO):
    """-reconstruction + KL to be maximised, as one textbook prints it."""

    def reported(self, reconstruction, kl):
        return reconstruction + kl


class KLAscended(OwnELBO):
    """An honest bound, and the KL term with its sign turned in what is minimised."""

    def _terms(self, posterior, prior, z, log_likelihood, rng):
        terms = super()._terms(posterior, prior, z, log_likelihood, rng)
        return VariationalTerms(surrogate=terms.surrogate - 2 * terms.parts["kl"], bound=terms.bound, parts=terms.parts)


class KLOfTheBatch(OwnELBO):
    """The divergence averaged over the batch."""

    def kl(self, mean, log_variance):
        return super().kl(mean, log_variance).mean().expand(len(mean))


class OwnIWAE(VariationalLoss):
    samples = 5

    def bound(self, log_weights):
        return log_weights.logsumexp(0) - math.log(self.samples)

    def _terms(self, posterior, prior, z, log_likelihood, rng):
        bound = self.bound(log_likelihood + prior.log_prob(z) - posterior.log_prob(z))
        return VariationalTerms(surrogate=-bound, bound=bound, parts={})


class MeanOfExponentials(OwnIWAE):
    """log(mean(exp(log w))) underflows where the data are unlikely."""

    def bound(self, log_weights):
        return log_weights.exp().mean(0).log()


class SumInsteadOfMean(OwnIWAE):
    """log K left out: the bound is too high by it."""

    def bound(self, log_weights):
        return log_weights.logsumexp(0)


class OwnScoreMatching(EnergyLoss):
    keep_graph = True
    sign = 1.0

    def _terms(self, energy, real, rng, sampler, noise, state):
        x = real.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
        trace = torch.zeros_like(real[:, 0])
        for axis in range(real.shape[1]):
            (row,) = torch.autograd.grad(gradient[:, axis].sum(), x, create_graph=self.keep_graph, retain_graph=True)
            trace = trace + row[:, axis]
        surrogate = 0.5 * gradient.square().sum(1) - self.sign * trace
        return EnergyTerms(surrogate=self.finish(surrogate), parts={})

    def finish(self, surrogate):
        return surrogate


class TraceWithoutGraph(OwnScoreMatching):
    """`create_graph` left out of the second derivative: half of the loss does not train."""

    keep_graph = False


class TraceWithTheSignOfTheScore(OwnScoreMatching):
    """The trace of the score added where that of the energy is subtracted."""

    sign = -1.0


class MeanOfTheBatch(OwnScoreMatching):
    def finish(self, surrogate):
        return surrogate.mean().expand(len(surrogate))


class NoiseWithoutItsDensity(EnergyLoss):
    """Noise-contrastive estimation whose logits leave out the density of the noise."""

    def _terms(self, energy, real, rng, sampler, noise, state):
        fakes = noise.sample(len(real), rng)
        surrogate = -logsigmoid(-energy(real)) - logsigmoid(energy(fakes))
        return EnergyTerms(surrogate=surrogate, parts={})


class ContrastTurned(EnergyLoss):
    """E(model) - E(data): raises the energy of the data."""

    def _terms(self, energy, real, rng, sampler, noise, state):
        fakes = sampler.run(energy, real, 5, rng)
        return EnergyTerms(surrogate=energy(fakes) - energy(real), parts={})


class NoiseOfTheGlobalGenerator(EnergyLoss):
    """Denoising score matching with `torch.randn_like`."""

    noise_level: ClassVar[float] = 1.0

    def _terms(self, energy, real, rng, sampler, noise, state):
        white = torch.randn_like(real)
        x = (real + white).requires_grad_()
        (gradient,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
        return EnergyTerms(surrogate=0.5 * (gradient - white).square().sum(1), parts={})


class OwnGaussian(Likelihood):
    @property
    def parameters_per_value(self):
        return 2

    def _log_prob(self, x, parameters):
        mean, log_variance = parameters
        return -0.5 * ((x - mean).square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi))

    def _mean(self, parameters):
        return parameters[0]

    def _sample(self, parameters, rng):
        noise = torch.empty_like(parameters[0]).normal_(generator=rng)
        return parameters[0] + (0.5 * parameters[1]).exp() * noise


class MeanTwice(OwnGaussian):
    def _mean(self, parameters):
        return 2 * parameters[0]


class SamplesOfTheGlobalGenerator(OwnGaussian):
    """Samples by `torch.randn_like`."""

    def _sample(self, parameters, rng):
        return parameters[0] + (0.5 * parameters[1]).exp() * torch.randn_like(parameters[0])


class SamplesOfASeed(OwnGaussian):
    """Samples of a generator of its own, the same ones in every call."""

    def _sample(self, parameters, rng):
        return super()._sample(parameters, torch.Generator().manual_seed(0))


class NarrowMeanOff(OwnGaussian):
    """A narrow density, and a mean half a deviation off."""

    def _log_prob(self, x, parameters):
        return super()._log_prob(x, (parameters[0], parameters[1] - 10.0))

    def _mean(self, parameters):
        return parameters[0] + 0.5 * (0.5 * parameters[1] - 5.0).exp()

    def _sample(self, parameters, rng):
        return super()._sample((parameters[0], parameters[1] - 10.0), rng)


class OwnStudent(Likelihood):
    """Five degrees of freedom: heavy tails."""

    def _log_prob(self, x, parameters):
        constant = math.lgamma(3.0) - math.lgamma(2.5) - 0.5 * math.log(5.0 * math.pi)
        return constant - 3.0 * torch.log1p((x - parameters[0]).square() / 5.0)

    def _mean(self, parameters):
        return parameters[0]

    def _sample(self, parameters, rng):
        normal = torch.randn((6, *parameters[0].shape), generator=rng, dtype=torch.float64).to(parameters[0])
        return parameters[0] + normal[0] / normal[1:].square().mean(0).sqrt()


class OwnCoin(Likelihood):
    """A Bernoulli whose levels are of float32, as tensors are by default."""

    takes_logits: ClassVar[bool] = True

    def levels_of_data(self):
        return torch.tensor([0.0, 1.0])

    def _log_prob(self, x, parameters):
        return x * logsigmoid(parameters[0]) + (1 - x) * logsigmoid(-parameters[0])

    def _mean(self, parameters):
        return parameters[0].sigmoid()

    def _sample(self, parameters, rng):
        return torch.bernoulli(parameters[0].sigmoid(), generator=rng)


class ConstantForgotten(OwnGaussian):
    def _log_prob(self, x, parameters):
        mean, log_variance = parameters
        return -0.5 * ((x - mean).square() * (-log_variance).exp() + log_variance)


class DeviationFromLogVariance(OwnGaussian):
    """Draws with exp(log_variance) for the standard deviation."""

    def _sample(self, parameters, rng):
        return parameters[0] + parameters[1].exp() * torch.empty_like(parameters[0]).normal_(generator=rng)


class OwnLangevin(Sampler):
    step_size = 0.1
    factor = 0.5

    def step(self, energy, x, rng):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(energy(x).sum(), x)
        noise = torch.empty_like(x).normal_(generator=rng)
        return x.detach() - self.factor * self.step_size**2 * gradient + self.step_size * noise

    def fresh(self, like, rng):
        return torch.empty_like(like).normal_(generator=rng)


class ClimbsTheEnergy(OwnLangevin):
    factor = -0.5


class HalfForgotten(OwnLangevin):
    """The gradient's half left out: draws with half the variance."""

    factor = 1.0


class RootForgotten(OwnLangevin):
    """A whole step of the gradient beside a whole step of noise, instead of its root."""

    factor = 10.0


class StartsAtNothing(OwnLangevin):
    """Fresh chains that all start at 0."""

    factor = 0.5

    def fresh(self, like, rng):
        return torch.zeros_like(like)


class OwnChains(EnergyLoss):
    """Persistent contrastive divergence; subclasses differ in what they keep."""

    def init_state(self, like, sampler, rng):
        return {"chains": sampler.fresh(like.new_empty((64, *like.shape[1:])), rng)}

    def kept(self, chains, rows, fakes, real):
        return chains.index_copy(0, rows, fakes)

    def _terms(self, energy, real, rng, sampler, noise, state):
        chains = state["chains"]
        rows = torch.randperm(len(chains), generator=rng)[: len(real)]
        fakes = sampler.run(energy, chains[rows], 20, rng)
        surrogate = energy(real) - energy(fakes)
        return EnergyTerms(surrogate=surrogate, parts={}, state={"chains": self.kept(chains, rows, fakes, real)})


class NeverReplaced(OwnChains):
    """The chains start where they did at first, batch after batch."""

    def kept(self, chains, rows, fakes, real):
        return chains


class StoresTheData(OwnChains):
    """The data are stored where the chains belong."""

    def kept(self, chains, rows, fakes, real):
        return chains.index_copy(0, rows, real)


@dataclass(frozen=True, kw_only=True)
class PenalisedChains(OwnChains):
    """Energies held near 0 by their squares."""

    penalty: float = 0.1

    def _terms(self, energy, real, rng, sampler, noise, state):
        terms = super()._terms(energy, real, rng, sampler, noise, state)
        return replace(terms, surrogate=terms.surrogate + self.penalty * energy(real).square())


@dataclass(frozen=True, kw_only=True)
class PenaltyRewarded(PenalisedChains):
    """The penalty with the wrong sign."""

    def _terms(self, energy, real, rng, sampler, noise, state):
        terms = super()._terms(energy, real, rng, sampler, noise, state)
        return replace(terms, surrogate=terms.surrogate - 2.0 * self.penalty * energy(real).square())


MISTAKES = [
    (MeanOverLatents(), "does not exceed log p(x)"),
    (PriorIgnored(), "does not exceed log p(x)"),
    (LogVarianceForDeviation(), "does not exceed log p(x)"),
    (ReversedDivergence(), "does not exceed log p(x)"),
    (KLTermAdded(), "does not exceed log p(x)"),
    (KLAscended(), "no further from the prior"),
    (KLOfTheBatch(), "couples_batch says so"),
    (MeanOfExponentials(), "finite in float32"),
    (SumInsteadOfMean(), "does not exceed log p(x)"),
    (TraceWithoutGraph(), "the turning point is the truth"),
    (TraceWithTheSignOfTheScore(), "the turning point is the truth"),
    (MeanOfTheBatch(), "couples_batch says so"),
    (NoiseWithoutItsDensity(), "gains nothing"),
    (ContrastTurned(), "the turning point is the truth"),
    (NoiseOfTheGlobalGenerator(), "global generator is left alone"),
    (ConstantForgotten(), "integrate, to 1"),
    (DeviationFromLogVariance(), "mean and spread"),
    (MeanTwice(), "The mean is that of the density"),
    (NarrowMeanOff(), "The mean is that of the density"),
    (SamplesOfTheGlobalGenerator(), "the global generator is left alone"),
    (SamplesOfASeed(), "repeat with their seed"),
    (ClimbsTheEnergy(), "mean and variance are kept"),
    (HalfForgotten(), "mean and variance are kept"),
    (RootForgotten(), "mean and variance are kept"),
    (StartsAtNothing(), "Fresh chains are spread out"),
    (NeverReplaced(), "memory moves on"),
    (StoresTheData(), "not the data"),
    (PenaltyRewarded(), "draws them towards 0"),
]
SOUND = [
    OwnELBO(),
    OwnIWAE(),
    OwnScoreMatching(),
    OwnGaussian(),
    OwnStudent(),
    OwnCoin(),
    OwnLangevin(),
    OwnChains(),
    PenalisedChains(),
]
