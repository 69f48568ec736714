"""The laws of every family, on its probe: repeatable, exact in every dtype, the same on every device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from genloss.losses._law_tools import PROBES, Setting, same
from genloss.losses.card import Loss
from genloss.losses.laws import EVERY, LawBroken, LawSkipped, law

__all__: list[str] = []


def _measure(loss: Loss, setting: Setting) -> Mapping[str, Tensor]:
    if loss.family not in PROBES:
        raise LawSkipped(f"a {loss.family} is not a function of tensors alone")
    return PROBES[loss.family](loss, setting)


def _compare(
    where: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, relative: float, absolute: float
) -> float:
    """Returns the largest difference between two measurements."""
    return max(
        same(f"{where} {name} is", found[name].cpu(), value.cpu(), relative=relative, absolute=absolute)
        for name, value in expected.items()
    )


def _fixed(loss: Loss) -> Mapping[str, Tensor]:
    """Returns the values in float64; raises LawSkipped where they depend on random numbers."""
    first, second = (_measure(loss, Setting(seed=seed)) for seed in (0, 1))
    if any(not torch.equal(first[name], second[name]) for name in first):
        raise LawSkipped("it draws random numbers, which differ from dtype to dtype and from device to device")
    return first


@law(EVERY)
def _repeats(loss: Loss) -> str:
    """Called again with one seed it gives the same, and the global generator is left alone."""
    before = torch.get_rng_state()
    first, second = (_measure(loss, Setting()) for _ in range(2))
    error = _compare("called again with the same seed", second, first, relative=0.0, absolute=0.0)
    if not torch.equal(before, torch.get_rng_state()):
        raise LawBroken("the global generator moved, expected all numbers to come from rng.")
    return f"largest difference {error:.0e} for {', '.join(first)}"


@law(EVERY)
def _precise(loss: Loss) -> str:
    """Values and gradients from float32 and bfloat16 tensors are those of float64."""
    exact = _fixed(loss)
    size = 1.0 + max(float(value.abs().max()) for value in exact.values())
    worst = {}
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 1e-4)):
        found = dict(_measure(loss, Setting(dtype=dtype)))
        for name in found:
            # A gradient takes the dtype of its leaf, and the leaf's 8 bits are all that it and parameters can hold.
            rounded = dtype == torch.bfloat16 and name.startswith(("gradient", "the parameters"))
            worst[dtype] = _compare(
                f"from {str(dtype).removeprefix('torch.')} tensors",
                {name: found[name]},
                {name: exact[name]},
                relative=8e-3 if rounded else tolerance,
                absolute=(8e-3 if rounded else 1e-5) * size,
            )
    return f"float32 {worst[torch.float32]:.0e}, bfloat16 {worst[torch.bfloat16]:.0e}"


@law(EVERY)
def _autocast(loss: Loss) -> str:
    """bfloat16 autocast changes nothing."""
    plain = _measure(loss, Setting(dtype=torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = _measure(loss, Setting(dtype=torch.float32))
    # A backward pass belongs outside autocast, so that gradients are left out.
    plain = {name: value for name, value in plain.items() if not name.startswith("gradient")}
    for name, value in plain.items():
        if mixed[name].dtype != value.dtype:
            raise LawBroken(f"under autocast {name} has dtype {mixed[name].dtype}, expected {value.dtype}.")
    error = _compare("under autocast", mixed, plain, relative=1e-6, absolute=1e-6)
    return f"largest difference {error:.0e}"


@law(EVERY)
def _gpu(loss: Loss) -> str:
    """The graphics processor gives what the central processor gives."""
    if not torch.cuda.is_available():
        raise LawSkipped("this machine has no GPU that torch can use")
    exact = _fixed(loss)
    error = _compare("on the GPU", _measure(loss, Setting(device="cuda")), exact, relative=1e-6, absolute=1e-8)
    return f"largest difference {error:.0e}"
