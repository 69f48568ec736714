"""Writes tiny real files of the formats that the data layer reads."""

from __future__ import annotations

import ctypes
import gzip
import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["permissions_count", "picture", "write_idx", "write_mnist", "write_tar", "write_zip"]


def picture(seed: int = 0, size: tuple[int, int] = (6, 6), mode: str = "RGB") -> Image.Image:
    """An image of noise, (width, height)."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def write_idx(path: Path, values: np.ndarray) -> None:
    content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(
    folder: Path, train: int = 30, test: int = 10, side: int = 4, suffix: str = ".gz"
) -> dict[str, np.ndarray]:
    """The four files of an MNIST-like set; image i is all i, its label i mod 10. Returns the arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, side, side))
        arrays[prefix] = images
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", np.arange(count) % 10)
    return arrays


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@contextmanager
def permissions_count() -> Iterator[None]:
    """Makes the permissions of files count for root too, by laying down its right to override them."""
    if os.geteuid() != 0:
        yield
        return
    libc, kept = ctypes.CDLL(None), ctypes.create_string_buffer(24)
    version = struct.pack("Ii", 0x20080522, 0)
    libc.capget(version, kept)
    effective, *others = struct.unpack("6I", kept.raw)
    libc.capset(version, struct.pack("6I", effective & ~0b110, *others))  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    try:
        yield
    finally:
        libc.capset(version, kept.raw)
