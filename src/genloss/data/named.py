"""Data sets by name: what is known, where it is looked for, and how each is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from genloss.data.base import Dataset
from genloss.data.cifar10 import load_cifar10
from genloss.data.folder import load_folder
from genloss.data.hub import HubSet, load_hub
from genloss.data.idx import load_idx
from genloss.data.images import ImageOptions
from genloss.errors import InputError

__all__ = ["NAMED", "NamedSet", "cache_folder", "load_named"]

_DIGITS = tuple(str(digit) for digit in range(10))
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@dataclass(frozen=True)
class NamedSet:
    """A known data set.

    Args:
        line: what it is, in one line.
        read: reads it from its folder.
        hub: where the `datasets` library finds it, or None if it does not.
    """

    line: str
    read: Callable[[Path, ImageOptions], Dataset]
    hub: HubSet | None


def _mnist(folder: Path, options: ImageOptions) -> Dataset:
    return load_idx("mnist", folder, _DIGITS, options)


def _fashion_mnist(folder: Path, options: ImageOptions) -> Dataset:
    return load_idx("fashion_mnist", folder, _CLOTHES, options)


def _fruits(folder: Path, options: ImageOptions) -> Dataset:
    archive = folder / "fruits_train.tar.gz"
    if not archive.is_file():
        raise InputError(f"{str(folder)!r} has no fruits_train.tar.gz; put the archive of photos there.")
    return load_folder("fruits", archive, options)


NAMED = {
    "mnist": NamedSet("70,000 grey 28x28 handwritten digits, 10 classes", _mnist, HubSet("ylecun/mnist")),
    "fashion_mnist": NamedSet(
        "70,000 grey 28x28 photos of clothing, 10 classes", _fashion_mnist, HubSet("zalando-datasets/fashion_mnist")
    ),
    "cifar10": NamedSet(
        "up to 60,000 colour 32x32 photos, 10 classes", load_cifar10, HubSet("uoft-cs/cifar10", image="img")
    ),
    "fruits": NamedSet("1,200 colour 100x100 photos of fruit on white, 3 classes", _fruits, None),
}


def load_named(name: str, options: ImageOptions) -> Dataset:
    """Returns a known image set: from `$GENLOSS_DATA/<name>`, else the cache, else the `datasets` library.

    MNIST and Fashion-MNIST are read from their IDX files, CIFAR-10 from its publisher's binary files or from sheets of
    WebP images. The cache is `$GENLOSS_CACHE/data/<name>`, or `~/.cache/genloss/data/<name>`.

    Args:
        name: a key of `NAMED`.
        options: how the images are prepared.

    Raises:
        InputError: it is nowhere to be found, or its files are broken.
    """
    known = NAMED[name]
    tried = []
    for folder in _places(name):
        if os.path.isdir(folder):
            return known.read(folder, options)
        tried.append(repr(str(folder)))
    reason = "the `datasets` library does not have it"
    if known.hub is not None:
        try:
            return load_hub(name, known.hub, options)
        except InputError as error:
            reason = str(error)
    raise InputError(
        f"The data set {name!r} was not found: there is no {' and no '.join(tried)}, and {reason}; "
        f"set GENLOSS_DATA to the folder that has {name!r} in it."
    )


def cache_folder() -> Path:
    """Returns where genloss looks for what was fetched or made once: `GENLOSS_CACHE`, or `~/.cache/genloss`."""
    return Path(os.path.expanduser(os.environ.get("GENLOSS_CACHE") or "~/.cache/genloss"))


def _places(name: str) -> list[Path]:
    """Returns the folders in which a set may lie, the first ones before the others."""
    data = os.environ.get("GENLOSS_DATA")
    return [*([Path(os.path.expanduser(data), name)] if data else []), cache_folder() / "data" / name]
