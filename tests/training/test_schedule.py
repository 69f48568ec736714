"""Schedules: their end points, and what lies between."""

import pytest

from genloss.losses import GradientPenalty
from genloss.models import AppliedPenalty
from genloss.training.schedule import Schedule, Scheduled


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_starts_and_ends_where_it_says(kind):
    schedule = Schedule(schedule=kind, start_value=2.0, end_value=0.5, start=10, turns=20)
    assert [schedule.value(t) for t in (0, 10, 30, 99)] == pytest.approx([2.0, 2.0, 0.5, 0.5])
    assert schedule.value(20) == pytest.approx(1.25)


def test_cosine_is_flat_at_both_ends():
    schedule = Schedule(schedule="cosine", start_value=1.0, end_value=0.0, start=0, turns=1000)
    assert 1 - schedule.value(1) < 1e-5
    assert schedule.value(999) < 1e-5


def test_cyclical_ramps_in_the_first_half_of_each_period():
    schedule = Schedule(schedule="cyclical", start_value=0.0, end_value=1.0, start=0, turns=100)
    assert [schedule.value(t) for t in (25, 50, 75, 100, 125, 150)] == pytest.approx([0.5, 1, 1, 0, 0.5, 1])


def test_the_fields_of_an_object_and_of_what_it_holds_change_at_once():
    fall = Schedule(schedule="linear", start_value=1.0, end_value=-1.0, start=0, turns=4)
    rise = Schedule(schedule="linear", start_value=0.0, end_value=8.0, start=0, turns=4)
    penalty = Scheduled("penalties[0]", GradientPenalty(one_sided=True), {"target": fall})
    applied = Scheduled(
        "penalties[0]", AppliedPenalty(GradientPenalty(), interval=3), {"weight": rise, "penalty": penalty}
    )
    assert applied.value(1) == AppliedPenalty(GradientPenalty(one_sided=True, target=0.5), weight=2.0, interval=3)
    assert applied.schedules() == [rise, fall]
    with pytest.raises(ValueError, match=r"^penalties\[0\].target is -0.5 in turn 4: target is -0.5, expected"):
        applied.value(3)
