"""The laws of energy losses, on normal data and an energy whose variance and normaliser are free."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genloss.losses._law_tools import Setting, couples_as_declared, finite, number, probe, seeded
from genloss.losses.energy import EnergyLoss, EnergyTerms
from genloss.losses.laws import LawBroken, law
from genloss.losses.noise_contrastive import NormalNoise
from genloss.losses.samplers import Energy, Langevin

__all__: list[str] = []

_DIMENSIONS = 4
_SAMPLES = 4000
_SAMPLER = Langevin(step_size=0.3)
_TOLERANCE = 0.15  # of a log-variance; a trace divided by the dimension is off by log 4
_PULL = 0.1  # leaves room for sampling and for a weak penalty on energies


def _data(samples: int = _SAMPLES) -> Tensor:
    return torch.randn(samples, _DIMENSIONS, generator=seeded(), dtype=torch.float64)


def _normal_energy(log_variance: Tensor, offset: Tensor) -> Energy:
    """Returns the energy of a normal density, up to an offset of its normaliser."""

    def energy(x: Tensor, sigma: Tensor | None = None) -> Tensor:
        variance = log_variance.exp() + (0.0 if sigma is None else sigma.square())
        normaliser = 0.5 * _DIMENSIONS * (2.0 * math.pi * variance).log()
        return 0.5 * x.square().sum(1) / variance + normaliser + offset

    return energy


def _run(loss: EnergyLoss, energy: Energy, real: Tensor) -> EnergyTerms:
    noise = NormalNoise(mean=torch.zeros(_DIMENSIONS).double(), root=1.5 * torch.eye(_DIMENSIONS).double())
    state = loss.init_state(real, _SAMPLER, seeded(1))
    if "chains" in state:
        # Chains that stand where the data do, and as many.
        state = {"chains": real.clone()}
    return loss(energy, real, rng=seeded(2), sampler=_SAMPLER, noise=noise, state=state)


def _slope(loss: EnergyLoss, log_variance: float) -> float:
    """Returns the derivative of the mean loss by the model's log-variance."""
    free = torch.tensor(log_variance, dtype=torch.float64, requires_grad=True)
    energy = _normal_energy(free, torch.zeros((), dtype=torch.float64))
    (found,) = torch.autograd.grad(_run(loss, energy, _data()).surrogate.mean(), free)
    return float(found)


@probe("energy")
def _probe(loss: EnergyLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns the surrogate and its gradient in the model's log-variance."""
    kind = torch.promote_types(setting.dtype, torch.float32)
    real = setting.normal(8, _DIMENSIONS)
    free = torch.full((), 0.5, dtype=kind, device=setting.device, requires_grad=True)
    offset = torch.zeros((), dtype=kind, device=setting.device)
    root = 1.5 * torch.eye(_DIMENSIONS, dtype=kind, device=setting.device)
    terms = loss(
        _normal_energy(free, offset),
        real,
        rng=setting.rng,
        sampler=_SAMPLER,
        noise=NormalNoise(mean=root.new_zeros(_DIMENSIONS), root=root),
        state=loss.init_state(real.to(kind), _SAMPLER, setting.rng),
    )
    gradient = torch.autograd.grad(terms.surrogate.sum(), free)[0]
    return {"the surrogate": terms.surrogate.detach(), "gradient in the energy": gradient}


@law("energy", shape=True)
def returns_one_value_a_sample(loss: EnergyLoss) -> str:
    """Surrogate and parts are finite and have one value a sample."""
    energy = _normal_energy(torch.zeros(()).double(), torch.zeros(()).double())
    terms = _run(loss, energy, _data(8))
    for name, value in {"surrogate": terms.surrogate, **terms.parts}.items():
        if value.shape != (8,):
            raise LawBroken(f"{name} has shape {tuple(value.shape)}, expected (8,).")
        finite(f"{name} is", value)
    return f"parts {', '.join(sorted(terms.parts))}"


@law("energy")
def the_truth_is_a_stationary_point(loss: EnergyLoss) -> str:
    """A model narrower than the data is widened, a wider one narrowed, and the turning point is the truth."""
    truth = math.log(1.0 + loss.noise_level**2)
    low, high = truth - 1.0, truth + 2.0
    slopes = _slope(loss, low), _slope(loss, high)
    if not slopes[0] < 0.0 < slopes[1]:
        raise LawBroken(
            f"the derivative by the model's log-variance is {number(slopes[0])} where it is too narrow and "
            f"{number(slopes[1])} where it is too wide, expected less than 0 and more than 0: a sign, or a scaled term."
        )
    for _ in range(8):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if _slope(loss, middle) > 0.0 else (middle, high)
    found = 0.5 * (low + high)
    if abs(found - truth) > _TOLERANCE:
        raise LawBroken(f"the loss learns a variance of {number(math.exp(found))}, expected {number(math.exp(truth))}.")
    return f"learns a variance of {number(math.exp(found))} for {number(math.exp(truth))}"


@law("energy")
def a_constant_does_not_matter(loss: EnergyLoss) -> str:
    """At the true normalised energy a constant added everywhere gains nothing."""
    offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
    energy = _normal_energy(torch.tensor(math.log(1.0 + loss.noise_level**2)).double(), offset)
    value = _run(loss, energy, _data()).surrogate.mean()
    (found,) = torch.autograd.grad(value, offset, allow_unused=True)
    slope = 0.0 if found is None else float(found)
    if abs(slope) > _PULL:
        raise LawBroken(
            f"the derivative by the constant is {number(slope)}, expected 0: the model's term needs a minus, or all "
            f"energies run off together."
        )
    return f"derivative {number(slope)}"


@law("energy")
def declares_what_couples_the_batch(loss: EnergyLoss) -> str:
    """A sample's loss depends on the others of its batch if and only if couples_batch says so."""
    energy, real = _normal_energy(torch.zeros(()).double(), torch.zeros(()).double()), _data(8)
    others = torch.cat((real[:1], 3.0 * real[1:]))
    state = loss.init_state(real, _SAMPLER, seeded(1))
    noise = NormalNoise(mean=torch.zeros(_DIMENSIONS).double(), root=1.5 * torch.eye(_DIMENSIONS).double())
    before, after = (
        loss(energy, data, rng=seeded(2), sampler=_SAMPLER, noise=noise, state=state).surrogate[0]
        for data in (real, others)
    )
    return couples_as_declared("loss", before, after, loss.couples_batch)


@law("energy")
def survives_steep_energies(loss: EnergyLoss) -> str:
    """Where the energy is steep, value and gradient are finite in float32."""
    free = torch.full((), -6.0, requires_grad=True)
    noise = NormalNoise(mean=torch.zeros(_DIMENSIONS), root=1.5 * torch.eye(_DIMENSIONS))
    # Small steps: it is the loss that is tried, not the chain.
    sampler = Langevin(step_size=1e-4)
    real = _data(8).float()
    state = loss.init_state(real, sampler, seeded(1))
    terms = loss(_normal_energy(free, torch.zeros(())), real, rng=seeded(2), sampler=sampler, noise=noise, state=state)
    finite("the surrogate is", terms.surrogate)
    finite("the gradient is", torch.autograd.grad(terms.surrogate.sum(), free)[0])
    return f"values {number(terms.surrogate)}"


@law("energy")
def does_not_hide_divergence(loss: EnergyLoss) -> str:
    """An energy that is not finite gives a loss that is not finite, or an error."""
    energy = _normal_energy(torch.zeros(()).double(), torch.tensor(math.nan).double())
    try:
        value = _run(loss, lambda x, *sigma: energy(x, *sigma) * x.sum(1), _data(8)).surrogate
    except (ValueError, RuntimeError):
        return "raises an error"
    if bool(value.isfinite().any()):
        raise LawBroken(f"the loss is {number(value)} for an energy that is not a number, expected the same.")
    return "the loss is not finite either"


@law("energy")
def leaves_memory_and_data_alone(loss: EnergyLoss) -> str:
    """The data and the old memory are not changed, and the new memory carries no graph."""
    real = _data(8)
    kept = real.clone()
    free = torch.zeros((), dtype=torch.float64, requires_grad=True)
    state = loss.init_state(real, _SAMPLER, seeded(1))
    before = {name: value.clone() for name, value in state.items()}
    noise = NormalNoise.fit(_data(64))
    energy = _normal_energy(free, torch.zeros(()).double())
    terms = loss(energy, real, rng=seeded(2), sampler=_SAMPLER, noise=noise, state=state)
    if not torch.equal(real, kept) or real.requires_grad:
        raise LawBroken("the real data were changed, expected them as they were.")
    if any(not torch.equal(state[name], value) for name, value in before.items()):
        raise LawBroken("the old memory was changed, expected a new one.")
    if sorted(terms.state) != sorted(state) or any(value.requires_grad for value in terms.state.values()):
        raise LawBroken(f"the memory {sorted(state)} became {sorted(terms.state)}, expected the same, detached.")
    return "nothing changed in place"
