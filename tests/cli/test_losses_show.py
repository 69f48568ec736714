"""`genloss losses show`: cards, values, plots."""

import math

import pytest
from PIL import Image

import genloss.losses as losses
from genloss.cli.losses import losses as command_of_losses
from genloss.losses.score_curves import score_curves
from tests.cli.command import genloss, last_json

ADVERSARIAL = list(losses.catalogue("adversarial").values())


def test_a_card_comes_with_values_and_gradients():
    done = genloss("losses", "show", "hinge")
    assert "Geometric GAN" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["5", "1", "(+0)", "7", "(+1)", "-5", "(-1)"] in rows
    assert "discriminator" not in genloss("losses", "show", "mmd").stdout


@pytest.mark.parametrize("name", ["f_alpha", "optimal_completion", "boundary_equilibrium"])
def test_json_holds_the_card_and_the_curves(name):
    found = last_json(genloss("losses", "show", name, "--json"))
    assert found["name"] == name
    assert found["references"]
    assert len(found["curves"]) == (0 if name == "optimal_completion" else 3)
    for curve in found["curves"]:
        assert len(curve["scores"]) == len(curve["values"]) == len(curve["gradients"]) == 41


def test_a_plot_is_saved_named_and_says_what_it_is(tmp_path):
    path = tmp_path / "plot.png"
    done = genloss("losses", "show", "least_squares", "-o", path)
    assert done.returncode == 0
    assert str(path) in done.stdout
    with Image.open(path) as image:
        assert image.text["Title"].startswith("LeastSquares(")
        assert min(image.size) > 500
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20
    assert last_json(genloss("losses", "show", "hinge", "--json", "-o", tmp_path / "h.svg"))["plot"].endswith("h.svg")
    again = genloss("losses", "show", "hinge", "-o", path)
    assert again.returncode == 2
    assert "exists" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "mmd", "-o", "x.png"], "only adversarial losses"),
        (["show", "hinge", "-o", "x.gif"], "expected it to end in"),
        (["show", "hinge", "-o", "no/x.png"], "there is no folder"),
        (["-o", "x.png"], "name it"),
        (["show"], "`genloss losses show` needs the name of a loss"),
        (["show", "adversarial"], "'adversarial' is a family, not a loss; `genloss losses` lists every family"),
        (["show", "adversarial"], "shows one loss, here boundary_equilibrium, energy_based, "),
        (["show", "wgan-gp"], "Did you mean 'wgan_gp'?"),
    ],
)
def test_a_plot_that_cannot_be_made_is_a_sentence(tmp_path, arguments, message):
    done = genloss("losses", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cls", ADVERSARIAL, ids=lambda cls: cls.card.name)
def test_gradients_of_the_curves_are_slopes_of_their_values(cls):
    # The trapezium rule: gradients integrate to differences of values, to the square of the step.
    for curve in score_curves(cls(), points=2001):
        step = curve.scores[1] - curve.scores[0]
        total = step * (sum(curve.gradients) - 0.5 * (curve.gradients[0] + curve.gradients[-1]))
        difference = curve.values[-1] - curve.values[0]
        scale = max(map(abs, curve.gradients)) * (curve.scores[-1] - curve.scores[0])
        assert math.isclose(total, difference, rel_tol=1e-4, abs_tol=1e-3 * scale)


def test_the_score_that_does_not_move_is_told(tmp_path):
    assert "the other score is held at 0" in genloss("losses", "show", "hinge").stdout
    # LSGAN with targets 0 and 1 rests in the middle.
    found = last_json(genloss("losses", "show", "least_squares", "--json"))
    assert {curve["other_score"] for curve in found["curves"]} == {losses.LeastSquares().equilibrium().score}
    path = tmp_path / "hinge.svg"
    genloss("losses", "show", "hinge", "-o", path, MPLCONFIGDIR=str(tmp_path))
    assert "score (the other one is held at 0)" in path.read_text("utf-8")


def test_the_list_cuts_no_name_and_nothing_when_piped():
    lines = genloss("losses", COLUMNS="80").stdout.splitlines()
    for name, cls in losses.catalogue().items():
        assert [line.split()[0] for line in lines].count(name) == 1
        assert any(line.split(maxsplit=1)[1:] == [cls.card.when] for line in lines)


def test_the_list_fits_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    command_of_losses(None)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.endswith("...") for line in lines)
    assert {line.split()[0] for line in lines} >= losses.catalogue().keys()
