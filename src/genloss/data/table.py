"""Tables of numbers: CSV, TSV, Parquet, JSON lines, NPY and NPZ, standardised by column."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from genloss.data.base import Dataset, Split, Standardisation
from genloss.data.splits import complete
from genloss.errors import InputError

if TYPE_CHECKING:
    import pandas

__all__ = ["TABLES", "Table", "load_table", "read_table"]

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".npy", ".npz")
_LABEL_NAMES = ("label", "class")
_DELIMITERS = ",;\t"


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers by row and column as the file has them.

    Args:
        values: float64 `(rows, columns)`; NaN where a cell is no number.
        columns: their names.
        labels: what the label column says, `(rows,)`, or None.
        notes: sentences of what was assumed.
        cells: what the file says in a cell that is no number, by (row, column).
    """

    values: NDArray[np.float64]
    columns: tuple[str, ...]
    labels: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
