"""Tables of numbers behind the contract: checked cell by cell, standardised by column."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloss.data.base import Dataset, Split, Standardisation
from genloss.data.cells import is_missing
from genloss.data.splits import compact, complete
from genloss.data.tablefiles import Table, read_table
from genloss.errors import InputError

__all__ = ["load_table"]

_LARGEST_CLASS = 2**53  # beyond it float64 does not tell whole numbers apart
_LARGEST = 1e150  # float64 does not hold the squares of larger numbers
_SKIP = "set data.skip_bad=true (`--skip-bad` of `genloss data`) to skip and count such rows"


def load_table(name: str, path: Path, *, limit: int | None = None, skip_bad: bool = False) -> Dataset:
    """Returns the rows of a CSV, TSV, Parquet, JSON lines, NPY or NPZ file.

    Every column has mean 0 and standard deviation 1 over the training split; `standardisation.invert` undoes it. A
    column named `label` or `class` holds the labels, else a last column of text without numbers that repeats its words.
    A fixed shuffle gives 80, 10 and 10 percent to train, select and test.

    Args:
        name: what the data is called.
        path: the file.
        limit: at most so many training rows, or None for all.
        skip_bad: skip and count rows without a label or with a cell that is no finite number instead of stopping.

    Raises:
        InputError: the file cannot be read, has no numbers or too few rows, a label is missing or a cell is no finite
            number and `skip_bad` is off, or numbers are too large or too small to standardise.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "pairs.csv")
        >>> _ = path.write_text("a,b\\n" + "".join(f"{i},{i * i}\\n" for i in range(50)))
        >>> data = load_table("pairs", path)
        >>> data.shape, data.standardisation.columns, len(data.splits["train"])
        ((2,), ('a', 'b'), 40)
    """
    where = repr(str(path))
    table = read_table(path)
    if table.values.size == 0:
        raise InputError(f"{where} holds {len(table.values)} rows of {len(table.columns)} numbers; expected some.")
    kept, notes = _whole_rows(table, where, skip_bad)
    values, labels = table.values[kept], None if table.labels is None else table.labels[kept]
    classes, class_names = (None, ()) if labels is None else _classes(labels, kept, where)
    rows, split_note = complete({"train": torch.arange(len(values))}, where)
    if limit is not None and limit < len(rows["train"]):
        notes.append(f"Training uses {limit:,} of {len(rows['train']):,} rows, as data.limit says.")
        rows["train"] = rows["train"][:limit]
    standardisation, scaled_notes = _standardise(values, rows["train"].numpy(), kept, table.columns, where)
    stored, stored_classes, rows = compact(torch.from_numpy(values.astype(np.float32)), classes, rows)
    return Dataset(
        name=name,
        kind="table",
        shape=(len(table.columns),),
        splits={part: Split(stored, stored_classes, index) for part, index in rows.items()},
        class_names=class_names,
        notes=(*table.notes, *notes, split_note, *scaled_notes),
        standardisation=standardisation,
    )


def _whole_rows(table: Table, where: str, skip_bad: bool) -> tuple[NDArray[np.int64], list[str]]:
    """Returns the rows with a label and without a bad cell, and the note that counts the others."""
    bad = ~np.isfinite(table.values)
    broken = bad.any(1)
    if table.labels is not None:
        broken |= np.array([is_missing(label) for label in table.labels], dtype=bool)
    rows = np.flatnonzero(broken)
    if len(rows) == 0:
        return np.arange(len(table.values)), []
    row = int(rows[0])
    what, why, remedy = f"the label of row {row + 1} is missing", "", "give every row one"
    if bad[row].any():
        column = int(np.argmax(bad[row]))
        what = f"row {row + 1}, column {table.columns[column]!r} holds {table.cell(row, column)}"
        why, remedy = ", which is no finite number", table.remedy(row, column)
    if not skip_bad:
        raise InputError(
            f"In {where} {what}{why} (rows count from 1, without the header; bad rows: {len(rows):,}); {remedy}, or "
            f"{_SKIP}."
        )
    if broken.all():
        raise InputError(f"In {where} no row is left: {what}{why}; {remedy}.")
    return np.flatnonzero(~broken), [
        f"{len(rows):,} rows were skipped, without a label or with a cell that is no number; first {what}."
    ]


def _classes(labels: NDArray[Any], rows: NDArray[np.int64], where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Returns class indices and the sorted names of the classes; `rows` says where in the file each label stands."""
    if labels.dtype.kind in "fOS":
        words = [_class(label, row, where) for label, row in zip(labels.tolist(), rows.tolist(), strict=True)]
        # Whole numbers keep their own order, 2 before 10.
        labels = np.array(words if all(isinstance(word, int) for word in words) else [str(word) for word in words])
    names, indices = np.unique(labels, return_inverse=True)
    return torch.from_numpy(indices.astype(np.int64)), tuple(str(name) for name in names)


def _class(label: object, row: int, where: str) -> int | str:
    """Returns a label as a whole number or as text."""
    if isinstance(label, bytes):
        try:
            return label.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"In {where} the label of row {row + 1} is {label!r}, which is no text in UTF-8; save labels as text."
            ) from error
    if isinstance(label, str | bool | np.bool_):
        return str(label)
    if isinstance(label, int | np.integer):
        return int(label)
    if isinstance(label, float | np.floating | Decimal):
        if abs(value := float(label)) <= _LARGEST_CLASS and value.is_integer():
            return int(value)
        raise InputError(
            f"In {where} the labels hold numbers such as {label}; classes are whole numbers or text. "
            f"Mend row {row + 1}, or rename that column if it is a feature."
        )
    raise InputError(
        f"In {where} the label of row {row + 1} is {label}, of type {type(label).__name__}; classes are whole numbers "
        "or text. Write them so, or rename that column if it is a feature."
    )


def _standardise(
    values: NDArray[np.float64],
    training: NDArray[np.int64],
    rows: NDArray[np.int64],
    columns: tuple[str, ...],
    where: str,
) -> tuple[Standardisation, list[str]]:
    """Standardises the columns in place by the statistics of the training rows; `rows` are those of the file."""
    sample = values[training]
    large = np.argwhere(np.abs(sample) > _LARGEST)
    if len(large):
        row, column = large[0]
        raise InputError(
            f"In {where} row {rows[training[row]] + 1}, column {columns[column]!r} holds {sample[row, column]}, which "
            f"is too large to standardise; mend the number, or divide the column until none passes {_LARGEST:g}."
        )
    # A power of two scales without rounding: the squares of tiny numbers do not vanish, and no digit changes.
    exponent = np.frexp(np.abs(sample).max(0))[1]
    scaled = np.ldexp(sample, -exponent)
    mean, scale = np.ldexp(scaled.mean(0), exponent), np.ldexp(scaled.std(0), exponent)
    constant = sample.max(0) == sample.min(0)
    scale[constant] = 1.0
    for column in np.flatnonzero(scale < np.finfo(np.float64).tiny):
        raise InputError(
            f"In {where} the numbers of column {columns[column]!r} are too small to standardise, for their standard "
            "deviation is less than float64 holds; multiply the column by a power of ten."
        )
    values -= mean
    huge = np.argwhere(np.abs(values) > np.finfo(np.float32).max * scale)
    if len(huge):
        row, column = huge[0]
        raise InputError(
            f"In {where} row {rows[row] + 1}, column {columns[column]!r} lies so far from the training rows, at "
            f"{values[row, column] + mean[column]:g}, that float32 cannot hold it standardised; mend the number or "
            "leave the row out."
        )
    values /= scale
    notes = ["Every column was shifted and scaled to mean 0 and standard deviation 1 over the training split."]
    if constant.any():
        named = ", ".join(repr(columns[column]) for column in np.flatnonzero(constant))
        notes.append(f"Constant over the training split, so shifted and not scaled: {named}.")
    return Standardisation(columns, torch.from_numpy(mean), torch.from_numpy(scale)), notes
