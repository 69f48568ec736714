"""Unusual image files become plain 8-bit pixels, and the data set says so."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from genloss.data import load_data
from genloss.data.images import ImageOptions, allocate, decode, fit, header, parallel, pixels, refit
from genloss.errors import InputError
from tests.data.files import encoded, picture


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


def colours(file: io.BytesIO) -> tuple[np.ndarray, set[str]]:
    image, remarks = decode(file)
    channels, size = header(file)
    assert size == image.size
    assert channels == len(image.getbands())
    return np.array(image), remarks


def test_plain_images_are_unchanged() -> None:
    for mode in ("L", "RGB"):
        array, remarks = colours(file_of(picture(0, (5, 3), mode)))
        assert np.array_equal(array, np.array(picture(0, (5, 3), mode)))
        assert remarks == set()


def test_transparency_is_laid_over_white() -> None:
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    image.putpixel((1, 0), (10, 20, 30, 0))
    array, remarks = colours(file_of(image))
    assert array.tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert remarks == {"transparent"}
    half = Image.new("LA", (1, 1), (100, 128))
    array, remarks = colours(file_of(half))
    assert array.item() == pytest.approx(100 * 128 / 255 + 255 * 127 / 255, abs=1)
    assert remarks == {"transparent"}
    assert colours(file_of(Image.new("RGBA", (1, 1), (1, 2, 3, 255))))[1] == set()


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    assert colours(file_of(image))[0].tolist() == [[[255, 0, 0], [0, 255, 0]]]
    array, remarks = colours(file_of(image, transparency=1))
    assert array.tolist() == [[[255, 0, 0], [255, 255, 255]]]
    assert remarks == {"transparent"}


def test_sixteen_bits_become_eight() -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    array, remarks = colours(file_of(Image.fromarray(values)))
    assert array.tolist() == [np.round(values[0] / 257).astype(int).tolist()] == [[0, 0, 1, 1, 128, 255]]
    assert remarks == {"deep"}
    with pytest.raises(ValueError, match="beyond 16 bits"):
        decode(file_of(Image.fromarray(np.array([[70000]], dtype=np.int32)), "TIFF"))
    with pytest.raises(ValueError, match="floating-point"):
        decode(file_of(Image.fromarray(np.array([[0.5]], dtype=np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("orientation", "moved"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation(kind: str, orientation: int, moved: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:, :8] = 255
    array, remarks = colours(file_of(Image.fromarray(upright), kind, exif=exif))
    assert np.abs(array.astype(int) - np.rot90(upright, moved)).max() < 30
    assert remarks == (set() if orientation == 1 else {"turned"})


def test_cmyk_becomes_rgb() -> None:
    array, remarks = colours(file_of(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(array.astype(int) - [255, 0, 0]).max() < 10
    assert remarks == {"cmyk"}


def test_an_animation_gives_its_first_frame() -> None:
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=[second])
    file.seek(0)
    array, remarks = colours(file)
    assert (array == [255, 0, 0]).all()
    assert remarks == {"animated"}


def test_bilevel_and_other_colour_spaces() -> None:
    array, _ = colours(file_of(Image.fromarray(np.array([[True, False]]))))
    assert array.tolist() == [[255, 0]]
    lab = picture(0, (8, 8)).convert("YCbCr")
    assert decode(file_of(lab, "JPEG"))[0].mode == "RGB"


def test_the_data_set_counts_what_was_done(tmp_path: Path) -> None:
    for index in range(5):
        (tmp_path / f"{index}.png").write_bytes(encoded(picture(index)))
    for index in range(5, 8):
        (tmp_path / f"{index}.png").write_bytes(encoded(Image.new("RGBA", (6, 6), (0, 0, 0, 9))))
    assert "3 images were laid over white where transparent." in load_data(tmp_path).notes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((28, 28), ImageOptions(size=32)),
        ((28, 28), ImageOptions(size=16)),
        ((40, 23), ImageOptions(size=17, crop=True)),
        ((23, 40), ImageOptions(size=64)),
        ((40, 23), ImageOptions(crop=True)),
    ],
)
def test_refit_equals_pillow(channels: int, size: tuple[int, int], options: ImageOptions) -> None:
    images = [picture(seed, size, "L" if channels == 1 else "RGB") for seed in range(6)]
    found, notes = refit(torch.stack([pixels(image, channels) for image in images]), options)
    expected = torch.stack([pixels(fit(image, options), channels) for image in images])
    difference = (found.int() - expected.int()).abs()
    # Pillow works with fixed-point weights: a value in a thousand is rounded the other way.
    assert difference.max() <= 1
    assert difference.float().mean() < 1e-3
    assert len(notes) == 1


def test_resizing_is_antialiased() -> None:
    """A fine checkerboard becomes grey, where picking single pixels would give black or white."""
    board = torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8).repeat(16, 16)
    found, _ = refit(board[None, None], ImageOptions(size=8))
    assert (found.float() - 127.5).abs().max() < 20


def test_what_fits_is_left_alone() -> None:
    values = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    assert refit(values, ImageOptions(size=8, crop=True)) == (values, ())


def test_a_store_larger_than_memory_is_refused() -> None:
    with pytest.raises(InputError, match=r"1,000,000,000 images of 1000x1000 need .* GB, .* set a smaller data.size"):
        allocate(10**9, 3, 1000, 1000)


def test_parallel_keeps_order_and_raises() -> None:
    assert list(parallel(lambda number: number**2, range(1000))) == [number**2 for number in range(1000)]
    with pytest.raises(ZeroDivisionError):
        list(parallel(lambda number: 1 // number, [1, 0]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 2.5}, "whole number"),
        ({"limit": -1}, "limit is -1"),
        ({"value_range": "both"}, "symmetric, unit"),
        ({"binarise": "yes"}, "none, stochastic, threshold"),
    ],
)
def test_wrong_options(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_data("digits", **options)


def test_stochastic_batches_of_a_folder(tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"{index}.png").write_bytes(encoded(picture(index, mode="L")))
    data = load_data(tmp_path, binarise="stochastic")
    assert data.value_range == (0.0, 1.0)
    x: Tensor = data.all("train", rng=torch.Generator().manual_seed(0)).x
    assert set(x.unique().tolist()) == {0.0, 1.0}
