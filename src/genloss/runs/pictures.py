"""Pictures of a run: sample grids through time, curves, the latent plane. Each says which run made it."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from genloss.data import Dataset

__all__ = ["curves_png", "grid_image", "latent_png", "picture", "png", "points_png"]

# Okabe & Ito's colours, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def png(image: Image.Image, provenance: Mapping[str, str]) -> bytes:
    """Encodes an image with text chunks that say what generated it."""
    info = PngInfo()
    for key, value in provenance.items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def grid_image(x: Tensor, value_range: tuple[float, float], columns: int | None = None) -> Image.Image:
    """Arranges images `(n, channels, height, width)` row by row; small ones are enlarged by whole factors."""
    low, high = value_range
    values = ((x.float().cpu() - low) / (high - low)).clamp(0, 1).mul(255).round().byte().numpy()
    n, channels, height, width = values.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    canvas = np.full((rows * (height + 2) + 2, columns * (width + 2) + 2, channels), 255, np.uint8)
    for position, image in enumerate(values):
        top, left = 2 + position // columns * (height + 2), 2 + position % columns * (width + 2)
        canvas[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    picture = Image.fromarray(canvas[:, :, 0] if channels == 1 else canvas[:, :, :3])
    factor = max(1, min(4, 480 // max(picture.size)))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _encode(figure: Figure, provenance: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata=dict(provenance))
    plt.close(figure)
    return buffer.getvalue()


def points_png(
    fake: Tensor | None, real: Tensor | None, title: str, provenance: Mapping[str, str], columns: Sequence[str] = ()
) -> bytes:
    """Scatters the first two columns of generated samples over real ones, on the range of the first that are there."""
    figure, axes = plt.subplots(figsize=(4.6, 4.6), layout="constrained")
    clouds = [(real, "#999999", "real"), (fake, COLOURS[0], "generated")]
    given = [(values, colour, label) for values, colour, label in clouds if values is not None]
    first = given[0][0]
    second = 1 if first.shape[1] > 1 else 0
    for values, colour, label in given:
        axes.scatter(
            values[:, 0].cpu(), values[:, second].cpu(), s=4, alpha=0.5, color=colour, label=label, linewidths=0
        )
    low, high = first.amin(0).cpu(), first.amax(0).cpu()
    margin = 0.15 * (high - low).clamp(min=1e-6)
    axes.set_xlim(float(low[0] - margin[0]), float(high[0] + margin[0]))
    axes.set_ylim(float(low[second] - margin[second]), float(high[second] + margin[second]))
    if len(columns) > 1:
        axes.set(xlabel=columns[0], ylabel=columns[1])
    axes.set_title(title, fontsize=10)
    axes.legend(loc="upper right", fontsize=8, markerscale=3)
    return _encode(figure, provenance)


def picture(
    x: Tensor | None, dataset: Dataset, real: Tensor | None, title: str, provenance: Mapping[str, str]
) -> bytes:
    """Returns the PNG of generated samples, or for None of real ones: a grid of images, or points over real ones."""
    images = real if x is None else x
    if dataset.kind == "image" and images is not None:
        return png(grid_image(images, dataset.value_range or (0.0, 1.0)), provenance)
    names = dataset.standardisation.columns if dataset.standardisation is not None else ()
    return points_png(x, real, title, provenance, names)


def curves_png(series: Mapping[str, Sequence[tuple[int, float]]], provenance: Mapping[str, str]) -> bytes:
    """Draws every series against the turn, one panel a name; metrics keep the panel of their own scale."""
    names = list(series)
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(4.2 * columns, 2.6 * rows), squeeze=False, layout="constrained"
    )
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels.flat, names, strict=False):
        turns, values = zip(*series[name], strict=True)
        axes.plot(turns, values, color=COLOURS[0], linewidth=1.2, marker="o" if len(turns) < 30 else None, markersize=3)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("turn", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    return _encode(figure, provenance)


def latent_png(
    codes: Tensor, labels: Tensor | None, names: Sequence[str], plane: Tensor, provenance: Mapping[str, str]
) -> bytes:
    """Draws the two panels of NNDL figure 13.5: the data in latent space, and the decoded plane.

    Args:
        codes: posterior means `(n, 2)`.
        labels: classes `(n,)`, or None.
        names: their names.
        plane: decoded latents `(side * side, channels, height, width)` in [0, 1], top left first.
        provenance: what generated the picture.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
    values: Any = codes.cpu().numpy()
    if labels is None:
        left.scatter(values[:, 0], values[:, 1], s=3, linewidths=0)
    else:
        colours = plt.get_cmap("tab10" if len(names) <= 10 else "tab20")
        classes = labels.cpu().numpy()
        for number, name in enumerate(names):
            chosen = values[classes == number]
            left.scatter(chosen[:, 0], chosen[:, 1], s=3, color=colours(number % colours.N), label=name, linewidths=0)
        left.legend(markerscale=4, fontsize=8, loc="upper right")
    left.set(xlabel="$z_1$", ylabel="$z_2$", title="data in the latent space", aspect="equal")
    side = math.isqrt(len(plane))
    image = grid_image(plane, (0.0, 1.0), columns=side)
    right.imshow(image, cmap="gray")
    right.set(title="decoded latent plane", xticks=[], yticks=[])
    return _encode(figure, provenance)
