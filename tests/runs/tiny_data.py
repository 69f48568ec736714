"""Real files of the named formats, a few kilobytes of them, and the smallest run."""

import gzip
import struct

import numpy as np
from PIL import Image

TINY_RUN = [
    "train.steps=2",
    "train.batch_size=8",
    "evaluation.every=2",
    "evaluation.samples=10",
    "model.network.width=4",
    "model.network.depth=1",
    "data=digits",
    "evaluation.metric=mmd2",
    "evaluation.grid=4",
]


def write_idx(folder, train, test):
    """Writes images and labels in MNIST's format: ten classes, each a bar of its own height."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("t10k", test)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = rng.integers(0, 40, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4 : 6 + 2 * label, 8:20] = 230
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            with gzip.open(folder / f"{part}-{name}-ubyte.gz", "wb") as file:
                file.write(header + array.tobytes())


def write_photos(folder, count):
    """Writes colour photos of one size in two class folders."""
    rng = np.random.default_rng(1)
    for number in range(count):
        path = folder / ("red" if number % 2 else "blue")
        path.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 90, (70, 80, 3), dtype=np.uint8)
        pixels[:, :, 0 if number % 2 else 2] += 150
        Image.fromarray(pixels).save(path / f"{number}.png")
    return folder
