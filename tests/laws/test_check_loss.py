"""What `check_loss` tells: every law of a family and of all, why one was skipped, and what cannot be checked."""

from typing import ClassVar

import pytest
import torch

import genloss.losses as losses
from genloss.losses._law_tools import number, same
from genloss.losses.laws import EVERY, LawBroken, check_loss, families, law
from tests.laws.mistakes import broken


def results(loss):
    return {result.law: (result.status, result.message) for result in check_loss(loss)}


def test_every_family_of_the_catalogue_has_laws():
    assert set(families()) == {cls.family for cls in losses.catalogue().values()}
    assert EVERY not in families()


def test_losses_of_a_family_are_held_to_the_same_laws_in_the_same_order():
    first, second = list(results(losses.Hinge())), list(results(losses.SoftmaxGAN()))
    assert first == second
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("loss", [losses.Hinge(), losses.R1(), losses.MMD(), losses.ELBO(), losses.TokenCrossEntropy()])
def test_every_family_is_held_to_the_laws_of_all(loss):
    told = results(loss)
    assert told["bfloat16 autocast changes nothing"][0] == "passed"
    assert told["The graphics processor gives what the central processor gives"][0] in ("passed", "skipped")


def test_a_skipped_law_says_why():
    found = results(losses.MMD(estimator="biased"))
    assert found["Between equal distributions an unbiased estimate is 0 in the mean"] == (
        "skipped",
        "it does not claim to be unbiased (estimator is 'biased')",
    )
    told = results(losses.DenoisingScoreMatching())
    status, message = told["Values and gradients from float32 and bfloat16 tensors are those of float64"]
    assert (status, message.split(",")[0]) == ("skipped", "it draws random numbers")


class WithoutCard(losses.AdversarialLoss):
    """Least squares with targets 1 and 3: it rests at a score of 2, which it does not state."""

    def _discriminator(self, a_r, a_f):
        return (a_r - 3.0).square() + (a_f - 1.0).square()

    def _generator(self, a_f, a_r):
        return (a_f - 3.0).square()


def test_a_loss_without_a_card_is_checked_around_the_equilibrium_that_it_has():
    found = results(WithoutCard())
    assert not broken(WithoutCard())
    assert found["At the equilibrium no shift of all scores helps the discriminator"][0] == "passed"
    assert found["At the equilibrium both losses have the value that equilibrium() states"][0] == "skipped"
    signs = next(message for name, (_, message) in found.items() if "parts real from fake" in name)
    assert signs.startswith("slopes -2 (real), +2 (fake)")


def test_a_base_class_tells_what_it_asks_for():
    class NoPoints(losses.Penalty):
        def _penalty(self, view):
            return view.real.flatten(1).sum(1)

    with pytest.raises(TypeError, match=r"NoPoints has no 'points', which Penalty asks for"):
        check_loss(NoPoints())


def test_a_law_may_be_added():
    class Homemade(losses.Wasserstein):
        family: ClassVar[str] = "homemade"

    @law("homemade")
    def _zero(loss):
        """At equal scores the loss is 1."""
        zero = torch.zeros(2)
        same("the loss is", loss.discriminator(zero, zero), torch.ones(2))
        return "1"

    try:
        assert results(Homemade())["At equal scores the loss is 1"] == ("broken", "the loss is: 0, expected 1.")
    finally:
        from genloss.losses import laws

        del laws._LAWS["homemade"]


def test_the_values_at_fault_are_told():
    with pytest.raises(LawBroken, match=r"it is: 5, expected 3\."):
        same("it is", torch.tensor([1.0, 5.0]), torch.tensor([1.0, 3.0]))
    assert number(torch.tensor([1.0, 2.0])) == "[1, 2]"


class MeanTooEarly(losses.AdversarialLoss):
    """Returns the mean, where one value a sample is asked for."""

    def _discriminator(self, a_r, a_f):
        return (torch.nn.functional.softplus(-a_r) + torch.nn.functional.softplus(a_f)).mean()

    def _generator(self, a_f, a_r):
        return torch.nn.functional.softplus(-a_f).mean()


def test_where_the_shape_is_wrong_laws_that_cannot_run_are_skipped(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = results(MeanTooEarly())
    assert found["Each player's loss is one number a sample, in float32 or better"][0] == "broken"
    assert not any("raised" in message for _, message in found.values())
    assert ("skipped", "the shape law is broken") in found.values()
    assert found["The graphics processor gives what the central processor gives"] == (
        "skipped",
        "this machine has no GPU that torch can use",
    )
