"""The laws of the decoder's densities."""

from __future__ import annotations

import torch
from torch import Tensor

from genloss.losses._law_tools import (
    Setting,
    derivatives_agree,
    descend,
    drawn_from_rng,
    finite,
    number,
    probe,
    same,
    seeded,
)
from genloss.losses.laws import LawBroken, law
from genloss.losses.likelihood import Likelihood

__all__: list[str] = []

_GRID = 200_001
_COARSE = _GRID // 20
_FINEST, _REACH = 1e-4, 20.0  # the grid reaches 1e-4 sinh(20), 24,000, from the mean
_DRAWS = 20_000


def _parameters(loss: Likelihood, *data: int, seed: int = 0) -> Tensor:
    values = loss.parameters_per_value + loss.shared_parameters
    return torch.randn(*data, *((values,) if values > 1 else ()), generator=seeded(seed), dtype=torch.float64)


def _data(loss: Likelihood, *shape: int) -> Tensor:
    levels = loss.levels_of_data()
    if levels is None:
        return torch.randn(shape, generator=seeded(1), dtype=torch.float64)
    return levels.double()[torch.randint(len(levels), shape, generator=seeded(1))]


def _table(loss: Likelihood, parameters: Tensor, points: int = _GRID) -> tuple[Tensor, Tensor]:
    """Returns values of the data and the probability that one value with these parameters has at, or around, each."""
    levels = loss.levels_of_data()
    if levels is not None:
        x, width = levels.double(), torch.ones(len(levels), dtype=torch.float64)
    else:
        # The nearer to the mean, the denser: the grid is fine enough for scales of 0.001 and wide enough for 1000.
        centre = loss.mean(parameters).detach().double().squeeze()
        finite("mean() is", centre)
        way = torch.linspace(-_REACH, _REACH, points, dtype=torch.float64)
        x, width = centre + _FINEST * way.sinh(), _FINEST * way.cosh() * (2.0 * _REACH / (points - 1))
    log_prob = loss.log_prob(x[:, None], parameters.expand(len(x), *parameters.shape[1:]))
    return x, log_prob.exp() * width


@probe("likelihood")
def _probe(loss: Likelihood, setting: Setting) -> dict[str, Tensor]:
    """Returns the log-probability and its gradient in the parameters."""
    data, parameters = _data(loss, 4, 3), setting.tensor(_parameters(loss, 4, 3)).requires_grad_()
    x = setting.tensor(data) if loss.levels_of_data() is None else data
    # Data come in float32: bfloat16 does not hold 256 levels.
    x = x.to(setting.device, torch.promote_types(setting.dtype, torch.float32))
    value = loss.log_prob(x, parameters)
    return {"the log-probability": value.detach(), "gradient": torch.autograd.grad(value.sum(), parameters)[0]}


@law("likelihood")
def sums_to_one(loss: Likelihood) -> str:
    """Probabilities sum, or densities integrate, to 1."""
    total = _table(loss, _parameters(loss, 1, 1))[1].sum()
    same("the sum of all probabilities is", total, torch.ones_like(total), relative=0.0, absolute=1e-3)
    return f"the sum is {float(total):.6f}"


@law("likelihood")
def samples_follow_the_density(loss: Likelihood) -> str:
    """Samples have the density's mean and spread."""
    parameters = _parameters(loss, 1, 1)
    x, probability = _table(loss, parameters)
    drawn = loss.sample(parameters.expand(_DRAWS, *parameters.shape[1:]), seeded(2))
    mean = (x * probability).sum()
    deviation = ((x - mean).square() * probability).sum().sqrt()
    slack = 6.0 * float(deviation) / _DRAWS**0.5 + 1e-6
    same("the samples' mean is", drawn.mean(), mean, relative=0.0, absolute=slack)
    # What is rare spreads the sample's deviation more than the mean.
    of_variance = (((x - mean).square() - deviation.square()).square() * probability).sum().sqrt()
    slack = 3.0 * float(of_variance / deviation) / _DRAWS**0.5 + 1e-6
    same("the samples' deviation is", drawn.std(), deviation, relative=0.05, absolute=slack)
    return f"mean {number(drawn.mean())}, density's {number(mean)}"


@law("likelihood")
def samples_come_from_rng(loss: Likelihood) -> str:
    """Samples have the data's shape and repeat with their seed, and the global generator is left alone."""
    parameters = _parameters(loss, 2, 50, 3)
    drawn = drawn_from_rng("samples", lambda rng: loss.sample(parameters, rng))
    if drawn.shape != (2, 50, 3):
        raise LawBroken(f"shape {tuple(drawn.shape)} for 2 latents, a batch of 50 and 3 values, expected (2, 50, 3).")
    return "300 samples repeat with their seed"


@law("likelihood")
def mean_is_that_of_the_density(loss: Likelihood) -> str:
    """The mean is that of the density."""
    for seed in range(3):
        parameters = _parameters(loss, 1, 1, seed=seed)
        x, probability = _table(loss, parameters, _COARSE)
        expected = (x * probability).sum().reshape(1, 1)
        deviation = ((x - expected).square() * probability).sum().sqrt()
        same(
            "mean() is", loss.mean(parameters), expected, relative=0.0, absolute=1e-3 * float(deviation.clamp(max=1.0))
        )
    return f"mean() {number(loss.mean(parameters))}, density's {number(expected)}"


def _unit(loss: Likelihood, parameters: Tensor) -> Tensor:
    """Returns how far one value of the data may leave each parameter off, at most 1."""
    x, probability = _table(loss, parameters, _COARSE)
    each = parameters.expand(len(x), *parameters.shape[1:]).clone().requires_grad_()
    (scores,) = torch.autograd.grad(loss.log_prob(x[:, None], each).sum(), each)
    weights = probability.reshape(-1, *(1,) * (scores.ndim - 1))
    return (scores.square() * weights).sum(0, keepdim=True).clamp(min=1.0).rsqrt()


@law("likelihood")
def finds_the_truth(loss: Likelihood) -> str:
    """The true parameters are a maximum: there the mean gradient is 0, and a descent from elsewhere comes as high."""
    truth = _parameters(loss, 1, 1)
    unit = _unit(loss, truth)

    def cross_entropy(away: Tensor, points: int) -> Tensor:
        # An expectation over the density itself: no samples, no sampling error.
        x, probability = _table(loss, truth, points)
        parameters = truth + unit * away
        return -(loss.log_prob(x[:, None], parameters.expand(len(x), *parameters.shape[1:])) * probability).sum()

    best = torch.zeros_like(truth, requires_grad=True)
    (slope,) = torch.autograd.grad(cross_entropy(best, _GRID), best)
    same("at the truth the mean gradient is", slope, torch.zeros_like(slope), absolute=1e-2)
    start = torch.full_like(truth, 0.5, requires_grad=True)
    first, last = descend(lambda: cross_entropy(start, _COARSE), [start], rate=0.05, steps=150)
    entropy = cross_entropy(torch.zeros_like(truth), _COARSE).item()
    if abs(last - entropy) > 1e-2:
        raise LawBroken(
            f"150 steps from other parameters take the cross-entropy from {first:.4f} to {last:.4f}, expected the "
            f"entropy {entropy:.4f}."
        )
    return f"cross-entropy from {first:.4f} to {last:.4f}, entropy {entropy:.4f}"


@law("likelihood")
def sums_over_the_data(loss: Likelihood) -> str:
    """Values are independent given the latent, and samples of the batch do not see each other."""
    x, parameters = _data(loss, 4, 3), _parameters(loss, 2, 4, 3)
    whole = loss.log_prob(x, parameters)
    if whole.shape != (2, 4):
        raise LawBroken(f"shape {tuple(whole.shape)} for 2 latents, a batch of 4 and 3 values, expected (2, 4).")
    parts = torch.stack([loss.log_prob(x[:, i], parameters[:, :, i]) for i in range(3)]).sum(0)
    same("the sum over single values is", parts, whole)
    same("alone in its batch the last sample has", loss.log_prob(x[3:], parameters[:, 3:]), whole[:, 3:])
    return "sums over the data axes alone"


@law("likelihood")
def keeps_its_gradient_far_out(loss: Likelihood) -> str:
    """Where the data are very unlikely the value is finite and its gradient has not vanished."""
    x, parameters = _data(loss, 64, 1).float(), (30.0 * _parameters(loss, 64, 1, seed=3)).float().requires_grad_()
    value = loss.log_prob(x, parameters)
    finite("the log-probability far out is", value)
    (gradient,) = torch.autograd.grad(value.sum(), parameters)
    finite("its gradient is", gradient)
    size = gradient.reshape(64, -1).norm(dim=1)
    dead = (value < -10.0) & (size < 1e-3)
    if bool(dead.any()):
        raise LawBroken(
            f"log-probability {number(value[dead][0])} with a gradient of {number(size[dead][0])}, expected one that "
            f"pulls it up; compute in log space, from logits."
        )
    return f"lowest log-probability {number(value.min())}"


@law("likelihood")
def derivative_is_right(loss: Likelihood) -> str:
    """The derivative is that of the value."""
    x = _data(loss, 3, 2)
    return derivatives_agree(
        "the log-probability", lambda p: loss.log_prob(x, p), (_parameters(loss, 3, 2),), second=True
    )
