"""Tables of numbers behind the contract: checked cell by cell, standardised by column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genloss.data.base import Dataset, Split, Standardisation
from genloss.data.splits import compact, complete
from genloss.data.tablefiles import Table, read_table
from genloss.errors import InputError

__all__ = ["load_table"]

_LARGEST_CLASS = 2**53  # beyond it float64 does not tell whole numbers apart


def load_table(name: str, path: Path, *, limit: int | None = None, skip_bad: bool = False) -> Dataset:
    """Returns the rows of a CSV, TSV, Parquet, JSON lines, NPY or NPZ file.

    Every column has mean 0 and standard deviation 1 over the training split; `standardisation.invert` undoes it. A
    column named `label` or `class`, or a last column of text, holds the labels. A fixed shuffle gives 80, 10 and 10
    percent to train, select and test.

    Args:
        name: what the data is called.
        path: the file.
        limit: at most so many training rows, or None for all.
        skip_bad: skip and count rows with a cell that is no finite number instead of stopping.

    Raises:
        InputError: the file cannot be read, has no numbers or too few rows, or a cell is no finite number and
            `skip_bad` is off.

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
    kept, notes = _finite_rows(table, where, skip_bad)
    values, labels = table.values[kept], None if table.labels is None else table.labels[kept]
    classes, class_names = (None, ()) if labels is None else _classes(labels, kept, where)
    rows, split_note = complete({"train": torch.arange(len(values))}, where)
    if limit is not None and limit < len(rows["train"]):
        notes.append(f"Training uses {limit:,} of {len(rows['train']):,} rows, as data.limit says.")
        rows["train"] = rows["train"][:limit]
    standardisation, scaled_notes = _standardise(values, rows["train"].numpy(), table.columns, where)
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


def _finite_rows(table: Table, where: str, skip_bad: bool) -> tuple[NDArray[np.int64], list[str]]:
    """Returns the rows without a bad cell and the note that counts the others."""
    bad = ~np.isfinite(table.values)
    rows = np.flatnonzero(bad.any(1))
    if len(rows) == 0:
        return np.arange(len(table.values)), []
    row = int(rows[0])
    column = int(np.flatnonzero(bad[row])[0])
    cell = f"row {row + 1}, column {table.columns[column]!r} holds {table.cell(row, column)}"
    if not skip_bad:
        raise InputError(
            f"In {where} {cell}, which is no finite number (rows count from 1, without the header; {len(rows):,} rows "
            "have such a cell); mend the file, or set data.skip_bad=true (`--skip-bad` of `genloss data`) to skip and "
            "count such rows."
        )
    return np.flatnonzero(~bad.any(1)), [f"{len(rows):,} rows were skipped for a cell that is no number, first {cell}."]


def _classes(labels: NDArray[Any], rows: NDArray[np.int64], where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Returns class indices and the sorted names of the classes; `rows` says where in the file each label stands."""
    for index, label in enumerate(labels):
        if label is None or label == "" or label != label:
            raise InputError(f"In {where} the label of row {rows[index] + 1} is missing; give every row one.")
    if labels.dtype.kind == "f":
        broken = labels[(labels != np.round(labels)) | (np.abs(labels) > _LARGEST_CLASS)]
        if len(broken):
            raise InputError(
                f"In {where} the labels hold numbers such as {broken[0]}; classes are whole numbers or text. "
                "Rename that column if it is a feature."
            )
        labels = labels.astype(np.int64)
    names, indices = np.unique(labels if labels.dtype.kind in "iub" else labels.astype(str), return_inverse=True)
    return torch.from_numpy(indices.astype(np.int64)), tuple(str(name) for name in names)


def _standardise(
    values: NDArray[np.float64], training: NDArray[np.int64], columns: tuple[str, ...], where: str
) -> tuple[Standardisation, list[str]]:
    """Standardises the columns in place by the statistics of the training rows."""
    sample = values[training]
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = sample.mean(0), sample.std(0)
    constant = sample.max(0) == sample.min(0)
    scale[constant] = 1.0
    for column in np.flatnonzero(~(np.isfinite(mean) & np.isfinite(scale))):
        raise InputError(f"In {where} the numbers of column {columns[column]!r} are too large to standardise.")
    values -= mean
    values /= scale
    huge = np.argwhere(np.abs(values) > np.finfo(np.float32).max)
    if len(huge):
        raise InputError(
            f"In {where} a number of column {columns[huge[0][1]]!r} lies so far from the training rows that float32 "
            "cannot hold it standardised; mend it or leave it out."
        )
    notes = ["Every column was shifted and scaled to mean 0 and standard deviation 1 over the training split."]
    if constant.any():
        named = ", ".join(repr(columns[column]) for column in np.flatnonzero(constant))
        notes.append(f"Constant over the training split, so shifted and not scaled: {named}.")
    return Standardisation(columns, torch.from_numpy(mean), torch.from_numpy(scale)), notes
