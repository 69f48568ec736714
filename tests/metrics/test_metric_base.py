"""What every metric owes: refusals in sentences, signatures, and indifference to the order of samples."""

import pytest
import torch

import genloss
from genloss.errors import InputError
from genloss.metrics import (
    MetricValue,
    fixed_bandwidths,
    frechet_distance,
    manifold_metrics,
    mmd2,
    mode_statistics,
    sliced_wasserstein,
)
from genloss.metrics.base import signature


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, d, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=rng(seed), dtype=dtype)


METRICS = {
    "mmd2": lambda fake, real: (mmd2(fake, real, (0.5, 1.0, 2.0), "values"),),
    "sliced_wasserstein": lambda fake, real: (
        sliced_wasserstein(fake, real, features="values", rng=rng(7), projections=20),
    ),
    "frechet_distance": lambda fake, real: (frechet_distance(fake, real, features="values"),),
    "manifold": lambda fake, real: manifold_metrics(fake, real, features="values"),
}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
DISTANCES = {name: METRICS[name] for name in ("mmd2", "sliced_wasserstein", "frechet_distance")}
every_distance = pytest.mark.parametrize("metric", DISTANCES.values(), ids=DISTANCES.keys())


@every_metric
def test_the_order_of_samples_does_not_matter(metric):
    fake, real = normal(60, 3, 1), normal(50, 3, 2)
    shuffled = metric(fake[torch.randperm(60, generator=rng())], real[torch.randperm(50, generator=rng())])
    for value, other in zip(metric(fake, real), shuffled, strict=True):
        assert value.value == pytest.approx(other.value, rel=1e-12)


@every_metric
def test_a_common_shift_does_not_matter(metric):
    fake, real = normal(60, 3, 1), normal(50, 3, 2)
    for value, other in zip(metric(fake, real), metric(fake + 50.0, real + 50.0), strict=True):
        assert value.value == pytest.approx(other.value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["mmd2", "frechet_distance", "manifold"])
def test_a_common_rotation_does_not_matter(name):
    fake, real = normal(60, 3, 1), normal(50, 3, 2)
    turn = torch.linalg.qr(normal(3, 3, 3)).Q
    for value, other in zip(METRICS[name](fake, real), METRICS[name](fake @ turn, real @ turn), strict=True):
        assert value.value == pytest.approx(other.value, rel=1e-9)


@every_distance
def test_distances_are_symmetric(metric):
    fake, real = normal(60, 3, 1), 1.5 * normal(50, 3, 2) + 0.5
    assert metric(fake, real)[0].value == pytest.approx(metric(real, fake)[0].value, rel=1e-10)


@every_distance
def test_distances_grow_with_a_shift_of_the_mean(metric):
    fake, real = normal(60, 3, 1), normal(60, 3, 2)
    values = [metric(fake + shift, real)[0].value for shift in (0.0, 0.5, 1.0, 1.5)]
    assert values == sorted(values)
    assert values[-1] > 3 * values[0]


@every_metric
def test_float32_samples_are_measured_in_float64(metric):
    fake, real = normal(60, 3, 1, torch.float32), normal(60, 3, 2, torch.float32)
    for value, other in zip(metric(fake, real), metric(fake.double(), real.double()), strict=True):
        assert value.value == other.value


@every_metric
def test_nan_in_either_set_is_an_error_that_names_the_row(metric):
    good, bad = normal(60, 3, 1), normal(60, 3, 2)
    bad[4, 1], bad[9, 0] = torch.nan, torch.inf
    with pytest.raises(ValueError, match="fake holds NaN or infinity in 2 of 60 samples, the first in row 4"):
        metric(bad, good)
    with pytest.raises(ValueError, match="real holds NaN or infinity"):
        metric(good, bad)


@every_metric
@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (torch.zeros(60, 2), "fake has 2 features and real has 3"),
        (torch.zeros(60), r"fake has shape \(60,\)"),
        (torch.zeros(0, 3), r"fake has shape \(0, 3\)"),
        (torch.zeros(60, 3, dtype=torch.int64), r"fake is torch\.int64"),
        ([[0.0]], "fake is list"),
    ],
)
def test_wrong_samples_are_refused(metric, fake, message):
    with pytest.raises(InputError, match=message):
        metric(fake, normal(60, 3))


@every_metric
def test_samples_that_carry_a_graph_are_measured_like_others(metric):
    fake, real = normal(60, 3, 1), normal(60, 3)
    expected = metric(fake, real)
    assert metric(fake.clone().requires_grad_(), real) == expected


def test_signatures_carry_every_convention():
    fake, real = normal(60, 3, 1), normal(50, 3, 2)
    end = f"features:values|n:60|real:50|genloss:{genloss.__version__}"
    assert mmd2(fake, real, (0.5, 1.0, 2.0), "values").signature == (
        f"mmd2|kernel:gaussian|bandwidths:0.5,1,2|estimator:unbiased|{end}"
    )
    assert METRICS["sliced_wasserstein"](fake, real)[0].signature == (
        f"sliced_wasserstein|p:2|projections:20|root:yes|{end}"
    )
    assert [value.signature for value in manifold_metrics(fake, real, features="values", k=4)] == [
        f"{name}|k:4|ball:closed|{end}" for name in ("precision", "recall", "density", "coverage")
    ]
    line = frechet_distance(fake, real, features="values").signature
    assert line.startswith("frechet_distance|squared:yes|covariance:n-1|features:values|d:3|n:60")


def test_signature_keeps_enough_digits_to_tell_bandwidths_apart():
    assert signature("m", b=0.12345678) != signature("m", b=0.12345679)


def test_directions_are_declared():
    fake, real = normal(60, 2, 1), normal(60, 2, 2)
    values = [value for metric in METRICS.values() for value in metric(fake, real)]
    values += mode_statistics(fake, torch.zeros(1, 2), 1.0)
    assert {value.name: value.higher_is_better for value in values} == {
        "mmd2": False,
        "sliced_wasserstein": False,
        "frechet_distance": False,
        "precision": True,
        "recall": True,
        "density": True,
        "coverage": True,
        "modes": True,
        "high_quality": True,
        "kl": False,
        "sigma_ratio": True,
    }
    assert all(isinstance(value, MetricValue) and value.n == 60 for value in values)


def test_one_sample_is_enough_or_is_refused_in_words():
    one, many = normal(1, 3, 1), normal(60, 3, 2)
    assert METRICS["sliced_wasserstein"](one, many)[0].value > 0
    for name, message in (("mmd2", "at least 2"), ("frechet_distance", "more samples"), ("manifold", "more than k=5")):
        with pytest.raises(InputError, match=message):
            METRICS[name](one, many)
        with pytest.raises(InputError, match=message):
            METRICS[name](many, one)


def test_constant_features_measure_as_equal():
    same = torch.full((20, 3), 0.1, dtype=torch.float64)
    assert mmd2(same, same, (1.0,), "values").value == pytest.approx(0.0, abs=1e-12)
    assert METRICS["sliced_wasserstein"](same, same)[0].value == 0
    assert frechet_distance(same, same, features="values").value == pytest.approx(0.0, abs=1e-25)
    # k = 5 neighbours and all n samples of the ball: density is n / k.
    assert [value.value for value in manifold_metrics(same, same, features="values")] == [1.0, 1.0, 4.0, 1.0]
    with pytest.raises(InputError, match="give no bandwidth"):
        fixed_bandwidths(same, rng())
