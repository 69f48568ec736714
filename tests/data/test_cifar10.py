"""CIFAR-10 from the binary files of its publisher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genloss.data.cifar10 import load_cifar10
from genloss.data.images import ImageOptions
from genloss.errors import InputError

NAMES = (*(f"data_batch_{batch}.bin" for batch in range(1, 6)), "test_batch.bin")


def write_binary(folder: Path, records: int = 4) -> np.ndarray:
    """The six files; returns their records `(6 * records, 3073)`."""
    folder.mkdir(parents=True)
    content = np.random.default_rng(0).integers(0, 256, (6, records, 3073), dtype=np.uint8)
    content[:, :, 0] %= 10
    for name, batch in zip(NAMES, content, strict=True):
        (folder / name).write_bytes(batch.tobytes())
    return content.reshape(-1, 3073)


@pytest.mark.parametrize("inside", [".", "cifar-10-batches-bin"])
def test_binary_files(tmp_path: Path, inside: str) -> None:
    records = write_binary(tmp_path / "cifar10" / inside)
    (tmp_path / "cifar10" / "cifar-10-batches-py").mkdir()  # never looked at beside them
    data = load_cifar10(tmp_path / "cifar10", ImageOptions())
    assert data.shape == (3, 32, 32)
    assert {part: len(split) for part, split in data.splits.items()} == {"train": 18, "select": 2, "test": 4}
    split = data.splits["train"]
    red, green, blue = (split.values[:, channel].reshape(24, -1).numpy() for channel in range(3))
    assert np.array_equal(np.concatenate((red, green, blue), 1), records[:, 1:])
    assert split.labels is not None
    assert split.labels.tolist() == records[:, 0].tolist()
    assert (data.class_names[0], data.class_names[9], len(data.class_names)) == ("airplane", "truck", 10)
    assert "The folder holds 20 of the 50,000 training images." in data.notes


def test_broken_binary_files(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10"
    write_binary(folder)
    batch = folder / "data_batch_3.bin"
    whole = batch.read_bytes()
    for content, words in (
        (whole[:-1], "data_batch_3.bin' holds 12,291 bytes; expected records of 3,073 bytes"),
        (b"", "data_batch_3.bin' holds 0 bytes; expected records"),
        (bytes([10]) + whole[1:], "A label of 'cifar10' is 10, but it has 10 classes"),
    ):
        batch.write_bytes(content)
        with pytest.raises(InputError, match=words):
            load_cifar10(folder, ImageOptions())
    batch.unlink()
    with pytest.raises(
        InputError, match=r"data_batch_3\.bin' cannot be read: No such file.*has the files data_batch_1\.bin"
    ):
        load_cifar10(folder, ImageOptions())


@pytest.mark.parametrize("name", ["data_batch_1", "cifar-10-batches-py/data_batch_1"])
def test_the_pickled_version_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"\x80\x02.")
    with pytest.raises(
        InputError, match=r"pickles, which are never loaded.*binary version \(cifar-10-binary\.tar\.gz\)"
    ):
        load_cifar10(tmp_path, ImageOptions())


def test_a_folder_with_neither_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"has no sheets; expected train_000\.webp .*binary files data_batch_1\.bin to"
    ):
        load_cifar10(tmp_path, ImageOptions())


def test_class_names_that_are_no_text(tmp_path: Path) -> None:
    from tests.data.test_named import write_cifar10

    write_cifar10(tmp_path)
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"classes\.txt' is no text in UTF-8; expected the name of one class a line"):
        load_cifar10(tmp_path, ImageOptions())
