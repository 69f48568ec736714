"""Reads tables as the files have them: CSV, TSV, Parquet, JSON lines, NPY and NPZ."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genloss.data.arrayfiles import read_arrays
from genloss.data.cells import is_missing, looks_like_number, means_missing, number
from genloss.data.delimited import open_text, read_delimited
from genloss.errors import InputError

__all__ = ["TABLES", "Table", "read_table"]

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".npy", ".npz")
_LABEL_COLUMNS = ("label", "class")
_LONGEST_CELL = 60


@dataclass(frozen=True, eq=False)
class Table:
    """The numbers of a table, and what it says where there is no number.

    Args:
        values: float64 `(rows, columns)`; NaN where a cell is no number.
        columns: their names.
        labels: what the label column says, `(rows,)`, or None.
        notes: sentences of what was assumed.
        text: columns that hold other things than numbers, as the file has them, by position.
    """

    values: NDArray[np.float64]
    columns: tuple[str, ...]
    labels: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    text: dict[int, NDArray[Any]] = field(default_factory=dict)

    def cell(self, row: int, column: int) -> str:
        """Returns what the file says in a cell, in words."""
        value = self._value(row, column)
        if is_missing(value):
            return "nothing or NaN"
        words = repr(value) if isinstance(value, str) else str(value)
        return words if len(words) <= _LONGEST_CELL else f"{words[: _LONGEST_CELL - 3]}..."

    def remedy(self, row: int, column: int) -> str:
        """Returns how a cell that is no finite number could be mended, in words."""
        value = self._value(row, column)
        if isinstance(value, str) and "," in value and looks_like_number(value):
            return "write numbers with a decimal point, as in 0.5, and without separators of thousands"
        last = self.labels is None and 0 < column == len(self.columns) - 1
        if last and isinstance(value, str) and np.isnan(self.values[:, column]).all():
            return "mend the file, or name that column 'label' if it holds classes"
        return "mend the file"

    def _value(self, row: int, column: int) -> object:
        return self.text[column][row] if column in self.text else self.values[row, column]


def read_table(path: Path) -> Table:
    """Returns the table in a file; its suffix says the format.

    Raises:
        InputError: the format is not known, or the file is broken or holds no table.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        raise InputError(f"{str(path)!r} is no table that can be read; expected one of {', '.join(TABLES)}.")
    notes: list[str] = []
    try:
        content = read_arrays(path) if suffix in (".npy", ".npz") else _read_frame(path, suffix, notes)
    except InputError:
        raise
    except Exception as error:  # numpy, pandas and pyarrow let through whatever a damaged byte makes them stumble over
        reason = shorten(str(error), 200, placeholder=" ...").rstrip(".")
        raise InputError(
            f"{str(path)!r} cannot be read as {suffix[1:]}: {reason if ' ' in reason else repr(error)}; "
            + ("change its permissions." if isinstance(error, PermissionError) else "mend the file or get it again.")
        ) from error
    if isinstance(content, tuple):
        array, labels = content
        names = tuple(f"column {index + 1}" for index in range(array.shape[1]))
        return Table(array.astype(np.float64), names, labels)
    return _from_frame(content, notes, path)


def _read_frame(path: Path, suffix: str, notes: list[str]) -> Any:
    """Returns the pandas frame in a file."""
    if suffix == ".parquet":
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

        with ParquetFile(path) as file:
            return file.read().to_pandas()
    return _read_json_lines(path) if suffix == ".jsonl" else read_delimited(path, notes)


def _read_json_lines(path: Path) -> Any:
    import pandas  # type: ignore[import-untyped]  # takes half a second

    records = []
    with open_text(path) as file:
        for index, line in enumerate(file):
            if not line.strip():
                continue
            try:
                record = json.loads(line, object_pairs_hook=_without_repeats)
            except (ValueError, RecursionError) as error:
                found = f"has a fault: {error.msg if isinstance(error, json.JSONDecodeError) else error}"
            else:
                found = "" if isinstance(record, dict) else f"is a {type(record).__name__}"
            if found:
                raise InputError(
                    f"{str(path)!r} cannot be read as jsonl: line {index + 1} {found}; expected one object a line, "
                    'such as {"a": 1.5, "b": 2}.'
                )
            records.append(record)
    return pandas.DataFrame(records)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it has the key {repeated!r} more than once")
    return record


def _from_frame(frame: Any, notes: list[str], path: Path) -> Table:
    columns = [frame.iloc[:, index] for index in range(frame.shape[1])]
    names = [str(name).strip() for name in frame.columns]
    if names and names[0] in ("", "Unnamed: 0") and _counts(columns[0]):
        notes.append("The first column has no name and counts the rows: it was left out.")
        del columns[0], names[0]
    names = [name or f"column {index + 1}" for index, name in enumerate(names)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(
            f"{str(path)!r} has more than one column named {', '.join(map(repr, repeated))}; rename or drop all but "
            "one of each."
        )
    cells = [column.to_numpy() if _is_numeric(column) else _cells(column) for column in columns]
    label = _label_column(names, cells, path)
    labels = None
    if label is not None:
        name, labels = names.pop(label), cells.pop(label)
        notes.append(f"Column {name!r} holds the labels.")
        spellings = sorted({word for word in labels if isinstance(word, str) and means_missing(word)})
        if spellings:
            notes.append(f"Among the labels, {', '.join(map(repr, spellings))} counts as a class of its own.")
    values = np.empty((len(frame), len(names)))
    for index, column in enumerate(cells):
        values[:, index] = column if column.dtype.kind != "O" else [number(cell) for cell in column]
    text = {index: column for index, column in enumerate(cells) if column.dtype.kind == "O"}
    return Table(values, tuple(names), labels, tuple(notes), text)


def _is_numeric(column: Any) -> bool:
    """Whether numpy holds a column as numbers: pandas' own types may have cells without one."""
    return isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf"


def _cells(column: Any) -> NDArray[Any]:
    """Returns a column as objects: text without spaces around it, None where a cell holds nothing or NaN."""
    cells = np.empty(len(column), dtype=object)
    for index, (cell, missing) in enumerate(zip(column, column.isna(), strict=True)):
        text = cell.strip() if isinstance(cell, str) else cell
        cells[index] = None if missing or is_missing(text) else text
    return cells


def _label_column(names: list[str], cells: list[NDArray[Any]], path: Path) -> int | None:
    """Returns the position of the column named like labels, else of the last one if it holds classes in words."""
    named = [index for index, name in enumerate(names) if name.lower() in _LABEL_COLUMNS]
    if len(named) > 1:
        raise InputError(
            f"{str(path)!r} has the columns {' and '.join(repr(names[index]) for index in named)}, either of which "
            "would hold the labels; rename one if it is a feature, or drop it."
        )
    if named:
        return named[0]
    return len(cells) - 1 if len(cells) > 1 and _holds_classes(cells[-1]) else None


def _holds_classes(cells: NDArray[Any]) -> bool:
    """Whether a column holds text without anything like a number in it, and fewer words than rows."""
    if cells.dtype.kind != "O" or not all(cell is None or isinstance(cell, str) for cell in cells):
        return False
    words = {cell for cell in cells if cell is not None}
    real = [word for word in words if not means_missing(word)]
    return bool(real) and len(words) < len(cells) and not any(map(looks_like_number, real))


def _counts(column: Any) -> bool:
    """Whether a column holds 0, 1, 2, ... or 1, 2, 3, ..."""
    if column.dtype.kind not in "iu" or len(column) == 0:
        return False
    values = column.to_numpy()
    return values[0] in (0, 1) and bool((np.diff(values) == 1).all())
