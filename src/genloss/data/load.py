"""Loads a data set by its name or from a path."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Literal

from genloss.data.base import Binarise, Dataset
from genloss.data.digits import load_digits
from genloss.data.folder import load_folder
from genloss.data.images import ImageOptions
from genloss.data.named import NAMED, load_named
from genloss.data.sources import ARCHIVES
from genloss.data.table import load_table
from genloss.data.tablefiles import TABLES
from genloss.data.toys import TOYS, make_toy, toy_dataset
from genloss.errors import InputError, did_you_mean

__all__ = ["known_datasets", "load_data"]

_TOY_LINES = {
    "ring": "8 narrow Gaussians on a circle: do all modes appear?",
    "grid": "25 narrow Gaussians on a 5x5 lattice",
    "two_moons": "two interleaved half circles with noise",
    "swiss_roll": "a spiral with noise",
    "pinwheel": "five curved arms with noise",
    "checkerboard": "uniform on eight squares: sharp edges",
    "gaussian_mixture": "Gaussians of your choice: means, scales, weights",
}
_DIGITS = "digits"
_DIGITS_LINE = "1,797 grey 8x8 handwritten digits, 10 classes, shipped with scikit-learn"


def known_datasets() -> dict[str, str]:
    """Returns every known name with what it is in one line: toys, digits, then the sets looked for on disk.

    Example:
        >>> known_datasets()["mnist"]
        '70,000 grey 28x28 handwritten digits, 10 classes'
    """
    return {**_TOY_LINES, _DIGITS: _DIGITS_LINE, **{name: known.line for name, known in NAMED.items()}}


def load_data(
    name_or_path: str | os.PathLike[str],
    /,
    *,
    seed: int = 0,
    size: int | None = None,
    crop: bool = False,
    value_range: Literal["symmetric", "unit"] = "symmetric",
    binarise: Binarise = "none",
    limit: int | None = None,
    skip_bad: bool = False,
    **toy_options: object,
) -> Dataset:
    """Returns a data set in memory: a known one by its name, or your own by its path.

    A path is a folder of images, a `.tar`, `.tar.gz` or `.zip` archive of images, or a table: CSV, TSV, Parquet, JSON
    lines, NPY or NPZ. What is not split already is split by a fixed shuffle, the same in every run.

    Args:
        name_or_path: a key of `known_datasets()`, or a path. A known name wins: write `./mnist` for a folder so called.
        seed: of a toy's points; unused otherwise.
        size: side in pixels to which images are resized.
        crop: crop images to their centred square first.
        value_range: of images in batches: `symmetric` is -1 to 1, `unit` 0 to 1.
        binarise: `stochastic` draws pixels from Bernoulli(pixel / 255) whenever a batch is made, `threshold` cuts at
            128. Either gives 0 and 1, whatever the value range.
        limit: at most so many training samples.
        skip_bad: skip and count unreadable images, and rows with a bad cell or no label, instead of stopping.
        **toy_options: fields of the toy, such as `count=4` for `ring`.

    Raises:
        InputError: the name is unknown, the path is missing, or an option does not suit the data.

    Example:
        >>> load_data("ring", count=4, limit=100).describe()["sizes"]
        {'train': 100, 'select': 10000, 'test': 10000}
        >>> load_data("digitz")
        Traceback (most recent call last):
        genloss.errors.InputError: There is no data set 'digitz'. Did you mean 'digits'?
    """
    options = ImageOptions(
        size=size, crop=crop, value_range=value_range, binarise=binarise, limit=limit, skip_bad=skip_bad
    )
    source = os.fspath(name_or_path)
    dataset = _load(source, options, seed, toy_options)
    if source in known_datasets() and os.path.exists(source):
        note = f"This is the known set; the file or folder {source!r} that is here too is read as ./{source}."
        return replace(dataset, notes=(*dataset.notes, note))
    return dataset


def _load(source: str, options: ImageOptions, seed: int, toy_options: dict[str, object]) -> Dataset:
    if source in TOYS:
        _refuse(source, options, "a toy", ("size", "crop", "value_range", "binarise", "skip_bad"))
        return toy_dataset(source, make_toy(source, **toy_options), seed=seed, limit=options.limit)
    if toy_options:
        raise InputError(
            f"The option {next(iter(toy_options))!r} belongs to toys, but {source!r} is none; leave it out."
        )
    if source == _DIGITS or source in NAMED:
        _refuse(source, options, "a known set", ("skip_bad",))
        return load_digits(options) if source == _DIGITS else load_named(source, options)
    return _load_path(source, options)


def _load_path(source: str, options: ImageOptions) -> Dataset:
    try:
        path = Path(source).expanduser()
        mode = path.stat().st_mode
        name = path.resolve().name
    except (FileNotFoundError, NotADirectoryError) as error:
        if Path(source).name == source and not Path(source).suffix:
            raise InputError(f"There is no data set {source!r}.{did_you_mean(source, known_datasets())}") from error
        known = Path(source).name in known_datasets()
        also = f" The known set of that name is data.name={Path(source).name}." if known else ""
        raise InputError(
            f"There is no file or folder {source!r}; name one (in a recipe as data.path) that holds images or a table, "
            f"or is an archive of images.{also}"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:  # no permission, an unknown ~user, a name that cannot be
        reason = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
        raise InputError(f"{source!r} cannot be opened: {reason}; check the path and your permissions.") from error
    if stat.S_ISDIR(mode):
        return load_folder(name, path, options)
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{source!r} is neither a file nor a folder; expected images in a folder or archive, or a table."
        )
    if path.name.lower().endswith(ARCHIVES):
        return load_folder(name, path, options)
    if path.suffix.lower() in TABLES:
        _refuse(source, options, "a table", ("size", "crop", "value_range", "binarise"))
        return load_table(name, path, limit=options.limit, skip_bad=options.skip_bad)
    raise InputError(
        f"{source!r} is in no known format; expected a folder of images, an archive of images "
        f"({', '.join(ARCHIVES)}) or a table ({', '.join(TABLES)})."
    )


def _refuse(source: str, options: ImageOptions, what: str, names: tuple[str, ...]) -> None:
    """Raises if an option is set that does not suit this data."""
    default = ImageOptions()
    for name in names:
        if getattr(options, name) != getattr(default, name):
            raise InputError(
                f"{name}={getattr(options, name)!r} was given, but {source!r} is {what}; leave {name} out."
            )
