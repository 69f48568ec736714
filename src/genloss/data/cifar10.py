"""CIFAR-10 in the binary files of its publisher, or as lossless WebP sheets of images under one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genloss.data.base import Dataset
from genloss.data.idx import find_idx, read_idx
from genloss.data.images import UNREADABLE, ImageOptions, allocate, official_dataset, parallel
from genloss.errors import InputError

__all__ = ["load_cifar10"]

_SIDE = 32
_OFFICIAL = 50_000
_RECORD = 1 + 3 * _SIDE**2
_BINARY = (*(f"data_batch_{batch}.bin" for batch in range(1, 6)), "test_batch.bin")
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load_cifar10(folder: Path, options: ImageOptions) -> Dataset:
    """Returns CIFAR-10 with the official test set, from the publisher's binary files or from sheets.

    The binary files are `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, in the folder or in
    `cifar-10-batches-bin` inside it: a record is one byte of label, then 32x32 bytes each of red, green and blue.

    Else the folder has `classes.txt`, `train/*.webp` and `test/*.webp`, each sheet 32 pixels wide with its images under
    one another, and `train-labels-idx1-ubyte.gz` and `test-labels-idx1-ubyte.gz`, which follow the images through the
    sheets in the order of their names. There may be fewer training sheets than the whole set fills.

    Args:
        folder: where they lie.
        options: how the images are prepared.

    Raises:
        InputError: a file is missing or broken, images and labels differ in number, or the files are those of the
            publisher's Python version, which are pickles.
    """
    for place in (folder, folder / "cifar-10-batches-bin"):
        if any((place / name).is_file() for name in _BINARY):
            return _from_binary(place, options)
    pickles = (folder / "cifar-10-batches-py", folder / "data_batch_1")
    if not (folder / "train").is_dir() and any(path.exists() for path in pickles):
        raise InputError(
            f"{str(folder)!r} holds the Python version of CIFAR-10: pickles, which are never loaded, for they could "
            "run any code. Put the files of the binary version (cifar-10-binary.tar.gz) there instead."
        )
    return _from_sheets(folder, options)


def _from_binary(folder: Path, options: ImageOptions) -> Dataset:
    batches = [_records(folder / name) for name in _BINARY]
    training = sum(map(len, batches[:-1]))
    store = torch.cat([batch[:, 1:] for batch in batches]).view(-1, 3, _SIDE, _SIDE)
    labels = torch.cat([batch[:, 0] for batch in batches]).long()
    return official_dataset("cifar10", store, labels, training, _CLASSES, options, _left_out(training))


def _records(path: Path) -> Tensor:
    """Returns the records of a binary file, uint8 `(records, 3073)`."""
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(
            f"{str(path)!r} cannot be read: {error.strerror}; the binary version of CIFAR-10 has the files "
            f"{', '.join(_BINARY)}."
        ) from error
    if len(content) == 0 or len(content) % _RECORD:
        raise InputError(
            f"{str(path)!r} holds {len(content):,} bytes; expected records of {_RECORD:,} bytes, a label and an image "
            "each. Get the file again."
        )
    return torch.from_numpy(content).view(-1, _RECORD)


def _left_out(training: int) -> tuple[str, ...]:
    """Returns the note that images are missing, if some are."""
    return () if training == _OFFICIAL else (f"The folder holds {training:,} of the {_OFFICIAL:,} training images.",)


def _from_sheets(folder: Path, options: ImageOptions) -> Dataset:
    sheets = {part: sorted((folder / part).glob("*.webp")) for part in ("train", "test")}
    for part, files in sheets.items():
        if not files:
            raise InputError(
                f"{str(folder / part)!r} has no sheets; expected {part}_000.webp and so on, or the publisher's binary "
                f"files {_BINARY[0]} to {_BINARY[-1]} in {str(folder)!r}."
            )
    every = [*sheets["train"], *sheets["test"]]
    counts = [_images(sheet) for sheet in every]
    training = sum(counts[: len(sheets["train"])])
    labels = {part: read_idx(find_idx(folder, f"{part}-labels-idx1-ubyte")) for part in sheets}
    for part, found in (("train", training), ("test", sum(counts) - training)):
        if labels[part].shape != (found,):
            raise InputError(
                f"The {part} sheets in {str(folder)!r} hold {found:,} images, but its labels are "
                f"{tuple(labels[part].shape)}; expected one label an image."
            )
    try:
        class_names = tuple((folder / "classes.txt").read_text(encoding="utf-8").split())
    except OSError as error:
        raise InputError(f"{str(folder / 'classes.txt')!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{str(folder / 'classes.txt')!r} is no text in UTF-8; expected the name of one class a line."
        ) from error
    store = allocate(sum(counts), 3, _SIDE, _SIDE)
    places = torch.split(store, counts)
    for _ in parallel(_fill, zip(places, every, strict=True)):
        pass
    every_label = torch.cat(list(labels.values())).long()
    return official_dataset("cifar10", store, every_label, training, class_names, options, _left_out(training))


def _images(sheet: Path) -> int:
    """Returns how many images a sheet holds, from its header."""
    try:
        with Image.open(sheet) as image:
            width, height = image.size
    except UNREADABLE as error:
        raise _broken(sheet, str(error)) from error
    if width != _SIDE or height % _SIDE:
        raise _broken(sheet, f"it is {width}x{height}, not {_SIDE} wide and a multiple of {_SIDE} high")
    return height // _SIDE


def _fill(item: tuple[Tensor, Path]) -> None:
    place, sheet = item
    try:
        with Image.open(sheet) as image:
            array = np.array(image.convert("RGB"))
    except UNREADABLE as error:
        raise _broken(sheet, str(error)) from error
    place.copy_(torch.from_numpy(array).view(-1, _SIDE, _SIDE, 3).permute(0, 3, 1, 2))


def _broken(sheet: Path, reason: str) -> InputError:
    return InputError(f"The sheet {str(sheet)!r} cannot be read: {reason}; get the file again.")
