"""Losses as a careless person writes them, from the base classes alone: each mistake breaks its law."""

import pytest

from tests.laws import careless_divergences, careless_games, careless_likelihoods, careless_sequences
from tests.laws.mistakes import breaks, keeps

FAMILIES = (careless_divergences, careless_games, careless_likelihoods, careless_sequences)


@pytest.mark.parametrize(
    ("loss", "law"), [row for family in FAMILIES for row in family.MISTAKES], ids=lambda value: type(value).__name__
)
def test_a_careless_loss_breaks_its_law(loss, law):
    breaks(loss, law)


@pytest.mark.parametrize(
    "loss", [loss for family in FAMILIES for loss in family.SOUND], ids=lambda value: type(value).__name__
)
def test_the_same_loss_without_the_mistake_keeps_every_law(loss):
    keeps(loss)
