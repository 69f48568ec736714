"""Splits: every sample once, the same in every run, at least one in each part."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genloss.data.splits import compact, complete, shuffled
from genloss.errors import InputError


@given(st.integers(3, 3000))
def test_every_sample_lands_in_one_part(count: int) -> None:
    rows, _ = complete({"train": torch.arange(count)}, "x")
    assert sorted(torch.cat(list(rows.values())).tolist()) == list(range(count))
    assert list(rows) == ["train", "select", "test"]
    assert min(map(len, rows.values())) >= 1
    assert len(rows["test"]) == len(rows["select"]) == max(1, count // 10)


def test_the_shuffle_never_changes() -> None:
    """Runs of different versions compare only if they train on the same samples."""
    assert shuffled(10).tolist() == [7, 1, 5, 0, 3, 9, 4, 6, 2, 8]


def test_official_test_set_is_kept() -> None:
    rows, note = complete({"train": torch.arange(60_000), "test": torch.arange(60_000, 70_000)}, "x")
    assert len(rows["train"]) == 55_000
    assert len(rows["select"]) == 5_000
    assert sorted(rows["test"].tolist()) == list(range(60_000, 70_000))
    assert sorted(torch.cat((rows["train"], rows["select"])).tolist()) == list(range(60_000))
    assert note == "The given train and test were kept; a fixed shuffle of train gave 5,000 to select."


def test_given_parts_are_all_kept() -> None:
    given = {"train": torch.arange(4), "select": torch.tensor([4]), "test": torch.tensor([5, 6])}
    rows, note = complete(given, "x")
    assert {name: sorted(part.tolist()) for name, part in rows.items()} == {
        name: part.tolist() for name, part in given.items()
    }
    assert note == "The given train, select and test were kept."


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"train": 2}, "2 samples to share between train and select and test; it needs 3"),
        ({"train": 1, "test": 5}, "it needs 2"),
        ({"train": 0, "select": 1, "test": 1}, "no sample in 'train'"),
        ({"train": 5, "test": 0}, "no sample in 'test'"),
        ({"test": 5}, "has test but no train"),
    ],
)
def test_too_few_samples(given: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        complete({name: torch.arange(count) for name, count in given.items()}, "x")


@pytest.mark.parametrize("training", [5, 80])
def test_compact_keeps_what_is_used(training: int) -> None:
    values, labels = torch.arange(100) * 10, torch.arange(100)
    rows, _ = complete({"train": torch.arange(100)}, "x")
    rows["train"] = rows["train"][:training]
    store, classes, index = compact(values, labels, rows)
    assert len(store) == (25 if training == 5 else 100)
    assert classes is not None
    for name in rows:
        assert torch.equal(store[index[name]], values[rows[name]])
        assert torch.equal(classes[index[name]], labels[rows[name]])
