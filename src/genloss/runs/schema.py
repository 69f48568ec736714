"""The one schema of a recipe: everything that a run needs, checked before anything is done."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from genloss.data.toys import TOYS
from genloss.errors import InputError, folded, likeness, shared, suggested
from genloss.networks import architectures

__all__ = [
    "AutoencoderCriticConfig",
    "CodebookConfig",
    "DataConfig",
    "EvaluationConfig",
    "ModelConfig",
    "PlayerConfig",
    "Recipe",
    "ScheduleConfig",
    "TrainConfig",
    "checked",
    "players_of",
]


class Strict(BaseModel):
    """A section of a recipe: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, strict=False, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind is not Any and bool not in (kind, *get_args(kind)):
            raise PydanticCustomError("truth", "expected a value that is neither true nor false")
        return value


class ScheduleConfig(Strict):
    """A number that changes with the turn. Whole numbers are turns, fractions shares of `train.steps`."""

    schedule: Literal["linear", "cosine", "cyclical"]
    start_value: float = Field(alias="from", description="value up to the turn `start`")
    end_value: float = Field(alias="to", description="value from `start + turns` on")
    start: int | float = Field(
        0, ge=0, description="turn (whole number) or share of the run (fraction) of the beginning"
    )
    turns: int | float | None = Field(None, gt=0, description="its length, likewise; to the end of the run if left out")


PositiveNumber = Annotated[float, Field(gt=0)]


class RateConfig(ScheduleConfig):
    """A learning rate that changes with the turn."""

    start_value: float = Field(alias="from", ge=0, description="value up to the turn `start`")
    end_value: float = Field(alias="to", ge=0, description="value from `start + turns` on")


class PlayerConfig(Strict):
    """How players are optimised; the section of one player overrides `train`."""

    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] | None = None
    learning_rate: PositiveNumber | RateConfig | None = None
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] | None = None
    momentum: float | None = Field(None, ge=0, lt=1, description="of sgd and rmsprop")
    weight_decay: float | None = Field(None, ge=0)
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the player's gradient")
    updates: int | None = Field(None, ge=1, description="updates a turn")


class TrainConfig(PlayerConfig):
    """The training: budget, batch, optimisers."""

    steps: int = Field(1000, ge=1, description="turns: each player makes its updates once in a turn")
    batch_size: int = Field(64, ge=1)
    ema: float | None = Field(None, gt=0, lt=1, description="decay of the average of the sampling networks' weights")
    log_every: int = Field(50, ge=1, description="turns between two lines of statistics")
    checkpoint_every: int = Field(
        0, ge=0, description="turns between two checkpoints; 0: only at every evaluation and the end"
    )
    generator: PlayerConfig = PlayerConfig()
    discriminator: PlayerConfig = PlayerConfig()
    autoencoder: PlayerConfig = PlayerConfig()

    def player(self, name: str) -> PlayerConfig:
        """Returns the settings of one player, its own before the common ones."""
        own: PlayerConfig = getattr(self, name)
        fields = {key: getattr(self, key) for key in PlayerConfig.model_fields}
        fields |= {key: value for key in PlayerConfig.model_fields if (value := getattr(own, key)) is not None}
        return PlayerConfig.model_construct(**fields)


class DataConfig(Strict):
    """Which data, and how they are prepared."""

    name: str | None = Field(None, description="a known data set (`genloss data` lists them)")
    path: str | None = Field(None, description="your own: a folder of images, a CSV, NPZ or NPY file")
    size: int | None = Field(None, ge=4, description="side to which images are resized")
    crop: bool = Field(False, description="crop the centre to a square before resizing")
    binarise: Literal["none", "stochastic", "threshold"] = "none"
    limit: int | None = Field(None, ge=10, description="take at most so many training samples")
    skip_bad: bool = Field(False, description="skip and count unreadable images instead of stopping")
    options: dict[str, Any] = Field(default_factory=dict, description="of a toy: means, scales, weights")

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if (self.name is None) == (self.path is None):
            raise ValueError(
                "give either data.name (a known set) or data.path (your own data), not both and not neither"
            )
        return self


class UnrolledConfig(Strict):
    """How far ahead the generator of a gan looks at its critic."""

    steps: int = Field(5, ge=1, description="gradient steps of the critic")
    rate: PositiveNumber = Field(0.1, description="learning rate of these plain gradient steps")


class CodebookConfig(Strict):
    """The codes of a vae with loss=vector_quantised."""

    codes: int = Field(64, ge=2, description="number of codes")
    dim: int = Field(2, ge=1, description="dimensions of a code; model.noise_dim is a multiple of it")


class AutoencoderCriticConfig(Strict):
    """A critic that scores by its reconstruction error."""

    name: Literal["autoencoder"] = "autoencoder"
    codes: int | None = Field(None, ge=1, description="units of its code; model.noise_dim if left out")
    power: Literal[1, 2] = Field(2, description="1: absolute error, 2: squared error")
    network: dict[str, Any] | None = Field(None, description="architecture of both halves; model.network if left out")


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Named = Annotated[dict[str, Any], BeforeValidator(_named)]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, dict) or (isinstance(value, str) and "," not in value) else value


class ModelConfig(Strict):
    """Networks and who minimises what."""

    name: Literal["gan", "vae", "mmd"]
    network: Named = Field(default_factory=lambda: {"name": "mlp"}, description="architecture and its options")
    critic: Named | None = Field(
        None, description="architecture of the critic or encoder, if another one; of a gan also {name: autoencoder}"
    )
    packing: int | None = Field(None, ge=2, description="of a gan: samples that the critic sees at once")
    unrolled: UnrolledConfig | None = Field(None, description="of a gan: {steps: 5, rate: 0.1}")
    reuse_fakes: bool | None = Field(
        None, description="of a gan: the generator moves on the fakes of the critic's last update"
    )
    codebook: CodebookConfig | None = Field(
        None, description="of a vae with loss=vector_quantised: {codes: 64, dim: 2}"
    )
    prior: Literal["normal", "uniform", "exponential"] = "normal"
    noise_dim: int = Field(64, ge=1, description="dimensions of the latent")
    likelihood: Any = Field(None, description="decoder density of a vae")
    encoder: Named | None = Field(None, description="of a vae: {name: two_layer, width: 512}")
    codes: int | None = Field(None, ge=1, description="of mmd: match the codes of an autoencoder with so many units")
    codes_steps: int | float = Field(
        0.5, gt=0, description="turns or share of the run in which that autoencoder trains"
    )

    @model_validator(mode="after")
    def _only_own_keys(self) -> ModelConfig:
        owners = dict.fromkeys(("likelihood", "encoder", "codebook"), "vae") | {"codes": "mmd"}
        for key, owner in (owners | {"packing": "gan", "unrolled": "gan", "reuse_fakes": "gan"}).items():
            if getattr(self, key) is not None and self.name != owner:
                raise ValueError(
                    f"model.{key} belongs to model.name={owner}, but model.name is {self.name}; leave it out"
                )
        return self


class EvaluationConfig(Strict):
    """How the run is measured and which checkpoint is the best."""

    every: int | None = Field(
        None, ge=0, description="turns between two evaluations; 0: only at the end; by default ten in all"
    )
    samples: int = Field(2000, ge=10, description="generated and real samples of an evaluation in training")
    features: Literal["pixels", "classifier"] = "pixels"
    metric: str | None = Field(
        None, description="selects `best`, on the select split; mmd2, or bound for a vae, if left out"
    )
    grid: int = Field(64, ge=1, description="pictures in the sample grids")


def _as_folder(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise PydanticCustomError(
            "name",
            "expected letters, digits, _, . and -, a letter or digit first; give one, such as name=my_run "
            "(a recipe without a name is called like its file)",
        )
    return name


class Recipe(Strict):
    """Everything a run needs."""

    name: Annotated[str, AfterValidator(_as_folder)] = Field("run", description="names the run's folder")
    seed: int = Field(0, ge=0, description="spawns every random stream")
    runs_dir: str = Field("runs", description="where run folders go")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the networks; losses keep float32"
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads; 1 for perceptrons and all for convolutions if left out"
    )
    preset: Literal["paper"] | None = Field(None, description="optimiser, schedule and constraint of the loss's paper")
    data: DataConfig
    model: ModelConfig
    loss: Any = Field(
        None, description="name, {name: ..., field: ...} or package.module:Class; a number may be a schedule"
    )
    penalties: Annotated[list[Any], BeforeValidator(_listed)] = Field(
        default_factory=list, description="likewise, with `weight`, `interval` and `player`"
    )
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _players_exist(self) -> Recipe:
        own = players_of(self.model)
        for name in ("generator", "discriminator", "autoencoder"):
            if name not in own and getattr(self.train, name) != PlayerConfig():
                raise ValueError(
                    f"train.{name} belongs to another model: the players of {self.model.name} are {', '.join(own)}"
                )
        packing = self.model.packing or 1
        if self.train.batch_size % packing:
            raise ValueError(
                f"train.batch_size is {self.train.batch_size}, which packs of model.packing={packing} do not divide; "
                f"set it to {max(1, self.train.batch_size // packing) * packing}"
            )
        return self


def players_of(model: ModelConfig) -> tuple[str, ...]:
    """Returns the names of the players that a model of this configuration will have."""
    if model.name == "gan":
        return ("discriminator", "generator")
    if model.name == "vae":
        return ("autoencoder",)
    return ("autoencoder", "generator") if model.codes is not None else ("generator",)


S = TypeVar("S", bound=BaseModel)


def checked(model: type[S], tree: Any, prefix: str = "") -> S:
    """Checks raw values against a section of the schema.

    Raises:
        InputError: one sentence on the first fault, which names the key as a person writes it.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise InputError(_sentence(model, error, prefix)) from error


def _sentence(model: type[BaseModel], error: ValidationError, prefix: str) -> str:
    # Of the forms that a value may have, the one it fits best fails deepest.
    first = min(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", -len(e["loc"])))
    unknown = [str(first["loc"][-1])] if first["type"] == "extra_forbidden" else []  # as a person wrote it
    parts = [str(part) for part in (first["loc"][:-1] if unknown else first["loc"])]
    path = [part for part in parts if not part[:1].isupper() and part not in _UNION_TAGS] + unknown
    key = ".".join([prefix, *path] if prefix else path) or "the recipe"
    if first["type"] == "extra_forbidden":
        return f"{key} is not a key of a recipe.{_key_meant(model, path, prefix)}"
    if first["type"] == "missing" and isinstance(first["loc"][-1], int):
        return f"{key.rpartition('.')[0]} is {first['input']!r}, which is too short: it lacks another value."
    if first["type"] == "missing":
        return f"{key} is missing; a recipe needs it."
    if first["type"] in ("list_type", "tuple_type"):
        values = str(first["input"] or "").strip("() ") or "..."
        more = ", ..." if first["type"] == "tuple_type" and "," not in values else ""
        return f"{key} is {first['input']!r}, expected a list in brackets; write {key}=[{values}{more}]."
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{message}." if first["type"] == "value_error" else f"{key} is {first['input']!r}: {message}."


_UNION_TAGS = ("float", "int", "constrained-float", "function-after[]")


_NEAR = 0.7  # likeness from which a key may be meant
_BESIDE = 0.2  # so much more like counts a key of the section that was named


def _key_meant(model: type[BaseModel], path: Sequence[str], prefix: str) -> str:
    """Says which keys may be meant by an unknown one: of its name or initials, wherever they stand, or of a like name.

    Where there is none, it lists those of the section.
    """
    known = [*_keys(model), *(_free_keys() if model is Recipe else ())]
    above = list(path[:-1])

    def rank(key: str) -> tuple[float, int, int]:
        *section, name = key.split(".")
        initials = "".join(word[0] for word in name.split("_"))
        same = folded(path[-1]) in (folded(name), folded(key)) or (len(initials) > 1 and path[-1] == initials)
        like = 2.0 if same else likeness(path[-1], name) + _BESIDE * (section == above)
        return like, shared(section, above), -len(section)

    ranks = {key: rank(key) for key in known}
    best = max(ranks.values())
    if best[0] >= _NEAR:
        said = suggested({f"{prefix}.{key}" if prefix else key for key in known if ranks[key] == best})
    else:
        beside = {key.split(".")[-1] for key in _keys(model) if key.split(".")[:-1] == above}
        said = f" Known: {', '.join(sorted(beside))}." if beside else ""
    options = model is Recipe and above == ["data"] and "data.options" not in said
    return f"{said} What belongs to one toy stands below data.options, such as data.options.count." if options else said


def _keys(model: type[BaseModel]) -> Iterator[str]:
    """Returns the dotted keys of a section and of those below it."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield key
        for kind in (field.annotation, *get_args(field.annotation)):
            if inspect.isclass(kind) and issubclass(kind, BaseModel):
                yield from (f"{key}.{below}" for below in _keys(kind))


def _free_keys() -> Iterator[str]:
    """Returns the keys that the schema leaves to networks and toys."""
    for section, classes in (("model.network", architectures()), ("data.options", TOYS)):
        for cls in classes.values():
            yield from (f"{section}.{field.name}" for field in fields(cls))  # type: ignore[arg-type]
