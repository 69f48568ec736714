"""The real sets, where GENLOSS_DATA has them: their published counts and statistics."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from genloss.data import Dataset, load_data


def real(name: str, **options: object) -> Dataset:
    if not Path(os.environ.get("GENLOSS_DATA", ""), name).is_dir() or "GENLOSS_DATA" not in os.environ:
        pytest.skip(f"GENLOSS_DATA has no {name}")
    return load_data(name, **options)  # type: ignore[arg-type]


def training_pixels(data: Dataset) -> torch.Tensor:
    """Pixels / 255 of the official training set, float64 `(channels, pixels)`."""
    indices = [data.splits[part].index for part in ("train", "select")]
    rows = torch.cat([index for index in indices if index is not None])
    return (data.splits["train"].values[rows].transpose(0, 1).flatten(1)).double() / 255


@pytest.mark.parametrize(("name", "mean", "deviation"), [("mnist", 0.1307, 0.3081), ("fashion_mnist", 0.2860, 0.3530)])
def test_idx_sets(name: str, mean: float, deviation: float) -> None:
    data = real(name)
    assert {part: len(split) for part, split in data.splits.items()} == {
        "train": 55_000,
        "select": 5_000,
        "test": 10_000,
    }
    pixels = training_pixels(data)
    assert pixels.mean().item() == pytest.approx(mean, abs=5e-5)
    assert pixels.std().item() == pytest.approx(deviation, abs=5e-5)
    test = data.splits["test"].all_labels()
    assert test is not None
    counts = torch.bincount(test).tolist()
    assert counts == ([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009] if name == "mnist" else [1000] * 10)


def test_cifar10() -> None:
    data = real("cifar10")
    assert {part: len(split) for part, split in data.splits.items()} == {
        "train": 27_000,
        "select": 3_000,
        "test": 10_000,
    }
    pixels = training_pixels(data)
    # The 30,000 images are a fair part of the 50,000 whose means are known.
    torch.testing.assert_close(pixels.mean(1), torch.tensor([0.4914, 0.4822, 0.4465]).double(), rtol=0, atol=3e-3)
    torch.testing.assert_close(pixels.std(1), torch.tensor([0.2470, 0.2435, 0.2616]).double(), rtol=0, atol=3e-3)
    assert data.class_names[0] == "airplane"


def test_fruits() -> None:
    data = real("fruits", size=64)
    assert data.shape == (3, 64, 64)
    assert data.class_names == ("Apple", "Cherry", "Tomato")
    counts = data.describe()["classes"]
    assert isinstance(counts, dict)
    assert [sum(counts[part][name] for part in counts) for name in data.class_names] == [400] * 3
