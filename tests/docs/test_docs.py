"""The documentation builds without a warning, has a page for every loss, and its code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from genloss.losses import catalogue

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Builds a copy: the pages of the losses are written beside the sources."""
    source, built = tmp_path_factory.mktemp("docs"), tmp_path_factory.mktemp("site")
    for path in DOCS.rglob("*"):
        if path.is_file() and path.relative_to(DOCS).parts[0] not in ("losses", "__pycache__"):
            copy = source / "docs" / path.relative_to(DOCS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (source / "CONTRIBUTING.md").write_bytes((DOCS.parent / "CONTRIBUTING.md").read_bytes())
    strict = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(source / "docs"), str(built)]
    done = subprocess.run(strict, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


def test_every_loss_has_a_page_with_its_formula_and_its_references(site):
    for name, cls in catalogue().items():
        page = (site / "losses" / f"{name}.html").read_text("utf-8")
        assert page.count('<div class="formula">') >= len(cls.card.formula)
        assert all(reference.title.split(":")[0] in page.replace("’", "'") for reference in cls.card.references)
        assert ("Value and gradient" in page) == (cls.family == "adversarial")


def test_every_loss_is_listed_under_its_family(site):
    for name, cls in catalogue().items():
        assert f'href="{name}.html"' in (site / "losses" / f"family_{cls.family}.html").read_text("utf-8")


def test_pages_need_no_network(site):
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', text), page


def run_blocks(page):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    names = {}
    exec(compile("\n".join(blocks), page, "exec"), names)
    return names


def test_a_run_is_trained_and_read_back_from_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_blocks("python.md")
    assert names["outcome"].status == "finished"
    assert names["x"].shape == (64, 2)
    assert names["metrics"]["mmd2"].n == 500


def test_the_loops_of_ones_own_run():
    names = run_blocks("own_loop.md")
    assert names["generator_loss"].isfinite()
    assert names["terms"].bound.mean() < 0
