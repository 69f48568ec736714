"""The idx files of MNIST and Fashion-MNIST, gzipped or plain."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from genloss.data.base import Dataset
from genloss.data.images import ImageOptions, allocate, official_dataset
from genloss.errors import InputError

__all__ = ["find_idx", "load_idx", "read_idx"]

_PREFIX = {"train": "train", "test": "t10k"}
_BROKEN = (OSError, EOFError, zlib.error, struct.error)
_MOST_PACKED = 1032  # bytes that one byte of gzip can stand for
_CHUNK = 1 << 20  # gzip holds what one read returns a second time


def read_idx(path: Path) -> Tensor:
    """Returns the uint8 array of an idx file.

    The format: two zero bytes, 8 for unsigned bytes, the number of dimensions, one big-endian uint32 for each, the
    values.

    Args:
        path: a plain file, or gzipped if its name ends in `.gz`.

    Raises:
        InputError: the file is broken, is no idx file of bytes, or has more or fewer values than its header says.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "two-idx1-ubyte")
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
        >>> read_idx(path)
        tensor([7, 9], dtype=torch.uint8)
    """
    values = torch.empty(_shape(path), dtype=torch.uint8)
    _fill(values, path)
    return values


def find_idx(folder: Path, stem: str) -> Path:
    """Returns the file `stem.gz` or `stem` in the folder.

    Raises:
        InputError: neither is there.
    """
    for name in (f"{stem}.gz", stem):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{str(folder)!r} has neither {stem}.gz nor {stem}; put the data set's files there.")


def load_idx(name: str, folder: Path, class_names: tuple[str, ...], options: ImageOptions) -> Dataset:
    """Returns an MNIST-like set from its four idx files, with the official test set.

    Args:
        name: what the data is called.
        folder: where `train-images-idx3-ubyte.gz` and the others lie.
        class_names: names of the labels.
        options: how the images are prepared.

    Raises:
        InputError: a file is missing or broken, or images and labels do not fit each other.
    """
    files = {part: find_idx(folder, f"{prefix}-images-idx3-ubyte") for part, prefix in _PREFIX.items()}
    shapes = {part: _shape(file) for part, file in files.items()}
    if any(len(shape) != 3 for shape in shapes.values()) or shapes["train"][1:] != shapes["test"][1:]:
        raise InputError(
            f"The images in {str(folder)!r} are {shapes['train']} to train and {shapes['test']} to test; "
            "expected (n, height, width) with one height and width."
        )
    sizes = {part: shape[0] for part, shape in shapes.items()}
    labels = [read_idx(find_idx(folder, f"{prefix}-labels-idx1-ubyte")) for prefix in _PREFIX.values()]
    for part, digits in zip(_PREFIX, labels, strict=True):
        if digits.shape != (sizes[part],):
            raise InputError(
                f"The {part} files in {str(folder)!r} hold {sizes[part]:,} images, but labels {tuple(digits.shape)}; "
                "expected one label an image."
            )
    store = allocate(sum(sizes.values()), 1, *shapes["train"][1:])
    _fill(store[: sizes["train"], 0], files["train"])
    _fill(store[sizes["train"] :, 0], files["test"])
    return official_dataset(name, store, torch.cat(labels).long(), sizes["train"], class_names, options)


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _shape(path: Path) -> tuple[int, ...]:
    """Returns the shape that the header tells."""
    try:
        with _open(path) as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
                raise InputError(
                    f"{str(path)!r} begins with the bytes '{magic.hex(' ')}'; an idx file of unsigned bytes begins "
                    "with 00 00 08 and its number of dimensions. Get the file again."
                )
            shape = struct.unpack(f">{magic[3]}I", file.read(4 * magic[3]))
            size = path.stat().st_size
    except _BROKEN as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}; get the file again.") from error
    if math.prod(max(1, length) for length in shape) > _MOST_PACKED * size:  # before memory is asked for
        raise InputError(
            f"The header of {str(path)!r} says {' x '.join(map(str, shape))} values, more than its {size:,} bytes can "
            "hold; get the file again."
        )
    return shape


def _fill(store: Tensor, path: Path) -> None:
    """Reads the values of an idx file into a contiguous tensor of the shape in its header."""
    count, filled = math.prod(store.shape), 0
    view = memoryview(cast(Any, store.view(-1).numpy()))
    try:
        with _open(path) as file:
            file.read(4 + 4 * store.ndim)
            while filled < count and (taken := file.readinto(view[filled : filled + _CHUNK])):  # type: ignore[attr-defined]
                filled += taken
            more = bool(file.read(1))
    except _BROKEN as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}; get the file again.") from error
    if filled < count or more:
        raise InputError(
            f"{str(path)!r} holds {'more than ' if more else ''}{filled:,} values, but its header says "
            f"{' x '.join(map(str, store.shape))}; get the file again."
        )
