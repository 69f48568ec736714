"""Penalties that compare a critic's scores: virtual adversarial, consistency, consistency of latents."""

import pytest
import torch
from torch import nn

from genloss.losses import R1, Consistency, LatentConsistency, VirtualAdversarial


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def pairs(*shape, dtype=torch.float64):
    rng = stream(7)
    return torch.randn(shape, generator=rng, dtype=dtype), torch.randn(shape, generator=rng, dtype=dtype)


def linear(x):
    """A critic with gradient (3, 4), length 5, everywhere."""
    return x.flatten(1) @ torch.tensor([3.0, 4.0], dtype=x.dtype)


def bernoulli_kl(p, q):
    return p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()


def test_the_virtual_adversarial_direction_is_the_gradient_of_a_linear_critic():
    real, _ = pairs(6, 2)
    real = 0.1 * real
    # the perturbation has length 0.2 along (3, 4), which moves the logit by 1, up or down
    up, down = (bernoulli_kl(linear(real).sigmoid(), (linear(real) + step).sigmoid()) for step in (1.0, -1.0))
    for seed in range(4):  # whatever sign chance gives to the direction
        value = VirtualAdversarial(radius=0.2)(linear, real, real, stream(seed))
        torch.testing.assert_close(value, torch.maximum(up, down), atol=1e-6, rtol=0)


@pytest.mark.parametrize("score", [0.0, 15.0, -15.0, 60.0, -60.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_virtual_adversarial_maximum_is_found_where_the_critic_is_sure(score, dtype):
    slope = max(abs(score), 1.0)  # at most as steep as it takes to be back at 0

    def critic(x):
        return score + slope * x[:, 0]

    x = torch.zeros(1, 2, dtype=dtype)
    logits = score + slope * torch.linspace(-1.0, 1.0, 201, dtype=torch.float64)
    clean = torch.distributions.Bernoulli(logits=torch.tensor(score, dtype=torch.float64))
    most = torch.distributions.kl_divergence(clean, torch.distributions.Bernoulli(logits=logits)).max()
    for seed in range(8):
        found = VirtualAdversarial()(critic, x, x, stream(seed)).double()
        torch.testing.assert_close(found, most[None], rtol=1e-4, atol=0)


def test_the_virtual_adversarial_perturbation_beats_random_ones():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    real, _ = pairs(20, 8)
    with torch.no_grad():
        found = VirtualAdversarial(radius=0.1)(critic, real, real, stream())
        clean = critic(real).sigmoid().flatten()
        noise = torch.randn(30, 20, 8, generator=stream(1), dtype=torch.float64)
        moved = critic(real + 0.1 * noise / noise.norm(dim=2, keepdim=True)).sigmoid().squeeze(2)
    mean = bernoulli_kl(clean, moved).mean(0)
    assert (found > mean).all()


def test_consistency_is_zero_for_an_invariant_critic_and_not_for_another():
    real, fake = pairs(16, 1, 8, 8)
    flat = torch.arange(64, dtype=torch.float64)

    def blind(x):
        return 0 * x.flatten(1).sum(1)

    def sees(x):
        return x.flatten(1) @ flat

    def flip_blind(x):
        return sees(x) + sees(x.flip(3))

    assert Consistency()(blind, real, fake, stream()).abs().max() == 0
    assert Consistency()(sees, real, fake, stream()).min() >= 0
    assert Consistency()(sees, real, fake, stream()).mean() > 1
    only_flip = Consistency(flip=True, shift=0)
    assert only_flip(flip_blind, real, fake, stream()).max() < 1e-18
    changed = only_flip(sees, real, fake, stream()) > 0
    assert 0 < changed.sum() < 16  # half of them flip


def test_consistency_shifts_by_whole_pixels_and_mirrors_the_border():
    image = torch.arange(9.0).view(1, 1, 3, 3).expand(200, 1, 3, 3).contiguous()
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    Consistency(flip=False, shift=1)(critic, image, image, stream())
    copies = seen[1][:, 0].unique(dim=0)
    padded = torch.nn.functional.pad(image[:1], (1, 1, 1, 1), mode="reflect")[0, 0]
    windows = torch.stack([padded[r : r + 3, c : c + 3] for r in range(3) for c in range(3)]).unique(dim=0)
    assert copies.equal(windows)


def test_balanced_consistency_adds_the_fakes():
    real, fake = pairs(4, 3)
    one = Consistency(flip=False, shift=0, deviation=0.1)
    both = Consistency(flip=False, shift=0, deviation=0.1, balanced=True)

    def critic(x):
        return x.square().sum(1)

    assert (both(critic, real, fake, stream()) > one(critic, real, fake, stream())).all()


def test_consistency_refuses_what_is_no_image_and_says_how_to_go_on():
    real = torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"expected images.*flip=False, shift=0 and a deviation"):
        Consistency()(linear, real, real, stream())
    with pytest.raises(ValueError, match="larger than the shift of 4 pixels"):
        Consistency()(linear, torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4), stream())


def test_latent_consistency_asks_for_latents():
    assert LatentConsistency.space == "latents"
    assert R1.space == "samples"
    z = torch.zeros(4000, 2)
    value = LatentConsistency(deviation=0.1)(linear, z, z, stream()).mean().item()
    assert value == pytest.approx(25 * 0.01, rel=0.1)  # variance of (3, 4) . delta


def test_the_generators_half_of_latent_consistency_carries_to_any_number_of_outputs():
    z = torch.zeros(4000, 2)
    one = LatentConsistency()(lambda x: x[:, :1], z, z, stream())
    many = LatentConsistency()(lambda x: x[:, :1, None, None].expand(-1, 3, 8, 8), z, z, stream())
    torch.testing.assert_close(one, many)
