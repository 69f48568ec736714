"""Precision, recall, density, coverage: prdc as oracle, exact ties, and the right argument order."""

import prdc
import pytest
import torch

from genloss.errors import InputError
from genloss.metrics import manifold_metrics


def normal(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def values(fake, real, k=5):
    return {value.name: value.value for value in manifold_metrics(fake, real, features="values", k=k)}


@pytest.mark.parametrize(("n", "m", "d", "k"), [(120, 120, 2, 5), (80, 150, 10, 3), (150, 60, 3, 1)])
def test_agrees_with_prdc_on_generic_data(n, m, d, k, capsys):
    fake, real = 0.9 * normal(n, d, 1) + 0.2, normal(m, d, 2)
    expected = prdc.compute_prdc(real_features=real.numpy(), fake_features=fake.numpy(), nearest_k=k)
    assert values(fake, real, k) == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-12)


def by_definition(fake, real, k):
    """The definition in whole numbers: no rounding, so ties are ties."""
    fake, real = fake.long(), real.long()
    between = (real[:, None] - fake[None]).square().sum(-1)

    def radii(x):
        distances = (x[:, None] - x[None]).square().sum(-1)
        return distances.sort(1).values[:, k]

    in_real, in_fake = between <= radii(real)[:, None], between <= radii(fake)[None]
    return {
        "precision": in_real.any(0).double().mean().item(),
        "recall": in_fake.any(1).double().mean().item(),
        "density": in_real.sum().item() / (k * len(fake)),
        "coverage": in_real.any(1).double().mean().item(),
    }


@pytest.mark.parametrize("offset", [0.0, 10.0])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_ties_count_as_inside(offset, k):
    rng = torch.Generator().manual_seed(3)
    fake = torch.randint(0, 6, (150, 4), generator=rng)
    real = torch.randint(0, 5, (130, 4), generator=rng)
    expected = by_definition(fake, real, k)
    scale = 0.1  # no power of two: distances of equal pairs round differently
    assert values(scale * fake.double() + offset, scale * real.double() + offset, k) == pytest.approx(expected)


def test_a_copied_training_set_is_precise_and_covers_everything():
    real = normal(100, 5, 1)
    found = values(real, real)
    assert (found["precision"], found["recall"], found["coverage"]) == (1.0, 1.0, 1.0)
    assert found["density"] >= (5 + 1) / 5  # each ball holds its centre and its neighbours


def test_a_collapsed_generator_is_precise_and_recalls_little():
    real = torch.cat((normal(100, 2, 1), normal(100, 2, 2) + 20.0))
    fake = 0.3 * normal(200, 2, 3)
    found = values(fake, real)
    assert found["precision"] > 0.95
    assert found["density"] > 1
    assert found["recall"] < 0.35
    assert found["coverage"] < 0.5
    swapped = values(real, fake)
    assert swapped["precision"] < 0.35
    assert swapped["recall"] > 0.95


def test_a_generator_that_spreads_too_far_recalls_all_and_is_imprecise():
    real, fake = normal(200, 2, 1), 10.0 * normal(200, 2, 2)
    found = values(fake, real)
    assert found["recall"] > 0.95
    assert found["precision"] < 0.3


def test_equal_distributions_have_the_known_density_and_coverage():
    found = [values(normal(300, 8, seed), normal(300, 8, 100 + seed)) for seed in range(4)]
    assert sum(one["coverage"] for one in found) / 4 == pytest.approx(1 - 2**-5, abs=0.02)
    assert sum(one["density"] for one in found) / 4 == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("budget", [1, 500])
def test_the_split_into_chunks_changes_nothing(monkeypatch, budget):
    fake, real = normal(60, 3, 1).round(decimals=1), normal(45, 3, 2).round(decimals=1)
    whole = values(fake, real)
    monkeypatch.setattr("genloss.metrics.manifold.BUDGET", budget)
    assert values(fake, real) == whole


def test_a_diverged_fake_does_not_blur_the_others():
    fake, real = normal(60, 2, 1), normal(60, 2, 2)
    far = fake.clone()
    far[0] = 1e9
    before, after = values(fake[1:], real), values(far, real)
    assert after["precision"] == pytest.approx(before["precision"] * 59 / 60)
    assert after["coverage"] == before["coverage"]


def test_too_few_samples_and_neighbours_are_refused():
    with pytest.raises(InputError, match="expected more than k=5 of each"):
        values(normal(5, 2, 1), normal(50, 2, 2))
    with pytest.raises(InputError, match="k is 0"):
        values(normal(5, 2, 1), normal(50, 2, 2), k=0)
