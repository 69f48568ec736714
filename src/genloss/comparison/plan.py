"""The locked plan of a comparison: checked as a whole, hashed, and written before the first run."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genloss.comparison.vary import Axis, Choice, added_penalties, combinations, folder_names, parse_vary
from genloss.errors import InputError
from genloss.losses import Loss
from genloss.runs.folder import environment, recipe_text
from genloss.runs.overrides import parse_override
from genloss.runs.own_code import own_module
from genloss.runs.recipes import parse_recipe, read_recipe
from genloss.runs.schema import Recipe
from genloss.runs.specification import DEFAULT_LOSS, LOSS_BASES, PENALTY_BASES, class_of, to_mapping
from genloss.training.storage import write_file

__all__ = ["Cell", "Plan", "Variant", "lock", "locked_facts", "make_plan"]

# The comparison's folder, not the plan, says where runs go, how they are called and with which seeds.
OUTSIDE = ("seed", "name", "runs_dir", "preset")
FACTS = ("parameters", "data", "device", "floor", "floor_samples")  # what was found before the first run
HIGHER_IS_BETTER = ("bound", "modes", "high_quality")


@dataclass(frozen=True, eq=False)
class Variant:
    """One variant of the grid, equal to itself alone.

    Args:
        name: what a reader sees.
        folder: the same, as part of file names.
        overrides: every `key=value` that makes it from the recipe.
        recipe: the checked recipe with all that the overrides and presets set.
        notes: sentences on what overrides and presets changed.
    """

    name: str
    folder: str
    overrides: tuple[str, ...]
    recipe: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One run of a comparison: a variant and a seed."""

    variant: Variant
    seed: int

    @property
    def name(self) -> str:
        """The name of its run, log and result."""
        return f"{self.variant.folder}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """All that decides a comparison's numbers, fixed before the first run.

    Args:
        recipe: name of the recipe.
        varied: keys that the variants vary.
        variants: in the order of the grid.
        seeds: seeds of each variant.
        metric: what is compared, on held-out data.
        higher_is_better: its direction.
        split: the held-out part of the data.
        samples: generated samples of the final measurement, and at most so many real ones.
        versions: of genloss, Python and the packages.
        sources: digests of the files that define losses of the user's own.
        differences: resolved keys that differ between variants besides what was varied: key -> variant -> value.
        notes: sentences on what the plan chose.
    """

    recipe: str
    varied: tuple[str, ...]
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    metric: str
    higher_is_better: bool
    split: str
    samples: int
    versions: dict[str, Any]
    sources: dict[str, str]
    differences: dict[str, dict[str, Any]]
    notes: tuple[str, ...]

    def text(self) -> str:
        """Returns the plan as JSON, the same for the same plan."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @property
    def sha256(self) -> str:
        """The digest of the plan: equal plans, and only they, have equal digests."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    @property
    def folder(self) -> str:
        """The name of the comparison's folder."""
        return f"compare-{self.recipe}-{self.sha256[:8]}"

    @property
    def cells(self) -> list[Cell]:
        """Every run; the first seed of each variant comes first, so that a broken variant shows early."""
        return [Cell(variant, seed) for seed in self.seeds for variant in self.variants]


def make_plan(recipe: str, overrides: Sequence[str], vary: Sequence[str], seeds: int) -> tuple[Plan, Path]:
    """Reads the recipe once for every variant and fixes what will be run and compared.

    Returns:
        The plan, and the folder where the comparison goes.

    Raises:
        InputError: any name or value of any variant is wrong.
    """
    base, _ = read_recipe(recipe, overrides)
    axes = [parse_vary(text) for text in vary]
    grid = combinations(axes)
    folders = folder_names([name for name, _ in grid])
    drafts = [_draft(recipe, overrides, name, choices) for name, choices in grid]
    metric, notes = _metric(drafts, axes)
    variants = tuple(
        _variant(name, folder, draft, None if "evaluation.metric" in [axis.key for axis in axes] else metric)
        for (name, _), folder, draft in zip(grid, folders, drafts, strict=True)
    )
    _refuse_equal(variants)
    additions = any(choice.additions for axis in axes for choice in axis.choices)
    varied = (*(axis.key for axis in axes), *(["penalties"] if additions else []))
    versions = environment()
    plan = Plan(
        recipe=base.name,
        varied=varied,
        variants=variants,
        seeds=tuple(range(base.seed, base.seed + seeds)),
        metric=metric,
        higher_is_better=metric in HIGHER_IS_BETTER,
        split="test",
        samples=base.evaluation.samples,
        versions={key: versions[key] for key in ("genloss", "python", "packages")},
        sources=_sources(variants),
        differences=_differences(variants, varied),
        notes=tuple(notes),
    )
    return plan, Path(base.runs_dir) / plan.folder


Draft = tuple[list[str], Recipe, list[str]]


def _draft(recipe: str, overrides: Sequence[str], name: str, choices: Sequence[Choice]) -> Draft:
    own = [text for text in overrides if parse_override(text)[0] != "runs_dir"]
    changes = [*own, *(choice.override for choice in choices)]
    try:
        checked, notes = read_recipe(recipe, changes)
        if additions := [addition for choice in choices for addition in choice.additions]:
            changes.append(added_penalties(checked.penalties, additions))
            checked, notes = read_recipe(recipe, changes)
        if checked.loss is None:
            checked = checked.model_copy(update={"loss": DEFAULT_LOSS[checked.model.name]})
    except InputError as error:
        raise InputError(f"variant {name!r}: {error}") from error
    return changes, checked, notes


def _metric(drafts: Sequence[Draft], axes: Sequence[Axis]) -> tuple[str, list[str]]:
    """The metric that every variant's recipe names, else mmd2; a training loss never compares variants."""
    named = [checked.evaluation.metric for _, checked, _ in drafts]
    metric = named[0] if named[0] is not None and len(set(named)) == 1 else "mmd2"
    others = sorted({str(name) for name in named if name not in (metric, None)})
    if "evaluation.metric" in (axis.key for axis in axes) or not others:
        return metric, []
    sentence = (
        f"variants name different metrics ({', '.join(others)}): {metric} chooses every checkpoint and is compared."
    )
    return metric, [sentence]


def _variant(name: str, folder: str, draft: Draft, metric: str | None) -> Variant:
    """Locks what every seed of a variant runs: one rule for the best checkpoint, and the threads."""
    changes, checked, notes = draft
    try:
        loss = to_mapping(checked.loss, "loss")
        penalties = [to_mapping(entry, f"penalties[{i}]") for i, entry in enumerate(checked.penalties)]
    except InputError as error:
        raise InputError(f"variant {name!r}: {error}") from error
    update: dict[str, Any] = {"loss": loss, "penalties": penalties, "threads": checked.threads or 1}
    if metric is not None:
        update["evaluation"] = checked.evaluation.model_copy(update={"metric": metric})
    tree = checked.model_copy(update=update).model_dump(mode="json", by_alias=True, exclude_none=True)
    recipe = {key: value for key, value in tree.items() if key not in OUTSIDE}
    return Variant(name, folder, tuple(changes), recipe, tuple(notes))


def _refuse_equal(variants: Sequence[Variant]) -> None:
    seen: dict[str, str] = {}
    for variant in variants:
        other = seen.setdefault(json.dumps(variant.recipe, sort_keys=True), variant.name)
        if other != variant.name:
            raise InputError(f"the variants {other!r} and {variant.name!r} are the same recipe; name one of them.")


def _sources(variants: Sequence[Variant]) -> dict[str, str]:
    """Looks up every loss and penalty, and digests the files of the user's own: other code is another plan."""
    found: dict[str, str] = {}
    for variant in variants:
        model, tree = variant.recipe["model"]["name"], variant.recipe
        wanted: list[tuple[str, Any, tuple[type[Loss], ...]]] = [("loss", tree["loss"], LOSS_BASES[model])]
        wanted += [(f"penalties[{i}]", entry, PENALTY_BASES) for i, entry in enumerate(tree["penalties"])]
        for key, specification, bases in wanted:
            try:
                name = to_mapping(specification, key)["name"]
                cls = class_of(name, bases, key)
            except InputError as error:
                raise InputError(f"variant {variant.name!r}: {error}") from error
            if ":" in name:
                # Where the class lies, and the file that was named: it may hold an instance of a class from elsewhere.
                files = {inspect.getsourcefile(cls), own_module(name.rpartition(":")[0]).__file__}
                texts = [Path(file).read_bytes() for file in sorted(filter(None, files))]
                found[name] = hashlib.sha256(b"".join(texts)).hexdigest()
    return found


def _differences(variants: Sequence[Variant], varied: Sequence[str]) -> dict[str, dict[str, Any]]:
    # `model` names a family: what else differs below it was not asked for
    own = [*varied, "model.name"] if "model" in varied else varied
    # Of two losses all fields differ: one difference. Of one loss, only those that do.
    whole = "loss" if len({variant.recipe["loss"]["name"] for variant in variants}) > 1 else None
    leaves = {variant.name: dict(_leaves(variant.recipe, "", whole)) for variant in variants}
    keys = dict.fromkeys(key for tree in leaves.values() for key in tree)
    return {
        key: {name: tree.get(key) for name, tree in leaves.items()}
        for key in keys
        if not any(key == name or (name != "model" and key.startswith(f"{name}.")) for name in own)
        and len({json.dumps(tree.get(key), sort_keys=True) for tree in leaves.values()}) > 1
    }


def _leaves(node: Mapping[str, Any], prefix: str, whole: str | None) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in node.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and path != whole and value:
            found += _leaves(value, f"{path}.", whole)
        else:
            found.append((path, value))
    return found


def lock(plan: Plan, folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes `plan.json` and one recipe file a variant, from which every cell is run and can be run again."""
    for variant in plan.variants:
        recipe = parse_recipe({**variant.recipe, "name": variant.folder})
        write_file(folder / "recipes" / f"{variant.folder}.yaml", recipe_text(recipe))
    content = {"sha256": plan.sha256, "plan": json.loads(plan.text()), "facts": facts}
    write_file(folder / "plan.json", json.dumps(content, indent=1))


def locked_facts(plan: Plan, folder: Path) -> dict[str, Any] | None:
    """Returns the facts of a plan that is locked already, or None in a new folder.

    Raises:
        InputError: `plan.json` is not this plan any more.
    """
    path = folder / "plan.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
        same = content["sha256"] == plan.sha256 and content["plan"] == json.loads(plan.text())
        facts: dict[str, Any] = {key: content["facts"][key] for key in FACTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error!r}; move the folder away and start again.") from error
    if not same:
        raise InputError(f"{path} was changed after it was locked; undo the change, or move the folder away.")
    return facts
