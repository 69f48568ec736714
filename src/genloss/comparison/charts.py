"""The interactive charts of a comparison's report, drawn by the plotly.js that plotly's wheel ships."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from genloss.comparison.statistics import Summary

__all__ = ["Curve", "budget_chart", "interval_chart", "library"]

# Okabe & Ito's colours that show on white, told apart by colour-blind readers; dashes begin again after the last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dash", "dot", "dashdot")
FONT = {"family": "system-ui, sans-serif", "size": 14, "color": "#1a1a1a"}
WIDE = 30.0
DEPTH = 1e-4


@dataclass(frozen=True)
class Curve:
    """The metric of one run against the turn.

    Args:
        seed: the run's.
        turns: when it was measured.
        values: the metric.
        finished: whether the run came to its end.
    """

    seed: int
    turns: tuple[int, ...]
    values: tuple[float, ...]
    finished: bool


def library() -> str:
    """Returns plotly.js for the page; the charts after it need nothing else."""
    return f"<script>{get_plotlyjs()}</script>"


def _html(figure: go.Figure, height: int, name: str) -> str:
    figure.update_layout(
        template="plotly_white",
        font=FONT,
        height=height,
        margin={"l": 10, "r": 20, "t": 20, "b": 10},
        hovermode="closest",
    )
    figure.update_xaxes(automargin=True, showline=True, linecolor="#888", ticks="outside")
    figure.update_yaxes(automargin=True)
    config = {"displaylogo": False, "responsive": True, "modeBarButtons": [["toImage", "resetScale2d"]]}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=config, div_id=name))


def _style(position: int) -> tuple[str, str]:
    return COLOURS[position % len(COLOURS)], DASHES[position // len(COLOURS) % len(DASHES)]


def _edge(values: Sequence[float]) -> float | None:
    """The lower end of a logarithmic axis for values over several magnitudes; None: the axis is linear.

    Estimates that are unbiased around 0 may be negative: a few of them are drawn at the edge.
    """
    positive = sorted(value for value in values if value > 0)
    if not positive or len(positive) < 0.8 * len(values) or positive[-1] < WIDE * positive[0]:
        return None
    return max(positive[0] / 1.5, positive[-1] * DEPTH)


def _axis(edge: float | None) -> dict[str, str]:
    """A logarithmic axis labels 1, 2 and 5 of each magnitude in full."""
    return {"type": "linear"} if edge is None else {"type": "log", "dtick": "D2", "tickformat": ".1~g"}


def _clipped(values: Sequence[float], edge: float | None) -> list[float]:
    return list(values) if edge is None else [max(value, edge) for value in values]


def interval_chart(
    summaries: Sequence[Summary], colours: Mapping[str, int], seeds: Sequence[int], title: str, floor: float | None
) -> str:
    """Draws a row a variant: every seed as a dot, under them the mean and its interval, across all rows the floor.

    Args:
        summaries: from the top row down.
        colours: position of each variant in the palette.
        seeds: the plan's.
        title: the metric's name as it is written.
        floor: the metric of real training data, or None.
    """
    everything = [value for summary in summaries for value in summary.finished]
    edge = _edge([*everything, *([floor] if floor is not None else [])])
    figure = go.Figure()
    for row, summary in enumerate(summaries):
        _interval_row(figure, row, summary, _style(colours[summary.name])[0], seeds, edge)
    if floor is not None:
        label = "real training data"
        (place,) = _clipped([floor], edge)
        figure.add_vline(x=place, line={"color": "#666", "width": 1.5, "dash": "dash"})
        position = place if edge is None else math.log10(place)
        figure.add_annotation(
            x=position, y=1, yref="paper", yanchor="bottom", text=label, showarrow=False, font_size=12
        )
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title=f"{title} of the test split", **_axis(edge), **_range(summaries, floor, edge))
    figure.update_yaxes(
        tickvals=list(range(len(summaries))),
        ticktext=[_row_label(summary) for summary in summaries],
        range=[len(summaries) - 0.4, -0.6],
        showgrid=False,
        zeroline=False,
    )
    return _html(figure, 110 + 62 * len(summaries), "intervals")


def _range(summaries: Sequence[Summary], floor: float | None, edge: float | None) -> dict[str, list[float]]:
    """The axis with a margin on both sides, in which no interval ends at the frame."""
    ends = [end for summary in summaries for end in (*summary.finished, *(summary.interval or ()))]
    ends = _clipped([*ends, *([floor] if floor is not None else [])], edge)
    if not ends:
        return {}
    low, high = (min(ends), max(ends)) if edge is None else (math.log10(min(ends)), math.log10(max(ends)))
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return {"range": [low - margin, high + margin]}


def _row_label(summary: Summary) -> str:
    name = html.escape(summary.name)
    if not summary.failures:
        return name
    failed = f"{len(summary.failures)} of {len(summary.values)} seeds failed"
    return f'{name}<br><span style="color:#b00;font-size:11px">{failed}</span>'


def _interval_row(
    figure: go.Figure, row: int, summary: Summary, colour: str, seeds: Sequence[int], edge: float | None
) -> None:
    dots = [(seed, value) for seed, value in zip(seeds, summary.values, strict=True) if value is not None]
    figure.add_scatter(
        x=_clipped([value for _, value in dots], edge),
        y=[row - 0.2] * len(dots),
        mode="markers",
        marker={"color": colour, "size": 9, "opacity": 0.55},
        text=[f"{summary.name}, seed {seed}: {value:.5g}" for seed, value in dots],
        hoverinfo="text",
    )
    if summary.interval is not None:
        low, high = summary.interval
        figure.add_scatter(
            x=_clipped([low, high], edge),
            y=[row + 0.12] * 2,
            mode="lines",
            line={"color": colour, "width": 3},
            text=f"{summary.name}: 95 % t-interval {low:.5g} to {high:.5g}",
            hoverinfo="text",
        )
    if summary.mean is not None:
        figure.add_scatter(
            x=_clipped([summary.mean], edge),
            y=[row + 0.12],
            mode="markers",
            marker={"color": colour, "size": 12, "symbol": "diamond", "line": {"color": "white", "width": 1.5}},
            text=f"{summary.name}: mean {summary.mean:.5g}",
            hoverinfo="text",
        )


def budget_chart(curves: Mapping[str, Sequence[Curve]], colours: Mapping[str, int], title: str) -> str:
    """Draws the metric against the turn: every seed as a thin line, the mean of the finished ones as a thick line.

    Args:
        curves: variant -> its runs.
        colours: position of each variant in the palette.
        title: the metric's name as it is written.
    """
    figure = go.Figure()
    every = [point for runs in curves.values() for run in runs for point in zip(run.turns, run.values, strict=True)]
    edge = _edge([value for _, value in every])
    for name, runs in curves.items():
        colour, dash = _style(colours[name])
        for run in runs:
            figure.add_scatter(
                x=list(run.turns),
                y=_clipped(run.values, edge),
                text=[f"{value:.5g}" for value in run.values],
                mode="lines",
                line={"color": colour, "width": 1, "dash": dash},
                opacity=0.4,
                legendgroup=name,
                showlegend=False,
                name=f"{name}, seed {run.seed}",
                hovertemplate="turn %{x}: %{text}",
            )
        _end_of_failed(figure, name, [run for run in runs if not run.finished and run.turns], colour, edge)
        turns, means = _mean([run for run in runs if run.finished])
        figure.add_scatter(
            x=turns,
            y=_clipped(means, edge),
            text=[f"{value:.5g}" for value in means],
            mode="lines+markers",
            line={"color": colour, "width": 3, "dash": dash},
            marker={"size": 6},
            legendgroup=name,
            name=name,
            hovertemplate="turn %{x}: mean %{text}",
        )
    figure.update_yaxes(**_axis(edge))
    if edge is None and (late := [value for turn, value in every if turn > 0.15 * max(turn for turn, _ in every)]):
        margin = 0.08 * ((max(late) - min(late)) or abs(max(late)) or 1.0)
        figure.update_yaxes(range=[min(late) - margin, max(late) + margin])
    figure.update_xaxes(title="turns", rangemode="tozero")
    figure.update_yaxes(title=f"{title} of the select split", showline=True, linecolor="#888")
    figure.update_layout(legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0})
    return _html(figure, 460, "budget")


def _end_of_failed(figure: go.Figure, name: str, runs: Sequence[Curve], colour: str, edge: float | None) -> None:
    if runs:
        figure.add_scatter(
            x=[run.turns[-1] for run in runs],
            y=_clipped([run.values[-1] for run in runs], edge),
            mode="markers",
            marker={"color": colour, "symbol": "x", "size": 10},
            legendgroup=name,
            showlegend=False,
            text=[f"{name}, seed {run.seed}: last value before it failed" for run in runs],
            hoverinfo="text",
        )


def _mean(runs: Sequence[Curve]) -> tuple[list[int], list[float]]:
    """The mean at the turns where every run was measured: a mean over fewer would jump."""
    tables = [dict(zip(run.turns, run.values, strict=True)) for run in runs]
    turns = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    return turns, [math.fsum(table[turn] for table in tables) / len(tables) for turn in turns]
