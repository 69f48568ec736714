"""Known mistakes of published code: each is caught by the law that it breaks, with numbers in the message."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch.nn.functional import binary_cross_entropy, softplus

from genloss.losses import (
    R1,
    AdversarialLoss,
    BoundaryEquilibrium,
    EnergyBased,
    FeatureMatching,
    GradientPenalty,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    OrthogonalPenalty,
    PullingAway,
    RelativisticAverage,
    RelativisticPaired,
    WeightClip,
)
from genloss.losses._law_tools import number
from genloss.losses._penalty import safe_norm
from genloss.losses.laws import check_loss
from tests.laws.mistakes import broken


class WrongSign(NonSaturating):
    def _generator(self, a_f, a_r):
        return softplus(a_f)


class StrayTerm(Minimax):
    """-E[log D(x)] + E[log(1 - D(G(z)))], as one source prints it."""

    generator_needs_real: ClassVar[bool] = True

    def _generator(self, a_f, a_r):
        return softplus(-a_r) - softplus(a_f)


class SigmoidThenLog(NonSaturating):
    def _discriminator(self, a_r, a_f):
        return -torch.log(torch.sigmoid(a_r)) - torch.log(1 - torch.sigmoid(a_f))


class ClampedCrossEntropy(NonSaturating):
    """Cross-entropy on probabilities: clamped at 100, where its gradient is 0."""

    def _discriminator(self, a_r, a_f):
        real = binary_cross_entropy(a_r.sigmoid(), torch.ones_like(a_r), reduction="none")
        return real + binary_cross_entropy(a_f.sigmoid(), torch.zeros_like(a_f), reduction="none")


class EpsilonInTheLogarithm(NonSaturating):
    """log(sigmoid(x) + 1e-8): the gradient dies below a logit of -18."""

    def _generator(self, a_f, a_r):
        return -torch.log(a_f.sigmoid() + 1e-8)


class Overflowing(NonSaturating):
    def _generator(self, a_f, a_r):
        return torch.log1p(torch.exp(-a_f))


class ReducedEarly(NonSaturating):
    def _discriminator(self, a_r, a_f):
        return (softplus(-a_r) + softplus(a_f)).mean()


class PatchesFirst(NonSaturating):
    def _discriminator(self, a_r, a_f):
        a_r, a_f = (a.flatten(1).mean(1) if a.ndim > 1 else a for a in (a_r, a_f))
        return softplus(-a_r) + softplus(a_f)


class Broadcast(NonSaturating):
    """(batch, 1) against (batch,) makes a table of (batch, batch)."""

    def _discriminator(self, a_r, a_f):
        return softplus(-a_r.flatten()[:, None]) + softplus(a_f.flatten())


class OverwrittenRelativistic(RelativisticPaired):
    """The relativistic generator's loss, replaced by plain cross-entropy in the next line."""

    def _generator(self, a_f, a_r):
        return softplus(-a_f)


class LeastSquaresOfSigmoid(LeastSquares):
    def _discriminator(self, a_r, a_f):
        return super()._discriminator(a_r.sigmoid(), a_f.sigmoid())


class SwappedTargets(LeastSquares):
    def _discriminator(self, a_r, a_f):
        return super()._discriminator(a_f, a_r)


class HalfTheWeight(NonSaturating):
    def _discriminator(self, a_r, a_f):
        return 0.5 * super()._discriminator(a_r, a_f)


class ConfidentTargets(NonSaturating):
    """Smooths both sides, and states the optimum of the one-sided form."""

    def _discriminator(self, a_r, a_f):
        return softplus(-a_r) + softplus(a_f) - 0.2 * a_f


class EnergyPlus(EnergyBased):
    """The energy loss with a plus before the model's term, as one source prints it."""

    def _discriminator(self, a_r, a_f):
        return a_r + a_f


class SecretMean(Hinge):
    def _discriminator(self, a_r, a_f):
        return super()._discriminator(a_r - a_r.mean(0), a_f)


class NotCoupled(RelativisticAverage):
    def _discriminator(self, a_r, a_f):
        return 2 * softplus(a_f - a_r)


class DetachedScores(NonSaturating):
    def _generator(self, a_f, a_r):
        return softplus(-a_f) * a_f.detach().sigmoid() * 2


class HalfPrecision(LeastSquares):
    def _discriminator(self, a_r, a_f):
        return super()._discriminator(a_r.bfloat16(), a_f.bfloat16())


class MemoryWithGraph(BoundaryEquilibrium):
    def next_state(self, state, real_scores, fake_scores):
        error = self.gamma * real_scores.mean() - fake_scores.mean()
        return {"k": (state["k"] + self.gain * error).clamp(0.0, 1.0)}


class ChangedInPlace(BoundaryEquilibrium):
    def next_state(self, state, real_scores, fake_scores):
        state["k"].add_(0.1)
        return dict(state)


ADVERSARIAL = [
    (WrongSign(), "to the real side"),
    (StrayTerm(), "the value that equilibrium() states"),
    (SigmoidThenLog(), "finite in float32"),
    (ClampedCrossEntropy(), "saturates() names it"),
    (EpsilonInTheLogarithm(), "saturates() names it"),
    (Overflowing(), "finite in float32"),
    (ReducedEarly(), "one number a sample"),
    (PatchesFirst(), "averaged after the loss"),
    (Broadcast(), "averaged after the loss"),
    (OverwrittenRelativistic(), "the value that equilibrium() states"),
    (LeastSquaresOfSigmoid(), "the value that equilibrium() states"),
    (SwappedTargets(), "to the real side"),
    (HalfTheWeight(), "the value that equilibrium() states"),
    (ConfidentTargets(), "no shift of all scores"),
    (EnergyPlus(), "to the real side"),
    (SecretMean(), "couples_batch says so"),
    (NotCoupled(), "couples_batch says so"),
    (DetachedScores(), "those of the value"),
    (HalfPrecision(), "in float32 or better"),
    (MemoryWithGraph(), "A memory"),
    (ChangedInPlace(), "A memory"),
]


@pytest.mark.parametrize(("loss", "law"), ADVERSARIAL, ids=lambda value: type(value).__name__)
def test_mistake_in_an_adversarial_loss_is_caught(loss, law):
    found = [message for name, message in broken(loss).items() if law in name]
    assert found, f"kept, broken are: {broken(loss)}"
    assert law == "A memory" or any(character.isdigit() for character in found[0])


class WholeBatchNorm(GradientPenalty):
    """gradients.norm(2): over the batch, not per sample."""

    def _penalty(self, view):
        gradient = view.gradient(view.interpolates())
        return (gradient.norm(2) - self.target).square().expand(gradient.shape[0])


class ReducedNorm(GradientPenalty):
    def _penalty(self, view):
        return (view.gradient(view.interpolates()).norm(2) - self.target).square()


class NormOfOneAxis(GradientPenalty):
    """The norm over one axis of an image instead of over all."""

    def _penalty(self, view):
        gradient = view.gradient(view.interpolates()).view(view.real.shape)
        return (gradient.norm(2, dim=2) - self.target).square()


class OneEpsilonPerBatch(GradientPenalty):
    def _penalty(self, view):
        points = torch.lerp(view.fake, view.real, view.uniform()[:1])
        return (safe_norm(view.gradient(points)) - self.target).square()


class EpsilonPerElement(GradientPenalty):
    def _penalty(self, view):
        weights = torch.rand(view.real.shape, generator=view.rng, dtype=view.real.dtype)
        return (safe_norm(view.gradient(torch.lerp(view.fake, view.real, weights))) - self.target).square()


class UnsafeRoot(GradientPenalty):
    def _penalty(self, view):
        gradient = view.gradient(view.interpolates())
        return (gradient.square().sum(1).sqrt() - self.target).square()


class NoGraph(R1):
    def _penalty(self, view):
        return 0.5 * view.gradient(view.real).detach().square().sum(1) + 0.0 * view.scores(view.real)


class ComputedTwice(R1):
    def _penalty(self, view):
        return 0.5 * view.gradient(view.real.clone()).square().sum(1)


class ReachesTheGenerator(R1):
    def _penalty(self, view):
        return super()._penalty(view) + view.scores(view.fake * 1.0).square()


PENALTIES = [
    (WholeBatchNorm(), "depends on the others"),
    (ReducedNorm(), "one number a sample"),
    (NormOfOneAxis(), "one number a sample"),
    (OneEpsilonPerBatch(), "random numbers of its own"),
    (EpsilonPerElement(), "random numbers of its own"),
    (UnsafeRoot(), "flat"),
    (NoGraph(), "that of its value"),
    (ComputedTwice(), "save a pass"),
    (ReachesTheGenerator(), "alone"),
]


@pytest.mark.parametrize(("penalty", "law"), PENALTIES, ids=lambda value: type(value).__name__)
def test_mistake_in_a_penalty_is_caught(penalty, law):
    found = [message for name, message in broken(penalty).items() if law in name]
    assert found, f"kept, broken are: {broken(penalty)}"
    assert any(character.isdigit() for character in found[0]) or "nan" in found[0]


class SpentIterator(WeightClip):
    def apply_(self, parameters):
        for parameter in parameters:
            parameter.data.clamp_(-self.bound, self.bound)


class Shrinks(WeightClip):
    def apply_(self, parameters):
        super().apply_([parameter.detach().mul_(0.5) * 1.0 for parameter in parameters])


class PointsInATuple(R1):
    """A tuple, where the model compares sets."""

    points = ("real",)


class NormalisedOverTheBatch(PullingAway):
    """The pulling-away term with features normalised over axis 0."""

    def _penalty(self, real, fake):
        unit = fake / fake.norm(dim=0)
        squared = (unit @ unit.T).square()
        return (squared.sum(1) - squared.diagonal()) / (len(fake) - 1)


class DetachedMean(FeatureMatching):
    def _penalty(self, real, fake):
        return (real.mean(0) - fake.mean(0)).detach().square().sum() + 0.0 * fake.sum()


class NegativePenalty(OrthogonalPenalty):
    def _penalty(self, parameters, state):
        return -super()._penalty(parameters, state)


OTHERS = [
    (SpentIterator(), "refused"),
    (Shrinks(), "Applied twice"),
    (PointsInATuple(), "points is a set of the names"),
    (NormalisedOverTheBatch(), "features of 0"),
    (DetachedMean(), "derivatives of its value"),
    (NegativePenalty(), "not negative"),
]


@pytest.mark.parametrize(("loss", "law"), OTHERS, ids=lambda value: type(value).__name__)
def test_mistake_in_another_term_is_caught(loss, law):
    assert any(law in name for name in broken(loss)), broken(loss)


def test_an_own_loss_without_a_card_is_checked():
    @dataclass(frozen=True, kw_only=True)
    class Own(AdversarialLoss):
        def _discriminator(self, a_r, a_f):
            return a_f - a_r

        def _generator(self, a_f, a_r):
            return a_f  # the wrong way

        def equilibrium(self, *, batch=1):
            return Hinge().equilibrium()

    messages = broken(Own())
    assert any("slope +1" in message for message in messages.values())
    assert any("expected 2" in message for message in messages.values())


def test_a_loss_that_raises_breaks_its_laws_and_the_check_goes_on():
    class Raising(Hinge):
        def _discriminator(self, a_r, a_f):
            raise RuntimeError("no such thing")

    results = check_loss(Raising())
    assert any(not result.holds and "RuntimeError: no such thing" in result.message for result in results)


def test_what_is_no_loss_is_refused():
    with pytest.raises(TypeError, match="expected an instance of a loss"):
        check_loss(Hinge)


def test_a_family_without_laws_is_refused():
    class Homeless(Hinge):
        family: ClassVar[str] = "homeless"

    with pytest.raises(ValueError, match="families with laws: adversarial"):
        check_loss(Homeless())


def test_numbers_are_short():
    assert number(torch.arange(6.0)) == "[0, 1, 2, 3, ...]"
    assert number(torch.full((6,), 2.5)) == "2.5"
    assert number(1 / 3) == "0.3333"
