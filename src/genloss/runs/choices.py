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
    PENALTY_BASES,
    class_of,
    construct,
    made,
    plain,
    to_mapping,
)
from genloss.training.randomness import stream
from genloss.training.schedule import Schedule

__all__ = ["ChosenLoss", "choose_likelihood", "choose_loss", "choose_restraints", "schedule_of"]

OPTIONS: tuple[str, ...] = ("weight", "interval", "player")  # of a penalty in a recipe, beside its own fields
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the typical distance: the bandwidths of an MMD


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
class ChosenLoss:
    """A recipe's loss.

    Args:
        loss: the object; scheduled fields have their first value.
        schedules: how fields change with the turn.
        written: the loss as the resolved recipe holds it, every field written out.
        notes: sentences on what was chosen and why.
    """

    loss: Any
    schedules: dict[str, Schedule]
    written: dict[str, Any]
    notes: tuple[str, ...]


def schedule_of(config: ScheduleConfig, steps: int) -> Schedule:
    """Returns a schedule in turns of a run of so many steps."""

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


def choose_loss(recipe: Recipe, dataset: Dataset) -> ChosenLoss:
    """Makes the recipe's loss.

    Raises:
        InputError: the name is unknown, a field is wrong, or a schedule passes through a value that the loss refuses.
    """
    model = recipe.model
    fields = to_mapping(recipe.loss if recipe.loss is not None else DEFAULT_LOSS[model.name], "loss")
    name = fields.pop("name")
    cls = class_of(name, LOSS_BASES[model.name], "loss")
    scheduled = {key: value for key, value in fields.items() if isinstance(value, dict) and "schedule" in value}
    schedules = {key: _field_schedule(cls, key, value, recipe.train.steps) for key, value in scheduled.items()}
    fill = _FromData(recipe, dataset)
    first = {key: schedule.value(0) for key, schedule in schedules.items()}
    loss = made({"name": name, **fields, **first}, LOSS_BASES[model.name], "loss", fill)
    for key, schedule in schedules.items():
        # The values in between lie between the two ends, so only these need a look.
        construct(cls, {**_fields(loss), key: schedule.end_value}, "loss")
    written = {key: plain(value) for key, value in _fields(loss).items()} | scheduled
    # A file is written with its whole path, so that the run finds it from anywhere, and an instance by its class.
    name = plain(loss)["name"] if ":" in name else name
    return ChosenLoss(loss, schedules, {"name": name, **written}, tuple(fill.notes))


def _fields(loss: Any) -> dict[str, Any]:
    fields = dataclasses.fields(loss) if dataclasses.is_dataclass(loss) else ()
    return {f.name: getattr(loss, f.name) for f in fields}


def _field_schedule(cls: type[Any], key: str, value: dict[str, Any], steps: int) -> Schedule:
    hint = typing.get_type_hints(cls).get(key, float)  # an unknown field is refused with the others
    if float not in (hint, *typing.get_args(hint)):
        raise InputError(f"loss.{key} follows a schedule, but it is no number that can change by the turn; give one.")
    return schedule_of(checked(ScheduleConfig, value, f"loss.{key}"), steps)


def choose_restraints(recipe: Recipe) -> tuple[list[Restraint], list[dict[str, Any]]]:
    """Makes the recipe's penalties and constraints.

    Returns:
        Them, and how the resolved recipe holds them.

    Raises:
        InputError: a name is unknown, or a field, weight, interval or player is wrong.
    """
    restraints: list[Restraint] = []
    written = []
    for position, specification in enumerate(recipe.penalties):
        key = f"penalties[{position}]"
        fields = to_mapping(specification, key)
        options = {option: fields.pop(option) for option in OPTIONS if option in fields}
        of = made(fields, PENALTY_BASES, key)
        restraint = _applied(of, options, key)
        restraints.append(restraint)
        chosen = {option: getattr(restraint, option, None) for option in OPTIONS}
        written.append({**plain(of), **{option: value for option, value in chosen.items() if value is not None}})
    return restraints, written


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
    if isinstance(weight, bool) or not (isinstance(weight, (int, float)) and weight >= 0):
        raise InputError(f"{key}.weight is {weight!r}, expected a number of at least 0.")
    if isinstance(interval, bool) or not (isinstance(interval, int) and interval >= 1):
        raise InputError(f"{key}.interval is {interval!r}, expected a whole number of at least 1.")
    return AppliedPenalty(of, float(weight), interval, player)


def choose_likelihood(recipe: Recipe, dataset: Dataset) -> Likelihood:
    """Makes the density of a vae's decoder: a learned Gaussian, or a Bernoulli for binary data, if left out.

    Raises:
        InputError: the name is unknown, a field is wrong, or the density needs pixels that the data do not have.
    """
    default = {"name": "bernoulli"} if dataset.binarise != "none" else {"name": "gaussian", "variance": "shared"}
    specification = recipe.model.likelihood or default
    likelihood: Likelihood = made(specification, (Likelihood,), "model.likelihood", _FromData(recipe, dataset))
    if likelihood.levels_of_data() is not None and dataset.kind != "image":
        name = to_mapping(specification, "model.likelihood")["name"]
        raise InputError(
            f"model.likelihood={name} needs images, but {dataset.name!r} holds {dataset.kind}; use gaussian or laplace."
        )
    return likelihood
