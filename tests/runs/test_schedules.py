"""Schedules of losses, penalties and constraints: refused before the run, followed turn by turn, resumed exactly."""

import pytest
import torch
import yaml

from genloss.comparison.plan import make_plan
from genloss.errors import InputError, WorkError
from genloss.runs import choices
from genloss.runs.build import build
from genloss.runs.execute import train_run
from genloss.runs.folder import recipe_text
from genloss.runs.recipes import parse_recipe, read_recipe
from genloss.runs.sampling import open_run
from genloss.training.loop import Hooks, train

TINY = [
    "train.steps=4",
    "train.log_every=2",
    "train.batch_size=16",
    "model.network={name: mlp, width: 8, depth: 1}",
    "evaluation.samples=40",
    "device=cpu",
]
ALPHA = "loss={name: f_alpha, alpha: {schedule: linear, from: 0.5, to: 1.5, turns: 2}}"
WEIGHT = "penalties=[{name: r1, weight: {schedule: linear, from: 0, to: 2, turns: 2}}]"


def built(recipe, *overrides):
    return build(read_recipe(recipe, [*TINY, *overrides])[0])


def ramp(start, end, more=""):
    return f"{{schedule: linear, from: {start}, to: {end}{more}}}"


def targets(generator, real, fake):
    return f"loss={{name: least_squares, generator_target: {generator}, real_target: {real}, fake_target: {fake}}}"


REFUSED = [
    ("ring_gan", ALPHA, "loss.alpha is 1 in turn 2: alpha is 1.0, expected"),
    (
        "ring_gan",
        targets(2.0, ramp(1, 0.5), ramp(0, 0.9)),
        "loss.real_target is 0.625 and loss.fake_target is 0.675 in turn 4: real_target is 0.625, expected more than",
    ),
    ("digits_vae", f"loss={{name: elbo, beta: {ramp(1, -3)}}}", "loss.beta is -1 in turn 3: beta is -1.0, expected"),
    ("digits_vae", "loss={name: elbo, samples: " + ramp(1, 3) + "}", "loss.samples follows a schedule, but only real"),
    (
        "digits_vae",
        f"loss={{name: wae, divergence: {{name: sliced_wasserstein, p: {ramp(1, 0)}}}}}",
        "loss.divergence.p is 0.75 in turn 2: p is 0.75, expected",
    ),
    ("ring_gan", f"penalties=[{{name: r1, weight: {ramp(1, -1)}}}]", "penalties[0].weight is -0.5 in turn 4"),
    ("ring_gan", f"penalties=[r2, {{name: r1, weight: {ramp(-1, 1)}}}]", "penalties[1].weight is -1.0, expected"),
    ("ring_gan", f"penalties=[{{name: r1, interval: {ramp(1, 2)}}}]", "penalties[0].interval is 1.0, expected a whole"),
    ("ring_gan", f"penalties=[{{name: weight_clip, bound: {ramp(1, -1)}}}]", "penalties[0].bound is 0 in turn 3"),
    (
        "ring_gan",
        f"penalties=[{{name: gradient_penalty, one_sided: {ramp(0, 1)}}}]",
        "penalties[0].one_sided follows a schedule, but only real numbers can",
    ),
    (
        "digits_vae",
        f"model.likelihood={{name: gaussian, variance: {ramp(1, 2)}}}",
        "model.likelihood.variance follows a schedule, but a decoder's density stays the same",
    ),
]


@pytest.mark.parametrize(("recipe", "override", "message"), REFUSED)
def test_a_schedule_through_a_refused_value_is_refused_before_the_run(tmp_path, recipe, override, message):
    with pytest.raises(InputError) as refused:
        train_run(read_recipe(recipe, [*TINY, override, f"runs_dir={tmp_path}"])[0])
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("recipe", "override", "last"),
    [
        # The first values of the other fields would refuse where these end.
        (
            "ring_gan",
            targets(4.0, ramp(1, 3, ", turns: 3"), ramp(0, 2, ", turns: 3")),
            {"real_target": 3.0, "fake_target": 2.0},
        ),
        (
            "digits_vae",
            f"loss={{name: info_vae, information: {ramp(1, -1, ', turns: 3')}, scale: {ramp(1, 3, ', turns: 3')}}}",
            {"information": -1.0, "scale": 3.0},
        ),
    ],
)
def test_schedules_that_hold_together_are_trained(recipe, override, last):
    run = built(recipe, override)
    list(train(run.state, run.timetable, Hooks()))
    assert {name: getattr(run.state.model.loss, name) for name in last} == last


def test_a_short_ramp_of_a_long_run_is_tried_turn_by_turn():
    ramp_of_two = "loss={name: f_alpha, alpha: {schedule: linear, from: 0.5, to: 1.5, start: 500001, turns: 2}}"
    with pytest.raises(InputError, match=r"loss.alpha is 1 in turn 500003: alpha is 1.0"):
        built("ring_gan", "train.steps=1000000", ramp_of_two)


def test_what_was_not_tried_fails_in_a_sentence(monkeypatch):
    monkeypatch.setattr(choices, "TRIED", 1)
    run = built("ring_gan", ALPHA)
    with pytest.raises(WorkError, match=r"^loss.alpha is 1 in turn 2: alpha is 1.0, expected"):
        list(train(run.state, run.timetable, Hooks()))


def test_a_weight_is_what_the_schedule_says_of_the_turn():
    """The first turn weighs nothing, and each later one is that of a run whose weight is set by hand."""
    scheduled, free = built("ring_gan", WEIGHT), built("ring_gan", "penalties=[{name: r1, weight: 0}]")
    weights = []
    turns = zip(*(train(run.state, run.timetable, Hooks()) for run in (scheduled, free)), strict=True)
    for event, _ in turns:
        (applied,) = scheduled.state.model.restraints_of("discriminator").penalties
        if hasattr(event, "values") and event.player == "generator":
            weights.append(applied.weight)
            one, two = (run.state.model.discriminator.state_dict() for run in (scheduled, free))
            assert all(torch.equal(one[name], two[name]) for name in one) == (event.turn == 1)
    assert weights == [0.0, 1.0, 2.0, 2.0]


def test_the_term_of_a_scheduled_weight_is_added_with_it():
    run = built("ring_gan", WEIGHT)
    x = run.dataset.all("train", limit=8, rng=torch.Generator()).x
    for turn, weight in ((1, 0.0), (2, 1.0), (3, 2.0)):
        run.state.turn = turn
        run.state.follow_schedules()
        terms = run.state.model.losses("discriminator", x, run.state.model_streams, turn)
        loss, penalty = (terms.parts[name][0] for name in ("loss", "r1"))
        assert penalty > 0
        torch.testing.assert_close(terms.total(), loss + weight * penalty)


def test_a_constraint_and_a_target_follow_their_schedules():
    clip = f"{{name: weight_clip, bound: {ramp(0.4, 0.1, ', turns: 3')}}}"
    run = built("ring_gan", f"penalties=[{clip}, {{name: gradient_penalty, target: {ramp(0, 1, ', turns: 3')}}}]")
    for event in train(run.state, run.timetable, Hooks()):
        if hasattr(event, "values") and event.player == "discriminator":
            restraints = run.state.model.restraints_of("discriminator")
            bound = 0.4 - 0.1 * (event.turn - 1)
            (clipping,) = restraints.constraints
            assert clipping.bound == pytest.approx(bound)
            assert restraints.penalties[0].penalty.target == pytest.approx((event.turn - 1) / 3)
            largest = max(p.abs().max().item() for p in run.state.model.discriminator.parameters())
            assert largest <= bound + 1e-6


def test_the_resolved_recipe_holds_the_schedules_and_gives_the_same_run():
    run = built("ring_gan", WEIGHT, targets(4.0, ramp(1, 3), ramp(0, 2)))
    schedule = {"schedule": "linear", "from": 0, "to": 2, "turns": 2}
    assert run.recipe.penalties == [{"name": "r1", "weight": schedule, "interval": 1}]
    assert run.recipe.loss["fake_target"] == {"schedule": "linear", "from": 0, "to": 2}
    again = build(parse_recipe(yaml.safe_load(recipe_text(run.recipe))))
    assert again.recipe == run.recipe
    assert again.state.scheduled == run.state.scheduled


def test_a_loaded_state_has_the_numbers_of_its_turn():
    run, other = built("ring_gan", WEIGHT), built("ring_gan", WEIGHT)
    list(train(run.state, run.timetable, Hooks()))
    other.state.load_state_dict(run.state.state_dict())
    assert [p.weight for p in other.state.model.restraints_of("discriminator").penalties] == [2.0]


def test_a_preset_and_a_comparison_keep_a_schedule():
    weight = f"{{name: gradient_penalty, weight: {ramp(0, 10)}}}"
    recipe, notes = read_recipe("ring_gan", ["loss=wasserstein", f"penalties=[{weight}]", "preset=paper"])
    assert notes[0].startswith("preset=paper sets")
    assert recipe.penalties == yaml.safe_load(f"[{weight}]")
    plan, _ = make_plan("ring_gan", TINY, [f"loss=hinge,wasserstein+{weight}"], seeds=1)
    scheduled = [build(parse_recipe(variant.recipe)).state.scheduled for variant in plan.variants]
    assert [[part.name for part in parts] for parts in scheduled] == [[], ["penalties[1]"]]


def test_weights_that_are_opened_come_with_the_numbers_of_their_turn(tmp_path):
    recipe, _ = read_recipe("ring_gan", [*TINY, WEIGHT, f"runs_dir={tmp_path}"])
    _, opened, checkpoint = open_run(train_run(recipe).folder, "last")
    assert checkpoint == f"last (turn {recipe.train.steps})"
    assert [p.weight for p in opened.state.model.restraints_of("discriminator").penalties] == [2.0]
