"""The documentation: hand-written pages, and one for every loss made from its card. Build it with `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

sys.path.insert(0, str(Path(__file__).parent))
import cards

import genloss

project = "genloss"
author = "The genloss authors"
project_copyright = author
version = release = genloss.__version__

extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_static"]
suppress_warnings = ["myst.header"]  # sections of a page may begin below its title

html_theme = "furo"
html_title = "genloss"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False


def _inline(writer: Any, node: nodes.Element) -> None:
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.Element) -> None:
    writer.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Writes the pages of the losses, and renders formulas to MathML, which needs no script and no network."""
    cards.write(Path(__file__).parent / "losses")
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
