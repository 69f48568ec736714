"""What the modules of laws share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genloss.losses.laws import LawBroken, LawSkipped

__all__ = [
    "PROBES",
    "Setting",
    "couples_as_declared",
    "derivatives_agree",
    "descend",
    "drawn_from_rng",
    "each_alone",
    "falls",
    "finite",
    "memory_is_sound",
    "normal",
    "number",
    "probe",
    "same",
    "seeded",
    "valued",
]

_REMAINS = 0.2  # of a penalty, after a descent


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and how a probe computes a loss.

    Args:
        dtype: of the tensors handed to the loss.
        device: where they lie.
        seed: of the loss's random stream.
    """

    dtype: torch.dtype = torch.float64
    device: str = "cpu"
    seed: int = 0

    @property
    def rng(self) -> torch.Generator:
        """A new random stream on the device."""
        return torch.Generator(self.device).manual_seed(self.seed)

    def tensor(self, values: Tensor) -> Tensor:
        """Returns values rounded to bfloat16, so that they are the same in every dtype and on every device."""
        return values.bfloat16().to(device=self.device, dtype=self.dtype)

    def normal(self, *shape: int, seed: int = 0) -> Tensor:
        """Returns normal numbers, the same ones in every setting."""
        return self.tensor(torch.randn(shape, generator=seeded(seed), dtype=torch.float64))


Probe = Callable[[Any, Setting], Mapping[str, Tensor]]
PROBES: dict[str, Probe] = {}
"""By family, the loss's values and gradients on fixed data; the laws of every family look at them."""


def probe(family: str) -> Callable[[Probe], Probe]:
    """Registers the probe of a family: a function of the loss and a `Setting` that returns named tensors."""

    def register(function: Probe) -> Probe:
        PROBES[family] = function
        return function

    return register


def seeded(seed: int = 0) -> torch.Generator:
    """Returns a random stream of its own."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Returns normal numbers in float64."""
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def valued(value: Tensor, leaf: Tensor) -> dict[str, Tensor]:
    """Returns what a probe does: a value and its gradient."""
    return {"the loss": value.detach(), "gradient": torch.autograd.grad(value.sum(), leaf)[0]}


def number(value: Tensor | float) -> str:
    """Returns a short form of a number or of a tensor's values, one number where they are equal."""
    if isinstance(value, Tensor):
        flat = value.detach().flatten()
        flat = flat[:1] if bool((flat == flat[:1]).all()) else flat
        text = ", ".join(f"{v:.4g}" for v in flat[:4].tolist())
        return text if flat.numel() == 1 else f"[{text}{', ...' if flat.numel() > 4 else ''}]"
    return f"{value:.4g}"


def finite(what: str, values: Tensor) -> None:
    """Raises LawBroken unless every value is finite."""
    if not bool(values.isfinite().all()):
        raise LawBroken(f"{what}: {number(values)}, expected finite numbers.")


def same(what: str, found: Tensor, expected: Tensor, *, relative: float = 1e-9, absolute: float = 1e-9) -> float:
    """Returns the largest difference; raises LawBroken where it is larger than the tolerance."""
    if found.shape != expected.shape:
        raise LawBroken(f"{what}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}.")
    error = (found.double() - expected.double()).abs()
    wrong = ~(error <= absolute + relative * expected.double().abs())
    if bool(wrong.any()):
        # The values at fault, not the first ones.
        raise LawBroken(f"{what}: {number(found[wrong])}, expected {number(expected[wrong])}.")
    return error.max().item()


def each_alone(whole: Tensor, masks: tuple[Tensor, ...], compute: Callable[..., Tensor]) -> None:
    """Raises LawBroken where a row alone, without its padding, does not have its value in the batch.

    `compute` takes one pair of slices a mask: the row, and as many places as the mask has true there. Every row is
    tried: one of them may have the mean length, and a mean over the batch is then its own.
    """
    for row in range(len(whole)):
        one = slice(row, row + 1)
        cuts = [(one, slice(int(mask[row].sum()))) for mask in masks]
        same(f"alone, without its padding, row {row} has", compute(*cuts), whole[one])


def derivatives_agree(
    what: str, function: Callable[..., Tensor], inputs: tuple[Tensor, ...], *, second: bool, relative: float = 1e-4
) -> str:
    """Returns a message; raises LawBroken where derivatives differ from finite differences of the value."""
    leaves = tuple(value.detach().double().requires_grad_() for value in inputs)
    value = function(*leaves)
    if not value.requires_grad:
        raise LawBroken(f"{what} is {number(value)}, which does not depend on what it should train: no gradient.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-5, rtol=relative, fast_mode=True)
            if second:
                torch.autograd.gradgradcheck(function, leaves, eps=1e-6, atol=1e-5, rtol=relative, fast_mode=True)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise LawBroken(f"{what}: the derivative is not that of the value ({' '.join(lines[:3])[:300]}).") from None
    return "first and second derivatives agree with finite differences" if second else "the derivative agrees"


def drawn_from_rng(what: str, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
    """Returns a draw; raises LawBroken where its numbers come from elsewhere than the generator that it is handed."""
    before = torch.get_rng_state()
    first, again, other = (draw(seeded(seed)) for seed in (1, 1, 2))
    if not torch.equal(before, torch.get_rng_state()):
        raise LawBroken(f"{what} moved the global generator, expected all numbers to come from rng.")
    same(f"with the same seed {what} are", again, first, relative=0.0, absolute=0.0)
    if torch.equal(first, other):
        raise LawBroken(f"{what} are {number(first)} with another seed too, expected others.")
    return first


def descend(
    compute: Callable[[], Tensor], leaves: list[Tensor], *, rate: float, steps: int = 200
) -> tuple[float, float]:
    """Minimises a scalar over its leaves by Adam and returns its first and its last value."""
    optimiser = torch.optim.Adam(leaves, lr=rate, betas=(0.8, 0.95))
    first = compute().item()
    for step in range(steps):
        # The rate falls to 0, so that the end is not a circle around the minimum.
        optimiser.param_groups[0]["lr"] = rate * (1.0 - step / steps)
        gradients = torch.autograd.grad(compute(), leaves, allow_unused=True)
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = gradient
        optimiser.step()
    for leaf in leaves:
        leaf.grad = None
    return first, compute().item()


def falls(compute: Callable[[], Tensor], leaves: list[Tensor]) -> str:
    """Returns a message; raises LawBroken where a descent leaves too much of a penalty."""
    first, last = descend(compute, leaves, rate=0.05, steps=300)
    if not abs(last) < _REMAINS * first:
        raise LawBroken(
            f"300 steps down its gradient take it from {first:.4g} to {last:.4g}, expected less than "
            f"{_REMAINS * first:.4g}."
        )
    return f"from {first:.4g} to {last:.4g}"


def couples_as_declared(what: str, before: Tensor, after: Tensor, declared: bool) -> str:
    """Returns a message; raises LawBroken where one sample's value moves with the others and that is not declared."""
    change = (before - after).abs().item()
    if (change > 1e-9) != declared:
        raise LawBroken(
            f"the first sample's {what} is {number(before)}, and {number(after)} when only the other samples change; "
            f"couples_batch is {declared}."
        )
    return f"change {change:.1e} when the others change"


def memory_is_sound(start: dict[str, Tensor], update: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> str:
    """Returns a message; raises LawBroken where an update changes the old memory, its names, or keeps a graph."""
    if not start:
        raise LawSkipped("it has no memory")
    kept = {name: value.clone() for name, value in start.items()}
    after = update(start)
    for name, value in start.items():
        same(f"after next_state the old memory {name!r} is", value, kept[name])
    if {n: v.shape for n, v in after.items()} != {n: v.shape for n, v in start.items()}:
        raise LawBroken(f"the memory {sorted(start)} became {sorted(after)}, expected the same names and shapes.")
    if any(value.requires_grad for value in after.values()):
        raise LawBroken("the new memory carries a graph, expected it detached: it would grow with every update.")
    return f"remembers {', '.join(sorted(after))}"
