"""What a loss says of itself: the card that the command line, the documentation and the page show."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import ClassVar

__all__ = ["Card", "Equilibrium", "Loss", "Reference"]

_SMALL_WORDS = ("an", "do", "for", "from", "in", "is", "of", "on", "the", "to", "towards", "which", "with")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A source of a loss: who, when, where, and which equation."""

    authors: str
    year: int
    title: str
    venue: str = ""
    url: str = ""
    equation: str = ""

    def at(self, equation: str) -> Reference:
        """Returns the same source, pointing at this equation, table or algorithm."""
        return replace(self, equation=equation)

    def __str__(self) -> str:
        """Returns the source as a line of a list of references."""
        parts = (f"{self.authors} ({self.year})", self.title, self.venue, self.equation, self.url)
        return ". ".join(part for part in parts if part)

    @property
    def key(self) -> str:
        """The name of its entry in `references.bib`: first author, year, and the first telling word of the title.

        >>> Reference(authors="van den Oord, Vinyals", year=2017, title="The Neural Test").key
        'vandenoord2017neural'
        """
        surname = re.sub("[^a-z]", "", self.authors.split(",")[0].lower())
        words = re.findall("[a-z]{2,}", self.title.lower())
        return f"{surname}{self.year}{next((word for word in words if word not in _SMALL_WORDS), '')}"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a loss says of itself.

    Args:
        name: the name in a recipe, lower case with underscores.
        formula: LaTeX by role, e.g. `{"discriminator": r"\\zeta(-a_r)+\\zeta(a_f)"}`.
        minimised_by: who minimises what, in a sentence.
        when: when to use it.
        fails: how it fails.
        references: its sources, the first one being its paper.
        aliases: other names that a recipe may use.
        paper: optimiser, schedule and constraint of its paper, as recipe keys; `preset=paper` applies them.
        weight: for a penalty, the weight of its paper (1.0 for everything else).
        score_range: scores outside it raise, since the loss would overflow; None where every finite score will do.
    """

    name: str
    formula: dict[str, str]
    minimised_by: str
    when: str
    fails: str
    references: tuple[Reference, ...]
    aliases: tuple[str, ...] = ()
    paper: dict[str, object] = field(default_factory=dict)
    weight: float = 1.0
    score_range: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Equilibrium:
    """Where an adversarial loss settles when the generator has won.

    Args:
        score: the score that the best critic gives to every sample, or None where any constant near 0 will do.
        discriminator: value of the discriminator's loss there, nats.
        generator: value of the generator's loss there, nats, or None where it depends on the constant.
    """

    score: float | None
    discriminator: float
    generator: float | None


class Loss:
    """Base of every loss of the catalogue: a frozen dataclass with a card.

    A subclass that has a `card` of its own is in the catalogue; one without is a family.
    """

    family: ClassVar[str]
    card: ClassVar[Card]
    couples_batch: ClassVar[bool] = False

    def __repr__(self) -> str:
        """Returns the class alone, for one that is no dataclass: object's own repr tells an address."""
        return f"{type(self).__qualname__}()"
