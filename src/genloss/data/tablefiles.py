"""Reads tables as the files have them: CSV, TSV, Parquet, JSON lines, NPY and NPZ."""

from __future__ import annotations

import csv
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from genloss.errors import InputError

__all__ = ["TABLES", "Table", "read_table"]

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".npy", ".npz")
_LABEL_COLUMNS = ("label", "class")
_LABEL_ARRAYS = ("label", "labels", "class", "y")


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
        value = self.text[column][row] if column in self.text else self.values[row, column]
        if value is None or value == "" or (isinstance(value, float) and value != value):
            return "nothing or NaN"
        return repr(value) if isinstance(value, str) else str(value)


def read_table(path: Path) -> Table:
    """Returns the table in a file; its suffix says the format.

    Raises:
        InputError: the format is not known, or the file is broken or holds no table.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        raise InputError(f"{str(path)!r} is no table that can be read; expected one of {', '.join(TABLES)}.")
    try:
        if suffix in (".npy", ".npz"):
            return _read_arrays(path)
        return _read_frame(path, suffix)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, csv.Error, Warning) as error:
        raise InputError(f"{str(path)!r} cannot be read as {suffix[1:]}: {str(error).strip()}.") from error


def _read_arrays(path: Path) -> Table:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return _from_array(loaded, None, path)
    with loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy gives the bytes of any other file in the archive
            raise InputError(f"{str(path)!r} holds {name!r}, which is no array; expected what numpy.savez writes.")
    label_names = [name for name in arrays if name.lower() in _LABEL_ARRAYS and arrays[name].ndim == 1]
    tables = [name for name in arrays if name not in label_names]
    if len(tables) != 1 or len(label_names) > 1:
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no array"
        raise InputError(
            f"{str(path)!r} holds {found}; expected one array (rows, columns) and at most one of labels (rows,) "
            f"named {', '.join(_LABEL_ARRAYS)}."
        )
    return _from_array(arrays[tables[0]], arrays[label_names[0]] if label_names else None, path)


def _from_array(array: NDArray[Any], labels: NDArray[Any] | None, path: Path) -> Table:
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise InputError(
            f"{str(path)!r} holds {array.dtype} values of shape {array.shape}; expected numbers (rows, columns)."
        )
    if labels is not None and (len(labels) != len(array) or labels.dtype.kind not in "biufUS"):
        raise InputError(
            f"{str(path)!r} holds {len(array)} rows, but labels of {labels.dtype} and shape {labels.shape}; "
            "expected one whole number or text a row."
        )
    if labels is not None and labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    return Table(array.astype(np.float64), tuple(f"column {index + 1}" for index in range(array.shape[1])), labels)


def _read_frame(path: Path, suffix: str) -> Table:
    import pandas  # type: ignore[import-untyped]  # takes half a second

    notes: list[str] = []
    if suffix == ".parquet":
        frame = pandas.read_parquet(path)
    elif suffix == ".jsonl":
        frame = pandas.read_json(path, lines=True)
    else:
        frame = _read_delimited(path, suffix, notes)
    frame.columns = [str(column) for column in frame.columns]
    first = next(iter(frame.columns), None)
    if first in ("", "Unnamed: 0") and _counts(frame[first]):
        notes.append("The first column has no name and counts the rows: it was left out.")
        frame = frame.drop(columns=first)
    label = _label_column(frame)
    labels = None
    if label is not None:
        labels = frame.pop(label).to_numpy()
        notes.append(f"Column {label!r} holds the labels.")
    values = np.empty(frame.shape)
    text = {}
    for index, column in enumerate(frame.columns):
        values[:, index] = _numbers(frame[column])
        if frame[column].dtype.kind not in "biuf":
            text[index] = frame[column].to_numpy()
    return Table(values, tuple(frame.columns), labels, tuple(notes), text)


def _read_delimited(path: Path, suffix: str, notes: list[str]) -> Any:
    import pandas

    with path.open(newline="", encoding="utf-8-sig") as file:
        line = _begin(file, notes)
        if not line:
            raise InputError(f"{str(path)!r} is empty; expected a table.")
        delimiter = "\t" if suffix == ".tsv" else max(",;\t", key=line.count)
        if delimiter != "," and suffix == ".csv":
            notes.append(f"Columns are separated by {delimiter!r}.")
        start = file.tell()
        rows = filter(None, csv.reader(file, delimiter=delimiter))
        first, second = next(rows), next(rows, [])
        file.seek(start)
        named = _names_columns(first, second)
        with warnings.catch_warnings():
            # A row with too many cells loses the last ones with no more than this warning.
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            frame = pandas.read_csv(
                file,
                sep=delimiter,
                header=0 if named else None,
                index_col=False,
                keep_default_na=False,
                na_values=[""],
                low_memory=False,
            )
    if not named:
        frame.columns = [f"column {index + 1}" for index in range(frame.shape[1])]
        notes.append("The first row holds numbers, so the columns have no names.")
    elif any(map(_is_number, first)):
        notes.append("The first row names the columns, though a name in it is a number.")
    bare = str(frame.columns[0]).removeprefix("#").strip()
    if line.startswith("#") and bare not in frame.columns:
        frame = frame.rename(columns={frame.columns[0]: bare})
    return frame


def _begin(file: TextIO, notes: list[str]) -> str:
    """Moves past leading `#` lines and returns the table's first line, empty without one."""
    start, line = file.tell(), file.readline()
    comments: list[tuple[int, str]] = []
    while line and (not line.strip() or line.startswith("#")):
        if line.strip():
            comments.append((start, line))
        start, line = file.tell(), file.readline()
    if comments:
        above, header = comments[-1]
        delimiter = max(",;\t", key=line.count)
        # numpy.savetxt writes the names of the columns as a comment.
        if line.count(delimiter) == header.count(delimiter) > 0 and _holds_number(line, delimiter):
            start, line = above, header
            comments.pop()
    if comments:
        notes.append(f"{len(comments)} lines that begin with '#' stand above the table and were skipped.")
    file.seek(start)
    return line


def _names_columns(first: list[str], second: list[str]) -> bool:
    """Whether a table's first row holds no number, or more names than numbers above the numbers of the second."""
    above = [cell for cell, below in zip(first, second, strict=False) if cell.strip() and _is_number(below)]
    numbers = sum(map(_is_number, above))
    return numbers < len(above) - numbers or not any(map(_is_number, first))


def _holds_number(line: str, delimiter: str) -> bool:
    return any(_is_number(cell) for cell in next(csv.reader([line], delimiter=delimiter)))


def _label_column(frame: Any) -> str | None:
    """Returns the column named like labels, else the last one if it holds nothing but text."""
    for column in frame.columns:
        if column.lower() in _LABEL_COLUMNS:
            return str(column)
    if frame.shape[1] < 2:
        return None
    last = frame.iloc[:, -1]
    words = [cell for cell in last.unique() if isinstance(cell, str)]
    return str(frame.columns[-1]) if words and not any(map(_is_number, words)) else None


def _numbers(column: Any) -> NDArray[np.float64]:
    """Returns a column as float64, NaN where a cell is no number."""
    if column.dtype.kind in "biuf":
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.array([_number(cell) for cell in column], dtype=np.float64)


def _number(cell: object) -> float:
    if isinstance(cell, str | int | float | np.number):
        try:
            return float(cell)
        except ValueError:
            return float("nan")
    return float("nan")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _counts(column: Any) -> bool:
    """Whether a column holds 0, 1, 2, ... or 1, 2, 3, ..."""
    if column.dtype.kind not in "iu" or len(column) == 0:
        return False
    values = column.to_numpy()
    return values[0] in (0, 1) and bool((np.diff(values) == 1).all())
