"""Folders and archives of images: classes, splits, sizes, and files that are broken."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genloss.data import Dataset, load_data
from genloss.data.folder import lay_out
from genloss.errors import InputError
from tests.data.files import encoded, permissions_count, picture, write_tar, write_zip

Members = dict[str, bytes]


def write_folder(path: Path, members: Members) -> None:
    for name, content in members.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


CONTAINERS: list[tuple[str, Callable[[Path, Members], None]]] = [
    ("photos", write_folder),
    ("photos.tar", write_tar),
    ("photos.tar.gz", write_tar),
    ("photos.zip", write_zip),
]


def flat(count: int = 10, size: tuple[int, int] = (6, 6), mode: str = "RGB") -> Members:
    return {f"{index:02d}.png": encoded(picture(index, size, mode)) for index in range(count)}


def stored(data: Dataset) -> np.ndarray:
    """Every image in the order of the file names."""
    return data.splits["train"].values.numpy()


@pytest.mark.parametrize(("name", "write"), CONTAINERS, ids=[name for name, _ in CONTAINERS])
def test_the_same_images_come_out_of_every_container(tmp_path: Path, name: str, write: Callable) -> None:
    members = {f"{kind}/sort{index % 2}/{index}.png": encoded(picture(index)) for kind in "ba" for index in range(6)}
    write(tmp_path / name, members)
    data = load_data(tmp_path / name)
    assert data.shape == (3, 6, 6)
    assert data.class_names == ("a", "b")
    assert {part: len(split) for part, split in data.splits.items()} == {"train": 10, "select": 1, "test": 1}
    for row, member in enumerate(sorted(members)):
        assert np.array_equal(stored(data)[row].transpose(1, 2, 0), np.array(picture(int(member.split("/")[2][0]))))
    labels = data.splits["train"].labels
    assert labels is not None
    assert labels.tolist() == [0] * 6 + [1] * 6
    assert any("deeper levels were merged" in note for note in data.notes)
    assert any("10 to train, 1 to select and 1 to test" in note for note in data.notes)


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    write_folder(tmp_path, flat())
    data = load_data(str(tmp_path))
    assert data.class_names == ()
    assert data.all("test").labels is None
    assert data.name == tmp_path.name


def test_split_folders_are_honoured(tmp_path: Path) -> None:
    members = {f"top/Training/{kind}/{index}.png": encoded(picture(index)) for kind in "xy" for index in range(4)}
    members |= {"top/Test/x/8.png": encoded(picture(8)), "top/val/y/9.png": encoded(picture(9))}
    members |= {"top/extra/1.png": encoded(picture(1))}
    write_folder(tmp_path, members)
    data = load_data(tmp_path)
    assert {part: len(split) for part, split in data.splits.items()} == {"train": 8, "select": 1, "test": 1}
    test = data.all("test")
    assert test.labels is not None
    assert test.labels.tolist() == [0]
    pixels = ((test.x[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(pixels, np.array(picture(8)))
    assert any("1 images outside" in note for note in data.notes)


def test_missing_split_is_taken_from_train() -> None:
    layout = lay_out([f"train/{index}.png" for index in range(4)] + ["test/0.png"], "x")
    assert {name: rows.tolist() for name, rows in layout.given.items()} == {"train": [0, 1, 2, 3], "test": [4]}
    assert layout.labels is None


def test_a_class_may_be_called_test_beside_others() -> None:
    layout = lay_out(["test/1.png", "exam/2.png"], "x")
    assert layout.class_names == ("exam", "test")
    assert list(layout.given) == ["train"]


def test_names_from_archives_never_become_paths(tmp_path: Path) -> None:
    members = {f"../../evil/{index}.png": encoded(picture(index)) for index in range(4)}
    members |= {f"/abs/{index}.png": encoded(picture(index)) for index in range(4)}
    write_tar(tmp_path / "a.tar", members)
    before = sorted(tmp_path.parent.rglob("*"))
    data = load_data(tmp_path / "a.tar")
    assert data.class_names == ("abs", "evil")
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_links_in_archives_are_ignored(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, content in flat(4).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("passwd.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert len(stored(load_data(tmp_path / "a.tar"))) == 4


def test_other_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    hidden = {"__MACOSX/._00.png": b"junk", "._01.png": b"junk", ".git/x.png": b"junk"}
    write_folder(tmp_path, flat(5) | hidden | {"notes.txt": b"hello", "sub/list.csv": b"a"})
    data = load_data(tmp_path)
    assert len(stored(data)) == 5
    assert "2 files of other kinds (.txt, .csv) were ignored." in data.notes


def test_mixed_sizes_ask_for_a_size(tmp_path: Path) -> None:
    write_folder(tmp_path, flat(3) | {"wide.png": encoded(picture(9, (9, 5)))})
    with pytest.raises(InputError, match=r"differ in size \(6x6, 9x5\); set data.size.*`--size 64`"):
        load_data(tmp_path)
    with pytest.raises(InputError, match="differ in size"):
        load_data(tmp_path, crop=True)
    data = load_data(tmp_path, size=4)
    assert data.shape == (3, 4, 4)
    assert any("resized to 4x4" in note and "aspect ratio" in note for note in data.notes)
    cropped = load_data(tmp_path, size=4, crop=True)
    assert any("centred square and resized to 4x4" in note for note in cropped.notes)
    assert not np.array_equal(stored(cropped)[-1], stored(data)[-1])


def test_crop_takes_the_centre(tmp_path: Path) -> None:
    write_folder(tmp_path, flat(4, (9, 5)))
    data = load_data(tmp_path, crop=True)
    assert data.shape == (3, 5, 5)
    assert np.array_equal(stored(data)[0].transpose(1, 2, 0), np.array(picture(0, (9, 5)))[:, 2:7])


def test_grey_and_colour_are_unified(tmp_path: Path) -> None:
    write_folder(tmp_path / "grey", flat(4, mode="L"))
    assert load_data(tmp_path / "grey").shape == (1, 6, 6)
    write_folder(tmp_path / "mixed", flat(3, mode="L") | {"z.png": encoded(picture(7))})
    data = load_data(tmp_path / "mixed")
    assert data.shape == (3, 6, 6)
    assert np.array_equal(stored(data)[0], np.array(picture(0, mode="L"))[None].repeat(3, 0))
    assert "3 grey and 1 colour images were mixed: all became colour." in data.notes


def test_broken_image_is_named_or_skipped(tmp_path: Path) -> None:
    whole = encoded(picture(5, (64, 64)))
    cut = {"cut.png": whole[: len(whole) // 2], "text.jpg": b"not an image", "zero.png": b""}
    for name, content in cut.items():
        folder = tmp_path / name.split(".")[0]
        write_folder(folder, flat(30, (64, 64)) | {name: content})
        with pytest.raises(InputError, match=f"{name}.*cannot be read.*skip_bad.*--skip-bad") as raised:
            load_data(folder)
        assert "0x" not in str(raised.value)
        data = load_data(folder, skip_bad=True)
        assert sum(len(split) for split in data.splits.values()) == len(stored(data)) == 30
        counted = "; 1 of them are still counted in the split above" if name == "cut.png" else ""
        assert f"1 unreadable images were skipped: '{name}'{counted}." in data.notes


def test_skipping_keeps_labels_with_their_images(tmp_path: Path) -> None:
    members = {f"{kind}/{index}.png": encoded(picture(index, (32, 32))) for kind in "ab" for index in range(10)}
    for name in ("a/0.png", "a/7.png", "b/3.png"):
        members[name] = members[name][:500]
    write_zip(tmp_path / "a.zip", members)
    data = load_data(tmp_path / "a.zip", skip_bad=True)
    seen = {}
    for part in data.splits:
        batch = data.all(part)
        assert batch.labels is not None
        for x, label in zip(((batch.x + 1) * 127.5).round().byte(), batch.labels.tolist(), strict=True):
            seen[(label, x.numpy().tobytes())] = part
    expected = {
        (label, np.ascontiguousarray(np.array(picture(index, (32, 32))).transpose(2, 0, 1)).tobytes())
        for label, kind in enumerate("ab")
        for index in range(10)
        if f"{kind}/{index}.png" not in ("a/0.png", "a/7.png", "b/3.png")
    }
    assert set(seen) == expected


def test_limit_decodes_no_more_than_needed(tmp_path: Path) -> None:
    write_folder(tmp_path, flat(40))
    data = load_data(tmp_path, limit=5)
    whole = load_data(tmp_path)
    assert len(stored(data)) == 5 + 4 + 4
    assert torch.equal(data.all("train").x, whole.all("train", limit=5).x)
    assert torch.equal(data.all("test").x, whole.all("test").x)
    assert "Training uses 5 of 32 samples, as data.limit says." in data.notes


def test_order_of_writing_does_not_matter(tmp_path: Path) -> None:
    members = flat(12)
    write_tar(tmp_path / "a.tar", members)
    write_tar(tmp_path / "b.tar", dict(reversed(members.items())))
    first, second = load_data(tmp_path / "a.tar"), load_data(tmp_path / "b.tar")
    for part in first.splits:
        assert torch.equal(first.all(part).x, second.all(part).x)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no images; expected files that end in .*\.png"):
        load_data(tmp_path)
    with pytest.raises(InputError, match="no file or folder"):
        load_data(tmp_path / "missing")
    write_folder(tmp_path / "bad", {"1.png": b"", "2.png": b"x"})
    with pytest.raises(InputError, match="None of the 2 image files"):
        load_data(tmp_path / "bad", skip_bad=True)
    write_folder(tmp_path / "two", flat(2))
    with pytest.raises(InputError, match="it needs 3 or more"):
        load_data(tmp_path / "two")
    write_folder(tmp_path / "mixed", flat(3) | {"cat/1.png": encoded(picture())})
    with pytest.raises(InputError, match=r"some, such as '00.png', beside them"):
        load_data(tmp_path / "mixed")
    write_folder(tmp_path / "onlytest", {f"test/{name}": content for name, content in flat(3).items()})
    with pytest.raises(InputError, match="has test but no train"):
        load_data(tmp_path / "onlytest")


def test_large_images_are_read_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path, flat(4))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow warns above it, and refuses above twice as many
    assert len(stored(load_data(tmp_path))) == 4
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match=r"cannot be read: Image size \(36 pixels\) exceeds limit"):
        load_data(tmp_path)


def test_broken_archives(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar.gz", flat(5, (64, 64)))
    content = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(content[: len(content) // 2])
    (tmp_path / "no.zip").write_bytes(b"no archive")
    (tmp_path / "no.tar").write_bytes(b"no archive")
    for name in ("cut.tar.gz", "no.zip", "no.tar"):
        with pytest.raises(InputError, match=f"archive .*{name}.* cannot be read"):
            load_data(tmp_path / name)


def test_a_file_too_large_to_be_an_image_is_refused(tmp_path: Path) -> None:
    """A small archive may claim a file larger than memory."""
    info = tarfile.TarInfo("bomb.png")
    info.size = 2**29
    with (tmp_path / "bomb.tar").open("wb") as file:
        file.write(info.tobuf())
        file.truncate(512 + 2**29 + 1024)  # a hole: takes no room on the disk
    with pytest.raises(InputError, match=r"'bomb\.png' .* has 512 MiB"):
        load_data(tmp_path / "bomb.tar")


def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        write_folder(tmp_path / "photos" / kind, flat(4))
    (tmp_path / "photos" / "cat").chmod(0)
    with (
        permissions_count(),
        pytest.raises(InputError, match=r"photos/cat' cannot be read: Permission denied; .*chmod"),
    ):
        load_data(tmp_path / "photos")
    (tmp_path / "photos").chmod(0)
    (tmp_path / "table.csv").touch(mode=0)
    with permissions_count():
        with pytest.raises(InputError, match="photos' cannot be read: Permission denied"):
            load_data(f"{tmp_path}/photos/")
        with pytest.raises(InputError, match=r"photos/x\.csv' cannot be opened: Permission denied"):
            load_data(tmp_path / "photos" / "x.csv")
        with pytest.raises(InputError, match=r"cannot be read as csv: .*Permission denied"):
            load_data(tmp_path / "table.csv")


def test_links_to_folders_are_followed_and_never_in_a_circle(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos" / "dog", flat(4))
    for kind in ("cat", "bird"):
        write_folder(tmp_path / "elsewhere" / kind, flat(4))
        (tmp_path / "photos" / kind).symlink_to(tmp_path / "elsewhere" / kind)
    assert load_data(tmp_path / "photos").class_names == ("bird", "cat", "dog")
    (tmp_path / "elsewhere" / "cat" / "back").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "dog" / "up").symlink_to("..")
    (tmp_path / "photos" / "fish").symlink_to(tmp_path / "unmounted")
    (tmp_path / "photos" / "self").symlink_to("self")
    data = load_data(tmp_path / "photos")
    assert len(stored(data)) == 12
    (note,) = (note for note in data.notes if "links" in note)
    assert note.startswith("4 links that lead back, nowhere or where you may not read were left out: ")
    assert note.endswith("'cat/back', 'dog/up', 'fish', ....")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "fish").symlink_to(tmp_path / "unmounted")
    with pytest.raises(InputError, match=r"holds no images; .* links .* left out: 'fish'"):
        load_data(tmp_path / "links")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """A pipe would be waited for until somebody writes into it."""
    write_folder(tmp_path, flat(5))
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match=r"'pipe\.png' .* cannot be read: it is no regular file; .*skip_bad"):
        load_data(tmp_path)
    assert len(stored(load_data(tmp_path, skip_bad=True))) == 5
    with pytest.raises(InputError, match=r"pipe\.csv' is neither a file nor a folder"):
        load_data(tmp_path / "pipe.csv")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_folder(
        tmp_path, {f"{kind}/{index}.png": encoded(picture(index)) for kind in ("car", "train") for index in range(9)}
    )
    assert load_data(tmp_path).class_names == ("car", "train")


@pytest.mark.parametrize("part", ["dev", "eval", "val"])
def test_the_folder_to_choose_by_has_several_names(tmp_path: Path, part: str) -> None:
    write_folder(
        tmp_path,
        {f"{kind}/{index}.png": encoded(picture(index)) for kind in ("train", part, "test") for index in range(4)},
    )
    sizes = load_data(tmp_path).describe()["sizes"]
    assert sizes == {"train": 4, "select": 4, "test": 4}


def test_a_zip_with_backslashes_has_folders(tmp_path: Path) -> None:
    write_zip(
        tmp_path / "a.zip", {f"{kind}\\{index}.png": encoded(picture(index)) for kind in "ab" for index in range(5)}
    )
    assert load_data(tmp_path / "a.zip").class_names == ("a", "b")


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "avif", "pbm"])
def test_images_of_rarer_suffixes_are_read(tmp_path: Path, suffix: str) -> None:
    kind = {"jfif": "JPEG", "jpe": "JPEG", "avif": "AVIF", "pbm": "PPM"}[suffix]
    for index in range(4):
        buffer = io.BytesIO()
        picture(index).save(buffer, kind)
        write_folder(tmp_path, {f"{index}.{suffix}": buffer.getvalue()})
    assert sum(load_data(tmp_path).describe()["sizes"].values()) == 4


@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG", "WEBP"])
def test_orientation_is_told_before_the_pixels_are(tmp_path: Path, kind: str) -> None:
    for index in range(4):
        image = picture(index, (8, 6))
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(tmp_path / f"{index}.{kind.lower()}", kind, exif=exif)
    data = load_data(tmp_path)
    assert data.shape == (3, 8, 6)
    assert "4 images were turned upright, as their EXIF data say." in data.notes


def test_exif_behind_the_pixels_of_a_png_is_found(tmp_path: Path) -> None:
    for index in range(4):
        exif = Image.Exif()
        exif[0x0112] = 6
        content = encoded(picture(index, (8, 6)))
        block = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(block) - 4) + block + struct.pack(">I", zlib.crc32(block))
        end = content.index(b"IEND") - 4
        (tmp_path / f"{index}.png").write_bytes(content[:end] + chunk + content[end:])
    assert load_data(tmp_path).shape == (3, 8, 6)


def test_sixteen_bits_that_pillow_itself_reduces_are_told(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + bytes(range(24)) for _ in range(4))
    head = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert "3 images were reduced from 16 bits a value to 8." in load_data(tmp_path).notes


def test_a_known_name_that_is_a_folder_here_too_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "digits", flat())
    monkeypatch.chdir(tmp_path)
    assert any("./digits" in note for note in load_data("digits").notes)
    assert load_data("./digits").shape == (3, 6, 6)
