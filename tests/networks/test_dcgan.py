"""DCGAN: the paper's rules, for every side."""

import pytest
import torch
from torch import nn

from genloss.errors import InputError
from genloss.networks import DCGAN, architectures, couples_batch


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("side", [16, 28, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_shapes_and_gradients_for_every_side(side, channels, spectral_norm):
    dcgan, shape = DCGAN(width=2, spectral_norm=spectral_norm), (channels, side, side)
    generator, critic = dcgan.generator(5, shape), dcgan.critic(shape)
    images = generator(torch.randn(3, 5))
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    scores = critic(images)
    assert scores.shape == (3,)
    scores.square().sum().backward()
    for name, parameter in (*generator.named_parameters(), *critic.named_parameters()):
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_64x64_has_the_known_numbers_of_parameters():
    dcgan = DCGAN()
    assert count(dcgan.generator(100, (3, 64, 64))) == 3_576_704
    assert count(dcgan.critic((3, 64, 64))) == 2_765_568


def test_64x64_has_the_layers_of_the_paper():
    dcgan = DCGAN()
    up = [layer for layer in dcgan.generator(100, (3, 64, 64)) if isinstance(layer, nn.ConvTranspose2d)]
    assert [(layer.in_channels, layer.out_channels, layer.stride[0], layer.padding[0]) for layer in up] == [
        (100, 512, 1, 0),
        (512, 256, 2, 1),
        (256, 128, 2, 1),
        (128, 64, 2, 1),
        (64, 3, 2, 1),
    ]
    critic = dcgan.critic((3, 64, 64))
    kinds = [type(layer).__name__ for layer in critic]
    assert kinds == ["Conv2d", "LeakyReLU", *["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3, "Conv2d", "Flatten"]
    assert [layer.out_channels for layer in critic if isinstance(layer, nn.Conv2d)] == [64, 128, 256, 512, 1]
    assert {layer.negative_slope for layer in critic if isinstance(layer, nn.LeakyReLU)} == {0.2}


def test_28x28_goes_through_7_and_14():
    sides = []
    network = DCGAN(width=2).generator(3, (1, 28, 28))
    for layer in network:
        if isinstance(layer, nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _module, _inputs, output: sides.append(output.shape[-1]))
    network(torch.randn(2, 3))
    assert sides == [7, 14, 28]


def test_initial_weights_have_the_papers_spread():
    generator = DCGAN().generator(100, (3, 32, 32))
    convolution, norm = generator[1], generator[2]
    assert convolution.weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert norm.weight.mean().item() == pytest.approx(1.0, abs=0.01)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert norm.bias.abs().max() == 0


def test_spectral_norm_takes_the_place_of_batch_norm():
    shape, x = (3, 16, 16), torch.randn(6, 3, 16, 16)
    normalised, plain = DCGAN(width=4, spectral_norm=True).critic(shape), DCGAN(width=4).critic(shape)
    assert not couples_batch(normalised)
    assert couples_batch(plain)
    for _ in range(100):
        normalised(x)
    normalised.eval()
    torch.testing.assert_close(normalised(x)[:2], normalised(x[:2]))
    for layer in normalised:
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1.0, rel=1e-2)
    assert couples_batch(DCGAN(width=4, spectral_norm=True).generator(3, shape))


def test_several_values_come_last_and_belong_to_their_channel():
    generator = DCGAN(width=2).generator(5, (3, 16, 16), values=2, bounded=False).eval()
    z = torch.randn(4, 5)
    raw = generator[:-1](z)
    out = generator(z)
    assert out.shape == (4, 3, 16, 16, 2)
    torch.testing.assert_close(out[:, 1, :, :, 0], raw[:, 2])
    torch.testing.assert_close(out[:, 1, :, :, 1], raw[:, 3])


def test_several_outputs_make_an_encoder():
    assert DCGAN(width=2).critic((1, 28, 28), outputs=6)(torch.randn(3, 1, 28, 28)).shape == (3, 6)


def test_the_unbounded_generator_leaves_the_interval():
    generator = DCGAN(width=2).generator(5, (1, 16, 16), bounded=False)
    with torch.no_grad():
        generator[-1].weight.mul_(1000)
    assert generator(torch.randn(4, 5)).abs().max() > 1


def test_a_penalty_can_differentiate_the_critic_twice():
    critic, x = DCGAN(width=2, spectral_norm=True).critic((1, 16, 16)), torch.randn(3, 1, 16, 16, requires_grad=True)
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    slope.square().sum().backward()
    first = critic[0].parametrizations.weight.original
    assert first.grad.abs().max() > 0


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 28, 32), (3, 65, 65), (2,), (64, 64)])
def test_another_side_is_refused_with_the_key_to_set(shape):
    for make in (lambda: DCGAN().generator(4, shape), lambda: DCGAN().critic(shape)):
        with pytest.raises(InputError, match=r"expected \(channels, side, side\) with a side of 16, 28.*data\.size"):
            make()


def test_width_must_be_positive():
    with pytest.raises(InputError, match="width is -1"):
        DCGAN(width=-1)


def test_bounded_parameters_of_a_density_are_refused():
    with pytest.raises(InputError, match="pass bounded=False"):
        DCGAN().generator(4, (1, 16, 16), values=2)


def test_architectures_are_found_by_name():
    known = architectures()
    assert known["dcgan"] is DCGAN
    assert all(cls.name == name for name, cls in known.items())
