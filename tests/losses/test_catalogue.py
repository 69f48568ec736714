"""The catalogue finds every loss, and every card is complete."""

import dataclasses
import re

import pytest

import genloss.losses as losses
from genloss.losses import Hinge, Loss, catalogue, find_loss

CLASSES = list(catalogue().values())
PAPER_KEY = re.compile(
    r"train\.(generator|discriminator)\.(optimizer|learning_rate|betas|updates)$|(penalties|model\.critic)$"
)
GAME = ("adversarial", "penalty", "parameter_penalty", "feature_penalty", "constraint")


@pytest.mark.parametrize(
    "name",
    [
        "minimax",
        "non_saturating",
        "least_squares",
        "wasserstein",
        "hinge",
        "relativistic",
        "relativistic_average",
        "softmax",
        "energy_based",
        "boundary_equilibrium",
        *(
            f"f_{divergence}"
            for divergence in ("kl", "reverse_kl", "pearson", "neyman", "hellinger", "jensen_shannon", "gan", "alpha")
        ),
        "f_total_variation",
    ],
)
def test_every_adversarial_loss_is_found_by_its_name(name):
    assert catalogue("adversarial")[name].card.name == name


def test_the_catalogue_is_in_the_order_of_families_and_names():
    order = [(cls.family, name) for name, cls in catalogue().items()]
    assert order == sorted(order)
    assert list(catalogue("constraint")) == ["weight_clip"]
    assert catalogue("no_such_family") == {}


def test_a_loss_is_found_by_its_alias_too():
    assert find_loss("wgan_gp") is losses.GradientPenalty
    assert find_loss("lsgan", "adversarial") is losses.LeastSquares


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(KeyError, match=r"no adversarial loss named 'hinje'. Did you mean 'hinge'\?"):
        find_loss("hinje", "adversarial")
    with pytest.raises(KeyError, match="Known: weight_clip"):
        find_loss("xyz", "constraint")
    with pytest.raises(KeyError, match="no penalty loss named 'hinge'"):
        find_loss("hinge", "penalty")


def test_a_name_of_another_family_is_told_from_a_slip():
    for name, known, family in (
        ("wgan_gp", "gradient_penalty", "penalty"),
        ("hinge", "hinge", "adversarial"),
        ("ELBO", "elbo", "variational"),
    ):
        other = "adversarial" if family != "adversarial" else "penalty"
        with pytest.raises(KeyError, match=f"no {other} loss named '{name}': {known} is of the family {family}"):
            find_loss(name, other)


def test_what_is_near_no_name_gets_them_all():
    with pytest.raises(KeyError, match=r"'f_divergence'\. Known: .*f_alpha, f_gan, f_hellinger"):
        find_loss("f_divergence", "adversarial")


def test_classes_of_other_packages_and_classes_without_a_card_stay_out():
    @dataclasses.dataclass(frozen=True)
    class Own(Hinge):
        card = dataclasses.replace(Hinge.card, name="own_hinge")

    assert "own_hinge" not in catalogue()
    assert losses.AdversarialLoss not in CLASSES
    assert losses.FDivergence not in CLASSES


def test_names_and_aliases_are_unique_in_a_family():
    for family in {cls.family for cls in CLASSES}:
        names = [n for cls in catalogue(family).values() for n in (cls.card.name, *cls.card.aliases)]
        assert len(names) == len(set(names)), family


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls.family in GAME], ids=lambda cls: cls.card.name)
def test_a_card_is_complete(cls):
    card = cls.card
    assert re.fullmatch(r"[a-z][a-z0-9_]*", card.name)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", alias) for alias in card.aliases)
    assert set(card.formula) <= {"discriminator", "generator", "player"}
    assert all(text.strip() for text in card.formula.values())
    assert all(text.count("{") == text.count("}") for text in card.formula.values())
    for text in (card.minimised_by, card.when, card.fails):
        assert text.endswith(".")
        assert text[0].isupper()
    assert card.references
    for reference in card.references:
        assert reference.authors
        assert reference.title
        assert 1990 < reference.year < 2030
        assert reference.url.startswith("https://")
    assert card.weight > 0
    assert all(PAPER_KEY.match(key) for key in card.paper)
    for penalty in card.paper.get("penalties", ()):
        fields = {key: value for key, value in penalty.items() if key not in ("name", "weight")}
        find_loss(penalty["name"])(**fields)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.card.name)
def test_a_loss_is_a_frozen_keyword_only_dataclass_with_an_example(cls):
    assert issubclass(cls, Loss)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(cls))
    assert ">>>" in cls.__doc__
    assert cls.__name__ in dir(losses), "the package does not export it"


def test_a_reference_points_at_an_equation():
    reference = losses.R1.card.references[0]
    assert reference.equation == "(9)"
    assert reference.at("(10)").equation == "(10)"
    assert reference.at("(9)") == reference
