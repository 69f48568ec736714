"""Who minimises what: players, gradients, priors, and what a model must not touch."""

import math

import pytest
import torch

from genloss.errors import InputError
from genloss.losses import (
    ELBO,
    MMD,
    R1,
    WAE,
    Bernoulli,
    BetaTCVAE,
    BoundaryEquilibrium,
    FreeBits,
    Gaussian,
    GradientPenalty,
    Hinge,
    InfoVAE,
    LeCam,
    NonSaturating,
    RelativisticPaired,
    VectorQuantised,
    WeightClip,
    WeightDecay,
)
from genloss.models import (
    GAN,
    VAE,
    AppliedConstraint,
    AppliedPenalty,
    Codebook,
    MomentMatching,
    Prior,
    QuantisedVAE,
    Streams,
    Terms,
)
from genloss.models.matching import Autoencoder
from genloss.networks import DCGAN, MLP, GaussianInference
from genloss.protocols import Decodes, Encodes, HasBound, Reconstructs

MLP_8 = MLP(width=8, depth=1)


def streams():
    return Streams(torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))


def gan(loss=None, penalties=(), network=MLP_8, shape=(2,)):
    torch.manual_seed(0)
    return GAN(
        network.generator(4, shape, bounded=False),
        network.critic(shape),
        loss or NonSaturating(),
        Prior("normal", 4),
        penalties=penalties,
    )


def vae(likelihood, shape=(2,), value_range=(0.0, 1.0), loss=None):
    torch.manual_seed(0)
    decoder = MLP_8.generator(3, shape, values=likelihood.parameters_per_value, bounded=False)
    encoder = GaussianInference(MLP_8.critic(shape, outputs=6))
    return VAE(encoder, decoder, loss or ELBO(), likelihood, Prior("normal", 3), value_range=value_range)


def test_fakes_used_again_are_generated_once():
    model, x, drawn = gan(), torch.randn(6, 2), streams()
    model.reuse_fakes = True
    model.generator.requires_grad_(False)  # as while the critic moves
    model.losses("discriminator", x, drawn, 1)
    assert not any(p.requires_grad for p in model.generator.parameters())
    model.generator.requires_grad_(True)
    position = drawn.noise.get_state()
    shared = torch.autograd.grad(model.losses("generator", x, drawn, 1).total(), list(model.generator.parameters()))
    assert torch.equal(drawn.noise.get_state(), position)
    fresh = torch.autograd.grad(model.losses("generator", x, streams(), 1).total(), list(model.generator.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(shared, fresh, strict=True))  # the same first noise


@pytest.mark.parametrize(("turn", "size"), [(2, 6), (1, 4)])
def test_fakes_of_another_turn_or_size_are_not_used_again(turn, size):
    model, drawn = gan(), streams()
    model.reuse_fakes = True
    model.losses("discriminator", torch.randn(6, 2), drawn, 1)
    position = drawn.noise.get_state()
    model.losses("generator", torch.randn(size, 2), drawn, turn).total().backward()
    assert not torch.equal(drawn.noise.get_state(), position)


def test_terms_weigh_means_once():
    terms = Terms()
    terms.add("loss", torch.tensor([1.0, 3.0]))
    terms.add("penalty", torch.tensor(4.0), weight=0.5)
    terms.note("score", torch.tensor([5.0, 7.0]))
    assert terms.total().item() == 4.0
    assert {name: value.item() for name, value in terms.values().items()} == {"score": 6.0, "loss": 2.0, "penalty": 4.0}
    with pytest.raises(ValueError, match="no term"):
        Terms().total()
    with pytest.raises(ValueError, match="the term loss is None, expected a tensor"):
        terms.add("loss", None)


@pytest.mark.parametrize("loss", [NonSaturating(), RelativisticPaired()])
@pytest.mark.parametrize("penalty", [None, R1(), GradientPenalty()])
def test_the_critic_never_moves_the_generator(loss, penalty):
    model = gan(loss, [AppliedPenalty(penalty, 2.0)] if penalty else [])
    model.losses("discriminator", torch.randn(5, 2), streams(), 1).total().backward()
    assert all(p.grad is None for p in model.generator.parameters())
    assert all(p.grad is not None for p in model.discriminator.parameters())


def test_scoring_in_one_pass_equals_two():
    model = gan()
    x = torch.randn(6, 2)
    one = model.losses("discriminator", x, streams(), 1).values()
    model._one_pass = False
    two = model.losses("discriminator", x, streams(), 1).values()
    for name in one:
        torch.testing.assert_close(one[name], two[name])


def test_batch_norm_sees_real_and_fake_apart():
    model = gan(network=DCGAN(width=4), shape=(1, 16, 16))
    assert not model._one_pass
    assert model.losses("discriminator", torch.randn(4, 1, 16, 16), streams(), 1).total().isfinite()


def test_a_lazy_penalty_is_computed_every_nth_turn_and_weighs_n_times():
    model = gan(penalties=[AppliedPenalty(R1(), weight=2.0, interval=3)])
    x = torch.randn(4, 2)
    assert "r1" not in model.losses("discriminator", x, streams(), 1).parts
    value, weight = model.losses("discriminator", x, streams(), 3).parts["r1"]
    assert weight == 6.0
    real = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.discriminator(real).sum(), real)
    torch.testing.assert_close(value, 0.5 * gradient.square().sum(1).mean())


def test_an_unknown_player_is_refused():
    for model in (gan(), vae(Gaussian()), MomentMatching(MLP_8.generator(4, (2,)), MMD(), Prior("normal", 4))):
        with pytest.raises(InputError, match="player"):
            model.losses("director", torch.zeros(3, 2), streams(), 1)


@pytest.mark.parametrize(
    ("name", "cdf"),
    [
        ("normal", lambda z: torch.special.ndtr(z)),
        ("uniform", lambda z: (z + 1) / 2),
        ("exponential", lambda z: 1 - torch.exp(-z)),
    ],
)
def test_a_prior_has_its_distribution(name, cdf):
    z = Prior(name, 1).draw(20_000, torch.Generator().manual_seed(0)).flatten().double()
    u = cdf(z).sort().values
    gap = (u - (torch.arange(20_000) + 0.5) / 20_000).abs().max()
    assert gap < 1.63 / math.sqrt(20_000)  # Kolmogorov-Smirnov at the 1 percent level


def test_priors_share_their_normal_draws_and_stay_finite_in_the_tails():
    draws = [Prior(name, 2).draw(4, torch.Generator().manual_seed(7)) for name in ("normal", "uniform", "exponential")]
    assert torch.equal(draws[0].argsort(0), draws[1].argsort(0))
    assert torch.equal(draws[0].argsort(0), draws[2].argsort(0))
    tails = torch.tensor([-30.0, 30.0], requires_grad=True)
    for name in ("uniform", "exponential"):
        z = Prior(name, 1).transform(tails)
        (gradient,) = torch.autograd.grad(z.sum(), tails)
        assert z.isfinite().all()
        assert gradient.isfinite().all()
    with pytest.raises(InputError, match="Did you mean 'uniform'"):
        Prior("unifrom", 2)


LIKELIHOODS = [Bernoulli(), Gaussian(), Gaussian(variance="shared"), Gaussian(variance="predicted")]


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_vae_trains_every_parameter_and_bounds(likelihood):
    model = vae(likelihood)
    x = torch.rand(5, 2).round()
    terms = model.losses("autoencoder", x, streams(), 1)
    terms.total().backward()
    assert all(p.grad is not None for p in model.parameters())
    torch.testing.assert_close(terms.values()["loss"], -terms.values()["bound"])
    assert model.bound(x, torch.Generator().manual_seed(0)).shape == (5,)
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(7, rng=torch.Generator()).shape == (7, 2)
    for capability in (Encodes, Decodes, Reconstructs, HasBound):
        assert isinstance(model, capability)


def test_the_elbo_of_a_vae_is_what_its_definition_says():
    model = vae(Bernoulli(), loss=ELBO(samples=3)).double()
    x = torch.rand(4, 2, dtype=torch.float64).round()
    bound = model.bound(x, torch.Generator().manual_seed(0))
    mean, log_variance = model.encoder(x)
    epsilon = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = mean + (0.5 * log_variance).exp() * epsilon
    logits = model.generator(z.reshape(12, 3)).reshape(3, 4, 2)
    reconstruction = torch.distributions.Bernoulli(logits=logits).log_prob(x.expand(3, 4, 2)).sum(-1).mean(0)
    kl = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(1)
    torch.testing.assert_close(bound, reconstruction - kl)


def test_codes_and_decoded_means_are_float32_under_autocast():
    model = vae(Bernoulli())
    with torch.autocast("cpu", torch.bfloat16):
        codes = model.encode(torch.zeros(3, 2))
        decoded = model.decode(codes)
    assert codes.dtype == decoded.dtype == torch.float32


def test_a_bernoulli_decoder_reads_and_writes_the_datas_range():
    unit, symmetric = vae(Bernoulli()), vae(Bernoulli(), value_range=(-1.0, 1.0))
    unit.encoder = symmetric.encoder = torch.nn.Identity()
    z = torch.zeros(2, 3)
    torch.testing.assert_close(symmetric.decode(z), 2 * unit.decode(z) - 1)


def test_moment_matching_on_codes_trains_one_player_after_the_other():
    torch.manual_seed(0)
    coder = Autoencoder(MLP_8.critic((2,), outputs=3), MLP_8.generator(3, (2,), bounded=False))
    generator = MLP_8.generator(4, (3,), bounded=False)
    model = MomentMatching(generator, MMD(), Prior("uniform", 4), autoencoder=coder, autoencoder_turns=5)
    moving = [[p.name for p in model.players if p.moves(turn)] for turn in (1, 5, 6)]
    assert moving == [["autoencoder"], ["autoencoder"], ["generator"]]
    x = torch.randn(6, 2)
    model.losses("generator", x, streams(), 6).total().backward()
    assert all(p.grad is None for p in coder.parameters())
    assert all(p.grad is not None for p in generator.parameters())
    assert model.sample(5, rng=torch.Generator()).shape == (5, 2)


def test_the_generator_of_a_relativistic_loss_needs_no_gradient_through_real_scores():
    model = gan(Hinge())
    fake_only = model.losses("generator", torch.randn(4, 2), streams(), 1).total()
    assert fake_only.requires_grad
    paired = gan(RelativisticPaired()).losses("generator", torch.randn(4, 2), streams(), 1).total()
    assert paired.isfinite()


def test_a_loss_with_a_memory_keeps_it_in_the_model():
    model = gan(BoundaryEquilibrium(gain=0.5), [AppliedPenalty(LeCam(), 1.0)])
    fresh = gan(BoundaryEquilibrium(gain=0.5), [AppliedPenalty(LeCam(), 1.0)])
    for turn in range(1, 4):
        model.losses("discriminator", torch.randn(4, 2) + 3, streams(), turn)
    saved = model.state_dict()
    assert "memory.k" in saved
    assert not torch.equal(
        saved["restraints.discriminator.memories.lecam.real"],
        fresh.state_dict()["restraints.discriminator.memories.lecam.real"],
    )
    fresh.load_state_dict(saved)
    assert torch.equal(fresh.state_dict()["memory.k"], saved["memory.k"])


def test_a_penalty_given_twice_is_refused():
    with pytest.raises(InputError, match="given twice"):
        gan(penalties=[AppliedPenalty(R1(), 1.0), AppliedPenalty(R1(), 2.0)])


@pytest.mark.parametrize("penalty", [R1(), GradientPenalty()])
def test_penalties_stay_in_float32_under_autocast(penalty):
    model = gan(penalties=[AppliedPenalty(penalty, 1.0)])
    with torch.autocast("cpu", torch.bfloat16):
        terms = model.losses("discriminator", torch.randn(4, 2), streams(), 1)
    value, _ = terms.parts[penalty.card.name]
    assert value.dtype == torch.float32
    exact = model.losses("discriminator", torch.randn(4, 2), streams(), 1).parts[penalty.card.name][0]
    assert exact.isfinite()


@pytest.mark.parametrize(
    "model",
    [
        lambda penalties: VAE(
            GaussianInference(MLP_8.critic((2,), outputs=6)),
            MLP_8.generator(3, (2,), bounded=False),
            ELBO(),
            Gaussian(),
            Prior("normal", 3),
            penalties=penalties,
        ),
        lambda penalties: MomentMatching(MLP_8.generator(4, (2,)), MMD(), Prior("normal", 4), penalties=penalties),
    ],
)
def test_every_model_takes_penalties_and_constraints_on_parameters_and_no_other(model):
    restrained = model([AppliedPenalty(WeightDecay(), 0.5), AppliedConstraint(WeightClip(bound=0.1))])
    (player,) = restrained.players
    value, weight = restrained.losses(player.name, torch.randn(6, 2), streams(), 1).parts["weight_decay"]
    torch.testing.assert_close(value, sum(0.5 * p.square().sum() for p in restrained.parameters()))
    assert weight == 0.5
    restrained.after_update(player.name)
    assert max(p.abs().max() for p in restrained.parameters()) <= 0.1
    with pytest.raises(InputError, match="penalties act on a critic"):
        model([AppliedPenalty(R1())])


@pytest.mark.parametrize("loss", [FreeBits(), BetaTCVAE(dataset_size=5), WAE(), InfoVAE()])
def test_the_bound_of_a_sample_does_not_depend_on_its_company(loss):
    model, plain = vae(Gaussian(), loss=loss), vae(Gaussian())
    x = torch.randn(7, 2)
    torch.testing.assert_close(
        model.bound(x, torch.Generator().manual_seed(0)), plain.bound(x, torch.Generator().manual_seed(0))
    )
    assert model.bound(x[:1], torch.Generator()).shape == (1,)


def quantised(loss, **codebook):
    torch.manual_seed(0)
    codes = Codebook(**{"codes": 4, "dim": 2, "positions": 3, "loss": loss} | codebook)
    return QuantisedVAE(MLP_8.critic((2,), outputs=6), MLP_8.generator(6, (2,), bounded=False), loss, Gaussian(), codes)


def test_a_quantised_vae_is_its_definition():
    model = quantised(VectorQuantised(commitment=0.5))
    x = torch.randn(5, 2)
    latents = model.encoder(x).unflatten(1, (3, 2))
    distances = (latents.unsqueeze(2) - model.codebook.weight).square().sum(-1)
    codes = model.codebook.weight[distances.argmin(2)]
    torch.testing.assert_close(model.encode(x), codes.flatten(1))
    terms = model.losses("autoencoder", x, streams(), 1)
    log_likelihood = Gaussian().log_prob(x, model.generator(codes.flatten(1)))
    gap = (latents - codes).square().sum((1, 2))
    torch.testing.assert_close(terms.parts["loss"][0], (1.5 * gap - log_likelihood).mean())
    torch.testing.assert_close(model.bound(x, torch.Generator()), log_likelihood - 3 * math.log(4))
    terms.total().backward()
    assert all(p.grad is not None for p in model.parameters())
    for capability in (Encodes, Decodes, Reconstructs, HasBound):
        assert isinstance(model, capability)


def test_a_quantised_vae_samples_from_its_codes():
    model = quantised(VectorQuantised())
    decoded = {tuple(row) for row in model.codebook.weight.tolist()}
    drawn = model.codebook.draw(50, torch.Generator().manual_seed(0)).unflatten(1, (3, 2)).flatten(0, 1)
    assert {tuple(row) for row in drawn.tolist()} == decoded
    assert model.sample(7, rng=torch.Generator()).shape == (7, 2)
    with pytest.raises(InputError, match="at least 2"):
        quantised(VectorQuantised(), codes=1)


def test_codes_may_be_moving_averages_kept_as_buffers():
    model = quantised(VectorQuantised(decay=0.5))
    before = model.codebook.codes.clone()
    assert "codebook.weight" not in dict(model.named_parameters())
    model.losses("autoencoder", torch.randn(20, 2), streams(), 1)
    assert not torch.equal(model.codebook.codes, before)
    assert torch.equal(model.state_dict()["codebook.memory.codebook"], model.codebook.codes)
    assert tuple(model.averaged_modules()) == ("encoder", "generator")
