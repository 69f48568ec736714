"""Every loss of the game's families keeps every law of its family: a new loss is one row."""

import pytest

import genloss.losses as losses
from genloss.losses.laws import check_loss

ROWS = [
    losses.Minimax(),
    losses.NonSaturating(),
    losses.NonSaturating(real_label=0.9, real_weight=2.0, fake_weight=0.5),
    losses.Minimax(real_label=0.7),
    losses.LeastSquares(),
    losses.LeastSquares(fake_target=-1.0, real_target=1.0, generator_target=0.0),
    losses.Wasserstein(),
    losses.Hinge(),
    losses.RelativisticPaired(),
    losses.RelativisticAverage(),
    losses.SoftmaxGAN(),
    losses.EnergyBased(),
    losses.EnergyBased(margin=1.5),
    losses.BoundaryEquilibrium(),
    losses.BoundaryEquilibrium(gamma=1.0, gain=0.1),
    *(
        divergence(generator_form=form)
        for form in ("trick", "conjugate")
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
    *(losses.FAlpha(alpha=alpha) for alpha in (-1.0, 0.1, 0.9, 0.99, 1.01, 2.0, 3.0)),
    losses.GradientPenalty(),
    losses.GradientPenalty(target=0.0),
    losses.GradientPenalty(one_sided=True, target=0.1),
    losses.R1(),
    losses.R2(),
    losses.ZeroCentred(),
    losses.Dragan(),
    losses.WassersteinDivergence(),
    losses.WassersteinDivergence(power=1.5),
    losses.LeCam(),
    losses.VirtualAdversarial(),
    losses.VirtualAdversarial(iterations=3, radius=0.1),
    losses.Consistency(),
    losses.Consistency(balanced=True, flip=False, shift=0, deviation=0.1),
    losses.LatentConsistency(),
    losses.WeightDecay(),
    losses.OrthogonalPenalty(),
    losses.OrthogonalPenalty(unit_norm=True),
    losses.HistoricalAverage(),
    losses.FeatureMatching(),
    losses.PullingAway(),
    losses.WeightClip(),
]
FAMILIES = ("adversarial", "penalty", "parameter_penalty", "feature_penalty", "constraint")


@pytest.mark.parametrize("loss", ROWS, ids=repr)
def test_keeps_every_law(loss):
    results = check_loss(loss)
    assert results
    broken = [f"{result.law}: {result.message}" for result in results if not result.holds]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_loss_of_the_catalogue_has_a_row(family):
    missing = set(losses.catalogue(family)) - {loss.card.name for loss in ROWS}
    assert not missing
