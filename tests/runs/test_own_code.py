"""Losses of one's own that fail say where, and instances are trained and found again."""

import pytest
import yaml

from genloss.errors import InputError, WorkError
from genloss.losses import Hinge
from genloss.runs.build import build
from genloss.runs.faults import explained
from genloss.runs.folder import recipe_text
from genloss.runs.recipes import parse_recipe, read_recipe
from genloss.training.loop import Hooks, train

OWN = """\
from dataclasses import dataclass
from torch.nn.functional import softplus
from genloss.losses import AdversarialLoss, Hinge, ParameterPenalty

class Right(AdversarialLoss):
    def _discriminator(self, a_r, a_f):
        return softplus(-a_r) + softplus(a_f)

    def _generator(self, a_f, a_r):
        return softplus(-a_f)

class Raises(Right):
    def _generator(self, a_f, a_r):
        raise RuntimeError("of one's own")  # line 14

class Nothing(Right):  # line 16
    def _generator(self, a_f, a_r):
        return None

class Stops(Right):
    calls = 0

    def _generator(self, a_f, a_r):
        Stops.calls += 1
        return softplus(-a_f) if Stops.calls < 3 else None

class Wrong(Right):
    def _generator(self, a_f, a_r):
        return a_f.nope()

class Leaves(Right):
    def _generator(self, a_f, a_r):
        raise SystemExit(5)

class Later(Right):
    calls = 0

    def _generator(self, a_f, a_r):
        Later.calls += 1
        return softplus(-a_f) / (Later.calls < 3 or 1 // 0)  # line 40

@dataclass(frozen=True, kw_only=True)
class Asks(Right):
    weight: float

class Plain(Right):
    def __init__(self, weight):
        self.weight = weight

class Sum(ParameterPenalty):
    def _penalty(self, parameters, state):
        return sum(p.abs().sum() for p in parameters)

def hidden():
    class Hidden(Right):
        pass

    return Hidden()

right, asks, plain, bundled, penalty, inside = Right(), Asks(weight=2.0), Plain(3), Hinge(), Sum(), hidden()
"""
TINY = ["train.steps=6", "train.batch_size=8", "model.network={name: mlp, width: 8, depth: 1}", "device=cpu"]


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(5)\n")
    monkeypatch.chdir(tmp_path)


def built(*overrides):
    return build(read_recipe("ring_gan", [*TINY, *overrides])[0])


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("loss=own.py:Raises", ["RuntimeError: of one's own (", "own.py, line 14)"]),
        ("loss=own.py:Nothing", ["the loss returned None, expected a tensor", "(Nothing in ", "own.py, line 16)"]),
        ("loss=own.py:Wrong", ["AttributeError", "'nope'", "own.py, line 29)"]),
        ("loss=own.py:Leaves", ["SystemExit: 5 (", "own.py, line 33)"]),
        ("loss=own.py:Asks", ["loss.weight is required: Asks has no default for it"]),
        ("loss=leaves.py:Any", ["SystemExit: 5 (", "leaves.py, line 2)"]),
        ("loss=own.py:penalty", ["is a Sum, expected a genloss.losses.AdversarialLoss"]),
        ("loss=own.py:inside", ["of the class Hidden, which was made inside a function"]),
        ("loss={name: own.py:asks, weight: 3}", ["loss.weight was given, but 'own.py:asks' is an instance"]),
    ],
)
def test_an_own_loss_that_cannot_work_says_where_before_training(own, override, parts):
    with pytest.raises(InputError) as refused:
        built(override)
    for part in parts:
        assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_own_loss_that_fails_in_training_is_explained(own):
    ready = built("loss=own.py:Later")
    with pytest.raises(ZeroDivisionError) as failed:
        list(train(ready.state, ready.timetable, Hooks()))
    sentence = explained(failed.value)
    assert sentence.startswith("your own code failed: ZeroDivisionError: ")
    assert "own.py, line 40)" in sentence
    assert explained(ZeroDivisionError("ours")) is None


def test_an_own_loss_that_returns_nothing_in_training_is_explained(own):
    ready = built("loss=own.py:Stops")
    with pytest.raises(WorkError, match="turn 2, generator: the loss returned None, expected a tensor"):
        list(train(ready.state, ready.timetable, Hooks()))


@pytest.mark.parametrize(("name", "kind"), [("right", "Right"), ("asks", "Asks"), ("plain", "Plain")])
@pytest.mark.parametrize("place", ["own.py", "own"])
def test_an_instance_is_trained_and_found_again_with_what_it_holds(own, place, name, kind):
    first = built(f"loss={place}:{name}", f"penalties=[{place}:penalty]")
    text = recipe_text(first.recipe)
    again = build(parse_recipe(yaml.safe_load(text)))
    assert recipe_text(again.recipe) == text
    loss = again.state.model.loss
    assert type(loss).__name__ == kind
    assert vars(loss) == vars(first.state.model.loss)
    assert (name in first.recipe.loss["name"]) == (kind != "Asks")


def test_an_instance_of_a_bundled_loss_is_written_by_its_name(own):
    assert built("loss=own.py:bundled").recipe.loss["name"] == "hinge"
    assert type(built("loss=own.py:bundled").state.model.loss) is Hinge
