"""`genloss cite`: valid BibTeX, complete, and of exactly what was used."""

import dataclasses
import re
import unicodedata
from typing import ClassVar

import pytest

import genloss
from genloss.bibliography import bibliography, software_entry
from genloss.data import known_datasets
from genloss.errors import InputError
from genloss.losses import Card, Hinge, Reference, catalogue
from genloss.runs.citations import SOURCES, Citation, bibtex, cite_name
from tests.cli.command import genloss as command
from tests.cli.command import last_json

REFERENCES = {reference.key: reference for cls in catalogue().values() for reference in cls.card.references}
NEEDED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "book": {"author", "title", "publisher", "year"},
    "techreport": {"author", "title", "institution", "year"},
    "misc": {"author", "title"},
}


def parse(entry):
    """Reads one entry by BibTeX's grammar: balanced braces, fields in braces."""
    kind, key, body = re.fullmatch(r"@(\w+)\{(\w+),\n(.*)\}", entry, re.DOTALL).groups()
    fields, depth = {}, 0
    for character in body:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    for line in body.splitlines():
        name, value = re.fullmatch(r"  (\w+) = \{(.*)\},", line).groups()
        assert name not in fields
        fields[name] = value
    return kind, key, fields


def plain(text):
    """Returns text without BibTeX's accents and braces, in small letters."""
    text = re.sub(r"\{\\.\{?(\w)\}?\}", r"\1", text).replace("{", "").replace("}", "")
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower()


def surname(author):
    """Returns a surname as a card writes it; an umlaut there may be an o or an oe."""
    return plain(author).split(",")[0].strip().replace("oe", "o")


@pytest.mark.parametrize("key", sorted(bibliography()))
def test_an_entry_is_valid_and_named_by_its_author_and_year(key):
    kind, found, fields = parse(bibliography()[key])
    assert found == key
    assert fields.keys() >= NEEDED[kind]
    assert bibliography()[key].isascii()
    first = re.sub("[^a-z]", "", plain(fields["author"]).split(",")[0])
    assert key.startswith(f"{first}{fields['year']}")
    assert all(author.count(",") == 1 for author in fields["author"].split(" and "))


@pytest.mark.parametrize("key", sorted(REFERENCES.keys() & bibliography().keys()))
def test_an_entry_agrees_with_the_card(key):
    fields, card = parse(bibliography()[key])[2], REFERENCES[key]
    assert fields["year"] == str(card.year)
    assert plain(card.title).startswith(plain(fields["title"]))
    written = [surname(author) for author in fields["author"].split(" and ")]
    assert written == [surname(author) for author in card.authors.split(",")]
    assert fields.get("url", "") == card.url


def test_every_entry_is_cited_by_something():
    without_card = {key for names in SOURCES.values() for keys in names.values() for key in keys}
    assert without_card <= bibliography().keys() <= without_card | REFERENCES.keys()


def test_every_data_set_says_what_to_cite():
    assert set(SOURCES["data"]) == set(known_datasets())


def test_the_software_names_its_version():
    kind, key, fields = parse(software_entry())
    assert (kind, key) == ("misc", "genloss")
    assert genloss.__version__ in fields["note"]


def test_a_name_of_two_things_cites_both():
    assert {citation.kind for citation in cite_name("mmd")} == {"loss", "model"}
    assert cite_name("wgan_gp")[0].name == "gradient_penalty"
    with pytest.raises(InputError, match="Did you mean 'hinge'"):
        cite_name("hing")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing", "metric. `genloss losses` and `genloss data` list names."),
        ("runs/nope", "there is no run 'runs/nope'"),
    ],
)
def test_what_cannot_be_cited_is_not_guessed(tmp_path, target, message):
    done = command("cite", target, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_paper_that_is_only_on_a_card_is_written_from_it():
    class Own(Hinge):
        card: ClassVar[Card] = dataclasses.replace(
            Hinge.card, references=(Reference(authors="Doe, Roe", year=2031, title="A {New} Loss", venue="XYZ"),)
        )

    reference = Own.card.references[0]
    entry = bibtex([Citation("loss", "own", {reference.key: reference})])["doe2031new"]
    fields = parse(entry)[2]
    assert fields["author"] == "{Doe} and {Roe}"
    assert (fields["year"], fields["howpublished"]) == ("2031", "XYZ")


def test_a_run_cites_exactly_what_it_used(tmp_path):
    tiny = [
        "train.steps=2",
        "train.batch_size=8",
        "evaluation.samples=20",
        "model.network.width=8",
        "evaluation.grid=4",
    ]
    choices = ["loss=hinge", "penalties=[{name: r1, weight: 1}]", f"runs_dir={tmp_path}"]
    choices += ["model.critic={name: mlp, width: 8, norm: layer, minibatch_discrimination: true}"]
    run = last_json(command("train", "digits_gan", *tiny, *choices, "--json"))["run"]
    found = last_json(command("cite", run, "--json"))
    used = {(use["kind"], use["name"]) for use in found["used"]}
    assert used == {
        ("model", "gan"),
        ("network", "mlp"),
        ("network", "layer"),
        ("network", "minibatch_discrimination"),
        ("loss", "hinge"),
        ("loss", "r1"),
        ("data", "digits"),
        ("metric", "mmd2"),
    }
    assert set(found["entries"]) == {
        "genloss",
        "goodfellow2014generative",
        "ba2016layer",
        "salimans2016improved",
        *(reference.key for reference in catalogue()["hinge"].card.references),
        *(reference.key for reference in catalogue()["r1"].card.references),
        "alpaydin1998optical",
        "pedregosa2011scikit",
        "gretton2012kernel",
    }
    printed = command("cite", run).stdout
    assert all(entry in printed for entry in found["entries"].values())
    assert all(line[0] in "%@ }" for line in printed.splitlines() if line)
