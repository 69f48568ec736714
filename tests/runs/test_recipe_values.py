"""Values of a recipe: decimal numbers, keys given once, text in UTF-8, bounds; each mistake is one sentence."""

import numpy as np
import pytest

from genloss.errors import InputError
from genloss.runs.build import build
from genloss.runs.overrides import merge, parse_override, refuse_twice
from genloss.runs.recipes import read_recipe

RECIPE = "data: ring\nmodel: gan\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("020", 20),
        ("1_000", 1000),
        ("-3", -3),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("2026-01-01", "2026-01-01"),
        ("1e-3", 0.001),
        ("2E4", 20000.0),
        (".5", 0.5),
        ("'5'", "5"),
        ("[1e2, {a: 010}]", [100.0, {"a": 10}]),
        ("true", True),
        ("", None),
    ],
)
def test_numbers_are_decimal(text, value):
    found = parse_override(f"key={text}")[1]
    assert found == value
    assert type(found) is type(value)


def refusal(*overrides, recipe="ring_gan"):
    with pytest.raises(InputError) as refused:
        build(read_recipe(str(recipe), ["device=cpu", "train.steps=3", *overrides])[0])
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss={name: hinge, name: wasserstein}", "gives 'name' twice, as 'hinge' and as 'wasserstein'; keep one"),
        ("train.learning_rate={schedule: linear, from: -1, to: 2}", "train.learning_rate.from is -1: "),
        ("train.learning_rate={schedule: linear, from: 0.1, to: -1}", "train.learning_rate.to is -1: "),
        ("train.generator.learning_rate={schedule: linear, from: 1, to: -1}", "generator.learning_rate.to is -1: "),
        ("train.learning_rate=inf", "train.learning_rate is 'inf': input should be a finite number"),
        ("penalties=[{name: r1, weight: .inf}]", "penalties[0].weight is inf, expected a finite number"),
        ("penalties=[{name: r1, weight: inf}]", "penalties[0].weight is 'inf', expected a finite number"),
        ("train.batch_size=true", "train.batch_size is True: expected a value that is neither true nor false"),
        ("seed=1:30", "seed is '1:30'"),
        ("threads=100000", "threads is 100000: input should be less than or equal to 1024"),
        ("device=meta", "device='meta' cannot be used here"),
        (".train=5", "'.train=5' has a dot with nothing on one side"),
        ("name=my run", "name is 'my run': expected letters, digits, _, . and -"),
        (
            "train.betas=(0.5,0.9)",
            "train.betas is '(0.5,0.9)', expected a list in brackets; write train.betas=[0.5,0.9].",
        ),
        ("train.betas=0.5, 0.9", "write train.betas=[0.5, 0.9]."),
        ("train.betas=0.5", "train.betas is 0.5, expected a list in brackets; write train.betas=[0.5, ...]."),
        ("train.betas=[0.5]", "train.betas is [0.5], which is too short"),
        ("penalties=r1,gp", "penalties is 'r1,gp', expected a list in brackets; write penalties=[r1,gp]."),
        ("penalties=", "penalties is None, expected a list in brackets; write penalties=[...]."),
    ],
)
def test_a_wrong_value_is_one_sentence(override, message):
    assert message in refusal(override)


def test_a_key_given_twice_on_a_command_line_is_refused_with_both_values():
    with pytest.raises(InputError, match=r"train\.steps is given twice, as '3' and as '4'; keep one of them\."):
        refuse_twice(["train.steps=3", "seed=1", "train.steps=4"])
    refuse_twice(["train.steps=3", "train.batch_size=4"])


def test_a_section_given_after_what_it_would_replace_is_refused():
    with pytest.raises(InputError, match=r"train\.steps is given before train=\{batch_size: 4\}, .* give train first"):
        refuse_twice(["train.steps=3", "train={batch_size: 4}"])
    refuse_twice(["train={batch_size: 4}", "train.steps=3"])
    refuse_twice(["data.size=8", "data=mnist"])  # a name joins what is there


@pytest.mark.parametrize("section", ["model.network", "loss"])
def test_a_field_given_before_the_name_that_would_drop_it_is_refused(section):
    with pytest.raises(
        InputError, match=rf"{section}\.x is given before {section}\.name=y.* give {section}\.name first"
    ):
        refuse_twice([f"{section}.x=3", f"{section}.name=y"])
    refuse_twice([f"{section}.name=y", f"{section}.x=3"])
    refuse_twice(["model.noise_dim=3", "model.name=gan", "data.size=8", "data.name=mnist"])  # what they name joins


@pytest.mark.parametrize("penalties", ["r1", "{name: r1, weight: 3}"])
def test_one_penalty_is_a_list_of_one(penalties):
    (one,) = read_recipe("ring_gan", [f"penalties={penalties}"])[0].penalties
    assert one == parse_override(f"penalties={penalties}")[1]


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("model.network", {"name": "mlp", "width": 8}, "dcgan"),
        ("model.critic", {"name": "mlp", "width": 8}, "dcgan"),
        ("model.network", {"width": 8}, "dcgan"),  # without a name it is the default one
        ("model.likelihood", {"name": "gaussian", "variance": "shared"}, "laplace"),
        ("loss", {"name": "f_alpha", "alpha": 0.5}, "hinge"),
        ("loss", "hinge", "wasserstein"),
    ],
)
def test_another_name_drops_the_fields_of_the_old_one(key, old, new):
    def named(override):
        tree = {}
        merge(tree, key, old)
        merge(tree, *parse_override(override))
        for part in key.split("."):
            tree = tree[part]
        return tree

    assert named(f"{key}.name={new}") == {"name": new}
    assert named(f"{key}={new}") == new
    if isinstance(old, dict) and "name" in old:
        assert named(f"{key}.name={old['name']}") == old


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{RECIPE}train:\n  steps: 3\n  steps: 4\n".encode(), "gives 'steps' twice, as 3 and as 4; keep one of them."),
        (f"{RECIPE}model: vae\n".encode(), "gives 'model' twice, as 'gan' and as 'vae'"),
        (RECIPE.encode("utf-16"), "is not UTF-8 text (byte 0 is not); save it in UTF-8"),
        (f"{RECIPE}# caf\xe9\n".encode("latin-1"), "is not UTF-8 text (byte 27 is not)"),
        (b"data: [", "is not YAML: "),
    ],
)
def test_a_recipe_that_cannot_be_read_is_one_sentence(tmp_path, content, message):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(content)
    assert message in refusal(recipe=recipe)


def test_a_recipe_without_a_name_whose_file_is_no_folder_name_says_what_to_do(tmp_path):
    recipe = tmp_path / "my recipe.yaml"
    recipe.write_text(RECIPE)
    assert "give one, such as name=my_run" in refusal(recipe=recipe)
    assert read_recipe(str(recipe), ["name=mine"])[0].name == "mine"


def test_data_that_give_an_mmd_no_bandwidths_are_refused(tmp_path):
    np.save(tmp_path / "constant.npy", np.ones((40, 5), dtype=np.float32))
    message = refusal(f"data.path={tmp_path / 'constant.npy'}", "train.batch_size=4", recipe="digits_mmd")
    assert "give the MMD no bandwidths" in message
    assert "loss={name: mmd, bandwidths: [0.5, 1, 2]}" in message
