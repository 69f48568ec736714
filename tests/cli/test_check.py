"""`genloss check` on files as people write them: sound ones, careless ones, and ones that cannot be used."""

import re
from pathlib import Path

import pytest

from genloss.cli.check import check
from genloss.errors import InputError
from tests.cli.command import genloss, last_json

SOUND = """
from dataclasses import dataclass
from genloss.losses import AdversarialLoss, LeastSquares

@dataclass(frozen=True, kw_only=True)
class Own(AdversarialLoss):
    weight: float = 1.0

    def _discriminator(self, a_r, a_f):
        return self.weight * (a_f - a_r)

    def _generator(self, a_f, a_r):
        return -self.weight * a_f

heavy = Own(weight=3.0)
number = 3
"""
BROKEN = SOUND.replace("return -self.weight * a_f", "return a_f.mean()")
NO_DEFAULT = SOUND.replace("weight: float = 1.0", "weight: float").replace("heavy = Own(weight=3.0)", "")
REFUSES = SOUND.replace("heavy", "# heavy").replace(
    "    def _disc", "    def __post_init__(self): raise ValueError('no')\n\n    def _disc"
)
TWO = SOUND + "\nclass Other(Own):\n    pass\n"


def write(folder, text):
    path = folder / "own.py"
    path.write_text(text, "utf-8")
    return path


def test_a_sound_loss_without_a_card_keeps_its_laws_and_skips_what_it_does_not_state(tmp_path):
    done = genloss("check", write(tmp_path, SOUND), "--json")
    assert done.returncode == 0, done.stdout
    found = last_json(done)
    assert (found["loss"], found["family"], found["keeps_every_law"]) == ("Own(weight=1.0)", "adversarial", True)
    skipped = {law["law"]: law["message"] for law in found["laws"] if law["status"] == "skipped"}
    assert skipped["At the equilibrium both losses have the value that equilibrium() states"].startswith(
        "it states no equilibrium()"
    )
    assert sum(law["status"] == "passed" for law in found["laws"]) >= 12


def test_an_instance_is_checked_with_its_fields(tmp_path):
    assert last_json(genloss("check", f"{write(tmp_path, SOUND)}:heavy", "--json"))["loss"] == "Own(weight=3.0)"


def test_a_class_that_is_no_dataclass_is_told_by_its_name(tmp_path):
    text = SOUND.replace("@dataclass(frozen=True, kw_only=True)\n", "").replace("heavy", "# heavy")
    assert last_json(genloss("check", write(tmp_path, text), "--json"))["loss"] == "Own()"


def test_a_broken_loss_is_exit_1_and_told_with_numbers(tmp_path):
    done = genloss("check", write(tmp_path, BROKEN))
    assert done.returncode == 1
    assert re.search(r"give the generator's loss the shape \(\)", " ".join(done.stdout.split()))
    assert re.search(r"\d+ laws passed, [1-9]\d* broken, \d+ skipped", done.stdout)
    assert last_json(genloss("check", write(tmp_path, BROKEN), "--json"))["keeps_every_law"] is False


def test_a_module_of_the_folder_and_one_of_ours_are_found(tmp_path):
    write(tmp_path, SOUND)
    assert genloss("check", "own:Own", cwd=tmp_path).returncode == 0
    assert genloss("check", "genloss.losses:EditDistance", cwd=tmp_path).returncode == 0


def test_a_file_may_import_its_neighbour(tmp_path):
    (tmp_path / "neighbour.py").write_text("SCALE = 2.0\n", "utf-8")
    text = SOUND.replace("number = 3", "").replace("weight: float = 1.0", "weight: float = SCALE")
    assert genloss("check", write(tmp_path, "from neighbour import SCALE\n" + text)).returncode == 0


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("import nothing_like_it\n", "", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("x = 1\ny = 1 / 0\n", "", "ZeroDivisionError: division by zero ("),
        ("x = 1\ny = 1 / 0\n", "", "own.py, line 2)"),
        ("def f(:\n", "", "SyntaxError"),
        ("import sys\nsys.exit(3)\n", "", "SystemExit"),
        ("x = 1\n", "", "holds no loss"),
        ("from genloss.losses import Hinge\n", "", "holds no loss"),
        (TWO, "", "holds 2 losses; name one: "),
        (SOUND, ":Owm", "Did you mean 'Own'?"),
        (SOUND, ":number", "is of type int, expected a loss"),
        (SOUND, ":Own(weight=2)", "my_loss = Own(...)"),
        (NO_DEFAULT, "", "fields without defaults (weight: "),
        (SOUND.replace("_generator", "_generate").replace("heavy", "# heavy"), "", "does not write _generator"),
        (SOUND + "    x = 1\n", "", "IndentationError"),
        (REFUSES, ":Own", "Own() raised ValueError: no"),
        ("from genloss.losses import Penalty\nclass P(Penalty):\n  def _penalty(self, view): ...\n", "", "no 'points'"),
        ("from genloss.losses import Loss\nclass P(Loss):\n  x = 1\n", "", "families with laws"),
    ],
)
def test_what_cannot_be_checked_is_a_sentence(tmp_path, text, name, message):
    with pytest.raises(InputError) as refused:
        check(f"{write(tmp_path, text)}{name}")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_cannot_be_checked_is_exit_2(tmp_path):
    done = genloss("check", write(tmp_path, "x = 1 / 0\n"))
    assert done.returncode == 2
    assert done.stderr.startswith("genloss: ")
    assert done.stderr.endswith("own.py, line 1); mend it there, and see that `python` can import it.\n")


@pytest.mark.parametrize("target", ["nowhere.py", "nowhere.py:Own", "hinge", "no_such_module:Own", "."])
def test_a_place_that_is_not_there_is_a_sentence(tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"expected FILE\.py|cannot be imported"):
        check(target)


def test_the_page_on_own_losses_shows_what_the_command_finds(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text("utf-8")
    first, *others = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    done = genloss("check", write(tmp_path, first), "--json")
    assert done.returncode == 1
    broken = {law["law"] for law in last_json(done)["laws"] if law["status"] == "broken"}
    assert broken == set(re.findall(r"^broken +(.*)$", page, re.MULTILINE))
    exec(compile("\n".join((first, *others)), "check.md", "exec"), {"__name__": "page"})
