"""From a recipe to the objects that train: data, networks, loss, optimisers."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from genloss.data import Dataset, known_datasets, load_data
from genloss.errors import InputError, WorkError
from genloss.losses import Loss
from genloss.models import GenerativeModel, Streams
from genloss.models.restraints import Restraint
from genloss.runs.assembly import assemble
from genloss.runs.choices import choose_loss, choose_restraints, schedule_of
from genloss.runs.faults import out_of_memory
from genloss.runs.own_code import is_own, place_of, said
from genloss.runs.schema import PlayerConfig, Recipe, ScheduleConfig
from genloss.training.batches import BatchStream
from genloss.training.loop import Timetable
from genloss.training.randomness import seed_of, spawn, stream
from genloss.training.state import PlayerTraining, TrainingState

__all__ = ["Built", "build", "choose_device", "load"]

_WITH_BETAS = ("adam", "adamw")
_WEIGHT_DECAY = {"adamw": 0.01}  # torch's default
_THREADS = torch.get_num_threads()  # before a recipe changes it


@dataclass(frozen=True)
class Built:
    """A recipe made into objects.

    Args:
        recipe: the resolved recipe: every choice that the recipe left open is written out.
        dataset: the data, on the device.
        state: the model and all that trains it.
        timetable: when the loop does what.
        notes: sentences on what was chosen and why.
    """

    recipe: Recipe
    dataset: Dataset
    state: TrainingState
    timetable: Timetable
    notes: tuple[str, ...]


def choose_device(name: str) -> torch.device:
    """Returns the device of this name; `auto` takes an accelerator when there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()  # the device `meta` makes tensors, but holds none
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device={name!r} cannot be used here: {str(error).splitlines()[0]}; set device=auto."
        ) from error
    return device


def load(recipe: Recipe) -> Dataset:
    """Loads the recipe's data."""
    data = recipe.data
    keys = {key: getattr(data, key) for key in ("size", "crop", "binarise", "limit", "skip_bad")}
    for key in keys.keys() & data.options.keys():
        raise InputError(f"data.options holds {key!r}, which is a key of data; write data.{key}={data.options[key]}.")
    return load_data(_source(recipe), **keys, **data.options)


def _source(recipe: Recipe) -> str:
    if (path := recipe.data.path) is not None:
        # Without a folder in it, it could be the name of a known set.
        return os.path.join(os.curdir, path) if os.path.basename(path) == path else path
    assert recipe.data.name is not None
    return recipe.data.name


def _located(recipe: Recipe) -> Recipe:
    """Makes the path of the data absolute: a run is opened from other folders than the one it was made in."""
    source = _source(recipe)
    if source in known_datasets():
        return recipe
    path = str(Path(source).expanduser().resolve())
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"name": None, "path": path})})


def build(recipe: Recipe, outline: Dataset | None = None) -> Built:
    """Makes data, model, optimisers and timetable; two calls with one recipe make the same ones, bit for bit.

    An outline stands in for the data where only the model is wanted.
    """
    device = choose_device(recipe.device)
    recipe = recipe.model_copy(update={"threads": recipe.threads or (1 if _is_small(recipe) else _THREADS)})
    torch.set_num_threads(cast(int, recipe.threads))
    dataset = load(recipe) if outline is None else outline
    loss, penalties = choose_loss(recipe, dataset), choose_restraints(recipe)
    restraints: list[Restraint] = [penalty.of for penalty in penalties]
    written = {"loss": loss.written, "penalties": [penalty.written for penalty in penalties]}
    recipe = _located(recipe).model_copy(update=written)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(recipe.seed, "init"))
        model, recipe, notes = assemble(recipe, dataset, loss.of, restraints)
    dataset = dataset.to(device)
    model = model.to(device)
    precision, reason = _precision(recipe, model, dataset, device)
    recipe = recipe.model_copy(update={"precision": str(precision).removeprefix("torch.")})
    if any(isinstance(module, nn.Conv2d) for module in model.modules()):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    streams = spawn(recipe.seed, device)
    batches = BatchStream(dataset, recipe.train.batch_size, streams["order"], streams["data"])
    training = {
        player.name: _training(model.module_of(player), recipe.train.player(player.name), recipe.train.steps)
        for player in model.players
    }
    scheduled = [chosen.scheduled for chosen in (loss, *penalties) if chosen.scheduled is not None]
    state = TrainingState(
        model, training, batches, streams, ema=recipe.train.ema, precision=precision, scheduled=scheduled
    )
    if outline is None:
        _try_losses(state, recipe, [loss.of, *(part for restraint in restraints for part in vars(restraint).values())])
    every = recipe.evaluation.every
    every = max(1, recipe.train.steps // 10) if every is None else every
    timetable = Timetable(recipe.train.steps, recipe.train.log_every, every, recipe.train.checkpoint_every)
    notes = [*dataset.notes, *loss.notes, *notes, *_left_out(recipe, model)]
    notes += [f"device {device.type}, {torch.get_num_threads()} threads, {reason}"]
    return Built(recipe, dataset, state, timetable, tuple(notes))


def _is_small(recipe: Recipe) -> bool:
    return bool(recipe.model.network.get("name", "mlp") == "mlp")


def _precision(recipe: Recipe, model: nn.Module, dataset: Dataset, device: torch.device) -> tuple[torch.dtype, str]:
    """Chooses the networks' dtype: bfloat16 for large networks on images, where the processor computes in it."""
    if recipe.precision != "auto":
        dtype = torch.float32 if recipe.precision == "float32" else torch.bfloat16
        return dtype, f"precision {recipe.precision} as the recipe says"
    if not (dataset.kind == "image" and any(_is_large(module, device) for module in model.modules())):
        return torch.float32, "precision float32"
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported()
    else:
        able = device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX512" and _cpu_has_bfloat16()
    if able:
        return (
            torch.bfloat16,
            "precision bfloat16 (a large network, and the processor computes in it); losses float32",
        )
    return torch.float32, "precision float32 (the processor does not compute in bfloat16)"


def _is_large(module: nn.Module, device: torch.device) -> bool:
    """Says whether a layer gains more by bfloat16 than the conversions cost."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        return True
    return isinstance(module, nn.Linear) and device.type == "cpu" and module.weight.numel() >= 1 << 18


def _cpu_has_bfloat16() -> bool:
    """Says whether the processor multiplies in bfloat16, as Linux reports it; emulation would be slower."""
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and "avx512_bf16" in flags.read_text()


def _try_losses(state: TrainingState, recipe: Recipe, losses: Sequence[Any]) -> None:
    """Computes every player's losses once, on a copy, so that what cannot work is said before the first turn."""
    device = next(state.model.parameters()).device
    model = copy.deepcopy(state.model)
    x = state.batches.dataset.batch("train", torch.arange(recipe.train.batch_size), stream(0, "try/data", device)).x
    streams = Streams(stream(0, "try/noise", device), stream(0, "try/penalty", device))
    try:
        with torch.random.fork_rng(devices=[]), state.autocast():
            for player in model.players:
                model.losses(player.name, x, streams, 0).total()  # all penalties are due in turn 0
    except (Exception, SystemExit) as error:
        own = [type(loss) for loss in losses if isinstance(loss, Loss) and is_own(type(loss))]
        place = place_of(error)
        if place is None and own and not out_of_memory(error):
            place = f"{own[0].__name__} in {inspect.getsourcefile(own[0])}, line {inspect.getsourcelines(own[0])[1]}"
        if place is not None:
            what = said(error.__cause__ or error)
            raise InputError(
                f"your own loss cannot be computed: {what} ({place}); mend it there, with `genloss check`."
            ) from error
        if isinstance(error, (TypeError, WorkError)):
            raise InputError(f"the losses of this recipe cannot be computed: {error.__cause__ or error}") from error
        raise


def _training(module: nn.Module, config: PlayerConfig, steps: int) -> PlayerTraining:
    rate = config.learning_rate if config.learning_rate is not None else 1e-3
    schedule = schedule_of(rate, steps) if isinstance(rate, ScheduleConfig) else None
    value = schedule.value(0) if schedule is not None else float(rate)  # type: ignore[arg-type]
    parameters = list(module.parameters())
    if config.momentum and config.optimizer in (None, *_WITH_BETAS):
        raise InputError(
            f"train.momentum is {config.momentum}, but {config.optimizer or 'adam'} has none: it has betas; leave "
            "momentum out, or set train.optimizer to sgd or rmsprop."
        )
    decay = config.weight_decay if config.weight_decay is not None else _WEIGHT_DECAY.get(config.optimizer or "", 0.0)
    betas = config.betas or (0.9, 0.999)
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "adam": lambda: torch.optim.Adam(parameters, value, betas, weight_decay=decay, fused=True),
        "adamw": lambda: torch.optim.AdamW(parameters, value, betas, weight_decay=decay, fused=True),
        "sgd": lambda: torch.optim.SGD(parameters, value, config.momentum or 0.0, weight_decay=decay, fused=True),
        "rmsprop": lambda: torch.optim.RMSprop(parameters, value, momentum=config.momentum or 0.0, weight_decay=decay),
    }
    return PlayerTraining(makers[config.optimizer or "adam"](), schedule, config.clip_norm)


def _left_out(recipe: Recipe, model: GenerativeModel) -> list[str]:
    """Says which players' betas, of a recipe for another optimiser, have no effect."""
    configs = [(player.name, recipe.train.player(player.name)) for player in model.players]
    return [
        f"{config.optimizer} has no betas: those of the {name} are left out"
        for name, config in configs
        if config.betas is not None and config.optimizer not in (None, *_WITH_BETAS)
    ]
