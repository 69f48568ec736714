"""The normalisations of the architectures: over what each takes its statistics, and what it lets samples see."""

import pytest
import torch
from torch import nn

from genloss.errors import InputError
from genloss.networks import DCGAN, MLP, couples_batch
from genloss.networks.normalisation import norm_layers

IMAGES = ["batch", "layer", "instance", "virtual_batch", "none"]
VECTORS = ["batch", "layer", "virtual_batch", "none"]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def scaled(layer):
    """Gives each feature a scale and a shift of its own."""
    with torch.no_grad():
        layer.weight.normal_()
        layer.bias.normal_()
    return layer


def test_layer_is_torchs_layer_norm_over_channels_height_and_width():
    (layer,), x = norm_layers("layer", 3, maps=True), 2.0 + torch.randn(5, 3, 4, 6)
    torch.testing.assert_close(layer(x), nn.LayerNorm((3, 4, 6))(x))
    plain = nn.functional.layer_norm(x, (3, 4, 6))
    scaled(layer)
    torch.testing.assert_close(layer(x), plain * layer.weight[:, None, None] + layer.bias[:, None, None])


def test_layer_is_torchs_layer_norm_over_features():
    (layer,), x, other = norm_layers("layer", 7, maps=False), torch.randn(5, 7), nn.LayerNorm(7)
    other.load_state_dict(scaled(layer).state_dict())
    torch.testing.assert_close(layer(x), other(x))


def test_instance_is_torchs_instance_norm():
    (layer,), x, other = (
        norm_layers("instance", 3, maps=True),
        torch.randn(5, 3, 4, 6),
        nn.InstanceNorm2d(3, affine=True),
    )
    other.load_state_dict(scaled(layer).state_dict())
    torch.testing.assert_close(layer(x), other(x))


@pytest.mark.parametrize(
    "architecture",
    [*(DCGAN(width=3, norm=norm) for norm in IMAGES), *(MLP(width=5, norm=norm) for norm in VECTORS)],
    ids=lambda architecture: f"{architecture.name}-{architecture.norm}",
)
def test_samples_see_each_other_under_batch_normalisation_alone(architecture):
    shape = (2, 16, 16)
    for network, inputs in ((architecture.generator(4, shape), (4,)), (architecture.critic(shape), shape)):
        x = torch.randn(6, *inputs)
        network(x)
        x.requires_grad_()
        out = network(x)
        (slope,) = torch.autograd.grad(out[0].square().sum(), x, create_graph=True)
        assert couples_batch(network) == (architecture.norm == "batch")
        assert bool(slope[1:].any()) == (architecture.norm == "batch")
        slope.square().sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
        if architecture.norm != "batch":
            torch.testing.assert_close(network(x)[:2], network(x[:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", IMAGES)
@pytest.mark.parametrize("side", [16, 28, 64])
def test_every_normalisation_of_images_has_its_shapes_and_gradients(norm, side):
    dcgan, shape = DCGAN(width=2, norm=norm), (3, side, side)
    generator, critic = dcgan.generator(5, shape), dcgan.critic(shape)
    images = generator(torch.randn(3, 5))
    assert images.shape == (3, *shape)
    critic(images).square().sum().backward()
    for name, parameter in (*generator.named_parameters(), *critic.named_parameters()):
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("norm", IMAGES)
def test_the_input_and_the_output_of_a_critic_are_not_normalised_and_biases_are_where_they_count(norm):
    critic, generator = (
        DCGAN(width=2, norm=norm).critic((3, 64, 64)),
        DCGAN(width=2, norm=norm).generator(4, (3, 64, 64)),
    )
    normalising = {
        "batch": "BatchNorm2d",
        "layer": "GroupNorm",
        "instance": "GroupNorm",
        "virtual_batch": "VirtualBatchNorm",
        "none": "-",
    }
    kinds = [type(part).__name__ for part in critic.modules()]
    assert kinds.count(normalising[norm]) == (0 if norm == "none" else 3)
    assert [type(part).__name__ for part in generator.modules()].count(normalising[norm]) == (
        0 if norm == "none" else 4
    )
    for part in (*critic.modules(), *generator.modules()):
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            assert (part.bias is not None) == (norm in ("layer", "instance", "none"))
        if type(part).__name__ == normalising[norm]:
            assert part.weight.std() > 0  # from N(1, 0.02^2), as the paper's


@pytest.mark.parametrize(
    "architecture",
    [*(DCGAN(width=3, norm=norm) for norm in IMAGES), *(MLP(width=5, norm=norm) for norm in VECTORS)],
    ids=lambda architecture: f"{architecture.name}-{architecture.norm}",
)
def test_a_critic_sees_the_scale_of_a_single_sample(architecture):
    """Without biases a norm over one sample would make the score of x that of 2x, whatever the weights."""
    critic = architecture.critic((2, 16, 16))
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(4, 2, 16, 16)
    critic(x)
    twice = torch.cat((2.0 * x[:1], x[1:]))
    assert (critic(twice)[0] - critic(x)[0]).abs() > 1e-3


def test_spectral_norm_takes_the_place_of_every_normalisation_in_the_critic_alone():
    for norm in VECTORS:
        for architecture in (
            MLP(width=3, norm=norm, spectral_norm=True),
            DCGAN(width=2, norm=norm, spectral_norm=True),
        ):
            plain = type(architecture)(width=architecture.width, norm="none", spectral_norm=True)
            shape = (1, 16, 16)
            assert str(architecture.critic(shape)) == str(plain.critic(shape))
            assert (str(architecture.generator(2, shape)) == str(plain.generator(2, shape))) == (norm == "none")


def test_an_unknown_normalisation_is_refused_with_those_there_are():
    with pytest.raises(
        InputError, match="norm is 'group', expected one of batch, layer, instance, virtual_batch, none"
    ):
        DCGAN(norm="group")
    with pytest.raises(InputError, match="norm is 'instance', expected one of batch, layer, virtual_batch, none"):
        MLP(norm="instance")
