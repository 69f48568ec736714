"""Independent random streams from one seed, so that what one consumer draws never moves another's draws."""

from __future__ import annotations

import zlib

import numpy as np
import torch

__all__ = ["STREAMS", "seed_of", "spawn", "stream"]

STREAMS = ("order", "data", "noise", "penalty")


def seed_of(seed: int, name: str) -> int:
    """Returns the seed of the stream `name`, a 63-bit integer that depends on both and nothing else.

    >>> seed_of(0, "noise") != seed_of(0, "data") != seed_of(1, "data")
    True
    """
    sequence = np.random.SeedSequence([seed, zlib.crc32(name.encode())])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def stream(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Returns a fresh generator of the stream `name` on a device."""
    return torch.Generator(device).manual_seed(seed_of(seed, name))


def spawn(seed: int, device: torch.device | str) -> dict[str, torch.Generator]:
    """Returns the streams of a run: data order on the CPU, binarisation, noise and penalty draws on the device."""
    return {name: stream(seed, name, "cpu" if name == "order" else device) for name in STREAMS}
