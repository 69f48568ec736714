"""The picture of an adversarial loss: value and gradient against the score, for each role."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from genloss.errors import InputError
from genloss.losses import AdversarialLoss
from genloss.losses.score_curves import ScoreCurve, score_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["save_score_plot"]

# Okabe & Ito's colours, and a dash each: told apart without colour too.
_STYLES = {
    ("discriminator", "real"): ("discriminator, real sample", "#0072B2", "-"),
    ("discriminator", "fake"): ("discriminator, fake sample", "#D55E00", (0, (6, 2))),
    ("generator", "fake"): ("generator, fake sample", "#009E73", (0, (0.9, 1.8))),
}
_INK = "#33373d"
_TALLEST = 7.0  # what an exponential shows above its value at rest


def save_score_plot(loss: AdversarialLoss, path: Path) -> None:
    """Draws the loss and saves it as PNG, SVG or PDF, by the ending of the name.

    Raises:
        InputError: the file exists, its folder does not, or its ending is another one.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"the picture's name is {str(path)!r}, expected it to end in .png, .svg or .pdf.")
    if path.exists():
        raise InputError(f"{str(path)!r} exists; name another file or remove it.")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {str(path.parent)!r} to save {path.name!r} in; make it first.")
    from matplotlib.figure import Figure

    curves = score_curves(loss)
    figure = Figure(figsize=(9.6, 4.2), dpi=160, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    _draw(left, curves, lambda curve: curve.values, "loss")
    axis = "energy" if loss.energies else "score"
    _draw(right, curves, lambda curve: curve.gradients, f"gradient in the {axis}")
    for axes in (left, right):
        axes.set_xlabel(f"{axis} (the other one is held at {curves[0].other_score:.4g})", color=_INK)
    stated = loss.equilibrium()
    if stated is not None and stated.score is not None:
        for axes in (left, right):
            axes.axvline(stated.score, color=_INK, linewidth=0.8, alpha=0.35, zorder=0)
    figure.suptitle(repr(loss), x=0.01, ha="left", fontsize=12, color=_INK, fontweight="bold")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, frameon=False, labelcolor=_INK, handlelength=3.2
    )
    # Every file says what it is and what made it; the formats name that differently.
    subject = "Subject" if path.suffix.lower() == ".pdf" else "Description"
    about = {"Title": repr(loss), subject: "value and gradient against the score", "Creator": "genloss"}
    figure.savefig(path, metadata=about)


def _draw(axes: Axes, curves: list[ScoreCurve], column: Callable[[ScoreCurve], tuple[float, ...]], label: str) -> None:
    """Draws one column of every curve, and cuts off what grows without bounds."""
    middle = len(curves[0].scores) // 2
    at_rest = [column(curve)[middle] for curve in curves]
    heights = [height for curve in curves for height in column(curve)]
    low, high = max(min(heights), min(at_rest) - _TALLEST), min(max(heights), max(at_rest) + _TALLEST)
    margin = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(curves[0].scores[0], curves[0].scores[-1])
    axes.axhline(0.0, color=_INK, linewidth=0.8, alpha=0.35, zorder=0)
    for curve in curves:
        name, colour, dashes = _STYLES[curve.role, curve.side]
        axes.plot(
            curve.scores,
            column(curve),
            label=name,
            color=colour,
            linestyle=dashes,
            linewidth=2.2 if dashes == "-" else 2.8,
        )
    axes.set_title(label, loc="left", fontsize=10.5, color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9aa0a6")
    axes.tick_params(colors=_INK, length=3, color="#9aa0a6")
    axes.grid(color="#e6e8eb", linewidth=0.7)
    axes.set_axisbelow(True)
