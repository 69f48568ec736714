"""Writes a page for every loss from its card and its docstring, and one for every family."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil
from pathlib import Path

from genloss.cli._score_plot import save_score_plot
from genloss.losses import AdversarialLoss, Loss, catalogue

__all__ = ["page", "write"]

LONG = 75  # characters of LaTeX that a line of a page holds
FAMILIES = {
    "adversarial": ("Adversarial losses", "Two players who see the critic's scores."),
    "penalty": ("Penalties on a critic", "Terms on the critic's behaviour at chosen points."),
    "parameter_penalty": ("Penalties on parameters", "Terms on a player's weights."),
    "feature_penalty": ("Penalties on features", "Terms on features of real and generated samples."),
    "constraint": ("Constraints", "What is done to the parameters after an update."),
    "distance": ("Sample distances", "Distances between two sets of samples, without a critic."),
    "variational": ("Variational losses", "Bounds of the evidence through an approximate posterior."),
    "quantisation": ("Vector quantisation", "Latents replaced by their nearest codes."),
    "likelihood": ("Likelihoods", "Densities that a decoder parameterises."),
    "likelihood_loss": ("Maximum likelihood", "Losses on the log-density of a model that has one."),
    "energy": ("Energy losses", "Densities known up to their normaliser."),
    "sampler": ("Samplers", "Markov chains on an energy's density."),
    "token": ("Token losses", "Losses on the tokens of target sequences."),
    "risk": ("Risk losses", "Losses on sampled sequences and what they cost."),
    "cost": ("Costs of sequences", "What a sequence costs, without a gradient."),
    "completion": ("Completion losses", "Losses on the next token after each prefix of a sample."),
    "embedding": ("Embedding losses", "Losses between two sentences, each a matrix."),
    "attention": ("Attention penalties", "Terms on attention weights."),
    "context": ("Context losses", "What a sentence's encoding should tell by itself."),
}
"""Titles of the families and what they are given, in the order of the pages."""


def write(folder: Path) -> None:
    """Writes all pages and plots; what an earlier build left is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    losses = list(catalogue().values())
    for cls in losses:
        plot = folder / f"{cls.card.name}.png" if issubclass(cls, AdversarialLoss) else None
        if plot is not None:
            save_score_plot(cls(), plot)  # type: ignore[arg-type]
        (folder / f"{cls.card.name}.md").write_text(page(cls), "utf-8")
    for family, (title, line) in FAMILIES.items():
        members = [cls for cls in losses if cls.family == family]
        (folder / f"family_{family}.md").write_text(_family_page(title, line, members), "utf-8")


def page(cls: type[Loss]) -> str:
    """Returns the page of one loss as Markdown."""
    card, sections = cls.card, _sections(cls)
    summary, _, body = sections["text"].partition("\n\n")
    also = ", also " + ", ".join(f"`{alias}`" for alias in card.aliases) if card.aliases else ""
    parts = [f"# {cls.__name__}", summary, f"Name in a recipe: `{card.name}`{also}."]
    parts += [f"## {role.capitalize()}\n\n{_formula(formula)}" for role, formula in card.formula.items()]
    parts += [card.minimised_by]
    if issubclass(cls, AdversarialLoss):
        parts += [
            f"![Value and gradient of {cls.__name__} against the score]({card.name}.png)",
            "Each curve moves one score, while the other side's rests at the equilibrium.",
        ]
    parts += [f"## When to use it\n\n{card.when}", f"## How it fails\n\n{card.fails}"]
    if body:
        parts += [f"## In detail\n\n{body}"]
    parts += [f"## In code\n\n```python\nfrom genloss.losses import {cls.__name__}\n```"]
    parts += [_definitions(_fields(cls)), _definitions(_entries(sections.get("Raises", "")))]
    if "Example" in sections:
        parts += [f"```pycon\n{sections['Example']}\n```"]
    parts += _recipe(cls)
    parts += ["## References\n\n" + "\n".join(f"- {_linked(reference)}" for reference in card.references)]
    parts += [f"`genloss cite {card.name}` prints them as BibTeX."]
    return "\n\n".join(parts) + "\n"


def _recipe(cls: type[Loss]) -> list[str]:
    """Returns how a recipe names the loss, and what `preset=paper` sets."""
    name = cls.card.name
    penalty = f"penalties=[{{name: {name}, weight: {cls.card.weight:g}}}]"
    keys = dict.fromkeys(("adversarial", "variational", "quantisation", "distance"), f"loss={name}")
    keys |= dict.fromkeys(("penalty", "parameter_penalty", "feature_penalty"), penalty)
    keys |= {"constraint": f"penalties=[{name}]", "likelihood": f"model.likelihood={name}"}
    if cls.family not in keys:
        return []
    parts = ["## In a recipe", f"```text\n{keys[cls.family]}\n```"]
    if cls.card.paper:
        settings = "\n".join(f"{key}={value}" for key, value in cls.card.paper.items())
        parts += ["With `preset=paper`, what its paper trained with:", f"```text\n{settings}\n```"]
    return parts


def _linked(reference: object) -> str:
    """Returns a reference as text whose address is a link."""
    return re.sub(r"(https?://\S+)$", r"<\1>", str(reference))


def _sections(cls: type[Loss]) -> dict[str, str]:
    """Splits a docstring at its headings; what stands before the first one is the text."""
    parts = re.split(r"^(Args|Raises|Example|Class attributes|Source):", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    rest = zip(parts[1::2], parts[2::2], strict=True)
    return {"text": parts[0].strip()} | {heading: inspect.cleandoc(text) for heading, text in rest}


def _entries(text: str) -> dict[str, str]:
    """Reads `name: what it is`, with deeper lines going on."""
    return dict(re.findall(r"^(\S+): (.*(?:\n[ \t]+.*)*)", text, flags=re.MULTILINE))


def _fields(cls: type[Loss]) -> dict[str, str]:
    """Returns what each field with its default is; a field of a base class is explained there."""
    told: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        told |= _entries(_sections(base).get("Args", "")) if issubclass(base, Loss) else {}
    return {
        field.name if field.default is dataclasses.MISSING else f"{field.name} = {field.default!r}": told[field.name]
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
    }


def _definitions(entries: dict[str, str]) -> str:
    """Writes a definition list."""
    return "\n\n".join(f"`{name}`\n: {' '.join(what.split())}" for name, what in entries.items())


def _formula(formula: str) -> str:
    """Writes a formula as a block, a long one in several lines."""
    lines = re.split(r",\\(?: |quad|qquad) *", formula) if len(formula) > LONG else [formula]
    return "\n\n".join(f"$$\n{line}\n$$" for line in lines)


def _family_page(title: str, line: str, members: list[type[Loss]]) -> str:
    rows = "\n".join(f"| [{cls.__name__}]({cls.card.name}.md) | {_cell(cls.card.when)} |" for cls in members)
    listed = "\n".join(cls.card.name for cls in members)
    contract = inspect.getdoc(_base(members[0])) or ""
    return "\n\n".join(
        (
            f"# {title}",
            line,
            f"| class | when to use it |\n| --- | --- |\n{rows}",
            f"## The contract\n\n{re.split('^Class attributes:', contract, flags=re.MULTILINE)[0].strip()}",
            f"```{{toctree}}\n:hidden:\n\n{listed}\n```\n",
        )
    )


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _base(cls: type[Loss]) -> type[Loss]:
    """Returns the family's base class: the topmost one below Loss."""
    return [base for base in cls.__mro__ if issubclass(base, Loss) and base is not Loss][-1]
