"""The loop: who moves, what is reported, where it stops, and that it goes on exactly."""

import math

import pytest
import torch

from genloss.errors import InputError
from genloss.losses import R1, GradientPenalty, LeastSquares, RelativisticPaired, WeightClip
from genloss.protocols import CheckpointSaved, Diverged, Evaluated, Finished, StepDone, TurnDone
from genloss.training.batches import BatchStream
from genloss.training.checkpoint import load_checkpoint, save_checkpoint
from genloss.training.history import History
from genloss.training.loop import Hooks, Timetable, _fault, train
from genloss.training.randomness import spawn, stream
from tests.training.tiny import cloud, make_state


def weights(state):
    return {name: tensor.clone() for name, tensor in state.weights().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_players_move_in_order_and_the_critic_as_often_as_it_says():
    state = make_state(critic_updates=3)
    events = list(train(state, Timetable(2), Hooks()))
    assert [e.player for e in events if isinstance(e, StepDone)] == (["discriminator"] * 3 + ["generator"]) * 2
    assert isinstance(events[-1], Finished)
    assert events[-1].status == "finished"
    assert state.samples == 2 * 4 * 16


def test_opponents_are_frozen_during_an_update():
    state = make_state()
    for event in train(state, Timetable(3), Hooks()):
        if isinstance(event, StepDone):
            other = "generator" if event.player == "discriminator" else "discriminator"
            assert not any(p.requires_grad for p in getattr(state.model, other).parameters())
            assert all(p.requires_grad for p in getattr(state.model, event.player).parameters())


def test_a_players_update_leaves_the_others_weights_alone():
    state = make_state()
    before = weights(state)
    for event in train(state, Timetable(1), Hooks()):
        if isinstance(event, StepDone):
            after = weights(state)
            moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
            assert moved == {event.player}
            before = after


def test_statistics_are_means_over_the_turns_between():
    state = make_state()
    values, means = [], []
    for event in train(state, Timetable(6, log_every=3), Hooks()):
        if isinstance(event, StepDone) and event.player == "generator":
            values.append(event.values["loss"].item())
        if isinstance(event, TurnDone) and event.statistics:
            means.append(event.statistics["generator/loss"])
    assert means == pytest.approx([sum(values[:3]) / 3, sum(values[3:]) / 3])


def test_statistics_keep_their_precision_beside_one_of_the_networks():
    history = History()
    for turn in range(1, 101):  # more than a store holds at first
        loss = torch.tensor(1.0 + turn / 1024)
        history.append(turn, "generator", {"score": torch.tensor(0.5, dtype=torch.bfloat16), "loss": loss})
    assert history.drain()["generator/loss"] == pytest.approx(1.0 + 50.5 / 1024, abs=1e-6)
    history.append(101, "generator", {"score": torch.tensor(0.5), "loss": torch.tensor(torch.nan)})
    assert history.first_fault().tensor == "loss"


@pytest.mark.parametrize("penalties", [(), (R1(),), (GradientPenalty(),)])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path, penalties):
    straight = make_state(penalties=penalties, ema=0.9, loss=RelativisticPaired())
    expected = [e for e in train(straight, Timetable(20, log_every=4), Hooks()) if isinstance(e, TurnDone)]
    first = make_state(penalties=penalties, ema=0.9, loss=RelativisticPaired())
    hooks = Hooks(save=lambda s, best: save_checkpoint(tmp_path, s, best=best), stop=lambda: first.turn == 7)
    seen = [e for e in train(first, Timetable(20, log_every=4), hooks) if isinstance(e, TurnDone)]
    second = make_state(penalties=penalties, ema=0.9, loss=RelativisticPaired())
    load_checkpoint(tmp_path, second)
    seen += [e for e in train(second, Timetable(20, log_every=4), Hooks()) if isinstance(e, TurnDone)]
    assert seen == expected
    assert same(weights(second), weights(straight))


def test_a_run_evaluated_often_equals_one_never_evaluated():
    def evaluate(state):
        with state.sampling() as model:
            return {"mean": float(model.sample(8, rng=stream(0, "evaluation")).mean())}

    often, never = make_state(ema=0.9), make_state(ema=0.9)
    events = list(train(often, Timetable(10, evaluate_every=1), Hooks(evaluate=evaluate)))
    list(train(never, Timetable(10), Hooks()))
    assert sum(isinstance(e, Evaluated) for e in events) == 10
    assert same(weights(often), weights(never))
    assert often.model.training


def test_every_evaluation_is_followed_by_a_checkpoint_best_or_not():
    saves = []
    hooks = Hooks(
        evaluate=lambda state: {"metric": float(state.turn)},
        better=lambda state, metrics: metrics["metric"] if state.turn == 2 else None,
        save=lambda state, best: saves.append((state.turn, best)),
    )
    state = make_state()
    events = list(train(state, Timetable(7, evaluate_every=2, checkpoint_every=4), hooks))
    assert saves == [(2, True), (4, False), (6, False), (7, False)]
    told = [type(e).__name__ for e in events if isinstance(e, TurnDone | Evaluated | CheckpointSaved) and e.turn == 4]
    assert told == ["TurnDone", "Evaluated", "CheckpointSaved"]


@pytest.mark.parametrize("turn", [1, 6])
def test_the_first_value_that_is_not_finite_is_named(tmp_path, turn):
    state = make_state()
    hooks = Hooks(save=lambda s, best: save_checkpoint(tmp_path, s, best=best))
    events = []
    for event in train(state, Timetable(50, log_every=10, checkpoint_every=2), hooks):
        events.append(event)
        if (isinstance(event, TurnDone) and event.turn == turn - 1) or (turn == 1 and len(events) == 1):
            with torch.no_grad():
                next(state.model.generator.parameters())[0, 0] = math.nan
    diverged = [e for e in events if isinstance(e, Diverged)]
    assert len(diverged) == 1
    assert (diverged[0].player, diverged[0].turn) == (("generator", 1) if turn == 1 else ("discriminator", turn))
    assert diverged[0].tensor == ("loss" if turn == 1 else "fake_score")
    assert events[-1] == Finished(turn, "diverged")
    saved = [e.turn for e in events if isinstance(e, CheckpointSaved)]
    assert saved == list(range(2, turn, 2))
    if saved:
        fresh = make_state()
        load_checkpoint(tmp_path, fresh)
        assert all(tensor.isfinite().all() for tensor in fresh.weights().values())


def test_weights_that_overflow_are_never_saved(tmp_path):
    state = make_state()
    hooks = Hooks(save=lambda s, best: save_checkpoint(tmp_path, s, best=best))
    events = []
    for event in train(state, Timetable(50, checkpoint_every=2), hooks):
        events.append(event)
        if isinstance(event, StepDone) and (event.turn, event.player) == (4, "generator"):
            with torch.no_grad():
                next(state.model.generator.parameters())[0, 0] = math.inf
    fault = next(e for e in events if isinstance(e, Diverged))
    assert (fault.turn, fault.player) == (4, "generator")
    assert fault.tensor.startswith("weights of generator.")
    assert [e.turn for e in events if isinstance(e, CheckpointSaved)] == [2]


def test_weights_whose_squares_overflow_are_finite():
    state = make_state()
    first = next(state.model.generator.parameters())
    first.data.fill_(1e25)
    assert _fault(state, weights=True) is None
    first.data[0, 0] = math.nan
    assert _fault(state, weights=True).player == "generator"


def test_a_metric_that_is_not_finite_is_no_players():
    state = make_state()
    events = list(train(state, Timetable(2, evaluate_every=1), Hooks(evaluate=lambda state: {"bound": math.nan})))
    (fault,) = [e for e in events if isinstance(e, Diverged)]
    assert (fault.turn, fault.player) == (1, None)
    assert fault.sentence().startswith("the run diverged: measured at turn 1, 'bound' was nan; lower the learning")


def test_an_infinite_gradient_is_named_by_its_parameter():
    state = make_state(loss=LeastSquares())

    def poison(gradient):
        return gradient * math.inf

    name = next(n for n, _ in state.model.generator.named_parameters())
    events = []
    for event in train(state, Timetable(5, log_every=1), Hooks()):
        events.append(event)
        if isinstance(event, TurnDone) and event.turn == 1:
            state.model.generator.get_parameter(name).register_hook(poison)
    fault = next(e for e in events if isinstance(e, Diverged))
    assert (fault.turn, fault.player, fault.tensor) == (2, "generator", f"gradient of generator.{name}")


def test_the_gradient_is_clipped_to_the_norm_it_says():
    state = make_state(clip_norm=1e-4)
    taken = []

    def see(optimizer, arguments, options):
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
        taken.append(torch.stack([gradient.norm() for gradient in gradients]).norm())

    for how in state.training.values():
        how.optimizer.register_step_pre_hook(see)
    for event in train(state, Timetable(1), Hooks()):
        if isinstance(event, StepDone):
            assert taken.pop() <= 1.001e-4
            reported = [v for k, v in event.values.items() if k.startswith("gradient of")]
            assert torch.stack(reported).norm() > 1e-3


def test_no_gradient_is_kept_between_updates():
    state = make_state()
    for event in train(state, Timetable(2), Hooks()):
        if isinstance(event, StepDone):
            assert all(parameter.grad is None for parameter in state.model.parameters())


def test_clipped_weights_stay_in_the_bound():
    state = make_state(constraints=[WeightClip(bound=0.01)])
    list(train(state, Timetable(3), Hooks()))
    assert max(p.abs().max() for p in state.model.discriminator.parameters()) <= 0.01
    assert max(p.abs().max() for p in state.model.generator.parameters()) > 0.01


def test_the_average_lags_behind_the_weights():
    state = make_state(ema=0.5)
    begin = weights(state)
    list(train(state, Timetable(1), Hooks()))
    now = weights(state)
    for name in now:
        if name.startswith("ema."):
            own = name.removeprefix("ema.")
            torch.testing.assert_close(now[name], 0.5 * begin[own] + 0.5 * now[own])


def test_two_losses_with_one_seed_see_the_same_batches_and_noise():
    seen = []
    for loss in (LeastSquares(), RelativisticPaired()):
        state = make_state(loss=loss)
        list(train(state, Timetable(4), Hooks()))
        streams = [state.streams[name].get_state() for name in ("noise", "order")]
        seen.append((*streams, state.batches.state_dict()))
    assert torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(seen[0][1], seen[1][1])
    assert seen[0][2]["position"] == seen[1][2]["position"]


def test_every_sample_is_seen_equally_often():
    streams = spawn(3, "cpu")
    data = cloud(10)
    batches = BatchStream(data, 4, streams["order"], streams["data"])
    drawn = torch.cat([batches.next() for _ in range(15)])
    counts = (drawn[:, None] == data.splits["train"].values[None]).all(-1).sum(0)
    assert counts.tolist() == [6] * 10


def test_a_batch_larger_than_the_data_is_refused():
    streams = spawn(0, "cpu")
    with pytest.raises(InputError, match=r"train\.batch_size is 11, but 'cloud' has 10"):
        BatchStream(cloud(10), 11, streams["order"], streams["data"])
