"""Recipes: every bundled one runs at tiny size; every wrong one is a sentence."""

import json

import pytest
import torch
import yaml

from genloss.data import load_data
from genloss.errors import InputError
from genloss.losses import ELBO, MMD
from genloss.runs.build import build
from genloss.runs.execute import train_run
from genloss.runs.folder import RunFolder, recipe_text
from genloss.runs.recipes import bundled_recipes, parse_recipe, read_recipe, recipe_summary
from genloss.runs.sampling import open_run
from genloss.training.loop import Hooks, train

TINY = ["train.steps=4", "train.batch_size=8", "train.log_every=2", "evaluation.every=2", "evaluation.samples=40"]
SMALL_NETWORK = {"mlp": ["model.network.width=8"], "dcgan": ["model.network.width=4"]}


@pytest.fixture
def tiny_data(tmp_path, monkeypatch):
    """MNIST's format and a folder of photos, both made here."""
    from tests.runs.tiny_data import write_idx, write_photos

    monkeypatch.setenv("GENLOSS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GENLOSS_CACHE", str(tmp_path / "cache"))
    write_idx(tmp_path / "data" / "mnist", 120, 60)
    return write_photos(tmp_path / "photos", 40)


@pytest.mark.parametrize("name", sorted(bundled_recipes()))
def test_every_bundled_recipe_trains(name, tmp_path, tiny_data):
    overrides = [*TINY, f"runs_dir={tmp_path / 'runs'}"]
    raw = yaml.safe_load(bundled_recipes()[name])
    overrides += SMALL_NETWORK[raw["model"]["network"]["name"]]
    overrides += [f"data.path={tiny_data}"] if name == "photos_dcgan" else []
    recipe, notes = read_recipe(name, overrides)
    assert not notes
    outcome = train_run(recipe)
    assert (outcome.status, outcome.turn) == ("finished", 4)
    folder = outcome.folder
    for part in ("recipe.yaml", "environment.json", "metrics.jsonl", "log.txt", "report.html", "plots/losses.png"):
        assert (folder / part).is_file(), part
    assert (folder / "checkpoints" / "last" / "weights.safetensors").is_file()
    assert (folder / "checkpoints" / "best").exists()
    assert len(list((folder / "samples").glob("turn-*.png"))) == 2
    assert (folder / "plots" / "latent.png").is_file() == (name == "mnist_vae_2d")
    assert list(folder.glob("events.out.tfevents*"))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["turn"] for line in lines if line["event"] == "statistics"] == [2, 4]


@pytest.mark.parametrize("name", sorted(bundled_recipes()))
def test_every_line_of_a_bundled_recipe_is_explained(name):
    text = bundled_recipes()[name]
    assert recipe_summary(text)
    for line in text.splitlines():
        opens_a_section = line.rstrip().endswith(":") or line.startswith("#")
        assert opens_a_section or " # " in line, line


def test_the_saved_recipe_reproduces_the_run(tmp_path):
    recipe, _ = read_recipe("ring_gan", [*TINY, f"runs_dir={tmp_path}", "loss=hinge", "penalties=[r1]"])
    first = train_run(recipe).folder
    again, _ = read_recipe(str(first / "recipe.yaml"))
    second = train_run(again).folder
    assert second != first
    for part in ("recipe.yaml", "metrics.jsonl"):
        assert (first / part).read_bytes() == (second / part).read_bytes()
    one, two = (open_run(path, "last")[1].state.weights() for path in (first, second))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_recipe_survives_being_written():
    for name in bundled_recipes():
        recipe, _ = read_recipe(name)
        assert parse_recipe(yaml.safe_load(recipe_text(recipe))) == recipe


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        ("ring_gann", [], "there is no recipe 'ring_gann'. Did you mean 'ring_gan'"),
        ("nowhere.yaml", [], "no recipe file"),
        ("ring_gan", ["train.step=3"], "train.step is not a key of a recipe. Did you mean 'train.steps'"),
        ("ring_gan", ["trian.steps=3"], "trian is not a key of a recipe. Did you mean 'train'"),
        ("ring_gan", ["loss=hing"], "loss='hing' is not a known adversarial loss. Did you mean 'hinge'"),
        ("ring_gan", ["loss=wgan_gp"], "loss='wgan_gp' is gradient_penalty of family penalty, but adversarial is"),
        ("ring_gan", ["loss=elbo"], "loss='elbo' is of family variational, but adversarial is needed here"),
        ("ring_gan", ["loss={name: hinge, margin: 2}"], "loss.margin is not a field of Hinge"),
        ("ring_gan", ["loss={name: non_saturating, real_label: high}"], "loss.real_label is 'high'"),
        ("ring_gan", ["loss={name: non_saturating, real_label: 3}"], "real_label"),
        ("ring_gan", ["penalties=[r3]"], "penalties[0]='r3' is not a known penalty or constraint. Did you mean"),
        ("ring_gan", ["penalties=[{name: r1, weight: -1}]"], "penalties[0].weight is -1"),
        ("ring_gan", ["train.steps=many"], "train.steps is 'many'"),
        ("ring_gan", ["train.steps=0"], "train.steps is 0"),
        ("ring_gan", ["train.learning_rate=-1"], "train.learning_rate"),
        ("ring_gan", ["train.learning_rate=.inf"], "train.learning_rate is inf, expected a finite number"),
        ("ring_gan", ["model.prior=gamma"], "model.prior is 'gamma'"),
        ("ring_gan", ["model=flow"], "model.name is 'flow'"),
        ("ring_gan", ["model.network.name=mpl"], "model.network.name is 'mpl', not a known architecture. Did you mean"),
        ("ring_gan", ["model.network.deep=3"], "model.network.deep is not a field of MLP"),
        ("ring_gan", ["model.codes=3"], "model.codes belongs to model.name=mmd"),
        ("ring_gan", ["train.autoencoder.optimizer=sgd"], "train.autoencoder belongs to another model"),
        ("ring_gan", ["train.generator.optimizer=sdg"], "train.generator.optimizer is 'sdg'"),
        ("digits_vae", ["penalties=[r1]"], "penalties act on a critic"),
        ("ring_gan", ["data=rings"], "Did you mean 'ring'"),
        ("ring_gan", ["data.path=/nowhere/at/all"], "/nowhere/at/all"),
        ("ring_gan", ["data.options={limit: 20}"], "options holds 'limit', which is a key of data; write data.limit"),
        ("ring_gan", ["data.options={name_or_path: x}"], "has no option 'name_or_path'"),
        ("ring_gan", ["train.batch_size=1000000"], "train.batch_size is 1000000"),
        ("ring_gan", ["evaluation.metric=fid"], "evaluation.metric is 'fid'"),
        ("ring_gan", ["evaluation.features=classifier", "data=swiss_roll"], "needs labels"),
        ("ring_gan", ["model.network={name: dcgan}"], "dcgan"),
        ("ring_gan", ["steps"], "'steps' is not an override"),
        ("ring_gan", ["device=tpu"], "device='tpu'"),
        ("ring_gan", ["name=../escape"], "name"),
    ],
)
def test_a_wrong_recipe_is_one_sentence_and_leaves_nothing(tmp_path, recipe, overrides, message):
    runs = tmp_path / "runs"
    with pytest.raises(InputError) as caught:
        train_run(read_recipe(recipe, [*TINY, *overrides, f"runs_dir={runs}"])[0])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not runs.exists()


def test_another_family_takes_its_own_defaults_and_says_so():
    recipe, notes = read_recipe("digits_gan", ["model=vae", "penalties=[]"])
    assert recipe.loss is None
    assert "its defaults take the place of the recipe's loss" in notes[0]
    recipe, _ = read_recipe("digits_gan", ["model=mmd"])
    built = build(recipe)
    assert isinstance(built.state.model.loss, MMD)
    assert len(built.state.model.loss.bandwidths) == 5
    assert recipe.model.network == read_recipe("digits_gan")[0].model.network


def test_one_generator_serves_all_families():
    counts = set()
    for model in ("gan", "vae", "mmd"):
        state = build(read_recipe("digits_gan", [f"model={model}"])[0]).state
        counts.add(tuple(tuple(p.shape) for p in state.model.generator.parameters()))
    assert len(counts) == 1


def test_paired_losses_share_their_first_weights():
    one, two = (
        build(read_recipe("ring_gan", [f"loss={loss}"])[0]).state.weights() for loss in ("hinge", "wasserstein")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_loss_field_can_follow_a_schedule(tmp_path):
    schedule = "loss={name: elbo, beta: {schedule: linear, from: 0, to: 1, turns: 2}}"
    built = build(read_recipe("digits_vae", [*TINY, schedule])[0])
    assert built.state.model.loss == ELBO(beta=0.0)

    betas = [
        built.state.model.loss.beta
        for event in train(built.state, built.timetable, Hooks())
        if hasattr(event, "values")
    ]
    assert betas == [0.0, 0.5, 1.0, 1.0]


def test_preset_paper_sets_what_the_card_says_and_no_more():
    plain, _ = read_recipe("ring_gan", ["loss=wasserstein"])
    paper, notes = read_recipe("ring_gan", ["loss=wasserstein", "preset=paper"])
    assert plain.train.player("generator").optimizer == "adam"
    assert paper.train.player("generator").optimizer == "rmsprop"
    assert paper.train.player("discriminator").updates == 5
    assert paper.penalties == [{"name": "weight_clip", "bound": 0.01}]
    assert notes[0].startswith("preset=paper sets")
    kept, _ = read_recipe("ring_gan", ["loss=wasserstein", "preset=paper", "train.discriminator.updates=2"])
    assert kept.train.discriminator.updates == 2


def test_players_may_differ_in_their_optimisers():
    overrides = [
        "train.generator.optimizer=sgd",
        "train.generator.momentum=0.5",
        "train.discriminator.learning_rate=0.1",
    ]
    state = build(read_recipe("ring_gan", overrides)[0]).state
    generator, critic = state.training["generator"].optimizer, state.training["discriminator"].optimizer
    assert isinstance(generator, torch.optim.SGD)
    assert generator.param_groups[0]["momentum"] == 0.5
    assert isinstance(critic, torch.optim.Adam)
    assert critic.param_groups[0]["lr"] == 0.1


def test_a_loss_of_ones_own_is_imported_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "my_loss.py").write_text(
        "from dataclasses import dataclass\nfrom genloss.losses import Hinge\n\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine(Hinge):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    built = build(read_recipe("ring_gan", ["loss=my_loss:Mine"])[0])
    assert type(built.state.model.loss).__name__ == "Mine"
    with pytest.raises(InputError, match="cannot be imported"):
        build(read_recipe("ring_gan", ["loss=my_loss:Yours"])[0])


def test_folders_are_numbered_and_never_overwritten(tmp_path):
    recipe, _ = read_recipe("ring_gan", [f"runs_dir={tmp_path}"])
    dataset = load_data("digits")
    names = [RunFolder.create(recipe, dataset, {}).path.name for _ in range(3)]
    assert names == ["ring_gan-1", "ring_gan-2", "ring_gan-3"]


@pytest.mark.parametrize("optimizer", ["train.optimizer=adam", "train.optimizer=adamw", "train.learning_rate=0.1"])
def test_momentum_of_an_optimiser_that_has_none_is_refused(optimizer):
    with pytest.raises(InputError, match=r"train\.momentum is 0\.9, but adamw? has none"):
        build(read_recipe("digits_gan", [*TINY, optimizer, "train.momentum=0.9"])[0])


def test_betas_of_a_recipe_that_another_optimiser_leaves_out_are_noted():
    ready = build(read_recipe("digits_gan", [*TINY, "train.optimizer=sgd"])[0])
    assert "sgd has no betas: those of the generator are left out" in ready.notes


@pytest.mark.parametrize(("every", "count"), [("0", 1), ("null", 10), ("7", 3)])
def test_how_often_a_run_is_evaluated(tmp_path, every, count):
    changes = [*TINY, "train.steps=20", f"evaluation.every={every}", f"runs_dir={tmp_path}"]
    run = train_run(read_recipe("digits_gan", changes)[0]).folder
    assert sum(event["event"] == "evaluated" for event in RunFolder.open(run).events()) == count
