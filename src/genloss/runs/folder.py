"""The folder of a run: made whole, never overwritten, opened only when it is one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

import genloss
from genloss.data import Dataset
from genloss.errors import InputError, WorkError
from genloss.runs.fingerprint import data_changes, fingerprint, outline
from genloss.runs.recipes import parse_recipe
from genloss.runs.schema import Recipe
from genloss.training.checkpoint import has_checkpoint
from genloss.training.storage import write_file, write_folder

__all__ = ["RunFolder", "environment", "recipe_text"]

FORMAT = 1


def environment() -> dict[str, Any]:
    """Returns the versions and the machine that a number depends on."""
    packages = ("torch", "numpy", "safetensors", "scikit-learn", "scipy", "pillow")
    return {
        "genloss": genloss.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: metadata.version(name) for name in packages},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE)
        if found:
            return found.group(1)
    return platform.processor()


def recipe_text(recipe: Recipe) -> str:
    """Returns a recipe as YAML that reproduces the run."""
    content = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


class RunFolder:
    """A run's folder, `<runs_dir>/<recipe>-<n>`.

    Args:
        path: the folder; `create` makes a new one and `open` checks one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"

    @classmethod
    def create(cls, recipe: Recipe, dataset: Dataset, code: Mapping[str, str]) -> RunFolder:
        """Makes the next free folder of the recipe's name; it appears with its recipe and environment or not at all.

        The environment holds a fingerprint of the data and `code`, the digests of files of the user's own.
        """
        parent = Path(recipe.runs_dir)
        if parent.exists() and not parent.is_dir():
            raise InputError(f"runs_dir={recipe.runs_dir!r} is a file, expected a folder; name another one.")
        text = recipe_text(recipe)
        marks = {"format": FORMAT, "recipe_sha256": _digest(text), "data": fingerprint(dataset), "code": dict(code)}
        marks |= {"command": sys.argv[1:], **environment()}
        files = {"recipe.yaml": text.encode(), "environment.json": json.dumps(marks, indent=2).encode()}
        number = 1
        while True:
            path = parent / f"{recipe.name}-{number}"
            if not path.exists():
                try:
                    return cls(write_folder(path, files.items()))
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another process took the number
                        raise
            number += 1

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Opens an existing run.

        Raises:
            InputError: when the folder is missing, is not a run, or was made in another format.
        """
        path = Path(path)
        if not path.exists():
            raise InputError(f"there is no run {str(path)!r}; `genloss train RECIPE` makes one and says where.")
        if not (path / "recipe.yaml").is_file() or not (path / "environment.json").is_file():
            raise InputError(f"{str(path)!r} is not a run: it has no recipe.yaml and environment.json.")
        folder = cls(path)
        if folder.environment.get("format") != FORMAT:
            raise InputError(
                f"{str(path)!r} was made by genloss {folder.environment.get('genloss')} in run format "
                f"{folder.environment.get('format')}, this is {genloss.__version__} with format {FORMAT}; use that one."
            )
        return folder

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps other processes from training the run meanwhile; the system lifts this when the process dies.

        Raises:
            InputError: another process trains it.
            WorkError: the folder cannot be written to.
        """
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{str(self.path)!r} is being trained by another process; wait until it has ended, or stop that one."
            ) from None
        except OSError as error:
            raise WorkError(f"cannot write to {self.path}: {error}; nothing was lost.") from error
        try:
            yield
        finally:
            lock.release()

    @property
    def environment(self) -> dict[str, Any]:
        """What `environment.json` holds."""
        try:
            content = json.loads((self.path / "environment.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path / 'environment.json'} cannot be read: {error}.") from error
        return content if isinstance(content, dict) else {}

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe, as it was when the run began.

        Raises:
            InputError: it cannot be read, or was changed since.
        """
        try:
            text = (self.path / "recipe.yaml").read_text("utf-8")
            tree = yaml.safe_load(text)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"{self.path / 'recipe.yaml'} cannot be read: {error}.") from error
        if _digest(text) != self.environment.get("recipe_sha256"):
            raise InputError(
                f"{self.path / 'recipe.yaml'} was changed since the run began, and its checkpoints are no longer those "
                f"of the recipe; undo the change, or start a new run with `genloss train {self.path / 'recipe.yaml'}`."
            )
        if not isinstance(tree, dict):
            raise InputError(f"{self.path / 'recipe.yaml'} does not hold a recipe.")
        return parse_recipe(tree)

    def saved(self) -> list[str]:
        """Returns the names of the checkpoints that there are, of `best` and `last`."""
        return [name for name in ("best", "last") if has_checkpoint(self.checkpoints, name)]

    def check_resumable(self) -> None:
        """Raises InputError unless the run was made by this version, and so can go on exactly."""
        made = self.environment.get("genloss")
        if made != genloss.__version__:
            raise InputError(
                f"{str(self.path)!r} was made by genloss {made}, this is {genloss.__version__}: "
                f"it would not continue exactly; install genloss=={made} to resume it."
            )

    def outline(self) -> Dataset | None:
        """Returns what stands in for the data where only the model is wanted; None where the data are needed."""
        return outline(self.environment.get("data") or {})

    def check_data(self, dataset: Dataset) -> None:
        """Raises InputError when the data are not those that the run began with; an early run did not keep that."""
        before = self.environment.get("data")
        changes = data_changes(before, dataset) if before is not None else None
        if changes is not None:
            raise InputError(
                f"the data {dataset.name!r} were changed since the run {str(self.path)!r} began: {changes}; "
                f"put the earlier data back, or start a new run with `genloss train {self.path / 'recipe.yaml'}`."
            )

    def check_code(self, code: Mapping[str, str]) -> None:
        """Raises InputError when files of the user's own, by their digests, are not those that the run began with."""
        before = self.environment.get("code", code)
        if changed := [path for path in sorted({*before, *code}) if before.get(path) != code.get(path)]:
            raise InputError(
                f"{', '.join(changed)} changed since the run {str(self.path)!r} began, so it would not go on exactly; "
                f"undo the change, or start a new run with `genloss train {self.path / 'recipe.yaml'}`."
            )

    def events(self) -> Iterator[dict[str, Any]]:
        """Yields the whole lines of `metrics.jsonl`; what a crash left of a last line is passed over.

        Raises:
            InputError: another line is no event.
        """
        if not self.metrics.is_file():
            return
        with self.metrics.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                try:
                    event = json.loads(line)
                except ValueError:
                    event = None
                if isinstance(event, dict) and "event" in event and "turn" in event:
                    yield event
                elif line.endswith("\n"):
                    raise InputError(
                        f"line {number} of {self.metrics} is damaged: {line[:60].rstrip()!r} is no event; mend it or "
                        f"take it out. Nothing was changed."
                    )

    def status(self) -> str:
        """Returns `finished`, `diverged`, `interrupted`, or `unfinished` for a run that was cut off."""
        last = None
        for event in self.events():
            last = event
        return str(last["status"]) if last is not None and last["event"] == "finished" else "unfinished"

    def rewind(self, turn: int) -> None:
        """Forgets the lines of `metrics.jsonl` after a turn, and the end of an earlier attempt."""
        kept = [event for event in self.events() if event["turn"] <= turn and event["event"] != "finished"]
        write_file(self.metrics, "".join(json.dumps(event) + "\n" for event in kept))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
