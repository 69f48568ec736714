"""What to cite for a name, or for everything that a run used."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from genloss.bibliography import bibliography, software_entry
from genloss.errors import InputError
from genloss.losses import Likelihood, Loss, Reference, catalogue
from genloss.runs.folder import RunFolder
from genloss.runs.schema import ModelConfig
from genloss.runs.specification import DEFAULT_LOSS, LOSS_BASES, PENALTY_BASES, class_of, to_mapping

__all__ = ["Citation", "bibtex", "cite_name", "cite_run"]

_SLICED = ("bonneel2015sliced",)
_NEIGHBOURS = ("kynkaanniemi2019improved",)
_DENSITY = ("naeem2020reliable",)
_MODES = ("srivastava2017veegan", "lin2018pacgan")

SOURCES: dict[str, dict[str, tuple[str, ...]]] = {
    "model": {
        "gan": ("goodfellow2014generative",),
        "vae": ("kingma2014auto", "rezende2014stochastic"),
        "mmd": ("li2015generative", "dziugaite2015training"),
        "packing": ("lin2018pacgan",),
        "unrolled": ("metz2017unrolled",),
        "codebook": ("vandenoord2017neural",),
    },
    "network": {
        "mlp": (),
        "dcgan": ("radford2016unsupervised",),
        "spectral_norm": ("miyato2018spectral",),
        "autoencoder": ("zhao2017energy",),
        "two_layer": ("qiu2020neural",),
        "minibatch_discrimination": ("salimans2016improved",),
        "batch": ("ioffe2015batch",),
        "layer": ("ba2016layer",),
        "instance": ("ulyanov2016instance",),
        "virtual_batch": ("salimans2016improved",),
    },
    "data": {
        "mnist": ("lecun1998gradient",),
        "fashion_mnist": ("xiao2017fashion",),
        "cifar10": ("krizhevsky2009learning",),
        "digits": ("alpaydin1998optical", "pedregosa2011scikit"),
        **dict.fromkeys(("ring", "grid", "two_moons", "swiss_roll", "pinwheel", "checkerboard"), ()),
        **dict.fromkeys(("gaussian_mixture", "fruits"), ()),
    },
    "metric": {
        "bound": ("kingma2014auto",),
        "log_likelihood": ("burda2016importance",),
        "effective_samples": ("burda2016importance",),
        "mmd2": ("gretton2012kernel",),
        "sliced_wasserstein": _SLICED,
        "frechet_distance": ("dowson1982frechet", "heusel2017gans"),
        "precision": _NEIGHBOURS,
        "recall": _NEIGHBOURS,
        "density": _DENSITY,
        "coverage": _DENSITY,
        "modes": _MODES,
        "high_quality": _MODES,
        "kl": _MODES,
        "sigma_ratio": (),
    },
}
"""Keys of `references.bib` for what has no card. What stands on no paper, or on none that we know, has none."""


@dataclass(frozen=True)
class Citation:
    """One thing that was used.

    Args:
        kind: `loss`, `model`, `network`, `data` or `metric`.
        name: its name.
        references: its sources by key; a card's reference tells the equation.
    """

    kind: str
    name: str
    references: Mapping[str, Reference | None]

    def __str__(self) -> str:
        """Returns a line such as `loss hinge: lim2017geometric, equation 4`."""
        named = [
            f"{key} at {reference.equation}" if reference is not None and reference.equation else key
            for key, reference in self.references.items()
        ]
        return f"{self.kind} {self.name}: {'; '.join(named) or 'no paper known'}"


def cite_name(name: str) -> list[Citation]:
    """Returns what to cite for a loss, penalty, model, network, data set or metric of this name.

    Raises:
        InputError: nothing has this name.
    """
    found = [_loss(cls) for cls in catalogue().values() if name == cls.card.name or name in cls.card.aliases]
    found += [_source(kind, name) for kind, known in SOURCES.items() if name in known]
    if not found:
        known = {*catalogue(), *(key for names in SOURCES.values() for key in names)}
        # So many names lie near anything; a far one would mislead, and all of them are no help.
        close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
        hint = f"Did you mean {close[0]!r}?" if close else "`genloss losses` and `genloss data` list names."
        raise InputError(
            f"{name!r} is neither a run's folder nor the name of a loss, penalty, model, network, data set or metric. "
            f"{hint}"
        )
    return found


def cite_run(folder: RunFolder) -> list[Citation]:
    """Returns what to cite for a run: its model and networks, losses, penalties, data and the metrics it measured."""
    recipe = folder.recipe
    model = recipe.model
    found = [_source("model", part) for part in _parts(model)]
    found += [_source("network", name) for name in _networks(model)]
    loss = recipe.loss if recipe.loss is not None else DEFAULT_LOSS[model.name]
    used = list(_losses(loss, LOSS_BASES[model.name], "loss"))
    for index, penalty in enumerate(recipe.penalties):
        used += _losses(penalty, PENALTY_BASES, f"penalties[{index}]")
    if model.likelihood is not None:
        used += _losses(model.likelihood, (Likelihood,), "model.likelihood")
    found += [_loss(cls) for cls in used]
    if recipe.data.name is not None:
        found.append(_source("data", recipe.data.name))
    metrics: dict[str, None] = {}
    for event in folder.events():
        if event["event"] == "evaluated":
            metrics |= dict.fromkeys(name for name in event if name in SOURCES["metric"])
    found += [_source("metric", name) for name in metrics]
    return list({str(citation): citation for citation in found}.values())


def bibtex(citations: list[Citation]) -> dict[str, str]:
    """Returns the entries of all citations and of genloss itself, by key, each once."""
    entries = {"genloss": software_entry()}
    for citation in citations:
        for key, reference in citation.references.items():
            entries[key] = bibliography().get(key) or _from_card(key, reference)
    return entries


def _source(kind: str, name: str) -> Citation:
    return Citation(kind, name, dict.fromkeys(SOURCES[kind].get(name, ())))


def _loss(cls: type[Loss]) -> Citation:
    """Returns a loss's sources; one without a card has none to tell."""
    if not hasattr(cls, "card"):
        return Citation("loss", f"{cls.__module__}:{cls.__name__}", {})
    return Citation("loss", cls.card.name, {reference.key: reference for reference in cls.card.references})


def _losses(specification: Any, bases: tuple[type[Loss], ...], key: str) -> Iterator[type[Loss]]:
    """Yields a loss's class and those of the losses that it is made of."""
    fields = to_mapping(specification, key)
    found = class_of(fields.pop("name"), bases, key)
    yield found
    for name, value in fields.items():
        if isinstance(value, dict) and "name" in value:
            families = tuple(base for base in Loss.__subclasses__() if hasattr(base, "family"))
            yield from _losses(value, families, f"{key}.{name}")


def _parts(model: ModelConfig) -> list[str]:
    options = [part for part in ("packing", "unrolled", "codebook") if getattr(model, part) is not None]
    return [model.name, *options]


def _networks(model: ModelConfig) -> Iterator[str]:
    for network in (model.network, model.critic, model.encoder):
        if network is not None:
            fields = to_mapping({"name": "mlp", **network} if isinstance(network, dict) else network, "model.network")
            yield fields["name"]
            yield from (layer for layer in ("spectral_norm", "minibatch_discrimination") if fields.get(layer))
            if fields.get("norm", "none") != "none":
                yield fields["norm"]


def _from_card(key: str, reference: Reference | None) -> str:
    """Writes the entry of a paper that is not in `references.bib` from what its card tells: surnames only."""
    assert reference is not None, f"{key} is not in references.bib"
    fields = {
        "author": " and ".join(f"{{{author.strip()}}}" for author in reference.authors.split(",")),
        "title": f"{{{reference.title}}}",
        "howpublished": reference.venue,
        "year": str(reference.year),
        "url": reference.url,
    }
    lines = "\n".join(f"  {name} = {{{value}}}," for name, value in fields.items() if value)
    return f"@misc{{{key},\n{lines}\n}}"
