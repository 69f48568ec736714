"""Known mistakes of published likelihood-based, energy and sequence code: each breaks the law that it should."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy

import genloss.losses as losses
from genloss.losses import (
    MMD,
    Bernoulli,
    ContrastiveDivergence,
    Gaussian,
    MinimumRisk,
    ScoreMatching,
    TokenCrossEntropy,
)
from genloss.losses.energy import EnergyTerms
from genloss.losses.sequence_risk import RiskLoss
from genloss.losses.variational import VariationalLoss, VariationalTerms
from tests.laws.mistakes import breaks


class _Weighted(VariationalLoss):
    """An importance-weighted loss whose parts a mistake can spoil."""

    samples = 5

    def _terms(self, posterior, prior, z, log_likelihood, rng):
        log_weights = log_likelihood + prior.log_prob(z) - posterior.log_prob(z)
        return self._spoil(log_weights, log_likelihood, posterior.kl(prior))


class WeightsOfTheLoss(_Weighted):
    """The softmax of the loss, as one popular library has it: the worst sample gets the weight."""

    def _spoil(self, log_weights, log_likelihood, kl):
        surrogate = -((-log_weights).softmax(0).detach() * log_weights).sum(0)
        return VariationalTerms(surrogate=surrogate, bound=log_weights.logsumexp(0) - math.log(5), parts={})


class SurrogateReported(_Weighted):
    """The weighted mean of log w as the bound: better than the truth."""

    def _spoil(self, log_weights, log_likelihood, kl):
        surrogate = -(log_weights.softmax(0).detach() * log_weights).sum(0)
        return VariationalTerms(surrogate=surrogate, bound=-surrogate, parts={})


class ClosedFormInsideTheLogarithm(_Weighted):
    """The closed-form KL in place of the sampled ratio: no bound."""

    def _spoil(self, log_weights, log_likelihood, kl):
        bound = (log_likelihood - kl).logsumexp(0) - math.log(5)
        return VariationalTerms(surrogate=-bound, bound=bound, parts={})


class BatchMeanInside(_Weighted):
    """A mean over the batch, handed to every sample."""

    def _spoil(self, log_weights, log_likelihood, kl):
        bound = (log_weights.logsumexp(0) - math.log(5)).mean().expand(log_weights.shape[1])
        return VariationalTerms(surrogate=-bound, bound=bound, parts={})


class TraceOverDimension(ScoreMatching):
    """The trace divided by the dimension: learns the dimension times the variance."""

    def _terms(self, energy, real, rng, sampler, noise, state):
        parts = super()._terms(energy, real, rng, sampler, noise, state).parts
        return EnergyTerms(surrogate=parts["half_square"] + parts["trace"] / real[0].numel(), parts=parts)


class PlusBeforeTheModel(ContrastiveDivergence):
    """Both energies lowered, as one source prints it."""

    def _terms(self, energy, real, rng, sampler, noise, state):
        terms = super()._terms(energy, real, rng, sampler, noise, state)
        return EnergyTerms(surrogate=sum(terms.parts.values()), parts=terms.parts, state=terms.state)


class DivergenceHidden(ContrastiveDivergence):
    """A loss that is not finite becomes 0.1."""

    def _terms(self, energy, real, rng, sampler, noise, state):
        terms = super()._terms(energy, real, rng, sampler, noise, state)
        surrogate = torch.where(terms.surrogate.isfinite(), terms.surrogate, 0.1)
        return EnergyTerms(surrogate=surrogate, parts=terms.parts, state=terms.state)


class SoftmaxOfProbabilities(MinimumRisk):
    """The softmax of p in place of that of log p."""

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        return (log_probs.exp().softmax(1) * costs).sum(1)


class CostsOverTheLargest(MinimumRisk):
    """Costs divided by the largest: 0 / 0 when every sample is perfect."""

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        return super()._loss(log_probs, costs / costs.amax(1, keepdim=True), distinct, greedy_costs)


class LastSampleOnly(RiskLoss):
    """A sum over samples is built, and the last term returned."""

    cost = losses.EditDistance()

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        return ((costs - costs.mean(1, keepdim=True)) * log_probs)[:, -1]


class AfterTheEnd(TokenCrossEntropy):
    """Log-probabilities added up until the whole batch has ended."""

    def _loss(self, logits, targets, mask):
        return super()._loss(logits, targets, torch.ones_like(mask))


class SigmoidThenCrossEntropy(Bernoulli):
    """The cross-entropy of probabilities, clamped at 100."""

    def _log_prob(self, x, parameters):
        return -binary_cross_entropy(parameters[0].sigmoid(), x.expand_as(parameters[0]), reduction="none")


class SquaredErrorAsDensity(Gaussian):
    """The squared error without its constant."""

    def _log_prob(self, x, parameters):
        return -((x - parameters[0]) ** 2)


class ScaleIsTheVariance(Gaussian):
    """The density takes its parameter for the variance, the sampler for the deviation."""

    def _standard_sample(self, like, rng):
        return 2.0 * super()._standard_sample(like, rng)


class Similarity(MMD):
    """The kernel between both sets with the wrong sign."""

    def _distance(self, x, y, rng):
        return -super()._distance(x, y, rng)


class Detached(MMD):
    """A term of the fakes is computed without their gradient."""

    def _distance(self, x, y, rng):
        return super()._distance(x, y, rng) + (x.detach() ** 2).mean()


MISTAKES = [
    (WeightsOfTheLoss(), "not more at the less likely"),
    (SurrogateReported(), "does not exceed log p(x)"),
    (ClosedFormInsideTheLogarithm(), "does not exceed log p(x)"),
    (BatchMeanInside(), "unless couples_batch says so"),
    (TraceOverDimension(), "the turning point is the truth"),
    (PlusBeforeTheModel(), "a constant added everywhere gains nothing"),
    (DivergenceHidden(), "not finite gives a loss that is not finite"),
    (SoftmaxOfProbabilities(), "changes no gradient"),
    (CostsOverTheLargest(), "Equal costs"),
    (LastSampleOnly(), "makes the cheapest sequence more likely"),
    (AfterTheEnd(), "mask leaves out changes nothing"),
    (SigmoidThenCrossEntropy(), "its gradient has not vanished"),
    (SquaredErrorAsDensity(), "integrate, to 1"),
    (ScaleIsTheVariance(), "mean and spread"),
    (Similarity(), "further apart than equal ones"),
    (Detached(), "The derivative is that of the value"),
]


@pytest.mark.parametrize(("loss", "law"), MISTAKES, ids=lambda value: type(value).__name__)
def test_a_known_mistake_breaks_its_law(loss, law):
    breaks(loss, law)
