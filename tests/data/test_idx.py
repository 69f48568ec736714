"""idx files whose header asks for more than the file could hold."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from genloss.data.idx import read_idx
from genloss.errors import InputError
from tests.data.files import write_idx

LARGEST = 2**32 - 1


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("shape", [(LARGEST,), (LARGEST,) * 3, (LARGEST,) * 4, (2**31, 2**10), (0, LARGEST, LARGEST)])
def test_a_header_that_asks_for_more_than_the_file_holds(tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    content = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + b"abc"
    path = tmp_path / f"labels{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(
        InputError, match=f"says {shape[0]}.* values, more than its .* bytes can hold; get the file again"
    ):
        read_idx(path)


def test_what_packs_best_is_still_read(tmp_path: Path) -> None:
    values = np.zeros((1000, 100, 100))
    write_idx(tmp_path / "a.gz", values)
    assert (tmp_path / "a.gz").stat().st_size < values.size / 900
    assert read_idx(tmp_path / "a.gz").shape == values.shape
