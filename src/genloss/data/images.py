"""Images in memory: decoded to 8 bits once, resized when asked, put behind the contract."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from genloss.data.base import Binarise, Dataset, Split
from genloss.data.splits import compact, complete
from genloss.errors import InputError

__all__ = [
    "REMARKS",
    "UNREADABLE",
    "ImageOptions",
    "Pictures",
    "allocate",
    "decode",
    "fit",
    "fit_notes",
    "header",
    "image_dataset",
    "limited",
    "list_sizes",
    "official_dataset",
    "parallel",
    "pixels",
    "refit",
    "target",
]

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for a broken file, depending on the format."""

REMARKS = {
    "animated": "gave only the first frame of an animation",
    "cmyk": "were converted from CMYK to RGB",
    "deep": "were reduced from 16 bits a value to 8",
    "transparent": "were laid over white where transparent",
    "turned": "were turned upright, as their EXIF data say",
}
"""What `decode` does to unusual files, as the end of a sentence."""

_DEEP = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
_GREY = {"1", "L", "LA", "La", *_DEEP}
_WIDTH, _HEIGHT, _ORIENTATION = 0x0100, 0x0101, 0x0112  # tags of TIFF and EXIF
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How images are prepared.

    Args:
        size: side in pixels to which they are resized, or None to leave them.
        crop: crop the centre to a square first.
        value_range: of a batch's pixels: `symmetric` is -1 to 1, `unit` is 0 to 1.
        binarise: `stochastic` draws each pixel from Bernoulli(pixel / 255) whenever a batch is made; `threshold` makes
            it 1 from 128 on. Both give 0 and 1, whatever the value range.
        limit: at most so many training samples, or None for all.
        skip_bad: skip and count unreadable files instead of stopping.

    Raises:
        InputError: a value is not one of these.
    """

    size: int | None = None
    crop: bool = False
    value_range: Literal["symmetric", "unit"] = "symmetric"
    binarise: Binarise = "none"
    limit: int | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        for name, value in (("size", self.size), ("limit", self.limit)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InputError(f"{name} is {value!r}; it must be a whole number, 1 or more.")
        for name, text, known in (
            ("value_range", self.value_range, ("symmetric", "unit")),
            ("binarise", self.binarise, ("none", "stochastic", "threshold")),
        ):
            if text not in known:
                raise InputError(f"{name} is {text!r}; it must be one of {', '.join(known)}.")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded images and what is known of them.

    Args:
        values: uint8 `(stored, channels, height, width)`.
        labels: class indices int64 `(stored,)`, or None.
        class_names: names of the labels.
        rows: stored rows of `train`, `select` and `test`, int64.
        notes: sentences of what was done.
    """

    values: Tensor
    labels: Tensor | None
    class_names: tuple[str, ...]
    rows: dict[str, Tensor]
    notes: tuple[str, ...]


def header(file: Path | BytesIO) -> tuple[int, tuple[int, int]]:
    """Returns channels (1 or 3) and upright (width, height) of an image without decoding its pixels."""
    if isinstance(file, Path) and file.exists() and not file.is_file():  # to read a pipe would wait for ever
        raise OSError("it is no regular file")
    with Image.open(file) as image:
        # Newer Pillow turns the size of a TIFF, older does not; its tags hold what is stored.
        tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
        width, height = (tags[_WIDTH], tags[_HEIGHT]) if tags is not None else image.size
        turned = _orientation(image, file) in (5, 6, 7, 8)
        return 1 if image.mode in _GREY else 3, (height, width) if turned else (width, height)


def _orientation(image: Image.Image, file: Path | BytesIO) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        # A PNG may keep its EXIF behind the pixels: asking for it there decodes them.
        content = file.read_bytes() if isinstance(file, Path) else file.getvalue()
        if b"eXIf" not in content:
            return int(Image.Image.getexif(image).get(_ORIENTATION, 1))
    return int(image.getexif().get(_ORIENTATION, 1))


def decode(file: Path | BytesIO) -> tuple[Image.Image, set[str]]:
    """Returns an upright 8-bit image, mode L or RGB, and what was done to it, as keys of `REMARKS`.

    Transparency is laid over white, 16 bits become 8, an animation gives its first frame, CMYK becomes RGB.

    Raises:
        One of `UNREADABLE`: the file is broken or holds values that are no pixels.
    """
    remarks: set[str] = set()
    with Image.open(file) as opened:
        if getattr(opened, "is_animated", False):
            remarks.add("animated")
        if any(";16" in str(tile[-1]) for tile in opened.tile) and opened.mode not in _DEEP:
            remarks.add("deep")  # by Pillow itself
        if opened.getexif().get(_ORIENTATION, 1) in range(2, 9):
            remarks.add("turned")
        image = ImageOps.exif_transpose(opened)
        image.load()
    if image.mode.startswith("I"):
        return _to_eight_bits(image), remarks | {"deep"}
    if image.mode == "F":
        raise ValueError("it holds floating-point values, not pixels")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        grey = image.mode in _GREY
        layered = image.convert("RGBA")
        if layered.getchannel("A").getextrema() != (255, 255):
            remarks.add("transparent")
            layered = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
        return layered.convert("L" if grey else "RGB"), remarks
    if image.mode == "CMYK":
        remarks.add("cmyk")
    return image.convert("L" if image.mode in _GREY else "RGB"), remarks


def _to_eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise ValueError(f"its values reach from {values.min()} to {values.max()}, beyond 16 bits")
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def fit(image: Image.Image, options: ImageOptions) -> Image.Image:
    """Returns the image cropped and resized as the options ask; resizing is Pillow's antialiased Lanczos filter."""
    if options.crop:
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if options.size is not None and image.size != (options.size, options.size):
        image = image.resize((options.size, options.size), Image.Resampling.LANCZOS)
    return image


def allocate(count: int, channels: int, height: int, width: int) -> Tensor:
    """Returns an uninitialised uint8 store, after a check that the machine could hold it.

    Raises:
        InputError: it is larger than the machine's memory.
    """
    needed = count * channels * height * width
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > memory:
            raise InputError(
                f"{count:,} images of {width}x{height} need {needed / 1e9:.1f} GB, but this machine has "
                f"{memory / 1e9:.1f} GB; set a smaller data.size (`--size` of `genloss data`), or data.limit."
            )
    return torch.empty(count, channels, height, width, dtype=torch.uint8)


def parallel(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yields `work(item)` in order, computed by threads (decoders release Python's lock), few items at a time."""
    threads = min(8, os.cpu_count() or 1)
    remaining = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        while chunk := list(islice(remaining, 32 * threads)):
            yield from pool.map(work, chunk)


def limited(rows: Mapping[str, Tensor], options: ImageOptions) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Returns the rows with as many training samples as `options.limit` allows, and the sentence that says so."""
    count = len(rows["train"])
    if options.limit is None or options.limit >= count:
        return dict(rows), ()
    note = f"Training uses {options.limit:,} of {count:,} samples, as data.limit says."
    return {**rows, "train": rows["train"][: options.limit]}, (note,)


def image_dataset(name: str, pictures: Pictures, options: ImageOptions) -> Dataset:
    """Puts decoded images behind the contract: sets range and binarisation, and says so."""
    notes = list(pictures.notes)
    if options.binarise == "stochastic":
        notes.append("Pixels are drawn from Bernoulli(pixel / 255) afresh whenever a batch is made, in testing too.")
    elif options.binarise == "threshold":
        notes.append("Pixels of 128 or more became 1, the others 0.")
    symmetric = options.value_range == "symmetric" and options.binarise == "none"
    shape = tuple(pictures.values.shape[1:])
    return Dataset(
        name=name,
        kind="image",
        shape=shape,
        splits={part: Split(pictures.values, pictures.labels, index) for part, index in pictures.rows.items()},
        value_range=(-1.0, 1.0) if symmetric else (0.0, 1.0),
        class_names=pictures.class_names,
        notes=tuple(notes),
        binarise=options.binarise,
    )


def official_dataset(
    name: str,
    store: Tensor,
    labels: Tensor,
    training: int,
    class_names: tuple[str, ...],
    options: ImageOptions,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Puts a set with an official test set behind the contract; `select` is taken from the training samples.

    Args:
        name: what the data is called.
        store: uint8 `(stored, channels, height, width)`, the training samples first.
        labels: int64 `(stored,)`.
        training: number of training samples.
        class_names: names of the labels.
        options: how the images are prepared.
        notes: sentences to begin with.

    Raises:
        InputError: a label has no name, or there are too few samples.
    """
    if len(labels) and int(labels.max()) >= len(class_names):
        raise InputError(f"A label of {name!r} is {int(labels.max())}, but it has {len(class_names)} classes, from 0.")
    rows, split_note = complete(
        {"train": torch.arange(training), "test": torch.arange(training, len(store))}, repr(name)
    )
    rows, limit_notes = limited(rows, options)
    store, every_label, rows = compact(store, labels, rows)
    values, fitted = refit(store, options)
    notes = (*notes, split_note, *limit_notes, *fitted)
    return image_dataset(name, Pictures(values, every_label, class_names, rows, notes), options)


def target(size: tuple[int, int], options: ImageOptions) -> tuple[int, int]:
    """Returns the (width, height) that an image of (width, height) `size` has after `fit`."""
    if options.size is not None:
        return options.size, options.size
    return (min(size), min(size)) if options.crop else size


def fit_notes(sizes: set[tuple[int, int]], options: ImageOptions) -> tuple[str, ...]:
    """Returns the sentence that says how images of these (width, height) sizes were cropped and resized."""
    if all(target(size, options) == size for size in sizes):
        return ()
    was = list_sizes(sizes)
    cropped = f"Images ({was}) were cropped to their centred square"
    if options.size is None:
        return (cropped + ".",)
    now = f"resized to {options.size}x{options.size} (Lanczos, antialiased)"
    if options.crop:
        return (f"{cropped} and {now}.",)
    bent = any(width != height for width, height in sizes)
    return (f"Images ({was}) were {now}" + (", which changes their aspect ratio." if bent else "."),)


def list_sizes(sizes: set[tuple[int, int]]) -> str:
    """Returns up to four sizes in words.

    >>> list_sizes({(32, 32), (64, 48)})
    '32x32, 64x48'
    """
    first = [f"{width}x{height}" for width, height in sorted(sizes)[:4]]
    return ", ".join(first) + (f" and {len(sizes) - 4} other sizes" if len(sizes) > 4 else "")


def pixels(image: Image.Image, channels: int) -> Tensor:
    """Returns an image of mode L or RGB as uint8 `(channels, height, width)`; grey becomes colour for 3."""
    array = np.array(image.convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(array).reshape(image.height, image.width, channels).permute(2, 0, 1)


def refit(values: Tensor, options: ImageOptions) -> tuple[Tensor, tuple[str, ...]]:
    """Returns stored images `(n, channels, height, width)` cropped and resized as `fit` does, and the notes.

    All images have one size, so the filter is one matrix for the rows and one for the columns: ten times as fast.
    """
    count, channels, height, width = values.shape
    size = (width, height)
    if target(size, options) == size:
        return values, ()
    if options.crop:
        side = min(size)
        top, left = (height - side) // 2, (width - side) // 2
        values = values[:, :, top : top + side, left : left + side]
    if options.size is None:
        return values.contiguous(), fit_notes({size}, options)
    store = allocate(count, channels, options.size, options.size)
    across, down = (_lanczos(length, options.size) for length in (values.shape[3], values.shape[2]))
    for place, chunk in zip(torch.split(store, 256), torch.split(values, 256), strict=True):
        # Like Pillow: the rows first, rounded to 8 bits, then the columns.
        rows = (chunk.float() @ across).round_().clamp_(0, 255)
        place.copy_((rows.mT.contiguous() @ down).round_().clamp_(0, 255).mT)
    return store, fit_notes({size}, options)


def _lanczos(length: int, wanted: int) -> Tensor:
    """Returns Pillow's antialiased Lanczos filter from `length` to `wanted` pixels, `(length, wanted)`."""
    impulses = Image.fromarray(np.eye(length, dtype=np.float32))
    return torch.from_numpy(np.array(impulses.resize((wanted, length), Image.Resampling.LANCZOS)))
