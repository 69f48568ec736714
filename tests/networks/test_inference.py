"""Inference networks: a positive scale wherever the weights go, and one contract."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from genloss.errors import InputError
from genloss.networks import DCGAN, MLP, GaussianInference, TwoLayerInference
from genloss.networks.inference import log_softplus


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_log_softplus_equals_its_definition_where_that_is_exact():
    t = torch.linspace(-30.0, 15.0, 200, dtype=torch.float64)
    expected = [math.log(math.log1p(math.exp(value))) for value in t.tolist()]
    torch.testing.assert_close(log_softplus(t), torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=1e-15)


def test_log_softplus_is_continuous_where_its_branches_meet():
    t = torch.tensor([-20.0 - 1e-9, -20.0, -20.0 + 1e-9], dtype=torch.float64)
    assert log_softplus(t).diff().tolist() == pytest.approx([1e-9, 1e-9], rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_log_softplus_and_its_gradient_are_finite_at_extremes(dtype):
    t = torch.tensor([-1e4, -110.0, -20.0, 0.0, 20.0, 1e4], dtype=dtype, requires_grad=True)
    value = log_softplus(t)
    (gradient,) = torch.autograd.grad(value.sum(), t)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient[0] == 1
    assert (gradient >= 0).all()


def test_log_softplus_passes_gradcheck_on_both_branches():
    assert gradcheck(log_softplus, torch.tensor([-40.0, -25.0, -15.0, 0.0, 10.0]).double().requires_grad_())


def test_two_layers_compute_the_textbooks_equations():
    network = TwoLayerInference((3,), 2, width=4).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    mean, log_variance = network(x)
    h = (x @ network.hidden.weight.T + network.hidden.bias).clamp(min=0)
    sigma = torch.log1p((h @ network.scale.weight.T + network.scale.bias).exp())
    torch.testing.assert_close(mean, h @ network.mean.weight.T + network.mean.bias)
    torch.testing.assert_close((0.5 * log_variance).exp(), sigma)


def test_the_scale_stays_positive_and_usable_where_softplus_underflows():
    network = TwoLayerInference((3,), 2, width=4)
    with torch.no_grad():
        network.scale.bias.fill_(-300.0)
    _, log_variance = network(torch.randn(5, 3))
    assert log_variance.isfinite().all()
    log_variance.sum().backward()
    assert network.scale.bias.grad.tolist() == pytest.approx([10.0, 10.0])


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (TwoLayerInference((1, 16, 16), 3, width=8), (1, 16, 16)),
        (GaussianInference(MLP(width=8).critic((2,), outputs=6)), (2,)),
        (GaussianInference(DCGAN(width=2).critic((1, 16, 16), outputs=6)), (1, 16, 16)),
    ],
)
def test_every_inference_network_has_one_contract(network, shape):
    mean, log_variance = network(torch.randn(4, *shape))
    assert mean.shape == log_variance.shape == (4, 3)
    (mean.square().sum() + log_variance.square().sum()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_adapter_splits_in_two_halves():
    critic, x = MLP(width=8).critic((2,), outputs=4), torch.randn(5, 2)
    mean, log_variance = GaussianInference(critic)(x)
    torch.testing.assert_close(torch.cat((mean, log_variance), dim=1), critic(x))


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_adapter_refuses_what_it_cannot_halve(outputs):
    with pytest.raises(InputError, match=r"expected \(batch, 2 \* latent\)"):
        GaussianInference(MLP(width=4).critic((2,), outputs=outputs))(torch.randn(4, 2))


def test_sizes_must_be_positive():
    with pytest.raises(InputError, match="latent is 0"):
        TwoLayerInference((2,), 0)
    with pytest.raises(InputError, match="width is 0"):
        TwoLayerInference((2,), 2, width=0)
