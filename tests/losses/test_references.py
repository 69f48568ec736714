"""A card and its docstring cite the same sources and equations; those of the textbook are the known ones."""

import inspect
import re

import pytest

import genloss.losses as losses

CLASSES = list(losses.catalogue().values())

# Where the textbook (Qiu 2020, chapter 13) has what a class or function computes.
TEXTBOOK = {
    "Minimax": "13.30 13.36",
    "NonSaturating": "13.33",
    "Wasserstein": "13.55 13.56 13.2",
    "WeightClip": "13.2",
    "ELBO": "13.20 13.27",
    "Gaussian": "13.28",
    "EarthMover": "13.51",
    "MaximumLikelihood": "13.1",
    "kl_diagonal_normal": "13.26",
    "kl_normal": "13.25",
    "forward_kl": "13.10",
    "reverse_kl": "13.10",
    "jensen_shannon": "13.41 13.42",
    "optimal_discriminator": "13.37 13-1",
    "minimax_value": "13.41",
    "non_saturating_value": "13.47",
}


def source_of(documented):
    """Returns the last part of a docstring, which names the sources, in one line."""
    text = inspect.getdoc(documented)
    assert "Source: " in text, "the docstring names no source"
    return " ".join(text.rpartition("Source: ")[2].split())


def surname(authors):
    return re.split(r"[, ]", authors.removeprefix("van den ").removeprefix("van "))[0]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.card.name)
def test_card_and_docstring_cite_the_same(cls):
    source = source_of(cls)
    years = set()
    for reference in cls.card.references:
        assert surname(reference.authors) in source, reference
        assert str(reference.year) in source, reference
        years.add(str(reference.year))
        for number in re.findall(r"(?:[A-Z]\.)?\d+(?:\.\d+)*", reference.equation):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", source), (number, source)
    assert set(re.findall(r"\b(?:19|20)\d\d\b", source)) == years, "the card leaves out a source"


@pytest.mark.parametrize("name", sorted(TEXTBOOK))
def test_equations_of_the_textbook(name):
    parts = re.findall(r"Qiu 2020,(.*?)(?:;|\.$|, where)", source_of(getattr(losses, name)))
    assert set(re.findall(r"13[.-]\d+", " ".join(parts))) == set(TEXTBOOK[name].split())


def test_no_other_class_cites_the_textbook():
    citing = {cls.__name__ for cls in CLASSES if any(reference.authors == "Qiu" for reference in cls.card.references)}
    assert citing == {name for name in TEXTBOOK if name[0].isupper()}
