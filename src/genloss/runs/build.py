"""From a recipe to the objects that train: data, networks, loss, optimisers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genloss.data import Dataset, load_data
from genloss.errors import InputError, did_you_mean
from genloss.losses import (
    MMD,
    AdversarialLoss,
    Constraint,
    Likelihood,
    Penalty,
    median_bandwidth,
)
from genloss.models import GAN, VAE, AppliedPenalty, GenerativeModel, MomentMatching, Prior
from genloss.models.matching import Autoencoder
from genloss.networks import MLP, Architecture, GaussianInference, TwoLayerInference, architectures
from genloss.runs.schema import PlayerConfig, Recipe, ScheduleConfig, checked
from genloss.runs.specification import DEFAULT_LOSS, LOSS_BASE, class_of, construct, to_mapping
from genloss.training.batches import BatchStream
from genloss.training.loop import Timetable
from genloss.training.randomness import seed_of, spawn, stream
from genloss.training.schedule import Schedule
from genloss.training.state import PlayerTraining, TrainingState

__all__ = ["Built", "build", "choose_device", "load"]


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
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device={name!r} cannot be used here: {str(error).splitlines()[0]}; set device=auto."
        ) from error
    return device


def load(recipe: Recipe) -> Dataset:
    """Loads the recipe's data."""
    data = recipe.data
    source = data.path if data.path is not None else data.name
    assert source is not None
    return load_data(
        source,
        size=data.size,
        crop=data.crop,
        binarise=data.binarise,
        limit=data.limit,
        skip_bad=data.skip_bad,
        **data.options,
    )


def build(recipe: Recipe) -> Built:
    """Makes data, model, optimisers and timetable; two calls with one recipe make the same ones, bit for bit."""
    device = choose_device(recipe.device)
    torch.set_num_threads(recipe.threads or (1 if _is_small(recipe) else torch.get_num_threads()))
    dataset = load(recipe)
    recipe, loss, schedules, notes = _loss(recipe, dataset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(recipe.seed, "init"))
        model, recipe = _model(recipe, dataset, loss)
    dataset = dataset.to(device)
    model = model.to(device)
    precision, reason = _precision(recipe, model, device)
    if any(isinstance(module, nn.Conv2d) for module in model.modules()):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    streams = spawn(recipe.seed, device)
    batches = BatchStream(dataset, recipe.train.batch_size, streams["order"], streams["data"])
    training = {
        player.name: _training(model.module_of(player), recipe.train.player(player.name), recipe.train.steps)
        for player in model.players
    }
    state = TrainingState(
        model, training, batches, streams, ema=recipe.train.ema, precision=precision, loss_schedules=schedules
    )
    every = recipe.evaluation.every or max(1, recipe.train.steps // 10)
    timetable = Timetable(recipe.train.steps, recipe.train.log_every, every, recipe.train.checkpoint_every)
    notes += [f"device {device.type}, {torch.get_num_threads()} threads, {reason}"]
    return Built(recipe, dataset, state, timetable, (*dataset.notes, *notes))


def _is_small(recipe: Recipe) -> bool:
    return bool(recipe.model.network.get("name", "mlp") == "mlp")


def _precision(recipe: Recipe, model: nn.Module, device: torch.device) -> tuple[torch.dtype, str]:
    """Chooses the networks' dtype: bfloat16 for convolutions where the processor computes in it."""
    if recipe.precision != "auto":
        dtype = torch.float32 if recipe.precision == "float32" else torch.bfloat16
        return dtype, f"precision {recipe.precision} as the recipe says"
    if not any(isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) for module in model.modules()):
        return torch.float32, "precision float32"
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported()
    else:
        able = device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX512" and _cpu_has_bfloat16()
    if able:
        return torch.bfloat16, "precision bfloat16 (convolutions, and the processor computes in it); losses in float32"
    return torch.float32, "precision float32 (the processor does not compute in bfloat16)"


def _cpu_has_bfloat16() -> bool:
    """Says whether the processor multiplies in bfloat16, as Linux reports it; emulation would be slower."""
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and "avx512_bf16" in flags.read_text()


def architecture(specification: Mapping[str, Any], key: str) -> Architecture:
    """Makes an architecture from `{name: mlp, width: 128}`."""
    fields = to_mapping({"name": "mlp", **specification}, key)
    name = fields.pop("name")
    known = architectures()
    if name not in known:
        raise InputError(f"{key}.name is {name!r}, not a known architecture.{did_you_mean(name, known)}")
    return construct(known[name], fields, key)


def _schedule(config: ScheduleConfig, steps: int) -> Schedule:
    start = (
        round(config.start * steps) if isinstance(config.start, float) and config.start <= 1 else round(config.start)
    )
    turns = steps - start if config.turns is None else config.turns
    length = round(turns * steps) if isinstance(turns, float) and turns <= 1 else round(turns)
    return Schedule(
        schedule=config.schedule,
        start_value=config.start_value,
        end_value=config.end_value,
        start=start,
        turns=max(1, length),
    )


def _loss(recipe: Recipe, dataset: Dataset) -> tuple[Recipe, Any, dict[str, Schedule], list[str]]:
    """Makes the loss; scheduled fields get their first value, an MMD without bandwidths gets them from the data."""
    model = recipe.model
    fields = to_mapping(recipe.loss if recipe.loss is not None else DEFAULT_LOSS[model.name], "loss")
    name = fields.pop("name")
    cls = class_of(name, (LOSS_BASE[model.name],), "loss")
    schedules, notes = {}, []
    resolved = dict(fields)
    for field, value in fields.items():
        if isinstance(value, dict) and "schedule" in value:
            schedules[field] = _schedule(checked(ScheduleConfig, value, f"loss.{field}"), recipe.train.steps)
            fields[field] = schedules[field].value(0)
    if cls is MMD and "bandwidths" not in fields:
        fields["bandwidths"], sentence = _bandwidths(recipe, dataset)
        resolved["bandwidths"] = list(fields["bandwidths"])
        notes.append(sentence)
    loss = construct(cls, fields, "loss")
    everything = {f.name: getattr(loss, f.name) for f in dataclasses.fields(loss)}
    written = {key: resolved.get(key, _plain(value)) for key, value in everything.items()}
    return recipe.model_copy(update={"loss": {"name": name, **written}}), loss, schedules, notes


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _bandwidths(recipe: Recipe, dataset: Dataset) -> tuple[tuple[float, ...], str]:
    factors = (0.25, 0.5, 1.0, 2.0, 4.0)
    if recipe.model.codes is not None:
        centre = (recipe.model.codes / 6.0) ** 0.5
        return tuple(
            centre * f for f in factors
        ), "MMD bandwidths around the mean distance of codes uniform in the unit cube"
    real = dataset.all("train", limit=2000, rng=stream(0, "bandwidths")).x
    centre = float(median_bandwidth(real))
    return tuple(centre * f for f in factors), f"MMD bandwidths 1/4 to 4 times the data's median distance {centre:.4g}"


def _model(recipe: Recipe, dataset: Dataset, loss: Any) -> tuple[GenerativeModel, Recipe]:
    config = recipe.model
    network = architecture(config.network, "model.network")
    opponent = architecture(config.critic, "model.critic") if config.critic is not None else network
    prior = Prior(config.prior, config.noise_dim)
    shape = dataset.shape
    if config.name == "gan":
        return _gan(
            recipe, _into_range(network, config.noise_dim, dataset), opponent.critic(shape), loss, prior
        ), recipe
    if config.name == "vae":
        likelihood, written = _likelihood(recipe, dataset)
        if config.encoder is not None:
            encoder: nn.Module = _two_layer(config.encoder, shape, config.noise_dim)
        else:
            encoder = GaussianInference(opponent.critic(shape, outputs=2 * config.noise_dim))
        values = likelihood.parameters_per_value
        generator = network.generator(config.noise_dim, shape, values=values, bounded=False)
        vae = VAE(encoder, generator, loss, likelihood, prior, value_range=dataset.value_range or (0.0, 1.0))
        return vae, recipe.model_copy(update={"model": config.model_copy(update={"likelihood": written})})
    if config.codes is None:
        return MomentMatching(_into_range(network, config.noise_dim, dataset), loss, prior), recipe
    coder = Autoencoder(opponent.critic(shape, outputs=config.codes), _into_range(network, config.codes, dataset))
    codes = network if isinstance(network, MLP) else MLP(width=256, depth=3)
    generator = codes.generator(config.noise_dim, (config.codes,), bounded=False)
    turns = config.codes_steps
    turns = round(turns * recipe.train.steps) if isinstance(turns, float) and turns <= 1 else round(turns)
    return MomentMatching(generator, loss, prior, autoencoder=coder, autoencoder_turns=max(1, turns)), recipe


def _into_range(network: Architecture, inputs: int, dataset: Dataset) -> nn.Module:
    """A generator whose output lies in the range of the data: tanh, sigmoid or unbounded."""
    if dataset.kind != "image":
        return network.generator(inputs, dataset.shape, bounded=False)
    if dataset.value_range == (0.0, 1.0):
        return nn.Sequential(network.generator(inputs, dataset.shape, bounded=False), nn.Sigmoid())
    return network.generator(inputs, dataset.shape, bounded=True)


def _gan(recipe: Recipe, generator: nn.Module, critic: nn.Module, loss: AdversarialLoss, prior: Prior) -> GAN:
    penalties, constraints = _penalties(recipe)
    return GAN(
        generator,
        critic,
        loss,
        prior,
        penalties=penalties,
        constraints=constraints,
        critic_updates=recipe.train.player("discriminator").updates or 1,
    )


def _penalties(recipe: Recipe) -> tuple[list[AppliedPenalty], list[Constraint]]:
    penalties, constraints = [], []
    for position, specification in enumerate(recipe.penalties):
        key = f"penalties[{position}]"
        fields = to_mapping(specification, key)
        name = fields.pop("name")
        cls = class_of(name, (Penalty, Constraint), key)
        if issubclass(cls, Constraint):
            constraints.append(construct(cls, fields, key))
            continue
        weight, interval = fields.pop("weight", cls.card.weight), fields.pop("interval", 1)
        if not (isinstance(weight, (int, float)) and weight >= 0):
            raise InputError(f"{key}.weight is {weight!r}, expected a number of at least 0.")
        if not (isinstance(interval, int) and interval >= 1):
            raise InputError(f"{key}.interval is {interval!r}, expected a whole number of at least 1.")
        penalties.append(AppliedPenalty(construct(cls, fields, key), float(weight), interval))
    return penalties, constraints


def _likelihood(recipe: Recipe, dataset: Dataset) -> tuple[Likelihood, dict[str, Any]]:
    default = {"name": "bernoulli"} if dataset.binarise != "none" else {"name": "gaussian", "variance": "shared"}
    fields = to_mapping(recipe.model.likelihood or default, "model.likelihood")
    name = fields.pop("name")
    likelihood = construct(class_of(name, (Likelihood,), "model.likelihood"), fields, "model.likelihood")
    if name == "bernoulli" and dataset.kind != "image":
        raise InputError(
            f"model.likelihood=bernoulli needs images, but {dataset.name!r} holds {dataset.kind}; use gaussian."
        )
    return likelihood, {"name": name, **fields}


def _two_layer(specification: Mapping[str, Any], shape: tuple[int, ...], latent: int) -> nn.Module:
    fields = to_mapping(specification, "model.encoder")
    if fields.pop("name") != "two_layer" or set(fields) - {"width"}:
        raise InputError(f"model.encoder is {specification!r}, expected {{name: two_layer, width: 512}}.")
    return TwoLayerInference(shape, latent, **fields)


def _training(module: nn.Module, config: PlayerConfig, steps: int) -> PlayerTraining:
    rate = config.learning_rate if config.learning_rate is not None else 1e-3
    schedule = _schedule(rate, steps) if isinstance(rate, ScheduleConfig) else None
    value = schedule.value(0) if schedule is not None else float(rate)  # type: ignore[arg-type]
    parameters = list(module.parameters())
    decay = config.weight_decay or 0.0
    betas = config.betas or (0.9, 0.999)
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "adam": lambda: torch.optim.Adam(parameters, value, betas, weight_decay=decay, fused=True),
        "adamw": lambda: torch.optim.AdamW(parameters, value, betas, weight_decay=decay, fused=True),
        "sgd": lambda: torch.optim.SGD(parameters, value, config.momentum or 0.0, weight_decay=decay, fused=True),
        "rmsprop": lambda: torch.optim.RMSprop(parameters, value, momentum=config.momentum or 0.0, weight_decay=decay),
    }
    return PlayerTraining(makers[config.optimizer or "adam"](), schedule, config.clip_norm)
