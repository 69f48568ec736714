"""A wrong key, name or field of a recipe: the sentence tells which one was meant and where it stands."""

import sys

import pytest

from genloss.cli.app import main
from genloss.errors import InputError, did_you_mean
from genloss.runs.build import build
from genloss.runs.recipes import read_recipe

OWN = """
from dataclasses import dataclass
from genloss.losses import R1, AdversarialLoss, Hinge

@dataclass(frozen=True, kw_only=True)
class Mine(Hinge):
    pass

class Plain(Hinge):
    pass

class Held(R1):
    pass

class _Private(Hinge):
    pass

ready = Hinge()
"""


def refusal(override, recipe="ring_gan"):
    with pytest.raises(InputError) as refused:
        build(read_recipe(recipe, ["device=cpu", "train.steps=3", override])[0])
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("steps", "train.steps"),  # model.unrolled.steps lies deeper
        ("learning_rate", "train.learning_rate"),
        ("learning-rate", "train.learning_rate"),
        ("LearningRate", "train.learning_rate"),
        ("batch_size", "train.batch_size"),
        ("batch", "train.batch_size"),
        ("train_steps", "train.steps"),
        ("lr", "train.learning_rate"),
        ("train.lr", "train.learning_rate"),
        ("train.discriminator.lr", "train.discriminator.learning_rate"),
        ("train.generator.wd", "train.generator.weight_decay"),
        ("train.stepps", "train.steps"),
        ("evaluation.smaples", "evaluation.samples"),
        ("sede", "seed"),
        ("penalty", "penalties"),
        ("width", "model.network.width"),
        ("model.depth", "model.network.depth"),
        ("data.count", "data.options.count"),
        ("sigma", "data.options.sigma"),
    ],
)
def test_a_key_is_found_wherever_it_stands(key, meant):
    assert refusal(f"{key}=5") == f"{key} is not a key of a recipe. Did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("override", "known"),
    [
        ("qqqq=1", "data, device, evaluation, loss, model, "),
        ("data.qqqq=1", "binarise, crop, "),
        ("train.learning_rate={schedule: linear, from: 0.1, end: 0}", "from, schedule, start, to, turns."),
        ("train.generator.learning_rate={schedule: linear, from: 1, end: 0}", "from, schedule, start, to, turns."),
        ("penalties=[{name: r1, weight: {schedule: linear, from: 0, end: 1}}]", "from, schedule, start, to, turns."),
    ],
)
def test_a_key_like_no_other_comes_with_those_of_its_section(override, known):
    assert f" is not a key of a recipe. Known: {known}" in refusal(override)


@pytest.mark.parametrize("key", ["data.qqqq", "data.limt"])
def test_an_unknown_key_of_the_data_comes_with_where_a_toys_options_stand(key):
    assert "below data.options, such as data.options.count." in refusal(f"{key}=1")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "penalties=[{name: r1, wieght: 10}]",
            "penalties[0].wieght is not a field of R1. Did you mean 'weight'? It also takes weight, interval, player.",
        ),
        ("penalties=[{name: r1, qq: 1}]", "is not a field of R1. Known: interval, player, weight."),
        ("penalties=[{name: gradient_penalty, qqqq: 1}]", "Known: interval, one_sided, player, target, weight."),
        ("penalties=[{name: weight_clip, bond: 1}]", "Did you mean 'bound'? It also takes player."),
        ("loss={name: hinge, weight: 1}", "is not a field of Hinge. It has no fields."),
    ],
)
def test_an_unknown_field_of_a_penalty_comes_with_what_every_penalty_takes(override, message):
    assert message in refusal(override)


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        ("ring_gan", "loss=wgan-gp", "needed here; write loss=wasserstein penalties=[gradient_penalty]. "),
        ("ring_gan", "loss=wgan_gp", "needed here; write loss=wasserstein penalties=[gradient_penalty]. "),
        ("ring_gan", "loss=WGAN_DIV", "write loss=wasserstein penalties=[wasserstein_divergence]. "),
        ("ring_gan", "loss=r1", "'r1' is of family penalty, but adversarial is needed here; write penalties=[r1]. "),
        ("ring_gan", "loss=elbo", "loss=elbo takes it, with model=vae. Known here: boundary_equilibrium, "),
        ("ring_gan", "loss=bernoulli", "model.likelihood=bernoulli takes it, with model=vae. "),
        ("ring_gan", "loss=bleu", "no key of a recipe takes it. "),
        ("ring_gan", "penalties=[hinge]", "loss=hinge takes it, with model=gan. "),
        (
            "digits_vae",
            "loss=lsgan",
            "is least_squares of family adversarial, but variational or quantisation is needed",
        ),
        ("ring_gan", "loss=hinge+r1", "write loss=hinge penalties=[r1]."),
        ("ring_gan", "loss=hinge + r1+gp", "write loss=hinge penalties=[r1, gp]."),
        ("ring_gan", "penalties=[rl]", "Did you mean 'r1' or 'r2'?"),
        ("ring_gan", "loss=Least-Squares", "Did you mean 'least_squares'?"),
        ("ring_gan", "loss=rpgam", "Did you mean 'rpgan'?"),  # an alias
        ("ring_gan", "penalties=[WGAN GP]", "Did you mean 'wgan_gp'?"),
    ],
)
def test_a_name_of_another_family_or_form_comes_with_what_to_write(recipe, override, message):
    assert message in refusal(override, recipe)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss=own.py", "is a file; name the class: own.py:Mine, own.py:Plain, own.py:ready."),
        ("penalties=[own.py]", "penalties[0]='own.py' is a file; name the class: own.py:Held."),
        ("loss=empty.py", "loss='empty.py' holds no genloss.losses.AdversarialLoss; derive one."),
        ("loss=nowhere.py", "loss='nowhere.py' cannot be imported: FileNotFoundError"),
        ("loss=own.py:Min", "expected package.module:Class or FILE.py:Class. Did you mean 'Mine'?"),
        (
            "loss=empty.py:Min",
            "'empty.py' has no 'Min'; expected package.module:Class or FILE.py:Class. It holds no loss.",
        ),
    ],
)
def test_a_file_of_ones_own_comes_with_the_losses_in_it(tmp_path, monkeypatch, override, message):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "empty.py").write_text("from genloss.losses import Hinge\n")
    monkeypatch.chdir(tmp_path)
    assert message in refusal(override)


@pytest.mark.parametrize("start", ["3", "5000", "5000.0", "1.0"])
@pytest.mark.parametrize(
    ("recipe", "override", "key"),
    [
        ("ring_gan", "train.learning_rate={}", "the learning rate"),
        ("ring_gan", "penalties=[{{name: r1, weight: {}}}]", "penalties[0].weight"),
        ("digits_vae", "loss={{name: elbo, beta: {}}}", "loss.beta"),
    ],
)
def test_a_schedule_that_never_begins_is_refused_with_both_numbers(recipe, override, key, start):
    schedule = f"{{schedule: linear, from: 0.5, to: 1, start: {start}}}"
    message = f"{key} would change from start={start} on, but the run ends after train.steps=3 turns"
    assert refusal(override.format(schedule), recipe).startswith(message)


@pytest.mark.parametrize("start", ["2", "0.9"])
def test_a_schedule_that_begins_in_the_run_is_taken(start):
    schedule = f"{{schedule: linear, from: 0.5, to: 1, start: {start}}}"
    build(read_recipe("ring_gan", ["device=cpu", "train.steps=3", f"train.learning_rate={schedule}"])[0])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("R-1", " Did you mean 'r1'?"),
        ("rl", " Did you mean 'r1' or 'r2'?"),
        ("", " Known: cr, r1, r2."),
        ("??", " Known: cr, r1, r2."),
    ],
)
def test_the_nearest_names(name, said):
    assert did_you_mean(name, ["r2", "cr", "r1"]) == said


def test_a_run_is_not_changed_on_the_way(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["genloss", "resume", "runs/ring_gan-1", "train.steps=600"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "train anew with the change: genloss train RECIPE train.steps=600" in capsys.readouterr().err
