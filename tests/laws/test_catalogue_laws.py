"""Every loss keeps every law of its family: as it comes, and with the options of the table below."""

import inspect

import pytest

import genloss.losses as losses
from genloss.losses.laws import check_loss


def needs_fields(cls):
    return any(field.default is field.empty for field in inspect.signature(cls).parameters.values())


CLASSES = list(losses.catalogue().values())
AS_THEY_COME = [cls() for cls in CLASSES if not needs_fields(cls)]
WITH_OPTIONS = [
    losses.NonSaturating(real_label=0.9, real_weight=2.0, fake_weight=0.5),
    losses.Minimax(real_label=0.7),
    losses.LeastSquares(fake_target=-1.0, real_target=1.0, generator_target=0.0),
    losses.EnergyBased(margin=1.5),
    losses.BoundaryEquilibrium(gamma=1.0, gain=0.1),
    *(
        divergence(generator_form="conjugate")
        for divergence in (
            losses.FKullbackLeibler,
            losses.FReverseKullbackLeibler,
            losses.FPearson,
            losses.FNeyman,
            losses.FHellinger,
            losses.FJensenShannon,
            losses.FGan,
            losses.FTotalVariation,
            losses.FAlpha,
        )
    ),
    *(losses.FAlpha(alpha=alpha) for alpha in (-10.0, -1.0, -0.1, -0.01, 0.1, 0.9, 0.99, 1.01, 2.0, 3.0)),
    *(losses.FAlpha(alpha=alpha, generator_form="conjugate") for alpha in (-1.0, 2.0, 4.0, 30.0)),
    losses.GradientPenalty(target=0.0),
    *(losses.GradientPenalty(one_sided=True, target=target) for target in (0.1, 2.0, 5.0, 100.0)),
    *(losses.Dragan(target=target, deviation=50.0) for target in (0.0, 1.0)),
    losses.WeightClip(bound=0.1),
    losses.WeightClip(bound=1000.0),
    losses.WassersteinDivergence(power=1.5),
    losses.VirtualAdversarial(iterations=3, radius=0.1),
    losses.Consistency(shift=8),
    losses.Consistency(balanced=True, flip=False, shift=0, deviation=0.1),
    losses.OrthogonalPenalty(unit_norm=True),
    losses.MMD(bandwidths=(0.5, 1.0, 2.0)),
    losses.MMD(estimator="biased", root=True),
    losses.MMD(estimator="linear_time"),
    losses.MMD(kernel="rational_quadratic"),
    losses.MMD(kernel="laplace"),
    losses.MMD(kernel="inverse_multiquadric"),
    losses.MMD(kernel="linear"),
    losses.MMD(kernel="polynomial"),
    losses.MMD(kernel="linear", estimator="biased", root=True),
    losses.MMD(bandwidths=(0.05,)),
    losses.MMD(bandwidths=(20.0,)),
    losses.EnergyDistance(estimator="biased"),
    losses.Sinkhorn(p=1, tolerance=1e-6),
    losses.Sinkhorn(debias=False, tolerance=1e-6),
    losses.Sinkhorn(debias=False, p=1),
    losses.Sinkhorn(debias=False, p=1, blur=2.0),
    losses.Sinkhorn(blur=5.0, tolerance=1e-2),
    losses.SlicedWasserstein(p=1.0, projections=4),
    losses.SlicedWasserstein(projections=1),
    losses.Wasserstein1D(p=2.0),
    losses.EarthMover(p=2.0),
    losses.Gaussian(variance="shared"),
    losses.Gaussian(variance="predicted"),
    losses.Laplace(variance="predicted", scale=0.5),
    *(
        density(variance=variance, scale=scale)
        for density in (losses.Gaussian, losses.Laplace)
        for variance, scale in (
            ("fixed", 0.01),
            ("fixed", 0.03),
            ("fixed", 100.0),
            ("shared", 0.01),
            ("predicted", 30.0),
        )
    ),
    losses.Categorical(levels=5),
    losses.DiscretisedLogisticMixture(levels=3, components=1, low=-1.0),
    losses.DiscretisedLogisticMixture(levels=2, components=1),
    losses.ELBO(beta=4.0, samples=3),
    losses.ELBO(kl="monte_carlo"),
    losses.ELBO(beta=10.0, capacity=1.0),
    *(losses.ELBO(beta=beta, capacity=25.0) for beta in (1.0, 30.0, 1000.0)),
    losses.ELBO(beta=4.0, capacity=1000.0),
    losses.ELBO(kl_gradient=0.5),
    losses.IWAE(gradient="path"),
    losses.IWAE(samples=3, gradient="doubly_reparameterised"),
    *(losses.BetaTCVAE(dataset_size=size) for size in (50, 1000, 5000)),
    losses.ContrastiveDivergence(steps=40, persistent=True, chains=4000),
    *(losses.ContrastiveDivergence(penalty=penalty) for penalty in (0.001, 0.01, 0.1, 1.0)),
    losses.ContrastiveDivergence(persistent=True, penalty=0.1, chains=3),
    losses.ContrastiveDivergence(persistent=True, chains=20, restart=1.0),
    losses.NoiseContrastive(ratio=3),
    losses.DenoisingScoreMatching(sigmas=(0.7,)),
    losses.DenoisingScoreMatching(sigmas=(0.5, 1.0)),
    *(losses.TokenCrossEntropy(label_smoothing=smoothing) for smoothing in (0.1, 0.5, 0.9)),
    *(losses.EditInvariant(sizes=sizes) for sizes in ((1,), (2,), (3, 4), (6,), (1, 2, 3, 4, 5, 6))),
    *(losses.MinimumRisk(alpha=alpha) for alpha in (0.005, 0.1, 3.0, 10.0)),
    losses.ExpectedEditDistance(alpha=3.0),
    losses.SelfCritical(baseline="greedy"),
    *(losses.OptimalCompletion(end=end) for end in (0, 1, 3, 9)),
    losses.EditDistance(normalised=True),
    losses.Langevin(noise=0.005, low=0.0, high=1.0, gradient_clip=0.03),
    losses.VectorQuantised(decay=0.99),
]


@pytest.mark.parametrize("loss", AS_THEY_COME + WITH_OPTIONS, ids=repr)
def test_keeps_every_law(loss):
    results = check_loss(loss)
    assert sum(result.status == "passed" for result in results) >= 1
    broken = [f"{result.law}: {result.message}" for result in results if result.status == "broken"]
    assert not broken, "\n".join(broken)


def test_every_loss_that_needs_fields_has_a_row():
    missing = {cls for cls in CLASSES if needs_fields(cls)} - {type(loss) for loss in WITH_OPTIONS}
    assert not missing
