"""Where image files come from: a folder, or an archive that is read in memory and never unpacked."""

from __future__ import annotations

import lzma
import os
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

from genloss.errors import InputError

__all__ = ["ARCHIVES", "IMAGE_SUFFIXES", "Source", "open_source"]

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
IMAGE_SUFFIXES = {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"}
IMAGE_SUFFIXES |= {".ppm", ".pgm", ".pbm", ".pnm"}
_LARGEST_FILE = 2**28
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


class Source(ABC):
    """Image files by name. Names serve as labels and in messages; no name from an archive becomes a path.

    Args:
        place: the folder or archive.

    Raises:
        InputError: a folder cannot be read.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.left_out: list[str] = []
        every = sorted({name for name in self._list() if _visible(name)})
        self.names = [name for name in every if _is_image(name)]
        self.others = Counter(os.path.splitext(name)[1].lower() for name in every if not _is_image(name))

    @abstractmethod
    def _list(self) -> Iterator[str]:
        """Yields the names of the regular files, with `/` between their parts."""

    @abstractmethod
    def _read(self, wanted: set[str]) -> Iterator[tuple[str, Path | BytesIO]]:
        """Yields the wanted files, in whatever order is cheap."""

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, Path | BytesIO]]:
        """Yields (index in `names`, file) for the wanted indices, in whatever order is cheap.

        Raises:
            InputError: the archive is broken or encrypted, or a file in it has more than 256 MiB.
        """
        position = {self.names[index]: index for index in indices}
        try:
            for name, file in self._read(set(position)):
                yield position[name], file
        except _BROKEN as error:
            raise _broken(self.place, error) from error


class _Folder(Source):
    def _list(self) -> Iterator[str]:
        yield from self._walk("", (self.place.resolve(),))

    def _walk(self, prefix: str, way: tuple[Path, ...]) -> Iterator[str]:
        """Yields the files below a folder; `way` holds the resolved folders that led to it."""
        try:
            entries = sorted(os.scandir(way[-1]), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(
                f"The folder {str(self.place / prefix)!r} cannot be read: {error.strerror}; "
                "give yourself the permission (chmod u+rx), or move it elsewhere."
            ) from error
        for entry in filter(lambda entry: _visible(entry.name), entries):
            name, path = prefix + entry.name, Path(entry.path)
            broken = entry.is_symlink() and not os.path.exists(path)
            if not broken and entry.is_dir():
                real = path.resolve() if entry.is_symlink() else path
                if any(above.is_relative_to(real) for above in way):  # to follow this link would never end
                    self.left_out.append(name)
                else:
                    yield from self._walk(f"{name}/", (*way, real))
            elif broken and not _is_image(name):  # it may have been a folder of images
                self.left_out.append(name)
            else:
                yield name

    def _read(self, wanted: set[str]) -> Iterator[tuple[str, Path | BytesIO]]:
        for name in sorted(wanted):
            yield name, self.place / name


class _Tar(Source):
    def _list(self) -> Iterator[str]:
        with tarfile.open(self.place) as archive:
            yield from (member.name for member in archive if member.isfile())

    def _read(self, wanted: set[str]) -> Iterator[tuple[str, Path | BytesIO]]:
        left = set(wanted)
        with tarfile.open(self.place) as archive:
            for member in archive:
                if member.isfile() and member.name in left:
                    left.remove(member.name)
                    _check_size(self.place, member.name, member.size)
                    content = archive.extractfile(member)
                    assert content is not None
                    yield member.name, BytesIO(content.read())


class _Zip(Source):
    def _list(self) -> Iterator[str]:
        with zipfile.ZipFile(self.place) as archive:
            yield from (_slashed(entry) for entry in archive.infolist() if not entry.is_dir())

    def _read(self, wanted: set[str]) -> Iterator[tuple[str, Path | BytesIO]]:
        with zipfile.ZipFile(self.place) as archive:
            entries = {_slashed(entry): entry for entry in archive.infolist()}
            for name in sorted(wanted):
                _check_size(self.place, name, entries[name].file_size)
                yield name, BytesIO(archive.read(entries[name]))


def _slashed(entry: zipfile.ZipInfo) -> str:
    """Returns a name with `/` between its parts: some programs on Windows write backslashes."""
    return entry.filename.replace("\\", "/")


def open_source(place: Path) -> Source:
    """Returns the image files of a folder or archive.

    Raises:
        InputError: the archive is broken, or a folder cannot be read.
    """
    if place.is_dir():
        return _Folder(place)
    try:
        return _Zip(place) if place.suffix.lower() == ".zip" else _Tar(place)
    except _BROKEN as error:
        raise _broken(place, error) from error


def _broken(place: Path, error: Exception) -> InputError:
    return InputError(f"The archive {str(place)!r} cannot be read: {error}; check that it is whole and not encrypted.")


def _visible(name: str) -> bool:
    """Whether no part of a name is hidden; macOS puts `__MACOSX/._name` beside every file of an archive."""
    parts = name.split("/")
    return not any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _check_size(place: Path, name: str, size: int) -> None:
    if size > _LARGEST_FILE:
        raise InputError(f"{name!r} in {str(place)!r} has {size / 2**20:.0f} MiB; an image may have 256 MiB at most.")
