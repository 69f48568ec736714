"""Options of a GAN against closed forms: packing, unrolled critics, penalties on latents, features and parameters."""

import pytest
import torch
from torch import nn

from genloss.errors import InputError, WorkError
from genloss.losses import (
    R1,
    R2,
    EnergyBased,
    FeatureMatching,
    FKullbackLeibler,
    HistoricalAverage,
    LatentConsistency,
    Minimax,
    NonSaturating,
    OrthogonalPenalty,
    PullingAway,
    RelativisticPaired,
    Wasserstein,
    WeightClip,
    WeightDecay,
)
from genloss.models import GAN, AppliedConstraint, AppliedPenalty, AutoencoderCritic, Prior, Streams, Unrolling
from genloss.models.critics import caught_features, head_of
from genloss.networks import DCGAN, MLP

PHI, THETA = 0.7, 0.4


def streams():
    return Streams(torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))


def dirac(loss, penalties=(), unrolling=None):
    """The Dirac GAN: data at 0, a generator at phi, a critic of slope theta."""
    generator, critic = nn.Linear(1, 1), nn.Sequential(nn.Linear(1, 1, bias=False), nn.Flatten(0))
    with torch.no_grad():
        generator.weight.zero_()
        generator.bias.fill_(PHI)
        critic[0].weight.fill_(THETA)
    return GAN(generator, critic, loss, Prior("normal", 1), penalties=penalties, unrolling=unrolling)


def slope(model, batch=4):
    """The derivative of what the generator minimises in phi."""
    model.losses("generator", torch.zeros(batch, 1), streams(), 1).total().backward()
    return model.generator.bias.grad.item()


def small(loss=None, shape=(2,), penalties=(), packing=1):
    torch.manual_seed(0)
    network = MLP(width=8, depth=1)
    return GAN(
        network.generator(3, shape, bounded=False),
        network.critic((packing * shape[0], *shape[1:])),
        loss or NonSaturating(),
        Prior("normal", 3),
        penalties=penalties,
        packing=packing,
    )


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("decay", [None, R1(), WeightDecay()])
def test_unrolled_steps_of_the_bilinear_game_are_its_closed_form(steps, decay):
    """The critic's loss theta phi (+ gamma theta^2 / 2) gives theta <- (1 - eta gamma) theta - eta phi."""
    rate, gamma = 0.1, 0.0 if decay is None else 3.0
    penalties = [] if decay is None else [AppliedPenalty(decay, gamma)]
    theta, by_phi = THETA, 0.0
    for _ in range(steps):
        theta, by_phi = (1 - rate * gamma) * theta - rate * PHI, (1 - rate * gamma) * by_phi - rate
    model = dirac(Wasserstein(), penalties, Unrolling(steps, rate))
    assert slope(model) == pytest.approx(-theta - PHI * by_phi, rel=1e-5)
    assert model.discriminator[0].weight.item() == pytest.approx(THETA)
    assert model.discriminator[0].weight.grad is None


def test_one_unrolled_step_of_the_logistic_game_is_its_closed_form():
    rate = 0.5
    sigma = 1 / (1 + torch.tensor(-THETA * PHI).exp().item())
    theta = THETA - rate * PHI * sigma
    by_phi = -rate * (sigma + PHI * THETA * sigma * (1 - sigma))
    moved = 1 / (1 + torch.tensor(-theta * PHI).exp().item())
    assert slope(dirac(Minimax(), unrolling=Unrolling(1, rate))) == pytest.approx(
        -moved * (theta + PHI * by_phi), rel=1e-5
    )


def test_unrolling_by_nothing_is_the_ordinary_game():
    assert slope(dirac(NonSaturating(), unrolling=Unrolling(3, 1e-9))) == pytest.approx(slope(dirac(NonSaturating())))


@pytest.mark.parametrize("restraint", [AppliedPenalty(R2()), AppliedConstraint(WeightClip())])
def test_what_unrolled_steps_cannot_follow_is_refused(restraint):
    with pytest.raises(InputError, match="cannot be used with unrolled steps"):
        dirac(Wasserstein(), [restraint], Unrolling(1, 0.1))


@pytest.mark.parametrize("numbers", [(0, 0.1), (1, 0.0), (1, float("nan"))])
def test_unrolling_by_wrong_numbers_is_refused(numbers):
    with pytest.raises(InputError, match="expected at least 1 and a positive number"):
        Unrolling(*numbers)


@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
def test_a_pack_holds_neighbours_side_by_side(shape):
    model = small(shape=shape, packing=3)
    x = torch.randn(6, *shape)
    packed = model._pack(x)
    assert packed.shape == (2, 3 * shape[0], *shape[1:])
    assert torch.equal(packed, torch.stack([torch.cat(tuple(x[:3])), torch.cat(tuple(x[3:]))]))


def test_a_critic_that_adds_its_pack_weighs_it_as_often_as_it_holds_samples():
    packed, plain = small(Wasserstein(), packing=2), small(Wasserstein())
    weight = torch.tensor([[0.3, -0.7]])
    for model, copies in ((packed, 2), (plain, 1)):
        model.discriminator = nn.Sequential(nn.Linear(2 * copies, 1, bias=False), nn.Flatten(0))
        model.discriminator[0].weight = nn.Parameter(weight.repeat(1, copies))
    x = torch.randn(8, 2)
    for player in ("discriminator", "generator"):
        two, one = (model.losses(player, x, streams(), 1).total() for model in (packed, plain))
        torch.testing.assert_close(two, 2 * one)


def test_every_kind_of_penalty_works_on_packs():
    penalties = [R1(), R2(), LatentConsistency(), FeatureMatching(), PullingAway(), WeightDecay()]
    model = small(RelativisticPaired(), packing=2, penalties=[AppliedPenalty(p) for p in penalties])
    x = torch.randn(8, 2)
    named = {p: set(model.losses(p, x, streams(), 1).parts) for p in ("discriminator", "generator")}
    assert named["discriminator"] == {"loss", "r1", "r2", "latent_consistency", "weight_decay"}
    assert named["generator"] == {"loss", "feature_matching", "pulling_away"}


def test_a_batch_that_packs_do_not_divide_is_refused():
    with pytest.raises(InputError, match="packs of 2 do not divide"):
        small(packing=2).losses("generator", torch.zeros(3, 2), streams(), 1)


def test_both_halves_of_latent_consistency_are_their_definition():
    penalty = LatentConsistency(deviation=0.1)
    model = small(penalties=[AppliedPenalty(penalty), AppliedPenalty(penalty, player="generator")])
    x = torch.zeros(5, 2)
    z = torch.randn(5, 3, generator=streams().noise)
    near = z + 0.1 * torch.randn(5, 3, generator=streams().penalty)
    samples = model.generator(z), model.generator(near)
    scores = [model.discriminator(s) for s in samples]
    terms = {p: model.losses(p, x, streams(), 1).parts["latent_consistency"][0] for p in ("discriminator", "generator")}
    torch.testing.assert_close(terms["discriminator"], (scores[0] - scores[1]).square().mean())
    torch.testing.assert_close(terms["generator"], -(samples[0] - samples[1]).square().mean())
    terms["discriminator"].backward()
    assert all(p.grad is None for p in model.generator.parameters())


def passes(model, player):
    """How often the critic runs in an update of this player."""
    seen = []
    handle = model.discriminator.register_forward_hook(lambda *_: seen.append(1))
    model.losses(player, torch.randn(4, 2), streams(), 1)
    handle.remove()
    return len(seen)


def test_features_are_those_of_the_last_hidden_layer_and_cost_one_pass_over_real_samples():
    model = small(penalties=[AppliedPenalty(FeatureMatching(), 2.0)])
    x = torch.randn(6, 2)
    value, weight = model.losses("generator", x, streams(), 1).parts["feature_matching"]
    hidden = model.discriminator[:-2]
    fake = model.generator(torch.randn(6, 3, generator=streams().noise))
    torch.testing.assert_close(value, (hidden(x).mean(0) - hidden(fake).mean(0)).square().sum())
    assert weight == 2.0
    assert passes(model, "generator") == 2
    assert passes(small(), "generator") == 1
    with_relativistic = [AppliedPenalty(FeatureMatching())]
    assert passes(small(RelativisticPaired(), penalties=with_relativistic), "generator") == passes(
        small(RelativisticPaired()), "generator"
    )


def test_features_of_critics_are_found_or_named():
    spectral = MLP(width=8, depth=2, spectral_norm=True).critic((2,))
    convolutional = DCGAN(width=4).critic((1, 16, 16))
    for critic, x, features in ((spectral, torch.zeros(3, 2), 8), (convolutional, torch.zeros(3, 1, 16, 16), 8 * 16)):
        with caught_features(critic) as caught:
            critic(x)
        assert caught[0].flatten(1).shape == (3, features)
    autoencoder = AutoencoderCritic(nn.Linear(2, 5), nn.Linear(5, 2))
    assert head_of(autoencoder) is autoencoder.decoder
    with pytest.raises(InputError, match="property `head`"):
        head_of(nn.Identity())


@pytest.mark.parametrize(("power", "energy"), [(1, 3.5), (2, 12.5)])
def test_the_energy_of_an_autoencoder_is_its_mean_error(power, energy):
    zero = nn.Linear(2, 2)
    nn.init.zeros_(zero.weight)
    nn.init.zeros_(zero.bias)
    critic = AutoencoderCritic(nn.Identity(), zero, power=power)
    assert critic(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist() == [energy, 0.0]
    with pytest.raises(InputError, match=r"expected 1 .* or 2"):
        AutoencoderCritic(nn.Identity(), zero, power=3)


def test_an_autoencoder_critic_learns_low_energies_of_data():
    torch.manual_seed(0)
    critic = AutoencoderCritic(nn.Linear(2, 1), nn.Linear(1, 2))
    model = GAN(nn.Linear(3, 2), critic, EnergyBased(margin=1.0), Prior("normal", 3))
    optimizer = torch.optim.Adam(critic.parameters(), 0.05)
    x = torch.randn(64, 1) * torch.tensor([1.0, 2.0]) + torch.tensor([3.0, 0.0])
    state = streams()
    for turn in range(200):
        optimizer.zero_grad()
        terms = model.losses("discriminator", x, state, turn)
        terms.total().backward()
        optimizer.step()
    assert terms.statistics["real_score"] < 0.1 < 0.5 < terms.statistics["fake_score"]


def test_penalties_go_to_the_players_that_they_are_meant_for():
    penalties = [R1(), WeightDecay(), OrthogonalPenalty(), HistoricalAverage(), PullingAway()]
    model = small(penalties=[*map(AppliedPenalty, penalties), AppliedPenalty(WeightDecay(), player="generator")])
    names = {p: {a.name for a in model.restraints_of(p).penalties} for p in ("discriminator", "generator")}
    assert names == {
        "discriminator": {"r1", "weight_decay", "historical_average"},
        "generator": {"orthogonal", "historical_average", "pulling_away", "weight_decay"},
    }


@pytest.mark.parametrize(
    ("restraint", "message"),
    [
        (AppliedPenalty(R1(), player="generator"), "leave out player"),
        (AppliedPenalty(PullingAway(), player="discriminator"), "by the generator alone"),
        (AppliedPenalty(R1(), player="discriminater"), "Did you mean 'discriminator'"),
        (AppliedConstraint(WeightClip(), player="autoencoder"), "does not have"),
    ],
)
def test_a_penalty_on_the_wrong_player_is_refused(restraint, message):
    with pytest.raises(InputError, match=message):
        small(penalties=[restraint])


def test_a_penalty_on_parameters_is_its_definition_and_lazy_like_the_others():
    model = small(penalties=[AppliedPenalty(WeightDecay(), 0.5, interval=2)])
    assert "weight_decay" not in model.losses("discriminator", torch.zeros(2, 2), streams(), 1).parts
    value, weight = model.losses("discriminator", torch.zeros(2, 2), streams(), 2).parts["weight_decay"]
    torch.testing.assert_close(value, sum(0.5 * p.square().sum() for p in model.discriminator.parameters()))
    assert weight == 1.0


def test_an_average_remembers_where_each_update_went():
    model = small(penalties=[AppliedPenalty(HistoricalAverage(), player="generator")])
    flat = nn.utils.parameters_to_vector(model.generator.parameters()).detach()
    for step in range(3):
        with torch.no_grad():
            for p in model.generator.parameters():
                p.add_(1.0)
        model.after_update("generator")
        model.after_update("discriminator")
        assert model.state_dict()["restraints.generator.memories.historical_average.count"] == step + 1
    mean = model.state_dict()["restraints.generator.memories.historical_average.mean"]
    torch.testing.assert_close(mean, flat + 2.0)


def test_other_numbers_take_the_place_of_those_of_the_same_player_and_memories_stay():
    penalty = LatentConsistency()
    of = {"critic": AppliedPenalty(penalty), "generator": AppliedPenalty(penalty, player="generator")}
    model = small(
        penalties=[*of.values(), AppliedPenalty(HistoricalAverage()), AppliedConstraint(WeightClip(bound=1.0))]
    )
    model.after_update("discriminator")
    before = model.state_dict()
    for part in (AppliedPenalty(penalty, 7.0), AppliedPenalty(HistoricalAverage(), 5.0)):
        model.take(part)
    model.take(AppliedConstraint(WeightClip(bound=0.5)))
    critic, generator = (model.restraints_of(name) for name in ("discriminator", "generator"))
    assert [applied.weight for applied in critic.penalties] == [7.0, 5.0]
    assert critic.constraints == (WeightClip(bound=0.5),)
    assert [applied.weight for applied in generator.penalties] == [1.0, 5.0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.take(NonSaturating(real_weight=2.0))
    assert model.loss.real_weight == 2.0


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"weight": float("nan")}, {"interval": 0}, {"interval": 1.5}])
def test_a_weight_or_an_interval_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} is "):
        AppliedPenalty(R1(), **wrong)


def test_scores_that_leave_the_range_of_a_loss_are_work_that_failed():
    model = small(FKullbackLeibler())
    model.discriminator = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
    nn.init.constant_(model.discriminator[0].weight, 1e6)
    with pytest.raises(WorkError, match=r"turn 7, discriminator: .*scores reach"):
        model.losses("discriminator", torch.ones(3, 2), streams(), 7)
