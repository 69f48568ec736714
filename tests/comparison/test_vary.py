"""How --vary is read: values, additions, names, refusals."""

import pytest
import yaml

from genloss.comparison.vary import added_penalties, combinations, folder_names, parse_vary
from genloss.errors import InputError


def labels(text):
    return [choice.label for choice in parse_vary(text).choices]


def test_a_comma_separates_variants_and_a_plus_adds_a_penalty():
    axis = parse_vary("loss=non_saturating,wasserstein+gradient_penalty,hinge+{name: r1, weight: 1}+weight_clipping")
    assert axis.key == "loss"
    assert [c.label for c in axis.choices] == [
        "non_saturating",
        "wasserstein+gradient_penalty",
        "hinge+r1(weight=1)+weight_clipping",
    ]
    assert [c.override for c in axis.choices] == ["loss=non_saturating", "loss=wasserstein", "loss=hinge"]
    assert [c.additions for c in axis.choices] == [
        (),
        ("gradient_penalty",),
        ({"name": "r1", "weight": 1}, "weight_clipping"),
    ]


def test_commas_and_plus_signs_inside_brackets_do_not_separate():
    assert labels("loss={name: least_squares, real_target: 0.9},hinge") == ["least_squares(real_target=0.9)", "hinge"]
    assert labels("train.betas=[0.0, 0.9],[0.5, 0.999]") == ["train.betas=[0.0, 0.9]", "train.betas=[0.5, 0.999]"]
    assert labels("train.learning_rate=1e+3,1e-3") == ["train.learning_rate=1e+3", "train.learning_rate=1e-3"]


def test_labels_are_short_for_models_and_own_classes():
    assert labels("model=gan,vae") == ["gan", "vae"]
    assert labels("loss=my_package.losses:Own+r1,hinge") == ["Own+r1", "hinge"]


def test_several_axes_make_the_grid_with_unique_names():
    grid = combinations([parse_vary("loss=hinge,wasserstein"), parse_vary("train.generator.optimizer=sgd,adam")])
    assert [name for name, _ in grid] == [
        "hinge / train.generator.optimizer=sgd",
        "hinge / train.generator.optimizer=adam",
        "wasserstein / train.generator.optimizer=sgd",
        "wasserstein / train.generator.optimizer=adam",
    ]
    same = combinations([parse_vary("loss=a.b:Own,c.d:Own")])
    assert [name for name, _ in same] == ["Own", "Own (2)"]


def test_folder_names_are_safe_unique_and_bounded():
    names = ["wasserstein+gradient_penalty", "A / b=[1, 2]", "a / b=[1, 2]", "../..", "_x", "y" * 500]
    folders = folder_names(names)
    assert folders[:3] == ["wasserstein-gradient_penalty", "A-b-1-2", "a-b-1-2-2"]
    assert len({folder.lower() for folder in folders}) == len(names)
    assert all(folder[0].isalnum() and set(folder) <= set(SAFE) and len(folder) <= 100 for folder in folders)


SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"


def test_an_addition_joins_the_recipes_penalties_and_replaces_its_namesake():
    present = ["r1", {"name": "gradient_penalty", "weight": 10}]
    key, _, value = added_penalties(present, [{"name": "gradient_penalty", "weight": 1}, "r2"]).partition("=")
    assert key == "penalties"
    assert yaml.safe_load(value) == ["r1", {"name": "gradient_penalty", "weight": 1}, "r2"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("loss", "not key=a,b,c"),
        ("=hinge,minimax", "not key=a,b,c"),
        ("loss=hinge,", "empty value"),
        ("loss=hinge,,minimax", "empty value"),
        ("loss=hinge,hinge", "twice"),
        ("loss=hinge+,minimax", "nothing on one side"),
        ("loss={name: hinge,minimax", "not YAML"),
        ("seed=1,2", "--seeds"),
        ("data=ring,grid", "different data"),
        ("data.name=ring,grid", "different data"),
        ("evaluation.samples=10,20", "measured alike"),
        ("evaluation={samples: 10},{samples: 20}", "measured alike"),
    ],
)
def test_what_cannot_be_varied_is_refused_in_a_sentence(text, part):
    with pytest.raises(InputError, match=part):
        parse_vary(text)


@pytest.mark.parametrize(
    ("axes", "part"),
    [
        (["loss=hinge,minimax", "loss=wasserstein,softmax"], "same key"),
        (["model=gan,vae", "model.noise_dim=2,4"], "same key"),
        (["penalties=[r1],[r2]", "loss=hinge+r1,minimax"], "use one of them"),
    ],
)
def test_axes_that_do_not_make_a_grid_are_refused(axes, part):
    with pytest.raises(InputError, match=part):
        combinations([parse_vary(text) for text in axes])
