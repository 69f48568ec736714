"""The literature: `references.bib` beside this file, by key."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

import genloss

__all__ = ["bibliography", "software_entry"]


@cache
def bibliography() -> dict[str, str]:
    """Returns every entry of `references.bib` as BibTeX, by its key.

    >>> bibliography()["lim2017geometric"].splitlines()[0]
    '@misc{lim2017geometric,'
    """
    text = resources.files("genloss").joinpath("references.bib").read_text("utf-8")
    return {key: entry for entry, key in re.findall(r"^(@\w+\{(\w+),\n.*?^\})$", text, re.DOTALL | re.MULTILINE)}


def software_entry() -> str:
    """Returns the BibTeX entry of this version of genloss."""
    lines = (
        "@misc{genloss,",
        "  author = {{The genloss authors}},",
        "  title = {genloss: train, measure and compare generative models by their loss},",
        f"  note = {{Version {genloss.__version__}}},",
        "}",
    )
    return "\n".join(lines)
