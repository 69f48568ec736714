"""What the modules of laws share."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from genloss.losses.laws import LawBroken

__all__ = ["derivatives_agree", "finite", "memory_is_sound", "number", "same", "same_under_autocast", "seeded"]


def seeded(seed: int = 0) -> torch.Generator:
    """Returns a random stream of its own."""
    return torch.Generator().manual_seed(seed)


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
    if not bool((error <= absolute + relative * expected.double().abs()).all()):
        raise LawBroken(f"{what}: {number(found)}, expected {number(expected)}.")
    return error.max().item()


def same_under_autocast(what: str, compute: Callable[[], Tensor]) -> str:
    """Returns a message; raises LawBroken where bfloat16 autocast changes the values."""
    plain = compute()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = compute()
    if mixed.dtype != plain.dtype:
        raise LawBroken(f"{what} has dtype {mixed.dtype} under autocast, expected {plain.dtype}.")
    error = same(f"{what} under autocast", mixed, plain, relative=1e-6, absolute=1e-6)
    return f"largest difference {error:.1e}"


def derivatives_agree(what: str, function: Callable[..., Tensor], inputs: tuple[Tensor, ...], *, second: bool) -> str:
    """Returns a message; raises LawBroken where derivatives differ from finite differences of the value."""
    leaves = tuple(value.detach().double().requires_grad_() for value in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)
            if second:
                torch.autograd.gradgradcheck(function, leaves, eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise LawBroken(f"{what}: the derivative is not that of the value ({' '.join(lines[:3])[:300]}).") from None
    return "first and second derivatives agree with finite differences" if second else "the derivative agrees"


def memory_is_sound(start: dict[str, Tensor], update: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> str | None:
    """Returns a message; raises LawBroken where an update changes the old memory, its names, or keeps a graph."""
    if not start:
        return None
    kept = {name: value.clone() for name, value in start.items()}
    after = update(start)
    for name, value in start.items():
        same(f"after next_state the old memory {name!r} is", value, kept[name])
    if {n: v.shape for n, v in after.items()} != {n: v.shape for n, v in start.items()}:
        raise LawBroken(f"the memory {sorted(start)} became {sorted(after)}, expected the same names and shapes.")
    if any(value.requires_grad for value in after.values()):
        raise LawBroken("the new memory carries a graph, expected it detached: it would grow with every update.")
    return f"remembers {', '.join(sorted(after))}"
