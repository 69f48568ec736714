"""What listens to a run: the metrics file, TensorBoard, the log and the pictures."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import torch

from genloss.models import Prior
from genloss.protocols import CheckpointSaved, Decodes, Diverged, Encodes, Evaluated, Event, Finished, TurnDone
from genloss.runs.build import Built
from genloss.runs.evaluation import draw
from genloss.runs.folder import RunFolder
from genloss.runs.pictures import curves_png, latent_png, picture
from genloss.training.randomness import stream
from genloss.training.storage import write_file

__all__ = ["Listener", "MetricsFile", "Pictures", "TensorBoard", "provenance"]

Listener = Callable[[Event], None]


def provenance(folder: RunFolder, checkpoint: str, seed: int) -> dict[str, str]:
    """Returns what every generated file carries: that it is generated, by which run, checkpoint and seed."""
    return {
        "Software": "genloss",
        "Description": "generated content: made by a generative model, not recorded",
        "genloss:run": folder.path.resolve().name,  # of "." too
        "genloss:checkpoint": checkpoint,
        "genloss:seed": str(seed),
    }


class MetricsFile:
    """Appends events to `metrics.jsonl` and sentences to `log.txt`, a whole line a write."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._metrics = os.open(folder.metrics, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._log = os.open(folder.path / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def __call__(self, event: Event) -> None:
        """Writes what the event reports; a checkpoint syncs what came before it."""
        match event:
            case TurnDone(turn, samples, statistics) if statistics:
                self._line({"event": "statistics", "turn": turn, "samples": samples, **statistics})
            case Evaluated(turn, metrics, best):
                self._line({"event": "evaluated", "turn": turn, "best": best, **metrics})
                self.log(
                    f"turn {turn}: "
                    + ", ".join(f"{k} {v:.5g}" for k, v in metrics.items())
                    + (" (best)" if best else "")
                )
            case CheckpointSaved(turn, path):
                os.fsync(self._metrics)
                self.log(f"turn {turn}: checkpoint {path.name}")
            case Diverged(turn, player, tensor, value):
                self._line({"event": "diverged", "turn": turn, "player": player, "tensor": tensor, "value": str(value)})
                self.log(event.sentence())
            case Finished(turn, status):
                self._line({"event": "finished", "turn": turn, "status": status})
                self.log(f"turn {turn}: {status}")

    def _line(self, content: dict[str, Any]) -> None:
        _write_all(self._metrics, json.dumps(content) + "\n")

    def log(self, sentence: str) -> None:
        """Appends a sentence with its time to `log.txt`."""
        _write_all(self._log, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {sentence}\n")

    def close(self) -> None:
        """Closes both files."""
        os.close(self._metrics)
        os.close(self._log)


def _write_all(descriptor: int, text: str) -> None:
    view = memoryview(text.encode())
    while view:
        view = view[os.write(descriptor, view) :]


class TensorBoard:
    """Writes statistics and metrics as TensorBoard events into the run's folder."""

    def __init__(self, folder: RunFolder, turn: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder.path), purge_step=turn + 1 if turn else None)

    def __call__(self, event: Event) -> None:
        """Adds a scalar for every statistic and metric."""
        if isinstance(event, TurnDone) and event.statistics:
            values = event.statistics
        elif isinstance(event, Evaluated):
            values = {f"metrics/{name}": value for name, value in event.metrics.items()}
        else:
            return
        for name, value in values.items():
            self._writer.add_scalar(name, value, event.turn)

    def close(self) -> None:
        """Flushes and closes the event file."""
        self._writer.close()

    @staticmethod
    @contextmanager
    def without_traceback() -> Iterator[None]:
        """Keeps TensorBoard's own thread from printing an error that the next write or `close` raises."""
        hook = threading.excepthook

        def tell(error: threading.ExceptHookArgs) -> None:
            if not type(error.thread).__module__.startswith("tensorboard."):
                hook(error)

        threading.excepthook = tell
        try:
            yield
        finally:
            threading.excepthook = hook


class Pictures:
    """Draws samples of the same noise at every evaluation, and the curves at the end."""

    def __init__(self, folder: RunFolder, built: Built) -> None:
        self._folder = folder
        self._built = built
        count = built.recipe.evaluation.grid if built.dataset.kind == "image" else 2000
        self._count = count
        self._real = built.dataset.all("test", limit=count, rng=self._stream("real")).x
        title = f"real data: {built.dataset.name}"
        write_file(
            folder.path / "samples" / "real.png",
            picture(None, built.dataset, self._real, title, {"Title": title}),
        )

    def _stream(self, purpose: str) -> torch.Generator:
        device = self._built.dataset.splits["test"].values.device
        return stream(self._built.recipe.seed, f"pictures/{purpose}", device)

    def __call__(self, event: Event) -> None:
        """Writes `samples/turn-*.png` at an evaluation and `plots/` at the end."""
        if isinstance(event, Evaluated):
            state, seed = self._built.state, self._built.recipe.seed
            with state.sampling() as model:
                x = draw(model, self._count, self._stream("noise"))
            marks = provenance(self._folder, f"turn {event.turn}", seed)
            content = picture(x, self._built.dataset, self._real, f"turn {event.turn}", marks)
            write_file(self._folder.path / "samples" / f"turn-{event.turn:08d}.png", content)
        elif isinstance(event, Finished):
            self._curves()
            self._latent()

    def _curves(self) -> None:
        losses: dict[str, list[tuple[int, float]]] = {}
        metrics: dict[str, list[tuple[int, float]]] = {}
        for event in self._folder.events():
            kind = event.pop("event")
            turn = event.pop("turn")
            if kind in ("statistics", "evaluated"):
                for name, value in event.items():
                    if name not in ("samples", "best"):
                        (losses if kind == "statistics" else metrics).setdefault(name, []).append((turn, value))
        for name, found in (("losses", losses), ("metrics", metrics)):
            # Dots only where there are no curves.
            if series := {key: points for key, points in found.items() if len(points) > 1} or found:
                marks = {"Title": name, "genloss:run": self._folder.path.resolve().name}
                write_file(self._folder.path / "plots" / f"{name}.png", curves_png(series, marks))

    def _latent(self) -> None:
        """The two panels of NNDL figure 13.5, for image models with a latent plane."""
        dataset, state = self._built.dataset, self._built.state
        model = state.model
        if not (isinstance(model, Encodes) and isinstance(model, Decodes)):
            return
        if dataset.kind != "image" or self._built.recipe.model.noise_dim != 2:
            return
        side = 20
        normal = torch.special.ndtri(torch.linspace(0.02, 0.98, side))
        u = torch.stack([normal.repeat(side), normal.flip(0).repeat_interleave(side)], dim=1)
        batch = dataset.all("train", limit=5000, rng=self._stream("latent"))
        with state.sampling() as frozen:
            assert isinstance(frozen, Encodes)
            assert isinstance(frozen, Decodes)
            codes = frozen.encode(batch.x)
            plane = frozen.decode(Prior(self._built.recipe.model.prior, 2).transform(u.to(codes.device)))
        low, high = dataset.value_range or (0.0, 1.0)
        marks = provenance(self._folder, f"turn {state.turn}", self._built.recipe.seed)
        content = latent_png(codes, batch.labels, dataset.class_names, (plane - low) / (high - low), marks)
        write_file(self._folder.path / "plots" / "latent.png", content)
