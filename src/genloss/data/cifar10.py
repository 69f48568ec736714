"""CIFAR-10 as lossless WebP sheets of images under one another."""

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


def load_cifar10(folder: Path, options: ImageOptions) -> Dataset:
    """Returns CIFAR-10 with the official test set, from as many training sheets as there are.

    The folder has `classes.txt`, `train/*.webp` and `test/*.webp`, each sheet 32 pixels wide with its images under one
    another, and `train-labels-idx1-ubyte.gz` and `test-labels-idx1-ubyte.gz`, which follow the images through the
    sheets in the order of their names.

    Args:
        folder: where they lie.
        options: how the images are prepared.

    Raises:
        InputError: a file is missing or broken, or images and labels differ in number.
    """
    sheets = {part: sorted((folder / part).glob("*.webp")) for part in ("train", "test")}
    for part, files in sheets.items():
        if not files:
            raise InputError(f"{str(folder / part)!r} has no sheets; expected {part}_000.webp and so on.")
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
    store = allocate(sum(counts), 3, _SIDE, _SIDE)
    places = torch.split(store, counts)
    for _ in parallel(_fill, zip(places, every, strict=True)):
        pass
    notes = () if training == _OFFICIAL else (f"The folder holds {training:,} of the {_OFFICIAL:,} training images.",)
    every_label = torch.cat(list(labels.values())).long()
    return official_dataset("cifar10", store, every_label, training, class_names, options, notes)


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
