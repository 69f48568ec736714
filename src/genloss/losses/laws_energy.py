"""The laws of energy losses, on normal data and an energy whose variance and normaliser are free."""

from __future__ import annotations

import math
from dataclasses import is_dataclass, replace

import torch
from torch import Tensor

from genloss.losses._law_tools import Setting, couples_as_declared, finite, number, probe, seeded
from genloss.losses.energy import EnergyLoss, EnergyTerms
from genloss.losses.laws import LawBroken, LawSkipped, law
from genloss.losses.noise_contrastive import NormalNoise
from genloss.losses.samplers import Energy, Langevin, Sampler

__all__: list[str] = []

_DIMENSIONS = 4
_SAMPLES = 4000
_SAMPLER = Langevin(step_size=0.3)
_TOLERANCE = 0.15  # of a log-variance; a trace divided by the dimension is off by log 4
_PULL = 0.1  # leaves room for sampling
_ASTRAY = 50.0  # a constant in the energies, far beyond their spread
_FAR = 100.0  # how far data lie from all that the model draws


def _data(samples: int = _SAMPLES) -> Tensor:
    return torch.randn(samples, _DIMENSIONS, generator=seeded(), dtype=torch.float64)


def _normal_energy(log_variance: Tensor, offset: Tensor) -> Energy:
    """Returns the energy of a normal density, up to an offset of its normaliser."""

    def energy(x: Tensor, sigma: Tensor | None = None) -> Tensor:
        variance = log_variance.exp() + (0.0 if sigma is None else sigma.square())
        normaliser = 0.5 * _DIMENSIONS * (2.0 * math.pi * variance).log()
        return 0.5 * x.square().sum(1) / variance + normaliser + offset

    return energy


def _unpenalised(loss: EnergyLoss) -> EnergyLoss:
    """Returns the loss with its penalty at 0: one on energies moves the optimum from the truth, as it is meant to."""
    if isinstance(getattr(loss, "penalty", None), float | int) and is_dataclass(loss):
        return replace(loss, penalty=0.0)
    return loss


def _memory(loss: EnergyLoss, real: Tensor, sampler: Sampler, rng: torch.Generator) -> dict[str, Tensor]:
    """Returns the loss's memory at its start, with at least as many chains as there are data."""
    state = loss.init_state(real, sampler, rng)
    if "chains" in state and len(state["chains"]) < len(real):
        state = {**state, "chains": state["chains"].repeat(len(real), *(1,) * (real.ndim - 1))}
    return state


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
        state=_memory(loss, real.to(kind), _SAMPLER, setting.rng),
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
    loss = _unpenalised(loss)
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


def _pull(loss: EnergyLoss, constant: float) -> float:
    """Returns the derivative of the mean loss by a constant that is added to the true normalised energy."""
    offset = torch.tensor(constant, dtype=torch.float64, requires_grad=True)
    energy = _normal_energy(torch.tensor(math.log(1.0 + loss.noise_level**2)).double(), offset)
    value = _run(loss, energy, _data()).surrogate.mean()
    (found,) = torch.autograd.grad(value, offset, allow_unused=True)
    return 0.0 if found is None else float(found)


@law("energy")
def a_constant_does_not_matter(loss: EnergyLoss) -> str:
    """At the true normalised energy a constant added everywhere gains nothing."""
    slope = _pull(_unpenalised(loss), 0.0)
    if abs(slope) > _PULL:
        raise LawBroken(
            f"the derivative by the constant is {number(slope)}, expected 0: the model's term needs a minus, or all "
            f"energies run off together."
        )
    return f"derivative {number(slope)}"


@law("energy")
def a_penalty_holds_the_energies(loss: EnergyLoss) -> str:
    """A penalty on energies draws them towards 0."""
    bare = _unpenalised(loss)
    if bare == loss:
        raise LawSkipped("it has no penalty")
    pulls = [_pull(loss, constant) - _pull(bare, constant) for constant in (-_ASTRAY, _ASTRAY)]
    if not (pulls[0] <= 1e-6 and pulls[1] >= -1e-6):
        raise LawBroken(
            f"where all energies are {_ASTRAY:.0f} too low and too high the penalty's derivatives by a constant are "
            f"{number(pulls[0])} and {number(pulls[1])}, expected none above 0 and none below."
        )
    return f"derivatives {number(pulls[0])} and {number(pulls[1])}"


@law("energy")
def declares_what_couples_the_batch(loss: EnergyLoss) -> str:
    """A sample's loss depends on the others of its batch if and only if couples_batch says so."""
    energy, real = _normal_energy(torch.zeros(()).double(), torch.zeros(()).double()), _data(8)
    others = torch.cat((real[:1], 3.0 * real[1:]))
    state = _memory(loss, real, _SAMPLER, seeded(1))
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
    state = _memory(loss, real, sampler, seeded(1))
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
    state = _memory(loss, real, _SAMPLER, seeded(1))
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


@law("energy")
def remembers_its_own_chains(loss: EnergyLoss) -> str:
    """The memory moves on with every batch, and holds what the model draws and not the data."""
    real = _data(8) + _FAR
    state = _memory(loss, real, _SAMPLER, seeded(1))
    if not state:
        raise LawSkipped("it has no memory")
    energy = _normal_energy(torch.zeros(()).double(), torch.zeros(()).double())
    noise = NormalNoise.fit(_data(64))
    after = loss(energy, real, rng=seeded(2), sampler=_SAMPLER, noise=noise, state=state).state
    if all(torch.equal(after[name], value) for name, value in state.items()):
        raise LawBroken(
            f"after a batch of {len(real)} the memory is as before, expected another: it is never replaced."
        )
    furthest = float(after["chains"].max()) if "chains" in after else 0.0
    if not furthest < 0.5 * _FAR:
        raise LawBroken(
            f"with data around {_FAR:.0f} and a model around 0 a chain stands at {furthest:.4g}, expected around 0: "
            f"chains go on from where they stood, not from the data."
        )
    return "the memory holds other numbers after a batch, and none of the data"
