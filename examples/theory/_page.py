"""What the examples share: their look, their colours, and `python NAME.py [-o FILE]`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

REAL, MODEL, THIRD, QUIET = "#0b6e99", "#d1495b", "#e09f3e", "#8d99ae"

STYLE: dict[str, object] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
}


def panels(columns: int) -> tuple[Figure, list[Axes]]:
    """Returns a figure with this many panels side by side."""
    plt.rcParams.update(STYLE)
    figure, axes = plt.subplots(1, columns, figsize=(4.4 * columns, 3.9), squeeze=False)
    return figure, list(axes[0])


def show(script: str, make: Callable[[], tuple[dict[str, float], Figure]]) -> None:
    """Prints the numbers of an example and writes its figure, beside the caller unless -o says where."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path, default=Path(script).with_suffix(".png").name)
    output = Path(parser.parse_args().output)
    numbers, figure = make()
    for name, value in numbers.items():
        print(f"{name:<58} {value: .6f}")
    figure.savefig(output)
    print(f"figure: {output}")
