"""A folder or archive of images: flat, or a folder a class, with or without folders for train and test."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from genloss.data.base import Dataset
from genloss.data.images import (
    REMARKS,
    UNREADABLE,
    ImageOptions,
    Pictures,
    allocate,
    decode,
    fit,
    fit_notes,
    header,
    image_dataset,
    limited,
    list_sizes,
    parallel,
    pixels,
    target,
)
from genloss.data.sources import IMAGE_SUFFIXES, Source, open_source
from genloss.data.splits import complete
from genloss.errors import InputError

__all__ = ["Layout", "lay_out", "load_folder"]

_PART = {
    "train": "train",
    "training": "train",
    "select": "select",
    "val": "select",
    "valid": "select",
    "validation": "select",
    "dev": "select",
    "eval": "select",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, eq=False)
class Layout:
    """What the names of the files say.

    Args:
        given: file indices by part, or all of them under `train`.
        labels: class of every file, int64 `(files,)`, or None for a flat folder.
        class_names: first folder level below the parts, sorted.
        notes: sentences of what was assumed.
    """

    given: dict[str, Tensor]
    labels: Tensor | None
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def load_folder(name: str, place: Path, options: ImageOptions) -> Dataset:
    """Returns the images of a folder or of a `.tar`, `.tar.gz` or `.zip` archive, which is read in memory.

    Directly in the folder they have no labels; in folders of it, the first level is their class. Folders named `train`,
    `val` and `test` are the splits; without them a fixed shuffle gives 80, 10 and 10 percent.

    Args:
        name: what the data is called.
        place: the folder or archive.
        options: how the images are prepared.

    Raises:
        InputError: there are no images, a file cannot be read (and `skip_bad` is off), or they differ in size and
            `options.size` is not set.
    """
    with warnings.catch_warnings():
        # Pillow warns above 89 megapixels and refuses from 179 on.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        pictures = _pictures(place, options)
    return image_dataset(name, pictures, options)


def _pictures(place: Path, options: ImageOptions) -> Pictures:
    source = open_source(place)
    where = repr(str(place))
    if not source.names:
        links = f" {_links_note(source)}" if source.left_out else ""
        raise InputError(
            f"{where} holds no images; expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}.{links}"
        )
    files = _Files(source, options)
    files.read_headers()
    layout = lay_out([source.names[index] for index in files.good], where)
    rows, split_note = complete(layout.given, where)
    rows, limit_notes = limited(rows, options)
    used = torch.cat(list(rows.values())).sort().values
    values, kept = files.decode(used.tolist())
    position = torch.full((len(files.good),), -1)
    position[used[kept]] = torch.arange(int(kept.sum()))
    rows = {part: position[index][position[index] >= 0] for part, index in rows.items()}
    for part, index in rows.items():
        if len(index) == 0:
            raise InputError(f"No image of {part!r} in {where} can be read; at least one must be.")
    return Pictures(
        values=values,
        labels=None if layout.labels is None else layout.labels[used[kept]],
        class_names=layout.class_names,
        rows=rows,
        notes=(*layout.notes, split_note, *limit_notes, *files.notes()),
    )


def lay_out(names: Sequence[str], where: str) -> Layout:
    """Returns the parts and classes that the names of image files tell.

    Args:
        names: with `/` between folders.
        where: the data, for the error.

    Raises:
        InputError: images lie both beside class folders and in them.

    Example:
        >>> layout = lay_out(["all/train/cat/1.png", "all/train/dog/2.png", "all/test/cat/3.png"], "mine")
        >>> layout.class_names, layout.labels.tolist(), sorted(layout.given)
        (('cat', 'dog'), [0, 1, 0], ['test', 'train'])
    """
    paths = [tuple(part for part in name.split("/") if part not in ("", ".", "..")) for name in names]
    while all(len(path) > 1 for path in paths) and len({path[0] for path in paths}) == 1:
        if paths[0][0].lower() in _PART:
            break
        paths = [path[1:] for path in paths]
    parts = [_PART.get(path[0].lower()) if len(path) > 1 else None for path in paths]
    notes = []
    if None in parts and not ("train" in parts and {"select", "test"} & set(parts)):  # a class may be called train
        given = {"train": torch.arange(len(paths))}
    else:
        given = {part: _where(parts, part) for part in ("train", "select", "test") if part in parts}
        outside = parts.count(None)
        if outside:
            notes.append(f"{outside} images outside the folders for train, select and test were left out.")
        paths = [path[1:] if part is not None else () for path, part in zip(paths, parts, strict=True)]
    inside = [path for path in paths if path]
    depths = {len(path) > 1 for path in inside}
    if len(depths) > 1:
        loose = next("/".join(path) for path in inside if len(path) == 1)
        raise InputError(
            f"In {where} some images lie in folders and some, such as {loose!r}, beside them; "
            "put every image into a folder named after its class, or all of them into one folder."
        )
    if depths == {False}:
        return Layout(given, None, (), tuple(notes))
    class_names = tuple(sorted({path[0] for path in inside}))
    index = {class_name: label for label, class_name in enumerate(class_names)}
    if any(len(path) > 2 for path in inside):
        notes.append(f"The first folder level is the class ({len(class_names)} classes); deeper levels were merged.")
    return Layout(given, torch.tensor([index[path[0]] if path else -1 for path in paths]), class_names, tuple(notes))


def _where(parts: Sequence[str | None], wanted: str) -> Tensor:
    return torch.tensor([index for index, part in enumerate(parts) if part == wanted])


class _Files:
    """Reads the image files of a source: their headers first, so that trouble shows before the long decoding."""

    def __init__(self, source: Source, options: ImageOptions) -> None:
        self.source = source
        self.options = options
        self.good: list[int] = []
        self.channels = 1
        self.sizes: set[tuple[int, int]] = set()
        self._headers: dict[int, tuple[int, tuple[int, int]]] = {}
        self._grey = 0
        self._colour = 0
        self._skipped: list[int] = []
        self._remarks: Counter[str] = Counter()

    def read_headers(self) -> None:
        """Finds the files that open, in the order of their names."""
        for index, found in parallel(self._header, self.source.read(range(len(self.source.names)))):
            if isinstance(found, Exception):
                self._bad(index, found)
            else:
                self._headers[index] = found
        self.good = sorted(self._headers)
        if not self.good:
            raise InputError(f"None of the {len(self.source.names)} image files in {self._where()} can be read.")

    def decode(self, used: list[int]) -> tuple[Tensor, Tensor]:
        """Returns the pixels of the good files at the positions `used`, and which of them could be decoded.

        The pixels are uint8 `(decoded, channels, height, width)`, the answer bool `(len(used),)`.
        """
        headers = [self._headers[self.good[position]] for position in used]
        self.channels = max(channels for channels, _ in headers)
        self._grey = sum(channels == 1 for channels, _ in headers) if self.channels == 3 else 0
        self._colour = len(headers) - self._grey
        self.sizes = {size for _, size in headers}
        fitted = {target(size, self.options) for size in self.sizes}
        if len(fitted) > 1:
            raise InputError(
                f"The images in {self._where()} differ in size ({list_sizes(self.sizes)}); "
                "set data.size to the side they should be resized to, such as data.size=64 (`--size 64` of "
                "`genloss data`)."
            )
        width, height = fitted.pop()
        store = allocate(len(used), self.channels, height, width)
        kept = torch.ones(len(used), dtype=torch.bool)
        row = {self.good[position]: place for place, position in enumerate(used)}

        def fill(item: tuple[int, Path | BytesIO]) -> tuple[int, set[str] | Exception]:
            try:
                image, remarks = decode(item[1])
                image = fit(image, self.options)
                if image.size != (width, height):
                    raise ValueError(f"it is {image.width}x{image.height} and the others are {width}x{height}")
                store[row[item[0]]] = pixels(image, self.channels)
            except UNREADABLE as error:
                return item[0], error
            return item[0], remarks

        for index, done in parallel(fill, self.source.read(sorted(row))):
            if isinstance(done, Exception):
                self._bad(index, done)
                kept[row[index]] = False
            else:
                self._remarks.update(done)
        return (store if kept.all() else store[kept]), kept

    def notes(self) -> tuple[str, ...]:
        """Returns the sentences that say what was done."""
        notes = list(fit_notes(self.sizes, self.options))
        if self._grey:
            notes.append(f"{self._grey} grey and {self._colour} colour images were mixed: all became colour.")
        notes += [f"{count} images {REMARKS[remark]}." for remark, count in sorted(self._remarks.items())]
        if others := self.source.others:
            kinds = ", ".join(suffix or "no suffix" for suffix, _ in others.most_common(4))
            notes.append(f"{others.total()} files of other kinds ({kinds}) were ignored.")
        if self.source.left_out:
            notes.append(_links_note(self.source))
        if self._skipped:
            late = sum(index in self._headers for index in self._skipped)
            counted = f"; {late} of them are still counted in the split above" if late else ""
            named = _named([self.source.names[index] for index in self._skipped])
            notes.append(f"{len(self._skipped)} unreadable images were skipped: {named}{counted}.")
        return tuple(notes)

    @staticmethod
    def _header(item: tuple[int, Path | BytesIO]) -> tuple[int, tuple[int, tuple[int, int]] | Exception]:
        try:
            return item[0], header(item[1])
        except UNREADABLE as error:
            return item[0], error

    def _bad(self, index: int, error: Exception) -> None:
        name = self.source.names[index]
        if not self.options.skip_bad:
            raise InputError(
                f"The image {name!r} in {self._where()} cannot be read: {_reason(error)}; "
                "mend or remove it, or set data.skip_bad=true (`--skip-bad` of `genloss data`) to skip and count "
                "such files."
            ) from error
        self._skipped.append(index)

    def _where(self) -> str:
        return repr(str(self.source.place))


def _links_note(source: Source) -> str:
    links = source.left_out
    return f"{len(links)} links that lead back, nowhere or where you may not read were left out: {_named(links)}."


def _named(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")


def _reason(error: Exception) -> str:
    """Returns what is wrong without Pillow's mention of a memory address or path."""
    if isinstance(error, UnidentifiedImageError):
        return "it is not in an image format that Pillow knows"
    return str(error) or type(error).__name__
