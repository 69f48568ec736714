"""Penalties, adversarial losses and distances as a careless person writes them, and the law each mistake breaks."""

from typing import ClassVar

import torch

from genloss.losses import AdversarialLoss, Penalty, SampleDistance


class OwnGradientPenalty(Penalty):
    points: ClassVar[frozenset[str]] = frozenset({"interpolates"})
    keep_graph = True

    def weights(self, view):
        real = view.real
        return torch.rand((len(real), *(1,) * (real.ndim - 1)), generator=view.rng, dtype=torch.float64)

    def interpolate(self, view):
        kind = torch.promote_types(view.real.dtype, torch.float32)
        real, fake = view.real.detach().to(kind), view.fake.detach().to(kind)
        weights = self.weights(view).to(kind)
        return (weights * real + (1 - weights) * fake).requires_grad_()

    def gradient(self, view):
        with torch.enable_grad():
            points = self.interpolate(view)
            scores = view.critic(points)
            scores = scores.flatten(1).mean(1) if scores.ndim > 1 else scores
            return torch.autograd.grad(scores.sum(), points, create_graph=self.keep_graph)[0].flatten(1)

    def norm(self, gradient):
        return (gradient.square().sum(1) + 1e-12).sqrt()

    def _penalty(self, view):
        return (self.norm(self.gradient(view)) - 1).square()


class GlobalNoise(OwnGradientPenalty):
    """The interpolation weights come from torch's global generator."""

    def weights(self, view):
        return torch.rand(len(view.real), *(1,) * (view.real.ndim - 1), dtype=torch.float64)


class SharedWeight(OwnGradientPenalty):
    """One interpolation weight for the whole batch."""

    def weights(self, view):
        return torch.rand(1, generator=view.rng, dtype=torch.float64)


class NormOfTheBatch(OwnGradientPenalty):
    """`gradient.norm(2)`: one norm for the batch, handed to every sample."""

    def norm(self, gradient):
        return gradient.norm(2).expand(len(gradient))


class NoSecondGraph(OwnGradientPenalty):
    """`create_graph` left out: the critic learns nothing from it."""

    keep_graph = False

    def _penalty(self, view):
        return super()._penalty(view) + 0.0 * view.scores(view.real).double()


class BareRoot(OwnGradientPenalty):
    """The root of a sum of squares: its slope at 0 is infinite."""

    def norm(self, gradient):
        return gradient.square().sum(1).sqrt()


class MeanAtTheEnd(OwnGradientPenalty):
    """The batch's mean is taken inside."""

    def _penalty(self, view):
        return super()._penalty(view).mean()


class SumOverTheBatch(OwnGradientPenalty):
    """Squared slopes summed over the batch and handed to every sample."""

    def _penalty(self, view):
        return super()._penalty(view).sum().expand(len(view.real))


class PushesApart(OwnGradientPenalty):
    """The penalty's sign is turned."""

    def _penalty(self, view):
        return 1.0 - super()._penalty(view)


class OwnMMD(SampleDistance):
    """A Gaussian MMD written out, which claims to be unbiased."""

    estimator = "unbiased"

    def _distance(self, x, y, rng):
        k = lambda a, b: (-0.5 * (a[:, None] - b[None]).square().sum(-1)).exp()  # noqa: E731
        return k(x, x).mean() + k(y, y).mean() - 2.0 * k(x, y).mean()


class OwnKernelDistance(SampleDistance):
    """The same, biased, for a mistake to spoil; says nothing of its estimator."""

    def squared(self, a, b):
        return (a[:, None] - b[None]).square().sum(-1)

    def mean(self, a, b):
        return (-0.5 * self.squared(a, b)).exp().mean()

    def _distance(self, x, y, rng):
        return self.mean(x, x) + self.mean(y, y) - 2.0 * self.mean(x, y)


class GramWithoutCentring(OwnKernelDistance):
    """|a|^2 + |b|^2 - 2 ab, which cancels far from the origin."""

    def squared(self, a, b):
        return (a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T).clamp(min=0)


class CutToTheShorter(OwnKernelDistance):
    """The larger set loses its surplus."""

    def _distance(self, x, y, rng):
        n = min(len(x), len(y))
        return super()._distance(x[:n], y[:n], rng)


class SumsForMeans(OwnKernelDistance):
    def mean(self, a, b):
        return (-0.5 * self.squared(a, b)).exp().sum()


class DiagonalCounted(OwnKernelDistance):
    """The pairs of a sample with itself left out of the sum, and counted in the divisor."""

    def mean(self, a, b):
        kernel = (-0.5 * self.squared(a, b)).exp()
        return (kernel.fill_diagonal_(0.0) if a is b else kernel).mean()


class UnbiasedForEqualSizes(OwnKernelDistance):
    """Claims to be unbiased, and takes one divisor for both sets."""

    estimator = "unbiased"

    def _distance(self, x, y, rng):
        inner = (self.mean(a, a) - 1 / len(a) for a in (x, y))
        return sum(inner) * len(x) / (len(x) - 1) - 2.0 * self.mean(x, y)


class OneListOfFeatures(SampleDistance):
    """The distance of sorted numbers, all features in one list."""

    def _distance(self, x, y, rng):
        levels = torch.linspace(0, 1, 50, dtype=x.dtype)
        return (x.flatten().quantile(levels) - y.flatten().quantile(levels)).abs().mean()


class DistanceThroughARoot(SampleDistance):
    """An energy distance of norms whose slope at equal points is not a number."""

    def _distance(self, x, y, rng):
        d = lambda a, b: (a[:, None] - b[None]).square().sum(-1).sqrt().mean()  # noqa: E731
        return 2.0 * d(x, y) - d(x, x) - d(y, y)


class SumOfFeatures(OwnKernelDistance):
    """A kernel of the summed features."""

    def squared(self, a, b):
        return (a[:, None] - b[None]).sum(-1).square()


class FirstFeatureAlone(OwnKernelDistance):
    def squared(self, a, b):
        return (a[:, None, 0] - b[None, :, 0]).square()


class SquaredWithin(SampleDistance):
    """An energy distance whose terms within a set are squared: it falls without end as samples spread."""

    def _distance(self, x, y, rng):
        squared = lambda a, b: (a[:, None] - b[None]).square().sum(-1)  # noqa: E731
        return 2.0 * (squared(x, y) + 1e-12).sqrt().mean() - squared(x, x).mean() - squared(y, y).mean()


class HalfTheCross(OwnKernelDistance):
    """The cross term without its factor 2."""

    def _distance(self, x, y, rng):
        return self.mean(x, x) + self.mean(y, y) - self.mean(x, y)


class OneDirection(SampleDistance):
    """Transport along a single random direction."""

    random: ClassVar[bool] = True

    def _distance(self, x, y, rng):
        direction = torch.empty(x.shape[1], dtype=x.dtype, device=x.device).normal_(generator=rng)
        with torch.autocast(x.device.type, enabled=False):
            along = [(samples @ direction / direction.norm()).sort().values for samples in (x, y)]
        if len(x) != len(y):
            raise ValueError(f"{len(x)} and {len(y)} samples, expected as many.")
        return (along[0] - along[1]).square().mean()


class MeansAlone(SampleDistance):
    """The squared distance of the means."""

    def _distance(self, x, y, rng):
        return (x.mean(0) - y.mean(0)).square().sum()


class MatchesOneWay(SampleDistance):
    """Each sample to its nearest in the other set, one way only."""

    def _distance(self, x, y, rng):
        return (x[:, None] - y[None]).abs().sum(-1).min(1).values.mean()


class Remembers(AdversarialLoss):
    """A Wasserstein loss that keeps a running mean in itself."""

    seen = 0.0

    def _discriminator(self, a_r, a_f):
        self.seen = 0.9 * self.seen + 0.1 * a_f.detach().mean()
        return a_f - a_r + 0.1 * (self.seen - a_r)

    def _generator(self, a_f, a_r):
        return -a_f


class TargetsSwapped(AdversarialLoss):
    """Least squares, from scratch and without a card, with the labels the other way round."""

    def _discriminator(self, a_r, a_f):
        return (a_r - 0.0).square() + (a_f - 1.0).square()

    def _generator(self, a_f, a_r):
        return (a_f - 1.0).square()


class NothingToSettle(AdversarialLoss):
    """One side weighs more in a loss without bounds: the critic's scores run off."""

    def _discriminator(self, a_r, a_f):
        return a_f - 2.0 * a_r

    def _generator(self, a_f, a_r):
        return -a_f


MISTAKES = [
    (GlobalNoise(), "global generator is left alone"),
    (SharedWeight(), "random numbers of its own"),
    (NormOfTheBatch(), "depends on the others"),
    (NoSecondGraph(), "that of its value"),
    (BareRoot(), "flat"),
    (MeanAtTheEnd(), "one number a sample"),
    (SumOverTheBatch(), "depends on the others"),
    (PushesApart(), "towards 0"),
    (OwnMMD(), "an unbiased estimate is 0"),
    (GramWithoutCentring(), "far out in float32"),
    (CutToTheShorter(), "compared whole"),
    (SumsForMeans(), "neither grows nor is below 0"),
    (DiagonalCounted(), "neither grows nor is below 0"),
    (UnbiasedForEqualSizes(), "an unbiased estimate is 0"),
    (OneListOfFeatures(), "features are exchanged"),
    (SumOfFeatures(), "features are exchanged"),
    (FirstFeatureAlone(), "any one feature"),
    (SquaredWithin(), "not below 0"),
    (HalfTheCross(), "a wider distribution is no nearer"),
    (DistanceThroughARoot(), "between equal sets it is finite"),
    (MatchesOneWay(), "Exchanging both sets"),
    (Remembers(), "Called again"),
    (TargetsSwapped(), "parts real from fake"),
    (NothingToSettle(), "no shift of all scores"),
]
SOUND = [OwnGradientPenalty(), OwnKernelDistance(), OneDirection(), MeansAlone()]
