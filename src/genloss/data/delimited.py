"""Reads CSV and TSV: where the table begins, what separates its columns and whether its first row names them."""

from __future__ import annotations

import codecs
import csv
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from genloss.data.cells import is_number, looks_like_number
from genloss.errors import InputError

__all__ = ["open_text", "read_delimited"]

_DELIMITERS = ",;\t"
_ROWS_TO_GUESS = 20
_EXPECTED = "expected text in UTF-8: save it in that encoding ('CSV UTF-8' in a spreadsheet)"


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Opens a file as text in UTF-8, with or without a byte order mark.

    Raises:
        InputError: it holds gzip data or another encoding.
    """
    with path.open("rb") as content:
        head = content.read(2)
    if head == b"\x1f\x8b":
        raise InputError(f"{str(path)!r} holds gzip data, but its name says text; unpack it first, as with gunzip.")
    # A text in UTF-16 without a mark has a zero byte beside its first letter.
    if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in head:
        raise InputError(f"{str(path)!r} is text in UTF-16; {_EXPECTED}.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield file
    except UnicodeDecodeError as error:
        raise InputError(
            f"{str(path)!r} cannot be read as {path.suffix[1:].lower()}: the byte 0x{error.object[error.start]:02x} in "
            f"it is no UTF-8; {_EXPECTED}."
        ) from error


def read_delimited(path: Path, notes: list[str]) -> Any:
    """Returns the pandas frame in a CSV or TSV file, its columns named as the file says; tells `notes` what it assumed.

    Raises:
        InputError: the file is empty, is no UTF-8 as far as its first bytes tell, or has rows longer than its first.
    """
    with open_text(path) as file:
        start, comments = _skip_comments(file)
        delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(file, start)
        rows = _rows(file, start, delimiter, 2)
        if not rows:
            raise InputError(f"{str(path)!r} is empty; expected a table.")
        # numpy.savetxt writes the names of the columns as a comment.
        header = next(csv.reader([comments[-1][1]], delimiter=delimiter)) if comments else []
        if len(header) == len(rows[0]) > 1 and any(map(is_number, rows[0])):
            start = comments.pop()[0]
            bare = header[0].removeprefix("#").strip()
            rows = [[header[0] if bare in header else bare, *header[1:]], rows[0]]
        first = rows[0]
        named = _names_columns(first, rows[1] if len(rows) > 1 else [])
        file.seek(start)
        frame = _read(file, delimiter, named, len(first), path)
    frame.columns = first if named else [f"column {index + 1}" for index in range(len(first))]
    if comments:
        notes.append(f"{len(comments)} lines that begin with '#' stand above the table and were skipped.")
    if delimiter != "," and path.suffix.lower() == ".csv":
        notes.append(f"Columns are separated by {delimiter!r}.")
    if not named:
        notes.append("The first row holds numbers, so the columns have no names.")
    elif any(map(is_number, first)):
        notes.append("The first row names the columns, though a name in it is a number.")
    return frame


def _read(file: TextIO, delimiter: str, named: bool, width: int, path: Path) -> Any:
    """Returns the frame from where the file stands on, its columns numbered."""
    import pandas  # type: ignore[import-untyped]  # takes half a second

    with warnings.catch_warnings():
        # A row with too many cells loses the last ones with no more than this warning.
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        try:
            return pandas.read_csv(
                file,
                sep=delimiter,
                header=0 if named else None,
                names=range(width),
                index_col=False,
                keep_default_na=False,
                na_values=[""],
                skipinitialspace=True,
                low_memory=False,
            )
        except pandas.errors.ParserWarning as error:
            raise InputError(
                f"{str(path)!r} cannot be read as {path.suffix[1:].lower()}: its first row has {width} cells, "
                f"separated by {delimiter!r}, but rows below have more; give every row as many."
            ) from error


def _skip_comments(file: TextIO) -> tuple[int, list[tuple[int, str]]]:
    """Returns where the table begins, and the lines above it that begin with `#`, each with where it begins."""
    start, line = file.tell(), file.readline()
    comments: list[tuple[int, str]] = []
    while line and (not line.strip() or line.startswith("#")):
        if line.strip():
            comments.append((start, line))
        start, line = file.tell(), file.readline()
    return start, comments


def _rows(file: TextIO, start: int, delimiter: str, count: int) -> list[list[str]]:
    """Returns the cells of the first rows from `start` on, without blank lines."""
    file.seek(start)
    return list(islice(filter(None, csv.reader(file, delimiter=delimiter, skipinitialspace=True)), count))


def _delimiter(file: TextIO, start: int) -> str:
    """Returns what separates the columns.

    It gives every row as many cells, two or more; of several such, the most of its cells are numbers of some kind. If
    rows differ, it gives the first one the most cells.
    """
    file.seek(start)
    line = file.readline()
    split = {mark: _rows(file, start, mark, _ROWS_TO_GUESS) for mark in _DELIMITERS if mark in line}
    even = {mark: rows for mark, rows in split.items() if len({len(row) for row in rows}) == 1 and len(rows[0]) > 1}
    if not even:
        return max(split, key=lambda mark: len(split[mark][0]), default=",")

    def rank(mark: str) -> tuple[float, int]:
        cells = [cell for row in even[mark] for cell in row]
        return sum(map(looks_like_number, cells)) / len(cells), len(cells)

    return max(even, key=rank)


def _names_columns(first: list[str], second: list[str]) -> bool:
    """Whether a table's first row holds no number, or more names than numbers above the numbers of the second."""
    # Without a number below, a number may be written with a decimal comma.
    counts = is_number if any(map(is_number, second)) else looks_like_number
    above = [cell for cell, below in zip(first, second, strict=False) if cell.strip() and counts(below)]
    numbers = sum(map(counts, above))
    return numbers < len(above) - numbers or not any(map(counts, first))
