"""The contract: what a batch holds, and that splits share one store."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from genloss.data import Dataset, Split, Standardisation, load_data
from genloss.data.base import Binarise
from genloss.errors import InputError


def every_pixel(binarise: Binarise = "none", low: float = -1.0) -> Dataset:
    """256 images of one pixel, each value once; the test split is the last 56 in reverse."""
    store = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    labels = torch.arange(256) % 3
    return Dataset(
        name="pixels",
        kind="image",
        shape=(1, 1, 1),
        splits={
            "train": Split(store, labels),
            "select": Split(store, labels, torch.tensor([7])),
            "test": Split(store, labels, torch.arange(255, 199, -1)),
        },
        value_range=(low, 1.0),
        class_names=("a", "b", "c"),
        binarise=binarise,
    )


@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_pixels_span_the_range_exactly(low: float) -> None:
    x = every_pixel(low=low).all("train").x.flatten()
    assert x.dtype == torch.float32
    assert (x[0].item(), x[-1].item()) == (low, 1.0)
    torch.testing.assert_close(x, torch.linspace(low, 1, 256), rtol=0, atol=1e-6)


def test_batch_follows_indices_with_their_labels() -> None:
    data = every_pixel(low=0.0)
    batch = data.batch("test", torch.tensor([0, 55, 0]))
    assert (batch.x.flatten() * 255).round().tolist() == [255, 200, 255]
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 2, 0]
    assert batch.labels.dtype == torch.int64
    assert len(data.all("test", limit=5).x) == 5
    assert len(data.all("test", limit=5000).x) == 56


def test_threshold_cuts_at_half() -> None:
    x = every_pixel("threshold").all("train").x.flatten()
    assert x.tolist() == [0.0] * 128 + [1.0] * 128


def test_stochastic_pixels_are_bernoulli_and_fresh() -> None:
    data = every_pixel("stochastic", low=0.0)
    rng = torch.Generator().manual_seed(0)
    draws = torch.stack([data.all("train", rng=rng).x.flatten() for _ in range(2000)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert (draws[:, 0] == 0).all()
    assert (draws[:, 255] == 1).all()
    rate = torch.arange(256) / 255
    z = (draws.mean(0) - rate)[1:-1] / (rate * (1 - rate) / 2000).sqrt()[1:-1]
    assert z.abs().max() < 4.5
    assert z.std().item() == pytest.approx(1, abs=0.2)
    # Neighbouring pixels and successive draws are independent.
    assert abs(torch.corrcoef(torch.stack((draws[:-1, 128], draws[1:, 128])))[0, 1].item()) < 0.1


def test_stochastic_repeats_with_the_generator_and_needs_it() -> None:
    data = every_pixel("stochastic", low=0.0)
    first, second = (data.all("train", rng=torch.Generator().manual_seed(1)).x for _ in range(2))
    assert torch.equal(first, second)
    with pytest.raises(InputError, match="no random generator"):
        data.all("train")


def test_batches_leave_the_store_alone() -> None:
    data = every_pixel()
    before = data.splits["train"].values.clone()
    data.all("train").x.fill_(9)
    assert torch.equal(data.splits["train"].values, before)
    points = load_data("ring", limit=10)
    points.all("train").x.fill_(9)
    assert points.all("train").x.max() < 2


def test_moving_keeps_the_store_shared() -> None:
    moved = every_pixel().to("meta")
    stores = {id(split.values) for split in moved.splits.values()}
    assert len(stores) == 1
    assert all(split.values.device.type == "meta" for split in moved.splits.values())
    index = moved.splits["test"].index
    assert index is not None
    assert index.device.type == "meta"


def test_description_is_json_and_counts_classes() -> None:
    described = json.loads(json.dumps(every_pixel().describe()))
    assert described["sizes"] == {"train": 256, "select": 1, "test": 56}
    assert described["classes"]["train"] == {"a": 86, "b": 85, "c": 85}
    assert described["classes"]["select"] == {"a": 0, "b": 1, "c": 0}
    assert described["value_range"] == [-1.0, 1.0]
    assert json.loads(json.dumps(load_data("swiss_roll", limit=5).describe()))["classes"] is None


def test_wrong_splits_and_limits() -> None:
    with pytest.raises(InputError, match="Did you mean 'train'"):
        every_pixel().batch("training", torch.tensor([0]))
    with pytest.raises(InputError, match="1 or more"):
        every_pixel().all("train", limit=0)


@pytest.mark.parametrize("wrong", [torch.tensor([256]), torch.tensor([-1])])
def test_indices_outside_are_refused(wrong: Tensor) -> None:
    with pytest.raises(IndexError):
        every_pixel().batch("train", wrong)
    with pytest.raises(IndexError):
        every_pixel().batch("test", wrong)


def test_standardisation_inverts() -> None:
    x = torch.randn(5, 2, dtype=torch.float64)
    mean, scale = torch.tensor([1.0, -50.0]).double(), torch.tensor([0.1, 7.0]).double()
    restored = Standardisation(("a", "b"), mean, scale).invert((x - mean) / scale)
    torch.testing.assert_close(restored, x)
