"""Tables: what is a header, a label, a bad cell; and that standardising can be undone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

from genloss.data import Dataset, load_data
from genloss.data.splits import shuffled
from genloss.errors import InputError
from tests.data.files import write_zip

VALUES = np.random.default_rng(0).normal([5, -300, 0.01], [2, 50, 0.001], (40, 3))


def restored(data: Dataset) -> np.ndarray:
    """Every row in the order of the file, in the file's units."""
    assert data.standardisation is not None
    return data.standardisation.invert(data.splits["train"].values.double()).numpy()


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def as_csv(delimiter: str = ",", header: str = "a,b,c") -> str:
    lines = [delimiter.join(map(repr, row)) for row in VALUES.tolist()]
    return "\n".join([header.replace(",", delimiter), *lines] if header else lines) + "\n"


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("a.csv", as_csv(), ("a", "b", "c")),
        ("a.csv", "\ufeff" + as_csv(), ("a", "b", "c")),
        ("a.csv", as_csv(header=""), ("column 1", "column 2", "column 3")),
        ("a.csv", as_csv(";"), ("a", "b", "c")),
        ("a.tsv", as_csv("\t"), ("a", "b", "c")),
        ("a.csv", as_csv().replace("\n", "\r\n"), ("a", "b", "c")),
        ("a.csv", "\n" + as_csv() + "\n\n", ("a", "b", "c")),
        ("a.csv", as_csv(header='"a, with comma",b,c'), ("a, with comma", "b", "c")),
        ("a.csv", '\ufeff# one, "quote\n\n# seed: 0\r\n' + as_csv(), ("a", "b", "c")),
        ("a.csv", "# made: by a model, not recorded\n" + as_csv(header=""), ("column 1", "column 2", "column 3")),
        ("a.csv", "# numpy.savetxt\n# a,b,c\n" + as_csv(header=""), ("a", "b", "c")),
        ("a.csv", "# numpy.savetxt\n# b,b,c\n" + as_csv(header=""), ("# b", "b", "c")),
        ("a.csv", as_csv(header="a,b,3"), ("a", "b", "3")),
        ("a.csv", as_csv(header="nan,b,c"), ("nan", "b", "c")),
    ],
)
def test_delimited_text(tmp_path: Path, name: str, text: str, columns: tuple[str, ...]) -> None:
    data = load_data(write(tmp_path / name, text))
    assert data.kind == "table"
    assert data.shape == (3,)
    assert data.standardisation is not None
    assert data.standardisation.columns == columns
    assert data.describe()["columns"] == list(columns)
    np.testing.assert_allclose(restored(data), VALUES, rtol=1e-5)
    assert {part: len(split) for part, split in data.splits.items()} == {"train": 32, "select": 4, "test": 4}


def test_binary_formats(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    np.savez(tmp_path / "a.npz", data=VALUES, y=np.arange(40) % 2)
    frame = pandas.DataFrame(VALUES, columns=["a", "b", "c"])
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True, double_precision=15)
    frame.to_csv(tmp_path / "index.csv")
    for name in ("a.npy", "a.npz", "a.parquet", "a.jsonl", "index.csv"):
        data = load_data(tmp_path / name)
        np.testing.assert_allclose(restored(data), VALUES, rtol=1e-5)
        assert data.class_names == (("0", "1") if name == "a.npz" else ())
    assert "The first column has no name and counts the rows: it was left out." in data.notes


def test_training_rows_have_mean_zero_and_deviation_one(tmp_path: Path) -> None:
    data = load_data(write(tmp_path / "a.csv", as_csv()))
    x = data.all("train").x.double()
    torch.testing.assert_close(x.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(3).double(), rtol=0, atol=1e-5)
    # By the training rows alone: the whole table has other statistics.
    assert data.splits["train"].values.mean(0).abs().max() > 1e-3


def test_large_offsets_keep_their_digits(tmp_path: Path) -> None:
    seconds = 1.7e9 + np.arange(50.0)[:, None]
    np.save(tmp_path / "a.npy", seconds)
    np.testing.assert_allclose(restored(load_data(tmp_path / "a.npy")), seconds, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("header", "labels", "names"),
    [
        ("x,label", ["3", "1", "10"], ("1", "3", "10")),
        ("label,x", ["b", "a", "b"], ("a", "b")),
        ("Class,x", ["1.0", "0.0", "1.0"], ("0", "1")),
        ("x,species", ["cat", "dog", "cat"], ("cat", "dog")),
        ("", ["cat", "dog", "NA"], ("NA", "cat", "dog")),
    ],
)
def test_labels(tmp_path: Path, header: str, labels: list[str], names: tuple[str, ...]) -> None:
    first = header.lower().startswith(("label", "class"))
    rows = [f"{label},{n}" if first else f"{n},{label}" for n, label in enumerate(labels * 10)]
    data = load_data(write(tmp_path / "a.csv", "\n".join([header, *rows] if header else rows)))
    assert data.class_names == names
    assert data.shape == (1,)
    for part in data.splits:
        batch = data.all(part)
        assert batch.labels is not None
        assert data.standardisation is not None
        for number, label in zip(data.standardisation.invert(batch.x).round().int(), batch.labels, strict=True):
            found = names[int(label)]
            assert float(found) == float(labels[number % 3]) if found.isdigit() else found == labels[number % 3]


def test_constant_columns_are_said(tmp_path: Path) -> None:
    rows = "".join(f"{n},0.1,7\n" for n in range(30))
    data = load_data(write(tmp_path / "a.csv", "a,b,c\n" + rows))
    assert "Constant over the training split, so shifted and not scaled: 'b', 'c'." in data.notes
    assert data.all("train").x[:, 1:].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("", "holds nothing or NaN"),
        ("nan", "row 4, column 'b'"),
        ("inf", "holds inf"),
        ("-inf", "holds -inf"),
        ("abc", "holds 'abc'"),
        ("NA", "holds 'NA'"),
        ('"1,5"', "holds '1,5'"),
        ("1e999", "row 4, column 'b'"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_bad_cells_are_named_or_skipped(tmp_path: Path, cell: str, words: str, last: bool) -> None:
    rows = [f"{n},{n * n}" + ("" if last else f",{n}") for n in range(30)]
    rows[3] = f"3,{cell}" + ("" if last else ",3")
    path = write(tmp_path / "a.csv", "\n".join(["a,b" if last else "a,b,c", *rows]))
    with pytest.raises(InputError, match="row 4, column 'b'") as raised:
        load_data(path)
    assert words in str(raised.value)
    data = load_data(path, skip_bad=True)
    assert sorted(restored(data)[:, 0].round().astype(int)) == [n for n in range(30) if n != 3]
    assert any(note.startswith("1 rows were skipped") for note in data.notes)


def test_a_held_out_number_beyond_float32_is_refused(tmp_path: Path) -> None:
    values = np.arange(30.0)[:, None]
    values[int(shuffled(30)[-1])] = 1e300
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=r"column 'column 1' lies so far from the training rows"):
        load_data(tmp_path / "a.npy")


def test_limit_counts_training_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", as_csv())
    data = load_data(path, limit=10)
    assert {part: len(split) for part, split in data.splits.items()} == {"train": 10, "select": 4, "test": 4}
    assert data.all("train").x.mean(0).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "1,abc,3\n2,3,4\n5,6,7\n8,9,0\n", "row 1, column 'column 2' holds 'abc'"),
        ("a.csv", ",,3\n2,3,4\n5,6,7\n8,9,0\n", "row 1, column 'column 1' holds nothing"),
        ("a.csv", "a,b\n", "0 rows"),
        ("a.csv", "label\nx\ny\nz\n", "expected some"),
        ("a.csv", "a,b\n1,2\n3,4\n", "it needs 3"),
        ("a.csv", "a,b\n1,2,3,4\n5,6\n7,8\n", "cannot be read as csv"),
        ("a.csv", "a,b\n1,2\n3,4,5\n7,8\n", "cannot be read as csv"),
        ("a.csv", "a,b\n1,2\n3\n7,8\n", "row 2, column 'b' holds nothing"),
        ("a.csv", "a,label\n1,0.5\n2,1\n3,1\n", "classes are whole"),
        ("a.csv", "a,label\n1,x\n2,\n3,y\n4,y\n", "label of row 2 is missing"),
        ("a.csv", "a\n1e308\n-1e308\n1e308\n-1e308\n", "too large to standardise"),
        ("a.jsonl", '{"a": 1}\n{"a": [2]}\n{"a": 3}\n', r"row 2, column 'a' holds \[2\]"),
        ("a.jsonl", "{", "cannot be read as jsonl"),
        ("a.jsonl", "", "holds 0 rows of 0 numbers"),
        ("a.csv", "a,label\n1,0\n2,inf\n3,1\n", "numbers such as inf; classes are whole"),
        ("a.csv", "a,label\n1,0\n2,1e300\n3,1\n", r"numbers such as 1e\+300; classes are whole"),
        ("a.parquet", "text", "cannot be read as parquet"),
        ("a.npy", "text", "cannot be read as npy"),
        ("a.npz", "text", "cannot be read as npz"),
    ],
)
def test_wrong_tables(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_data(write(tmp_path / name, text))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(5), r"shape \(5,\); expected numbers \(rows, columns\)"),
        (np.zeros((5, 2), complex), "complex128"),
        (np.array([[object()]]), "cannot be read"),
        (np.array([["a", "b"]]), "expected numbers"),
    ],
)
def test_wrong_arrays(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=words):
        load_data(tmp_path / "a.npy")


def test_npz_needs_one_table(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=np.zeros((4, 2)), two=np.zeros((4, 2)))
    with pytest.raises(InputError, match=r"holds one \(4, 2\), two \(4, 2\); expected one array"):
        load_data(tmp_path / "a.npz")
    np.savez(tmp_path / "none.npz")
    with pytest.raises(InputError, match="holds no array; expected one array"):
        load_data(tmp_path / "none.npz")
    np.savez(tmp_path / "b.npz", x=np.zeros((4, 2)), labels=np.zeros(3))
    with pytest.raises(InputError, match="4 rows, but labels of float64"):
        load_data(tmp_path / "b.npz")


def test_what_an_array_file_only_claims_to_hold(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.npz", {"x.txt": b"hi"})
    with pytest.raises(InputError, match=r"holds 'x\.txt', which is no array"):
        load_data(tmp_path / "a.npz")
    np.save(tmp_path / "a.npy", np.zeros((10, 3)))
    content = (tmp_path / "a.npy").read_bytes().replace(b"(10, 3), }" + b" " * 11, b"(1000000000000, 3), }")
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read as npy: Unable to allocate 21\.8 TiB"):
        load_data(tmp_path / "a.npy")


def test_no_pickle_is_ever_loaded(tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return Path.touch, (tmp_path / "run",)  # type: ignore[return-value]

    np.save(tmp_path / "a.npy", np.array([[Planted()]], dtype=object), allow_pickle=True)
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([[Planted()]], dtype=object))
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())
    for name in ("a.npy", "a.npz"):
        with pytest.raises(InputError, match="cannot be read"):
            load_data(tmp_path / name)
    assert not (tmp_path / "run").exists()


def test_image_options_do_not_suit_a_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"size=8 was given, but .* is a table"):
        load_data(write(tmp_path / "a.csv", as_csv()), size=8)
