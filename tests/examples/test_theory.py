"""The examples run, and their numbers are those of closed forms."""

import importlib
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
THEORY = sorted(path.stem for path in (EXAMPLES / "theory").glob("[a-z]*.py"))


@pytest.fixture
def numbers(monkeypatch):
    """Returns the function that runs an example of theory and gives its numbers."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "theory"))

    def run(name):
        from matplotlib import pyplot

        try:
            found, figure = importlib.import_module(name).make()
            figure.canvas.draw()
        finally:
            pyplot.close("all")
        assert all(math.isfinite(value) for value in found.values())
        return found

    return run


def test_without_overlap_js_is_log_2_and_says_nothing(numbers):
    found = numbers("no_overlap")
    assert found["JS at t = 0"] == pytest.approx(0.0, abs=1e-12)
    assert found["JS at t = 12"] == pytest.approx(math.log(2.0), abs=1e-8)
    assert found["JS at t = 4"] < math.log(2.0)
    assert found["slope of minimax at t = 12"] < 1e-7 < 0.1 < found["slope of minimax at t = 4"]
    for t in (0, 4, 12):
        assert found[f"Wasserstein at t = {t}"] == pytest.approx(t)
    for t in (1, 4, 12):
        assert found[f"slope of Wasserstein at t = {t}"] == pytest.approx(1.0)


def test_forward_kl_matches_moments_and_reverse_kl_takes_one_component(numbers):
    found = numbers("kl_fits")
    # Of equal components at +-m with variance s^2: mean 0, covariance s^2 I + m m^T.
    for key, value in {
        "mean 1": 0.0,
        "mean 2": 0.0,
        "variance 1": 0.49 + 4.0,
        "variance 2": 0.49 + 1.0,
        "covariance": 2.0,
    }.items():
        assert found[f"Forward KL covers: {key}"] == pytest.approx(value, abs=1e-3)
    for side, sign in (("left", -1.0), ("right", 1.0)):
        name = f"Reverse KL, from the {side}"
        # Of components that do not overlap, the one kept costs log 2; these overlap a little.
        assert found[name] == pytest.approx(math.log(2.0), abs=0.005)
        assert found[f"{name}: mean 1"] == pytest.approx(2.0 * sign, abs=0.01)
        assert found[f"{name}: mean 2"] == pytest.approx(1.0 * sign, abs=0.01)
        assert found[f"{name}: variance 1"] == pytest.approx(0.49, abs=0.02)


def test_both_sides_of_both_equations_agree(numbers):
    found = numbers("game_values")
    for t in (0, 1, 4):
        assert found[f"game at t = {t}"] == pytest.approx(found[f"13.41 at t = {t}"], abs=1e-9)
        assert found[f"raised at t = {t}"] == pytest.approx(found[f"13.47 at t = {t}"], abs=1e-9)
        fixed = found[f"slope of raised, D* fixed at t = {t}"]
        assert fixed == pytest.approx(found[f"slope of -KL + 2 JS at t = {t}"], abs=1e-9)
    assert found["game at t = 0"] == pytest.approx(-2.0 * math.log(2.0))
    assert found["raised at t = 0"] == pytest.approx(-math.log(2.0))
    assert abs(found["slope of 13.47 at t = 1"] - found["slope of raised, D* fixed at t = 1"]) > 0.1
    # -KL + 2 JS falls by t a unit through the KL of two normals, t^2 / 2, and rises by less than 2 log 2 in all.
    assert -4.0 < found["slope of -KL + 2 JS at t = 4"] < -4.0 + 2.0 * math.log(2.0)


def test_descent_finds_the_best_discriminator(numbers):
    found = numbers("best_discriminator")
    assert found["largest error of free scores"] < 1e-9
    assert found["mean error of the network, where samples lie"] < 0.03


def test_slopes_are_those_of_the_derivatives(numbers):
    found = numbers("lipschitz")
    assert found["largest slope of x^2 on [-1, 1]"] == pytest.approx(2.0)
    assert found["largest slope of x^2 on [-1000, 1000]"] == pytest.approx(2000.0)
    assert found["largest slope of the root on [0.001, 1000]"] == pytest.approx(0.5 / math.sqrt(1e-3))
    assert 0.5 < found["largest slope of the critic on [-1000, 1000]"] < 1.001


def test_dropping_a_mode_costs_the_non_saturating_loss_little(numbers):
    found = numbers("dropped_modes")
    # Modes that do not overlap, the model on one of them: KL = log 2, JS = log 2 / 4 + log(2/3) / 4 + log(4/3) / 2.
    js = 0.25 * (math.log(2.0) + math.log(2.0 / 3.0)) + 0.5 * math.log(4.0 / 3.0)
    assert found["reverse KL at share 1e-6"] == pytest.approx(math.log(2.0), abs=1e-3)
    assert found["pull at share 1e-6"] == pytest.approx(math.log(2.0) - 2.0 * js, abs=1e-3)
    assert found["forward KL at share 1e-6"] == pytest.approx(0.5 * math.log(0.25e6), abs=1e-2)
    assert found["maximum likelihood: mean"] == pytest.approx(0.0, abs=0.1)
    assert found["maximum likelihood: deviation"] == pytest.approx(math.sqrt(9.0 + 0.49), rel=0.03)
    assert found["non-saturating: mean"] == pytest.approx(3.0, abs=0.05)
    assert found["non-saturating: deviation"] == pytest.approx(0.7, rel=0.05)


def test_distances_of_two_normals_are_those_of_the_closed_forms(numbers):
    found = numbers("moving_distance")

    def normal_cdf(x):
        return 0.5 * math.erfc(-x / math.sqrt(2.0))

    def mean_absolute(t):  # E|X| of a normal with mean t and variance 2
        return 2.0 / math.sqrt(math.pi) * math.exp(-t * t / 4.0) + t * (1.0 - 2.0 * normal_cdf(-t / math.sqrt(2.0)))

    for t in (0, 2, 10):
        assert found[f"Wasserstein at t = {t}"] == pytest.approx(t)
        energy = 2.0 * (mean_absolute(t) - mean_absolute(0.0))
        assert found[f"energy distance at t = {t}"] == pytest.approx(energy, rel=0.01, abs=1e-6)
        for width in (1, 5):
            total = width**2 + 2.0
            mmd = 2.0 * width / math.sqrt(total) * (1.0 - math.exp(-t * t / (2.0 * total)))
            assert found[f"MMD, bandwidth {width} at t = {t}"] == pytest.approx(mmd, rel=0.01, abs=1e-6)
    assert found["slope of MMD, bandwidth 1 at t = 10"] < 1e-5
    assert found["slope of energy distance at t = 10"] == pytest.approx(2.0, abs=1e-3)


def test_the_readme_names_every_script_and_each_is_short():
    text = (EXAMPLES / "README.md").read_text("utf-8")
    named = set(re.findall(r"`theory/(\w+)\.py`", text))
    assert named == set(THEORY)
    for name in THEORY:
        assert len((EXAMPLES / "theory" / f"{name}.py").read_text("utf-8").splitlines()) < 80


def test_a_script_writes_its_figure_where_it_is_told(tmp_path):
    script, figure = EXAMPLES / "theory" / "lipschitz.py", tmp_path / "figure.png"
    command = [sys.executable, str(script), "-o", str(figure)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "largest slope of x^2 on [-1, 1]" in done.stdout
    assert list(tmp_path.iterdir()) == [figure]


def test_a_loop_of_ones_own_learns_the_ring(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    start, *_, (share, modes) = importlib.import_module("own_loop").train(turns=600)
    assert start[0] < 0.05
    assert share > 0.25
    assert modes >= 4
