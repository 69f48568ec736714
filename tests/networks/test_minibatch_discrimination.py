"""Minibatch discrimination: the definition, sample by sample, and its symmetries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from genloss.errors import InputError
from genloss.networks import DCGAN, MLP, MinibatchDiscrimination, couples_batch


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def by_loops(x, weight):
    """The appended features, one pair, kernel and dimension at a time."""
    features, kernels, dims = weight.shape
    x, weight = x.tolist(), weight.tolist()
    rows = []
    for i in range(len(x)):
        row = []
        for b in range(kernels):
            total = 0.0
            for j in range(len(x)):
                if j == i:
                    continue
                distance = 0.0
                for c in range(dims):
                    one = sum(x[i][a] * weight[a][b][c] for a in range(features))
                    distance += abs(one - sum(x[j][a] * weight[a][b][c] for a in range(features)))
                total += math.exp(-distance)
            row.append(total)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64).reshape(len(x), kernels)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1000))
def test_it_is_the_double_sum_of_the_definition(batch, features, kernels, dims, seed):
    torch.manual_seed(seed)
    layer = MinibatchDiscrimination(features, kernels, dims).double()
    x = torch.randn(batch, features, dtype=torch.float64)
    out = layer(x)
    assert out.shape == (batch, features + kernels)
    assert torch.equal(out[:, :features], x)
    torch.testing.assert_close(out[:, features:], by_loops(x, layer.weight.detach()), rtol=1e-12, atol=1e-14)


def test_a_permuted_batch_gives_permuted_rows():
    layer, x = MinibatchDiscrimination(3).double(), torch.randn(7, 3, dtype=torch.float64)
    order = torch.randperm(7)
    torch.testing.assert_close(layer(x[order]), layer(x)[order])


def test_only_differences_count_and_a_collapsed_batch_is_as_close_as_can_be():
    layer, x = MinibatchDiscrimination(3, kernels=4).double(), torch.randn(7, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x + 5.0)[:, 3:], layer(x)[:, 3:])
    assert (layer(x)[:, 3:] < 6.0).all()
    torch.testing.assert_close(layer(x[:1].repeat(7, 1))[:, 3:], torch.full((7, 4), 6.0, dtype=torch.float64))


def test_a_batch_twice_over_counts_each_twice_and_its_double():
    layer, x = MinibatchDiscrimination(3, kernels=4).double(), torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x.repeat(2, 1))[:5, 3:], 2.0 * layer(x)[:, 3:] + 1.0)


def test_a_lone_sample_has_no_others():
    assert (MinibatchDiscrimination(3)(torch.randn(1, 3))[:, 3:] == 0.0).all()


def test_far_samples_do_not_see_each_other_and_gradients_stay_finite():
    layer = MinibatchDiscrimination(2)
    x = (1e4 * torch.randn(4, 2)).requires_grad_()
    closeness = layer(x)[:, 2:]
    assert (closeness == 0.0).all()
    closeness.sum().backward()
    assert x.grad.isfinite().all()
    assert layer.weight.grad.isfinite().all()


def test_gradients_of_both_orders():
    layer = MinibatchDiscrimination(2, kernels=2, dims=3).double()
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    weight = layer.weight.detach().requires_grad_()

    def call(x, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    assert gradcheck(call, (x, weight))
    assert gradgradcheck(call, (x, weight))


def test_closeness_is_computed_in_float32_under_autocast():
    """Only the product with the tensor is in half precision."""
    layer, x = MinibatchDiscrimination(4, kernels=3, dims=2), torch.randn(30, 4)
    with torch.autocast("cpu", torch.bfloat16):
        low, projected = layer(x), (x @ layer.weight.flatten(1)).float()
    assert low.dtype == torch.float32
    # The identity as the tensor: the features are the projection themselves.
    exact = MinibatchDiscrimination(6, kernels=3, dims=2)
    with torch.no_grad():
        exact.weight.copy_(torch.eye(6).unflatten(1, (3, 2)))
    torch.testing.assert_close(low[:, 4:], exact(projected)[:, 6:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "architecture", [MLP(width=6, minibatch_discrimination=True), DCGAN(width=2, minibatch_discrimination=True)]
)
@pytest.mark.parametrize("outputs", [1, 3])
def test_in_a_critic_it_couples_the_batch_and_reaches_the_scores(architecture, outputs):
    shape = (1, 16, 16)
    critic, x = architecture.critic(shape, outputs=outputs).eval(), torch.randn(5, *shape)
    assert couples_batch(critic)
    assert critic(x).shape == ((5,) if outputs == 1 else (5, outputs))
    assert not torch.allclose(critic(x)[:2], critic(x[:2]), atol=1e-4)
    assert not any(isinstance(part, MinibatchDiscrimination) for part in architecture.generator(2, shape).modules())
    critic(x).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in critic.parameters())


def test_spectral_norm_leaves_it_and_takes_the_layers():
    for critic in (
        MLP(width=4, spectral_norm=True, minibatch_discrimination=True).critic((1, 16, 16)),
        DCGAN(width=2, spectral_norm=True, minibatch_discrimination=True).critic((1, 16, 16)),
    ):
        layers = [part for part in critic.modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
        assert all(hasattr(layer, "parametrizations") for layer in layers)
        assert couples_batch(critic)
        assert critic(torch.randn(3, 1, 16, 16)).isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MinibatchDiscrimination(0), "features is 0"),
        (lambda: MinibatchDiscrimination(2, kernels=0), "kernels is 0"),
        (lambda: MinibatchDiscrimination(2, dims=0), "dims is 0"),
        (lambda: MinibatchDiscrimination(2)(torch.zeros(3, 4)), r"shape \(3, 4\), expected \(batch, 2\)"),
        (lambda: MinibatchDiscrimination(2)(torch.zeros(3, 2, 2)), "flatten them"),
    ],
)
def test_refusals_say_what_is_wrong(make, message):
    with pytest.raises(InputError, match=message):
        make()
