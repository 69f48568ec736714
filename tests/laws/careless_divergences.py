"""Losses on a divergence, on named points or on features as a careless person writes them, and the law each breaks."""

from typing import ClassVar

import torch

from genloss.losses import FDivergence, FeaturePenalty, Penalty


class OwnKullbackLeibler(FDivergence):
    """Forward KL, from scratch and without a card; subclasses differ in one of its four functions."""

    def convex_function(self, ratio):
        return ratio * ratio.log()

    def optimal_score(self, ratio):
        return 1.0 + ratio.log()

    def score_range(self):
        return (-torch.inf, 80.0)

    def _activation(self, score):
        return score

    def _conjugate(self, score):
        return (score - 1.0).exp()


class WrongBestScore(OwnKullbackLeibler):
    """Right at the ratio 1 alone."""

    def optimal_score(self, ratio):
        return 1.0 + 2.0 * ratio.log()


class ConvexFunctionOfTheReverse(OwnKullbackLeibler):
    def convex_function(self, ratio):
        return -ratio.log()


class ConjugateOfTwice(OwnKullbackLeibler):
    """The conjugate has the right value and slope at the equilibrium, and another curvature."""

    def _conjugate(self, score):
        return 0.5 * (2.0 * (score - 1.0)).exp() + 0.5


class OwnSlope(Penalty):
    """Half the squared slope at fakes."""

    points: ClassVar[frozenset[str]] = frozenset({"fake"})

    def where(self, view):
        return view.fake

    def _penalty(self, view):
        return 0.5 * view.gradient(self.where(view)).square().sum(1)


class FakeForReal(OwnSlope):
    """Names real samples, and looks at fakes."""

    points: ClassVar[frozenset[str]] = frozenset({"real"})


class RealForFake(OwnSlope):
    def where(self, view):
        return view.real


class NoiseAroundFakes(OwnSlope):
    """Names noise alone, which is around real samples: as if its points did not move with the generator."""

    points: ClassVar[frozenset[str]] = frozenset({"noise"})

    def where(self, view):
        return view.jitter(view.fake, 0.1)


class BothSides(OwnSlope):
    points: ClassVar[frozenset[str]] = frozenset({"real", "fake"})

    def _penalty(self, view):
        return view.gradient(view.real).square().sum(1) + view.gradient(view.fake).square().sum(1)


class NoiseAroundNamedFakes(NoiseAroundFakes):
    points: ClassVar[frozenset[str]] = frozenset({"fake", "noise"})


class FakesIgnored(FeaturePenalty):
    """Pulls the features of real samples to 0, and trains no generator."""

    def _penalty(self, real, fake):
        return real.mean(0).square().sum()


MISTAKES = [
    (WrongBestScore(), "tight at the best score"),
    (ConvexFunctionOfTheReverse(), "tight at the best score"),
    (ConjugateOfTwice(), "tight at the best score"),
    (FakeForReal(), "no samples that points leaves out"),
    (RealForFake(), "no samples that points leaves out"),
    (NoiseAroundFakes(), "no samples that points leaves out"),
    (FakesIgnored(), "with the derivatives of its value"),
]
SOUND = [
    OwnKullbackLeibler(),
    OwnSlope(),
    BothSides(),
    NoiseAroundNamedFakes(),
]
