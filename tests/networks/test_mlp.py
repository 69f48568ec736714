"""Perceptrons: shapes, ranges, gradients and refusals."""

import math

import pytest
import torch
from torch import nn

from genloss.errors import InputError
from genloss.networks import MLP, couples_batch


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("shape", [(2,), (5, 3), (1, 8, 8), (3, 4, 4)])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "silu"])
def test_shapes_follow_the_data(shape, activation):
    mlp = MLP(width=7, depth=2, activation=activation)
    noise = torch.randn(6, 4)
    assert mlp.generator(4, shape)(noise).shape == (6, *shape)
    assert mlp.generator(4, shape, values=2, bounded=False)(noise).shape == (6, *shape, 2)
    assert mlp.critic(shape)(torch.randn(6, *shape)).shape == (6,)
    assert mlp.critic(shape, outputs=3)(torch.randn(6, *shape)).shape == (6, 3)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("relu", 0.0), ("leaky_relu", -0.2), ("tanh", math.tanh(-1.0)), ("silu", -1.0 / (1.0 + math.e))],
)
def test_activations_are_the_named_ones(activation, expected):
    function = MLP(width=2, activation=activation).critic((2,))[2]
    assert function(torch.tensor(-1.0)).item() == pytest.approx(expected)


def test_one_sample_keeps_its_batch_axis():
    assert MLP(width=4).critic((2,))(torch.randn(1, 2)).shape == (1,)


def test_depth_counts_hidden_layers_and_width_their_units():
    layers = [layer for layer in MLP(width=5, depth=2).critic((3,)) if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(3, 5), (5, 5), (5, 1)]


def test_the_bounded_generator_is_the_tanh_of_the_unbounded_one():
    mlp, outputs = MLP(width=32), []
    for bounded in (True, False):
        torch.manual_seed(3)
        network = mlp.generator(4, (2,), bounded=bounded)
        outputs.append(network(100.0 * torch.ones(5, 4)))
    torch.testing.assert_close(outputs[0], outputs[1].tanh())
    assert outputs[1].abs().max() > 1


def test_gradients_reach_every_parameter():
    mlp = MLP(width=8, depth=3, activation="tanh")
    generator, critic = mlp.generator(4, (1, 8, 8)), mlp.critic((1, 8, 8))
    critic(generator(torch.randn(16, 4))).square().sum().backward()
    for parameter in (*generator.parameters(), *critic.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0


def test_spectral_norm_bounds_the_slope_of_the_critic_and_leaves_the_generator():
    mlp = MLP(width=16, depth=2, spectral_norm=True)
    critic = mlp.critic((2,))
    x = torch.randn(64, 2)
    for _ in range(50):  # each pass improves the estimated singular values
        critic(x)
    critic.eval()
    with torch.no_grad():
        for layer in critic:
            if isinstance(layer, nn.Linear):
                assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1.0, rel=1e-3)
    x.requires_grad_()
    (slopes,) = torch.autograd.grad(critic(x).sum(), x)
    assert slopes.norm(dim=1).max() <= 1.001
    assert not any("parametrizations" in name for name, _ in mlp.generator(2, (2,)).named_parameters())


def test_weights_depend_on_the_global_seed_only():
    networks = []
    for _ in range(2):
        torch.manual_seed(5)
        networks.append(MLP(width=4, spectral_norm=True).critic((2,)))
    for first, second in zip(networks[0].state_dict().values(), networks[1].state_dict().values(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_no_sample_depends_on_the_others():
    critic, x = MLP(width=8).critic((2,)), torch.randn(6, 2)
    torch.testing.assert_close(critic(x)[:2], critic(x[:2]))
    assert not couples_batch(critic)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(width=0), "width is 0, expected a whole number of at least 1"),
        (lambda: MLP(depth=0), "depth is 0"),
        (lambda: MLP(activation="gelu"), "activation is 'gelu', expected one of relu"),
        (lambda: MLP().generator(0, (2,)), "noise_dim is 0"),
        (lambda: MLP().generator(2, ()), r"shape is \(\)"),
        (lambda: MLP().generator(2, (2,), values=2), "bounded=True was asked for with values=2"),
        (lambda: MLP().critic((0,)), r"shape is \(0,\)"),
        (lambda: MLP().critic((2,), outputs=0), "outputs is 0"),
    ],
)
def test_refusals_say_what_is_wrong(make, message):
    with pytest.raises(InputError, match=message):
        make()
