"""Reads the arrays of NPY and NPZ files; no Python object in them is ever loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genloss.errors import InputError

__all__ = ["read_arrays"]

_PICKLES = tuple(bytes([128, protocol]) for protocol in range(2, 6))
_LABELS = ("label", "labels", "class", "y")


def read_arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Returns the table's array `(rows, columns)` of numbers in a file, and its labels `(rows,)`, if it has any.

    Raises:
        InputError: the file is no NumPy file, or holds other things than such arrays.
    """
    with path.open("rb") as file:
        head = file.read(6)
        if not head:
            raise InputError(f"{str(path)!r} is empty; expected what numpy.save or numpy.savez writes.")
        if not head.startswith((*_PICKLES, b"\x93NUMPY", b"PK\3\4", b"PK\5\6")):
            raise InputError(
                f"{str(path)!r} cannot be read as {path.suffix[1:].lower()}: it is no NumPy file, for it begins with "
                f"the bytes '{head.hex(' ')}'; expected what numpy.save or numpy.savez writes."
            )
        file.seek(0)
        with _no_objects(path, "its array"):
            loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return _checked(loaded, None, path)
        arrays = {}
        with loaded:
            for name in loaded.files:
                with _no_objects(path, f"its array {name!r}"):
                    arrays[name] = loaded[name]
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy gives the bytes of any other file in the archive
            raise InputError(f"{str(path)!r} holds {name!r}, which is no array; expected what numpy.savez writes.")
    label_names = [name for name in arrays if name.lower() in _LABELS and arrays[name].ndim == 1]
    # A single text describes the data, as in the samples that genloss writes.
    tables = [
        name for name, array in arrays.items() if name not in label_names and (array.ndim or array.dtype.kind != "U")
    ]
    if len(tables) != 1 or len(label_names) > 1:
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no array"
        raise InputError(
            f"{str(path)!r} holds {found}; expected one array (rows, columns) and at most one of labels (rows,) "
            f"named {', '.join(_LABELS)}."
        )
    return _checked(arrays[tables[0]], arrays[label_names[0]] if label_names else None, path)


@contextmanager
def _no_objects(path: Path, what: str) -> Iterator[None]:
    """Refuses Python objects with a sentence of our own: numpy's advises to load them."""
    try:
        yield
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InputError(
            f"{str(path)!r} cannot be read: {what} holds Python objects, which are never loaded, for they could run "
            "any code; save plain numbers with array.astype(float), labels in words with array.astype(str)."
        ) from error


def _checked(array: NDArray[Any], labels: NDArray[Any] | None, path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise InputError(
            f"{str(path)!r} holds {array.dtype} values of shape {array.shape}; expected numbers (rows, columns)."
        )
    if labels is not None and (len(labels) != len(array) or labels.dtype.kind not in "biufUS"):
        raise InputError(
            f"{str(path)!r} holds {len(array)} rows, but labels of {labels.dtype} and shape {labels.shape}; "
            "expected one whole number or text a row."
        )
    return array, labels
