"""Losses inside losses, fields that the data decide, presets, refusals in a sentence, and what is resumed."""

import dataclasses

import pytest
import torch
import yaml

from genloss.errors import InputError
from genloss.losses import MMD, Categorical, EnergyDistance, SlicedWasserstein
from genloss.models import AutoencoderCritic, QuantisedVAE
from genloss.runs.build import build
from genloss.runs.folder import recipe_text
from genloss.runs.recipes import parse_recipe, read_recipe
from genloss.training.loop import Hooks, train

TINY = [
    "train.steps=6",
    "train.log_every=2",
    "train.batch_size=16",
    "model.network={name: mlp, width: 8, depth: 1}",
    "evaluation.samples=40",
    "device=cpu",
]
DISCRIMINATING = "model.critic={name: mlp, width: 8, minibatch_discrimination: true}"


def built(recipe, *overrides):
    return build(read_recipe(recipe, [*TINY, *overrides])[0])


def refusal(recipe, *overrides):
    with pytest.raises(InputError) as caught:
        built(recipe, *overrides)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence[-1] in ".?"
    assert ".." not in sentence.replace("...", "")
    return sentence


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of a person's own, where the command is called."""
    (tmp_path / "own_choices.py").write_text(
        "from dataclasses import dataclass\n"
        "from genloss.losses import EnergyDistance, ParameterPenalty, SampleDistance\n\n"
        "mine = EnergyDistance(estimator='biased')\n\n\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Means(SampleDistance):\n"
        "    scale: float = 1.0\n\n"
        "    def _distance(self, x, y, rng):\n"
        "        return self.scale * (x.mean(0) - y.mean(0)).square().sum()\n\n\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Lasso(ParameterPenalty):\n"
        "    def _penalty(self, parameters, state):\n"
        "        return sum(p.abs().sum() for p in parameters)\n"
    )
    monkeypatch.chdir(tmp_path)


PLAIN = """
from torch.nn.functional import softplus
from genloss.losses import AdversarialLoss, ParameterPenalty
from a_neighbour import WEIGHT

class Right(AdversarialLoss):
    def _discriminator(self, a_r, a_f):
        return WEIGHT * (softplus(-a_r) + softplus(a_f))

    def _generator(self, a_f, a_r):
        return softplus(-a_f)

class Half(AdversarialLoss):
    def _generator(self, a_f, a_r):
        return softplus(-a_f)

class Asks(Right):
    def __init__(self, weight):
        self.weight = weight

class Sum(ParameterPenalty):
    def _penalty(self, parameters, state):
        return sum(p.abs().sum() for p in parameters)

penalty = Sum()
"""


@pytest.fixture
def plain_classes(tmp_path, monkeypatch):
    """A file of classes without @dataclass, as the page on own losses writes them, beside one that it imports."""
    (tmp_path / "plain_own.py").write_text(PLAIN)
    (tmp_path / "broken_own.py").write_text("def f(:\n")
    (tmp_path / "a_neighbour.py").write_text("WEIGHT = 1.0\n")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["plain_own:Right", "plain_own.py:Right"])
def test_a_class_without_fields_is_trained_and_found_again_from_elsewhere(plain_classes, tmp_path, monkeypatch, name):
    first = built("ring_gan", f"loss={name}", "penalties=[plain_own.py:Sum]")
    assert type(first.state.model.loss).__name__ == "Right"
    text = recipe_text(first.recipe)
    if ".py" in name:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
    again = build(parse_recipe(yaml.safe_load(text)))
    assert recipe_text(again.recipe) == text
    assert type(again.state.model.loss) is type(first.state.model.loss)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss={name: plain_own.py:Right, weight: 2}", "loss.weight is not a field of Right. It has no fields."),
        ("loss=plain_own.py:Half", "does not write _discriminator, which its base class asks for."),
        ("loss=plain_own.py:Asks", "loss: Asks() raised TypeError: "),
        ("loss=plain_own.py:Wrong", "expected package.module:Class or FILE.py:Class."),
        ("loss=nowhere.py:Right", "expected package.module:Class or FILE.py:Class."),
        ("loss=broken_own.py:Right", "cannot be imported: SyntaxError: "),
    ],
)
def test_an_own_class_that_cannot_be_made_is_one_sentence(plain_classes, override, message):
    assert message in refusal("ring_gan", override)


def divergence(specification):
    return built("digits_vae", f"loss={{name: wae, divergence: {specification}}}").state.model.loss.divergence


def test_a_field_takes_another_loss_by_name_mapping_or_import(own):
    assert divergence("energy_distance") == EnergyDistance()
    assert divergence("{name: sliced_wasserstein, p: 1, projections: 7}") == SlicedWasserstein(p=1.0, projections=7)
    assert divergence("own_choices:mine") == EnergyDistance(estimator="biased")
    found = divergence("{name: own_choices:Means, scale: 2}")
    assert (type(found).__name__, found.scale) == ("Means", 2.0)


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("hinge", "loss.divergence='hinge' is of family adversarial, but distance is needed here"),
        ("{name: mmd, kernel: gausian}", "loss.divergence.kernel is 'gausian'"),
        ("{name: mmd, bandwidth: 1}", "loss.divergence.bandwidth is not a field of MMD. Did you mean 'bandwidths'?"),
        ("sliced", "loss.divergence='sliced' is not a known distance. Did you mean 'sliced_wasserstein'?"),
        ("own_choices:Lasso", "loss.divergence='own_choices:Lasso' is not a subclass of genloss.losses.SampleDistance"),
        ("{name: mmd, bandwidths: [0.0]}", "loss.divergence: bandwidths"),
        ("3", "loss.divergence is 3"),
        ("wasserstein_1d", "samples have 16 features, expected 1"),
    ],
)
def test_a_wrong_inner_loss_is_one_sentence(own, specification, message):
    assert message in refusal("digits_vae", f"loss={{name: wae, divergence: {specification}}}")


def test_a_resolved_recipe_writes_everything_out_and_means_the_same(own):
    choices = [
        ("digits_vae", "loss={name: wae, divergence: mmd}"),
        ("digits_vae", "loss={name: wae, divergence: own_choices:mine}"),
        ("digits_vae", "loss=beta_tc_vae", "penalties=[own_choices:Lasso]"),
        ("digits_vae", "loss=vector_quantised"),
        ("digits_vae", "model.likelihood=categorical", "data.binarise=threshold"),
        ("ring_gan", "penalties=[r1, weight_clip, {name: weight_decay, player: generator}]", "model.packing=2"),
        ("ring_gan", "loss=energy_based", "preset=paper"),
    ]
    for choice in choices:
        first = built(*choice)
        text = recipe_text(first.recipe)
        again = build(parse_recipe(yaml.safe_load(text)))
        assert recipe_text(again.recipe) == text
        assert again.state.model.loss == first.state.model.loss
        weights = first.state.weights(), again.state.weights()
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_data_fill_in_what_a_recipe_leaves_out():
    total_correlation = built("digits_vae", "loss=beta_tc_vae")
    assert total_correlation.state.model.loss.dataset_size == len(total_correlation.dataset.splits["train"])
    assert total_correlation.recipe.loss["dataset_size"] == total_correlation.state.model.loss.dataset_size
    assert built("digits_vae", "loss={name: beta_tc_vae, dataset_size: 5000}").state.model.loss.dataset_size == 5000
    # Two latents of a standard normal prior in 16 dimensions are about sqrt(32) apart.
    assert divergence("mmd").bandwidths[2] == pytest.approx(32**0.5)
    assert divergence("{name: mmd, bandwidths: [3.0]}") == MMD(bandwidths=(3.0,))
    grey = built("digits_vae", "model.likelihood=categorical").state.model.likelihood
    assert grey == Categorical(levels=256, low=-1.0, high=1.0)
    binary = built("digits_vae", "model.likelihood=categorical", "data.binarise=threshold")
    assert binary.state.model.likelihood.levels == 2


REFUSED = [
    ("ring_gan", ["loss=energy_based"], "set model.critic=autoencoder"),
    ("ring_gan", ["model.critic=autoencoder"], "take loss=energy_based or boundary_equilibrium"),
    ("ring_gan", ["model.critic={name: autoencoder, power: 3}", "loss=energy_based"], "model.critic.power is 3"),
    ("ring_gan", ["penalties=[consistency]"], "expected images"),
    ("ring_gan", ["penalties=[{name: r1, player: generator}]"], "leave out player"),
    ("ring_gan", ["penalties=[{name: r1, player: 3}]"], "penalties[0].player is 3"),
    ("ring_gan", ["penalties=[{name: r1, weight: true}]"], "penalties[0].weight is True"),
    ("ring_gan", ["penalties=[{name: r1, interval: 0}]"], "penalties[0].interval is 0"),
    ("ring_gan", ["penalties=[{name: weight_clip, weight: 2}]"], "penalties[0].weight was given, but a constraint"),
    ("ring_gan", ["penalties=[r1, {name: r1, weight: 2}]"], "r1 is given twice"),
    ("ring_gan", ["penalties=[{name: dragan, deviation: -1}]"], "penalties[0]: deviation is -1.0"),
    ("ring_gan", ["model.packing=3"], "train.batch_size is 16, which packs of model.packing=3 do not divide"),
    ("ring_gan", ["model.unrolled=5", "penalties=[]"], "model.unrolled is 5"),
    ("ring_gan", ["model.unrolled={steps: 2}", "penalties=[gradient_penalty]"], "cannot be used with unrolled steps"),
    ("ring_gan", ["penalties=[pulling_away]", "train.batch_size=1"], "there is a single sample"),
    ("digits_vae", ["model.packing=2"], "model.packing belongs to model.name=gan"),
    ("ring_gan", ["model.critic={name: mlp, norm: instance}"], "model.critic.norm is 'instance'"),
    ("digits_vae", ["model.network={name: mlp, minibatch_discrimination: true}"], "is for the critic of a gan"),
    ("digits_mmd", ["model.critic={name: mlp, minibatch_discrimination: true}"], "is for the critic of a gan"),
    ("digits_vae", ["penalties=[feature_matching]"], "penalties act on a critic"),
    ("digits_vae", ["model.codebook={codes: 3}"], "model.codebook belongs to loss=vector_quantised"),
    ("digits_vae", ["loss=vector_quantised", "model.codebook={dim: 3}"], "codes of dimension 3 do not fill"),
    ("digits_vae", ["loss=vector_quantised", "model.prior=uniform"], "model.prior has no meaning"),
    ("digits_vae", ["loss=beta_tc_vae", "train.batch_size=1"], "expected at least 2"),
    ("ring_gan", ["model=vae", "model.likelihood=categorical"], "needs images, but 'ring' holds points"),
    ("digits_mmd", ["loss=wasserstein_1d"], "samples have 64 features, expected 1"),
    ("digits_mmd", ["loss={name: mmd, estimator: linear_time}", "train.batch_size=15"], "equal and even number"),
    ("digits_mmd", ["preset=paper", "loss=energy_distance"], "names no optimiser or schedule"),
]


@pytest.mark.parametrize(("recipe", "overrides", "message"), REFUSED)
def test_what_cannot_work_is_refused_before_training(recipe, overrides, message):
    assert message in refusal(recipe, *overrides)


def test_trying_the_losses_leaves_no_trace():
    """Streams and memories stand where they would have stood, and penalties with a memory begin anew."""
    run = built("ring_gan", "penalties=[lecam]")
    fresh = run.state.model.state_dict()
    assert fresh["restraints.discriminator.memories.lecam.real"] == 0
    before = torch.get_rng_state()
    built("ring_gan", "penalties=[lecam]")
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_normalisation_under_a_penalty_is_said_with_its_remedy():
    convolutions = ["data.size=16", "model.network={name: dcgan, width: 2}"]
    notes = " ".join(build(read_recipe("digits_gan", [*TINY[:3], *convolutions, "penalties=[r1]"])[0]).notes)
    assert "r1 looks at scores that depend on the whole batch" in notes
    assert "model.critic={name: dcgan, norm: layer}" in notes
    remedies = [
        ["penalties=[r1]", f"model.critic={{name: dcgan, width: 2, {key}}}"]
        for key in ("norm: layer", "norm: virtual_batch", "spectral_norm: true")
    ]
    for others in (["penalties=[]"], *remedies):
        notes = " ".join(build(read_recipe("digits_gan", [*TINY[:3], *convolutions, *others])[0]).notes)
        assert "batch normalisation" not in notes
    (note,) = (n for n in built("ring_gan", "penalties=[r1]", DISCRIMINATING).notes if "whole batch" in n)
    assert "minibatch discrimination: r1" in note


def test_every_player_makes_its_own_number_of_updates():
    for overrides, expected in (
        (["train.discriminator.updates=3"], [3, 1]),
        (["train.updates=2"], [2, 2]),
        (["train.generator.updates=4", "train.discriminator.updates=1"], [1, 4]),
    ):
        assert [player.updates for player in built("ring_gan", *overrides).state.model.players] == expected
    (player,) = built("digits_vae", "train.updates=2").state.model.players
    assert player.updates == 2


def sentence(*overrides):
    recipe, notes = read_recipe(*overrides)
    return recipe, notes[0]


def test_a_preset_is_said_written_out_and_yields_to_the_command_line():
    recipe, note = sentence("ring_gan", ["loss=energy_based", "preset=paper"])
    assert "model.critic={'name': 'autoencoder'}" in note
    assert recipe.preset is None
    assert isinstance(build(recipe).state.model.discriminator, AutoencoderCritic)
    written, _ = read_recipe("ring_gan", ["loss=hinge", "preset=paper", "train.discriminator.updates=2"])
    assert parse_recipe(yaml.safe_load(recipe_text(written))) == written
    for explicit in ("train.discriminator.updates=2", "train.discriminator={updates: 2}", "train.updates=2"):
        recipe, note = sentence("ring_gan", ["loss=hinge", "preset=paper", explicit])
        assert recipe.train.player("discriminator").updates == 2
        assert "updates" not in note
    recipe, note = sentence("digits_mmd", ["loss={name: mmd, estimator: biased}", "preset=paper"])
    assert note == "preset=paper sets loss.root=True."
    assert (recipe.loss["estimator"], recipe.loss["root"]) == ("biased", True)
    defaults, _ = sentence("digits_gan", ["model=mmd", "preset=paper"])
    assert defaults.loss == {"name": "mmd", "estimator": "biased", "root": True}


def test_a_penalty_with_a_paper_of_its_own_is_that_papers():
    plain, _ = sentence("ring_gan", ["loss=wasserstein", "preset=paper"])
    assert [penalty["name"] for penalty in plain.penalties] == ["weight_clip"]
    recipe, note = sentence("ring_gan", ["loss=wasserstein", "penalties=[gradient_penalty]", "preset=paper"])
    assert recipe.penalties == ["gradient_penalty"]
    assert recipe.train.player("generator").optimizer == "adam"
    assert recipe.train.player("discriminator").updates == 5
    assert "penalties" not in note


RESUMED = [
    ("ring_gan", "penalties=[]", DISCRIMINATING),
    (
        "ring_gan",
        "penalties=[gradient_penalty]",
        "model.network={name: mlp, width: 8, norm: virtual_batch}",
        "train.ema=0.9",
    ),
    ("ring_gan", "penalties=[lecam, historical_average, {name: r1, interval: 2}]"),
    ("ring_gan", "penalties=[latent_consistency, {name: latent_consistency, player: generator}]", "model.packing=2"),
    ("ring_gan", "loss=boundary_equilibrium", "model.critic=autoencoder", "penalties=[]"),
    ("ring_gan", "penalties=[dragan, pulling_away]", "model.unrolled={steps: 2, rate: 0.1}"),
    ("digits_vae", "loss={name: vector_quantised, decay: 0.9}", "train.ema=0.9"),
    ("digits_vae", "loss={name: wae, divergence: sliced_wasserstein}", "penalties=[weight_decay]"),
    ("digits_vae", "loss={name: elbo, beta: {schedule: cyclical, from: 0, to: 1, turns: 4}}"),
    ("ring_gan", "penalties=[{name: r1, weight: {schedule: cosine, from: 0, to: 1, turns: 5}}]"),
    (
        "ring_gan",
        "penalties=[{name: lecam, decay: {schedule: linear, from: 0.5, to: 0.9}}, {name: weight_clip, bound: "
        "{schedule: linear, from: 0.3, to: 0.1}}, {name: weight_decay, weight: {schedule: linear, from: 1, to: 0}}]",
    ),
]


@pytest.mark.parametrize("choice", RESUMED, ids=lambda choice: choice[1])
def test_a_resumed_run_equals_the_uninterrupted_one(choice):
    whole = built(*choice)
    list(train(whole.state, whole.timetable, Hooks()))
    half = built(*choice)
    list(train(half.state, dataclasses.replace(half.timetable, turns=3), Hooks()))
    rest = built(*choice)
    rest.state.load_weights({name: tensor.clone() for name, tensor in half.state.weights().items()})
    rest.state.load_state_dict(half.state.state_dict())
    list(train(rest.state, rest.timetable, Hooks()))
    one, two = whole.state.weights(), rest.state.weights()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_codes_belong_to_a_model_of_their_own():
    run = built("digits_vae", "loss=vector_quantised", "model.codebook={codes: 6, dim: 4}")
    assert isinstance(run.state.model, QuantisedVAE)
    assert run.state.model.codebook.codes.shape == (6, 4)
    assert run.state.model.codebook.positions == 4
