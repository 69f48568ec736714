"""What people's table files hold: numbers written otherwise, missing labels, other encodings, damage."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from genloss.data import Dataset, load_data
from genloss.errors import InputError

ROWS = range(30)


def restored(data: Dataset) -> np.ndarray:
    """Every row in the order of the file, in the file's units."""
    assert data.standardisation is not None
    return data.standardisation.invert(data.splits["train"].values.double()).numpy()


def columns(data: Dataset) -> tuple[str, ...]:
    assert data.standardisation is not None
    return data.standardisation.columns


def delimited(path: Path, header: str, row: Callable[[int], str]) -> Path:
    path.write_text("".join(line + "\n" for line in [*([header] if header else []), *map(row, ROWS)]), encoding="utf-8")
    return path


def json_lines(path: Path, row: Callable[[int], object]) -> Path:
    path.write_text("".join(json.dumps(row(n)) + "\n" for n in ROWS), encoding="utf-8")
    return path


def refusal(path: Path, **options: bool) -> str:
    with pytest.raises(InputError) as raised:
        load_data(path, **options)  # type: ignore[arg-type]
    sentence = str(raised.value)
    assert "\n" not in sentence
    assert str(path) in sentence
    return sentence


@pytest.mark.parametrize(
    "cells",
    [
        ['"0,5"', '"7,25"'],
        ['"1,234"', '"1,234,567"'],
        ["$1.50", "$2"],
        ["5%", "10 %"],
        ["2020-01-31", "2020-02-01"],
        ["2020-01-31T10:20:30Z", "2020-01-31T10:20:31Z"],
        ["31.01.2020", "01.02.2020"],
        ["NA", "NA"],
        ["-", "?"],
        ["1.5", "unknown"],
        ["1e5", "n/a"],
        ["18-25", "26-35"],
        ["True", "maybe"],
    ],
)
def test_a_last_column_of_odd_numbers_is_no_label(tmp_path: Path, cells: list[str]) -> None:
    path = delimited(tmp_path / "a.csv", "a,b", lambda n: f"{n},{cells[n % 2]}")
    assert "column 'b' holds" in refusal(path)


@pytest.mark.parametrize(
    "words",
    [
        ("cat", "dog"),
        ("class_1", "class_2"),
        ("setosa2", "virginica"),
        ("3-series", "5-series"),
        ("T1", "T2"),
        ("E", "z"),
    ],
)
@pytest.mark.parametrize("header", ["a,species", ""])
def test_a_last_column_of_words_is_the_label(tmp_path: Path, words: tuple[str, str], header: str) -> None:
    path = delimited(tmp_path / "a.csv", header, lambda n: f"{n},{words[n % 2]}")
    assert load_data(path).class_names == words


def test_words_that_never_repeat_are_no_classes(tmp_path: Path) -> None:
    path = delimited(tmp_path / "a.csv", "a,name", lambda n: f"{n},person {'x' * n}")
    assert "row 1, column 'name' holds 'person'" in refusal(path)
    assert "name that column 'label' if it holds classes" in refusal(path)
    path = delimited(tmp_path / "a.csv", "a,label", lambda n: f"{n},person {'x' * n}")
    assert len(load_data(path).class_names) == 30


def test_a_named_label_may_look_like_a_number_and_missing_words_are_said(tmp_path: Path) -> None:
    data = load_data(delimited(tmp_path / "a.csv", "a,class", lambda n: f"{n},{['18-25', '5%', 'NA'][n % 3]}"))
    assert data.class_names == ("18-25", "5%", "NA")
    assert "Among the labels, 'NA' counts as a class of its own." in data.notes


def test_spaces_around_names_and_words_are_no_part_of_them(tmp_path: Path) -> None:
    data = load_data(
        delimited(tmp_path / "a.csv", "a, b , label ", lambda n: f"{n} , {n * 2} , {['cat', 'dog'][n % 2]} ")
    )
    assert columns(data) == ("a", "b")
    assert data.class_names == ("cat", "dog")
    np.testing.assert_allclose(restored(data)[:, 1], np.arange(0, 60, 2), atol=1e-4)
    data = load_data(delimited(tmp_path / "a.csv", 'a, "b, c", label', lambda n: f'{n}, {n}, "x, {n % 2}"'))
    assert (columns(data), data.class_names) == (("a", "b, c"), ("x, 0", "x, 1"))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("a,a,b", "more than one column named 'a'"),
        ("a,label,label", "more than one column named 'label'"),
        ("a, a,b", "more than one column named 'a'"),
        ("a,label,class", "columns 'label' and 'class'.*rename one if it is a feature, or drop it"),
        ("a,Label,label", "columns 'Label' and 'label'"),
    ],
)
def test_two_columns_of_one_name_are_refused(tmp_path: Path, header: str, words: str) -> None:
    delimited(tmp_path / "a.csv", header, lambda n: f"{n},{n % 2},{n % 3}")
    arrays = [pyarrow.array([n % size for n in ROWS]) for size in (30, 2, 3)]
    pyarrow.parquet.write_table(pyarrow.table(arrays, names=header.split(",")), tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(InputError, match=words):
            load_data(tmp_path / name)


def test_a_key_twice_in_a_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1, "b": 2}\n{"a": 1, "a": 2}\n')
    assert "line 2 has a fault: it has the key 'a' more than once" in refusal(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text('{"a": 1, "a ": 2}\n')
    assert "more than one column named 'a'" in refusal(tmp_path / "a.jsonl")


def test_json_numbers_and_words_stay_what_they_are(tmp_path: Path) -> None:
    path = json_lines(
        tmp_path / "a.jsonl",
        lambda n: {
            "date": 1577836800 + n,
            "reaction_time": 4e7 + n,
            "modified": 0.1234567890123456 + n,
            "label": f"00{n % 2}",
        },
    )
    data = load_data(path)
    assert columns(data) == ("date", "reaction_time", "modified")
    assert data.class_names == ("000", "001")
    np.testing.assert_allclose(restored(data)[:, 2], np.arange(30) + 0.1234567890123456, rtol=1e-5)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_data(path).shape == (3,)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (lambda n: {"a": n, "b": [1, 2]}, "row 1, column 'b' holds [1, 2]"),
        (lambda n: {"a": n, "b": {"c": 1}}, "row 1, column 'b' holds {'c': 1}"),
        (lambda n: {"a": n, "label": [n]}, "the label of row 1 is [0], of type list"),
        (lambda n: {"a": n, "b": n if n != 4 else "NA"}, "row 5, column 'b' holds 'NA'"),
        (lambda n: {"a": n, "label": None if n == 3 else "x"}, "the label of row 4 is missing"),
        (lambda n: {"a": n, "label": 0.5 if n == 3 else "x"}, "the labels hold numbers such as 0.5"),
        (lambda n: {"a": n if n else 10**400, "b": n}, "row 1, column 'a' holds 1000"),
        (lambda n: [{"a": n}], "line 1 is a list; expected one object a line"),
        (lambda n: n, "line 1 is a int; expected one object a line"),
    ],
)
def test_json_lines_that_are_no_table(tmp_path: Path, row: Callable[[int], object], words: str) -> None:
    assert words in refusal(json_lines(tmp_path / "a.jsonl", row))


@pytest.mark.parametrize(
    "text", ['{"a": 1}\n{"a":\n', '{"a": 1}\n' + "[" * 100_000, '{"a": 1}\n{"a": ' + "1" * 5000 + "}"]
)
def test_the_line_that_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    assert "line 2 has a fault" in refusal(tmp_path / "a.jsonl")


def test_true_and_false_are_numbers_beside_a_bad_cell(tmp_path: Path) -> None:
    path = delimited(tmp_path / "a.csv", "a,b,c", lambda n: f"{n},{'NA' if n == 3 else n % 2 == 0},1")
    assert "row 4, column 'b' holds 'NA'" in refusal(path)
    assert "bad rows: 1)" in refusal(path)
    kept = [n for n in ROWS if n != 3]
    np.testing.assert_allclose(restored(load_data(path, skip_bad=True))[:, 1], [n % 2 == 0 for n in kept], atol=1e-6)


def test_parquet_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    frame = pandas.DataFrame({"a": [Decimal(n) / 4 for n in ROWS], "label": [str(n % 2) for n in ROWS]})
    frame.to_parquet(path)
    data = load_data(path)
    np.testing.assert_allclose(restored(data)[:, 0], np.arange(30) / 4, atol=1e-5)
    assert data.class_names == ("0", "1")
    pandas.DataFrame({"a": ROWS, "label": pandas.array([n % 12 for n in ROWS], dtype="Int64")}).to_parquet(path)
    assert load_data(path).class_names == tuple(map(str, range(12)))


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({"label": pandas.array(["x", None] * 15, dtype="string")}, "the label of row 2 is missing"),
        ({"label": pandas.array([True, None] * 15, dtype="boolean")}, "the label of row 2 is missing"),
        ({"label": pandas.array([1, None] * 15, dtype="Int64")}, "the label of row 2 is missing"),
        (
            {"label": pandas.to_datetime(["2020-01-01"] * 30)},
            "the label of row 1 is 2020-01-01 00:00:00, of type Timestamp",
        ),
        ({"label": [b"x", b"\xff"] * 15}, r"the label of row 2 is b'\xff', which is no text in UTF-8"),
        ({"b": [[1, 2]] * 30}, "row 1, column 'b' holds [1 2]"),
        ({"b": pandas.to_datetime(["2020-01-01"] * 30)}, "row 1, column 'b' holds 2020-01-01"),
    ],
)
def test_parquet_cells_that_are_neither_numbers_nor_labels(
    tmp_path: Path, column: dict[str, object], words: str
) -> None:
    pandas.DataFrame({"a": ROWS, **column}).to_parquet(tmp_path / "a.parquet")
    assert words in refusal(tmp_path / "a.parquet")


@pytest.mark.parametrize("labels", [("1", "0", ""), ("cat", "dog", "")])
def test_rows_without_a_label_are_skipped_and_counted(tmp_path: Path, labels: tuple[str, ...]) -> None:
    path = delimited(tmp_path / "a.csv", "a,label", lambda n: f"{n if n else 'x'},{labels[n % 3]}")
    assert "row 1, column 'a' holds 'x'" in refusal(path)
    data = load_data(path, skip_bad=True)
    assert data.class_names == tuple(sorted(labels[:2]))
    assert restored(data)[:, 0].round().astype(int).tolist() == [n for n in ROWS if n and n % 3 != 2]
    assert any(note.startswith("11 rows were skipped") for note in data.notes)
    path = delimited(tmp_path / "a.csv", "a,label", lambda n: f"{n},")
    assert "no row is left: the label of row 1 is missing; give every row one" in refusal(path, skip_bad=True)


def test_damaged_files_give_one_sentence(tmp_path: Path) -> None:
    """Bytes of every kind of file changed at random: it is read or refused, never anything else."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 2))
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "a.npz", x=values, y=np.arange(20) % 2)
    frame = pandas.DataFrame(values, columns=["a", "b"])
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_csv(tmp_path / "a.csv", index=False)
    refused = []
    for name in ("a.npy", "a.npz", "a.parquet", "a.jsonl", "a.csv"):
        whole = np.frombuffer((tmp_path / name).read_bytes(), dtype=np.uint8)
        for _ in range(40):
            content = whole.copy()
            content[rng.integers(0, min(len(whole), 400) if name == "a.npy" else len(whole), 4)] = rng.integers(
                0, 256, 4
            )
            path = tmp_path / f"damaged{name[1:]}"
            path.write_bytes(content.tobytes())
            try:
                load_data(path)
            except InputError as error:
                refused.append(str(error))
    assert len(refused) > 50
    assert not any("\n" in sentence or len(sentence) > 700 for sentence in refused)


def test_python_objects_are_named_and_no_advice_to_load_them_is_passed_on(tmp_path: Path) -> None:
    objects = np.array([["a", 1.5]], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=np.zeros((1, 2)), y=objects[:, 0])
    (tmp_path / "b.npy").write_bytes(pickle.dumps([1, 2]))
    for name, where in (("a.npy", "its array"), ("a.npz", "its array 'y'"), ("b.npy", "its array")):
        sentence = refusal(tmp_path / name)
        assert f"{where} holds Python objects, which are never loaded" in sentence
        assert "array.astype(float)" in sentence
        assert "allow_pickle" not in sentence
    for name in ("c.npy", "c.npz"):
        (tmp_path / name).write_bytes(b"\x11" * 300)
        assert "it is no NumPy file, for it begins with the bytes '11 11 11 11 11 11'" in refusal(tmp_path / name)
        (tmp_path / name).write_bytes(b"")
        assert "is empty" in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("größe,b\n1,2\n".encode("latin-1"), "the byte 0xf6 in it is no UTF-8; expected text in UTF-8: save it"),
        ("größe,b\n1,2\n".encode("utf-16"), "is text in UTF-16; expected text in UTF-8: save it"),
        ("größe,b\n1,2\n".encode("utf-16-le"), "is text in UTF-16; expected text in UTF-8: save it"),
        (gzip.compress(b"a,b\n1,2\n"), "holds gzip data, but its name says text; unpack it"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_other_encodings(tmp_path: Path, content: bytes, words: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("header", "row", "names"),
    [
        ('"Length, cm";"Width, cm";class', "{n};{n}.5;cat", ("Length, cm", "Width, cm")),
        ('"a;b","c;d"', "{n},{n}.5", ("a;b", "c;d")),
        ("a;b", "{n};{n}.5", ("a", "b")),
        ("", '{n},{n},"x;y"', ("column 1", "column 2")),
        ("", "{n},{n},x;y", ("column 1", "column 2")),
        ("a,b", "{n},{n},", ("a", "b")),
        ("2020-01-01,2020-01-02", "{n},{n}.5", ("2020-01-01", "2020-01-02")),
    ],
)
def test_what_separates_the_columns(tmp_path: Path, header: str, row: str, names: tuple[str, ...]) -> None:
    data = load_data(delimited(tmp_path / "a.csv", header, lambda n: row.format(n=n)))
    assert columns(data) == names


@pytest.mark.parametrize(
    ("header", "row"),
    [("a;b;c", "{n},25;{n},5;7,1"), ("a;b", "{n};{n},5"), ("a\tb\tc", "{n}\t{n},5\t1,5")],
)
@pytest.mark.parametrize("named", [False, True])
def test_decimal_commas_are_refused_with_what_is_expected(tmp_path: Path, header: str, row: str, named: bool) -> None:
    sentence = refusal(delimited(tmp_path / "a.csv", header if named else "", lambda n: row.format(n=n)))
    assert "row 1, column 'column " in sentence or (named and "row 1, column '" in sentence)
    assert "write numbers with a decimal point, as in 0.5" in sentence


def test_tiny_numbers_are_standardised_or_refused(tmp_path: Path) -> None:
    data = load_data(delimited(tmp_path / "a.csv", "a,b", lambda n: f"{n}e-200,{n % 2}e-170"))
    np.testing.assert_allclose(restored(data)[:, 0], np.arange(30) * 1e-200, rtol=1e-5, atol=1e-205)
    assert data.all("train").x.std(0, correction=0).tolist() == pytest.approx([1, 1], abs=1e-5)
    path = delimited(tmp_path / "a.csv", "a,b", lambda n: f"{n},{n % 2}e-320")
    assert "numbers of column 'b' are too small to standardise" in refusal(path)


def test_the_scale_is_numpy_s_to_the_last_digit(tmp_path: Path) -> None:
    """Tables keep the statistics, and with them the fingerprint, that they had before tiny numbers were cared for."""
    values = np.random.default_rng(0).normal([5, -300, 0.01, 1e40], [2, 50, 1e-9, 1e38], (50, 4))
    np.save(tmp_path / "a.npy", values)
    data = load_data(tmp_path / "a.npy")
    assert data.standardisation is not None
    training = values[data.splits["train"].index.numpy()]  # type: ignore[union-attr]
    assert data.standardisation.mean.tolist() == training.mean(0).tolist()
    assert data.standardisation.scale.tolist() == training.std(0).tolist()


def test_huge_numbers_are_named(tmp_path: Path) -> None:
    path = delimited(tmp_path / "a.csv", "a,b", lambda n: f"{n},{'1e300' if n == 7 else n}")
    assert "row 8, column 'b' holds 1e+300, which is too large to standardise" in refusal(path)
    path = delimited(tmp_path / "a.csv", "a,b", lambda n: f"{'x' if n == 2 else n},{'1e300' if n == 7 else n}")
    assert "row 8, column 'b' holds 1e+300" in refusal(path, skip_bad=True)


def test_arrays_beside_a_description_are_read(tmp_path: Path) -> None:
    values = np.arange(40.0).reshape(20, 2)
    np.savez(tmp_path / "a.npz", samples=values, Description="what they are")
    assert load_data(tmp_path / "a.npz").shape == (2,)
