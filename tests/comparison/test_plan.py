"""The plan: the same for the same command, checked as a whole, locked."""

import json

import pytest

from genloss.comparison.conclusion import headline, ranked, standing_of
from genloss.comparison.engine import Result
from genloss.comparison.plan import lock, locked_facts, make_plan
from genloss.comparison.run import Comparison
from genloss.comparison.statistics import Summary
from genloss.errors import InputError
from genloss.runs.recipes import read_recipe

LOSSES = "loss=non_saturating,wasserstein+gradient_penalty,hinge+{name: r1, weight: 1}"


def test_the_same_command_makes_the_same_plan():
    first, folder = make_plan("ring_gan", ["train.steps=5"], [LOSSES], 3)
    second, again = make_plan("ring_gan", ["train.steps=5"], [LOSSES], 3)
    assert first.text() == second.text()
    assert first.sha256 == second.sha256
    assert folder == again
    assert folder.name == f"compare-ring_gan-{first.sha256[:8]}"


@pytest.mark.parametrize(
    ("overrides", "vary", "seeds"),
    [
        (["train.steps=6"], LOSSES, 3),
        (["train.steps=5", "seed=1"], LOSSES, 3),
        (["train.steps=5", "evaluation.samples=60"], LOSSES, 3),
        (["train.steps=5"], LOSSES.replace("1}", "2}"), 3),
        (["train.steps=5"], LOSSES, 4),
    ],
)
def test_whatever_changes_a_number_changes_the_digest(overrides, vary, seeds):
    plan, _ = make_plan("ring_gan", ["train.steps=5"], [LOSSES], 3)
    assert make_plan("ring_gan", overrides, [vary], seeds)[0].sha256 != plan.sha256


def test_where_runs_go_does_not_change_the_digest():
    plan, _ = make_plan("ring_gan", [], [LOSSES], 2)
    other, folder = make_plan("ring_gan", ["runs_dir=elsewhere"], [LOSSES], 2)
    assert other.sha256 == plan.sha256
    assert folder.parent.name == "elsewhere"


def test_seeds_count_from_the_recipes():
    plan, _ = make_plan("ring_gan", ["seed=7"], [LOSSES], 3)
    assert plan.seeds == (7, 8, 9)
    assert [cell.name for cell in plan.cells[:4]] == [
        "non_saturating-seed7",
        "wasserstein-gradient_penalty-seed7",
        "hinge-r1-weight-1-seed7",
        "non_saturating-seed8",
    ]


def test_variants_keep_what_is_not_varied():
    plan, _ = make_plan(
        "mnist_wgan_gp", [], ["loss=wasserstein,hinge+r1,wasserstein+{name: gradient_penalty, weight: 1}"], 2
    )
    penalties = [[(p["name"], p.get("weight")) for p in v.recipe["penalties"]] for v in plan.variants]
    assert penalties == [
        [("gradient_penalty", 10)],
        [("gradient_penalty", 10), ("r1", None)],
        [("gradient_penalty", 1)],
    ]
    assert {v.recipe["train"]["discriminator"]["updates"] for v in plan.variants} == {3}


def test_families_share_the_metric_and_the_rule_for_checkpoints():
    plan, _ = make_plan("digits_vae", [], ["model=vae,gan,mmd"], 2)
    assert (plan.metric, plan.higher_is_better) == ("mmd2", False)
    assert {variant.recipe["evaluation"]["metric"] for variant in plan.variants} == {"mmd2"}
    assert any("bound" in note for note in plan.notes)
    assert any("another family" in note for note in plan.variants[1].notes)
    assert [loss["name"] for loss in plan.differences["loss"].values()] == ["elbo", "non_saturating", "mmd"]
    assert "model.name" not in plan.differences


def test_the_bound_is_compared_when_every_variant_is_a_vae_whose_recipe_names_it():
    plan, _ = make_plan("digits_vae", [], ["loss.beta=1.0,4.0"], 2)
    assert (plan.metric, plan.higher_is_better) == ("bound", True)


@pytest.mark.parametrize("field", ["beta", "samples"])
def test_a_field_of_the_loss_that_was_varied_is_no_other_difference(field):
    plan, _ = make_plan("digits_vae", [], [f"loss.{field}=1,4"], 2)
    assert plan.differences == {}


def test_numbers_of_different_conventions_are_not_ranked(tmp_path):
    plan, _ = make_plan("ring_gan", [], ["loss=hinge,minimax"], 1)
    results = {cell: Result("finished", signature=f"mmd2|features:{place}") for place, cell in enumerate(plan.cells)}
    summaries = tuple(Summary(variant.name, (-float(place),)) for place, variant in enumerate(plan.variants))
    comparison = Comparison(plan, tmp_path, {}, results, summaries)
    assert standing_of(comparison).best is None
    assert ranked(comparison) == list(summaries)
    first, *others = headline(comparison)
    assert "do not compare" in first
    assert "features:0 and as mmd2|features:1" in first
    assert not any("best" in sentence for sentence in others)


def test_a_preset_and_all_that_it_sets_is_listed():
    plan, _ = make_plan("ring_gan", [], ["preset=null,paper"], 2)
    paper = plan.variants[1]
    assert paper.name == "preset=paper"
    assert "preset" not in paper.recipe
    assert paper.notes
    set_keys = {
        item.partition("=")[0] for item in paper.notes[0].removeprefix("preset=paper sets ").split(", ") if "=" in item
    }
    assert set_keys & set(plan.differences)


@pytest.mark.parametrize(
    ("vary", "part"),
    [
        (["loss=hinge,minimax,wassersten"], "variant 'wassersten'.*Did you mean 'wasserstein'"),
        (["loss=hinge,elbo"], "variant 'elbo'.*family variational"),
        (["loss=hinge,minimax+r9"], r"variant 'minimax\+r9'"),
        (["train.stepps=1,2"], "variant 'train.stepps=1'.*Did you mean 'train.steps'"),
        (["model=gan,vae", "loss=hinge,minimax"], "variant 'vae / hinge'"),
        (["loss=hinge,{name: hinge}"], "same recipe"),
        (["train.steps=20000,10"], None),
        (["train.steps=20000,2e4"], "same recipe"),
    ],
)
def test_one_wrong_variant_refuses_the_plan(vary, part):
    if part is None:
        assert len(make_plan("ring_gan", [], vary, 1)[0].variants) == 2
    else:
        with pytest.raises(InputError, match=part):
            make_plan("ring_gan", [], vary, 1)


def test_a_lock_writes_recipes_that_read_back_and_refuses_what_was_changed(tmp_path):
    plan, _ = make_plan("ring_gan", ["train.steps=5"], [LOSSES, "preset=null,paper"], 2)
    assert locked_facts(plan, tmp_path) is None
    facts = {"parameters": {}, "data": {}, "device": "cpu", "floor": 0.5, "floor_samples": 7}
    lock(plan, tmp_path, facts)
    assert locked_facts(plan, tmp_path) == facts
    for variant in plan.variants:
        recipe, notes = read_recipe(str(tmp_path / "recipes" / f"{variant.folder}.yaml"))
        tree = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
        assert {key: tree[key] for key in variant.recipe} == variant.recipe
        assert notes == []
    path = tmp_path / "plan.json"
    content = json.loads(path.read_text())
    content["plan"]["samples"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="was changed"):
        locked_facts(plan, tmp_path)
    lock(plan, tmp_path, {})
    with pytest.raises(InputError, match="cannot be read: KeyError"):
        locked_facts(plan, tmp_path)
    path.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        locked_facts(plan, tmp_path)


def test_the_users_own_code_is_part_of_the_plan(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "own_plan_loss.py"
    source.write_text("from genloss.losses import Hinge\n\n\nclass Own(Hinge):\n    '''A loss.'''\n")
    vary = ["loss=hinge,own_plan_loss:Own"]
    plan, _ = make_plan("ring_gan", [], vary, 1)
    assert list(plan.sources) == ["own_plan_loss:Own"]
    source.write_text(source.read_text() + "    # changed\n")
    assert make_plan("ring_gan", [], vary, 1)[0].sha256 != plan.sha256
