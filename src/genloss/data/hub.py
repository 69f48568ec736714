"""Named image sets through the Hugging Face `datasets` library, from its cache or its hub."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import torch

from genloss.data.base import Dataset
from genloss.data.images import ImageOptions, allocate, official_dataset, parallel, pixels
from genloss.errors import InputError

__all__ = ["HubSet", "load_hub"]

_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class HubSet:
    """Where the `datasets` library finds a set.

    Args:
        path: repository on the hub, or a folder of its files.
        image: column of the images.
        label: column of the class indices.
    """

    path: str
    image: str = "image"
    label: str = "label"


def load_hub(name: str, hub: HubSet, options: ImageOptions) -> Dataset:
    """Returns a set of images with splits `train` and `test`.

    Args:
        name: what the data is called.
        hub: where it is.
        options: how the images are prepared.

    Raises:
        InputError: the library can neither reach its hub nor find the set in its cache, or the set has other columns.
    """
    parts = _fetch(hub)
    counts = {part: len(parts[part]) for part in ("train", "test")}
    first = parts["train"][0][hub.image]
    channels = 1 if first.mode in ("1", "L") else 3
    store = allocate(sum(counts.values()), channels, first.height, first.width)

    def fill(row: int) -> None:
        part, index = ("train", row) if row < counts["train"] else ("test", row - counts["train"])
        store[row] = pixels(parts[part][index][hub.image], channels)

    for _ in parallel(fill, range(len(store))):
        pass
    labels = torch.cat([torch.as_tensor(parts[part][hub.label][:]) for part in counts]).long()
    class_names = tuple(parts["train"].features[hub.label].names)
    return official_dataset(name, store, labels, counts["train"], class_names, options)


def _fetch(hub: HubSet) -> Any:
    """Returns the library's splits by name."""
    import datasets  # takes a second to import

    local = os.path.isdir(hub.path) or os.path.isdir(_cached(hub.path, datasets.config.HF_DATASETS_CACHE))
    if not local and not _hub_answers(datasets.config.HF_ENDPOINT, datasets.config.HF_HUB_OFFLINE):
        raise InputError(f"the hub at {datasets.config.HF_ENDPOINT} does not answer")
    try:
        parts = datasets.load_dataset(hub.path)
    except Exception as error:  # the library lets through the errors of half a dozen packages
        raise InputError(f"the `datasets` library says: {str(error).splitlines()[0]}") from error
    for part in ("train", "test"):
        if part not in parts or not {hub.image, hub.label} <= set(parts[part].column_names):
            raise InputError(f"{hub.path!r} has no split {part!r} with the columns {hub.image!r} and {hub.label!r}")
    return parts


def _cached(path: str, cache: os.PathLike[str] | str) -> str:
    """Returns the folder in which the library keeps a repository that it has fetched before."""
    return os.path.join(cache, path.replace("/", "___"))


def _hub_answers(endpoint: str, offline: bool) -> bool:
    """Whether the hub can be reached: the library itself would try for half a minute."""
    if offline:
        return False
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=_TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True
