"""From a recipe's names to losses, penalties and likelihoods, with the fields that the data decide filled in."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any

from genloss.data import Dataset
from genloss.errors import InputError
from genloss.losses import MMD, Constraint, Likelihood, median_bandwidth
from genloss.models.restraints import AppliedConstraint, AppliedPenalty, Restraint
from genloss.runs.schema import Recipe, ScheduleConfig, checked
from genloss.runs.specification import (
    DEFAULT_LOSS,
    LOSS_BASES,
    OPTIONS,
    PENALTY_BASES,
    made,
    plain,
    to_mapping,
)
from genloss.training.randomness import stream
from genloss.training.schedule import Schedule, Scheduled

__all__ = ["Chosen", "choose_likelihood", "choose_loss", "choose_restraints", "schedule_of"]

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the typical distance: the bandwidths of an MMD
TRIED = 10_000  # turns at which a scheduled object is made before the run: a tenth of a second at most


@dataclass(frozen=True)
class _FromData:
    """Fills in the fields of a loss that the data decide where the recipe leaves them out.

    Args:
        recipe: what was asked for.
        dataset: the data.
        notes: receives a sentence on each choice.
    """

    recipe: Recipe
    dataset: Dataset
    notes: list[str] = field(default_factory=list)

    def __call__(self, cls: type[Any], given: dict[str, Any]) -> dict[str, Any]:
        """Returns the fields that the data decide, those given left out."""
        names = {f.name for f in dataclasses.fields(cls)} - given.keys()
        filled: dict[str, Any] = {}
        if "dataset_size" in names:
            filled["dataset_size"] = len(self.dataset.splits["train"])
            self.notes.append(f"dataset_size {filled['dataset_size']}, the training samples")
        if issubclass(cls, MMD) and "bandwidths" in names:
            centre, what = self._distance()
            filled["bandwidths"] = tuple(centre * factor for factor in FACTORS)
            self.notes.append(f"MMD bandwidths 1/4 to 4 times {what}, {centre:.4g}")
        if issubclass(cls, Likelihood) and self.dataset.value_range is not None:
            low, high = self.dataset.value_range
            grid = {"low": low, "high": high, "levels": 256 if self.dataset.binarise == "none" else 2}
            filled |= {name: value for name, value in grid.items() if name in names}
        return filled

    def _distance(self) -> tuple[float, str]:
        """Returns the typical distance between two of the samples that an MMD would compare, and what it is."""
        model = self.recipe.model
        if model.name == "vae":
            return (2.0 * model.noise_dim) ** 0.5, "the root mean square distance of two latents of a normal prior"
        if model.codes is not None:
            return (model.codes / 6.0) ** 0.5, "the root mean square distance of codes uniform in the unit cube"
        real = self.dataset.all("train", limit=2000, rng=stream(0, "bandwidths")).x
        try:
            return float(median_bandwidth(real)), "the data's median distance"
        except ValueError as error:
            raise InputError(
                f"the data give the MMD no bandwidths: {str(error).rstrip('.')}; give other data, or the bandwidths "
                "themselves: loss={name: mmd, bandwidths: [0.5, 1, 2]}."
            ) from error


@dataclass(frozen=True)
class Chosen:
    """A loss, penalty or constraint of a recipe.

    Args:
        of: the object; scheduled fields have their first value.
        scheduled: how it changes with the turn, or None.
        written: as the resolved recipe holds it, every field written out.
        notes: sentences on what was chosen and why.
    """

    of: Any
    scheduled: Scheduled | None
    written: dict[str, Any]
    notes: tuple[str, ...] = ()


def schedule_of(config: ScheduleConfig, steps: int, key: str = "the learning rate") -> Schedule:
    """Returns a schedule in turns of a run of so many steps.

    Raises:
        InputError: it would begin after the run's last turn.
    """
    if config.start >= (1 if isinstance(config.start, float) and config.start <= 1 else steps):
        raise InputError(
            f"{key} would change from start={config.start} on, but the run ends after train.steps={steps} turns, so it "
            f"would stay at {config.start_value:g}; lower start, or give a share of the run, such as start: 0.5."
        )

    def turns(value: float) -> int:
        return round(value * steps) if isinstance(value, float) and value <= 1 else round(value)

    start = turns(config.start)
    return Schedule(
        schedule=config.schedule,
        start_value=config.start_value,
        end_value=config.end_value,
        start=start,
        turns=max(1, steps - start if config.turns is None else turns(config.turns)),
    )


def choose_loss(recipe: Recipe, dataset: Dataset) -> Chosen:
    """Makes the recipe's loss.

    Raises:
        InputError: the name is unknown, a field is wrong, or schedules pass through values that the loss refuses.
    """
    model, steps = recipe.model, recipe.train.steps
    fields = to_mapping(recipe.loss if recipe.loss is not None else DEFAULT_LOSS[model.name], "loss")
    fill = _FromData(recipe, dataset)
    loss = made(_first(fields, "loss"), LOSS_BASES[model.name], "loss", fill)
    scheduled = _tried("loss", loss, _changes(loss, fields, "loss", steps), steps)
    written = _written(plain(loss), fields)
    if ":" not in fields["name"]:
        # A file is written with its whole path, so that the run finds it from anywhere, and an instance by its class.
        written["name"] = fields["name"]
    return Chosen(loss, scheduled, written, tuple(fill.notes))


def choose_restraints(recipe: Recipe) -> list[Chosen]:
    """Makes the recipe's penalties and constraints.

    Raises:
        InputError: a name is unknown, a field, weight, interval or player is wrong, or schedules pass through values
            that are refused.
    """
    return [_restraint(entry, f"penalties[{i}]", recipe.train.steps) for i, entry in enumerate(recipe.penalties)]


def _restraint(specification: Any, key: str, steps: int) -> Chosen:
    fields = to_mapping(specification, key)
    options = {option: fields.pop(option) for option in OPTIONS if option in fields}
    of = made(_first(fields, key), PENALTY_BASES, key)
    restraint = _applied(of, _first(options, key), key)
    changes = _changes(restraint, options, key, steps)
    if inner := _changes(of, fields, key, steps):
        changes["constraint" if isinstance(of, Constraint) else "penalty"] = Scheduled(key, of, inner)
    chosen = {option: getattr(restraint, option, None) for option in OPTIONS}
    written = {**plain(of), **{option: value for option, value in chosen.items() if value is not None}}
    return Chosen(restraint, _tried(key, restraint, changes, steps), _written(written, {**fields, **options}))


def _applied(of: Any, options: dict[str, Any], key: str) -> Restraint:
    player = options.get("player")
    if not (player is None or isinstance(player, str)):
        raise InputError(f"{key}.player is {player!r}, expected the name of a player, such as generator.")
    if isinstance(of, Constraint):
        if left := sorted(options.keys() - {"player"}):
            raise InputError(f"{key}.{left[0]} was given, but a constraint holds always and fully; leave it out.")
        return AppliedConstraint(of, player)
    card = getattr(of, "card", None)  # one of a person's own need not have a card
    weight, interval = options.get("weight", 1.0 if card is None else card.weight), options.get("interval", 1)
    try:
        return AppliedPenalty(of, float(weight) if type(weight) is int else weight, interval, player)
    except ValueError as error:
        raise InputError(f"{key}.{error}") from error


def _is_schedule(value: Any) -> bool:
    return isinstance(value, dict) and "schedule" in value and "name" not in value


def _is_part(value: Any) -> bool:
    """Says whether a field holds another loss, written as a mapping."""
    return isinstance(value, dict) and "name" in value


def _first(fields: dict[str, Any], key: str) -> dict[str, Any]:
    """Returns a specification as it is in the first turn: each schedule's start in its place."""
    first = dict(fields)
    for name, value in fields.items():
        if _is_schedule(value):
            first[name] = checked(ScheduleConfig, value, f"{key}.{name}").start_value
        elif _is_part(value):
            first[name] = _first(value, f"{key}.{name}")
    return first


def _changes(of: Any, fields: dict[str, Any], key: str, steps: int) -> dict[str, Schedule | Scheduled]:
    """Returns how the fields of an object change with the turn, and those of the losses that it holds."""
    changes: dict[str, Schedule | Scheduled] = {}
    for name, value in fields.items():
        place = f"{key}.{name}"
        if _is_schedule(value):
            hint = typing.get_type_hints(type(of))[name]
            if float not in (hint, *typing.get_args(hint)):
                raise InputError(f"{place} follows a schedule, but only real numbers can; give it one value.")
            changes[name] = schedule_of(checked(ScheduleConfig, value, place), steps, place)
        elif _is_part(value) and (inner := _changes(getattr(of, name), value, place, steps)):
            changes[name] = Scheduled(place, getattr(of, name), inner)
    return changes


def _written(tree: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Returns what `plain` wrote of an object with its schedules in their places."""
    schedules = {name: value for name, value in fields.items() if _is_schedule(value)}
    parts = {name: _written(tree[name], value) for name, value in fields.items() if _is_part(value)}
    return tree | schedules | parts


def _tried(key: str, of: Any, changes: dict[str, Schedule | Scheduled], steps: int) -> Scheduled | None:
    """Makes an object at the turns of a run, many where it changes, so that a value it refuses is said before."""
    if not changes:
        return None
    scheduled = Scheduled(key, of, changes)
    ramps = [range(s.start, min(s.start + s.turns + 1, steps)) for s in scheduled.schedules()]
    turns = {turn for some in (range(steps), *ramps) for turn in (*some[:: len(some) // TRIED + 1], *some[-1:])}
    try:
        for turn in sorted(turns):
            scheduled.value(turn)
    except ValueError as error:
        raise InputError(str(error)) from error
    return scheduled


def choose_likelihood(recipe: Recipe, dataset: Dataset) -> Likelihood:
    """Makes the density of a vae's decoder: a learned Gaussian, or a Bernoulli for binary data, if left out.

    Raises:
        InputError: the name is unknown, a field is wrong or follows a schedule, or the density needs pixels that the
            data do not have.
    """
    default = {"name": "bernoulli"} if dataset.binarise != "none" else {"name": "gaussian", "variance": "shared"}
    fields = to_mapping(recipe.model.likelihood or default, "model.likelihood")
    for name, value in fields.items():
        if _is_schedule(value):
            raise InputError(
                f"model.likelihood.{name} follows a schedule, but a decoder's density stays the same for the whole "
                "run, or its bounds would not compare; give it one value."
            )
    likelihood: Likelihood = made(fields, (Likelihood,), "model.likelihood", _FromData(recipe, dataset))
    if likelihood.levels_of_data() is not None and dataset.kind != "image":
        raise InputError(
            f"model.likelihood={fields['name']} needs images, but {dataset.name!r} holds {dataset.kind}; use gaussian "
            "or laplace."
        )
    return likelihood
