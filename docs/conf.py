"""Settings of Sphinx, which makes pages of the guides and of the docstrings: python -m sphinx -W -c docs . FOLDER"""

from __future__ import annotations

import re
from typing import Any

project = "fastnn"
author = copyright = "the fastnn developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "README"
others = ["docs/fastnn", "docs/kernels", "kernels/README", "examples/README", "benchmarks/README", "SECURITY", "CHANGELOG", "fastnn/data/ATTRIBUTION"]
include_patterns = [f"{name}.{'rst' if name.startswith('docs/') else 'md'}" for name in [root_doc, *others]]
html_theme = "furo"
html_title = "fastnn"
smartquotes = False
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_custom_sections = [("Attributes", "params_style")]  # several names on a line, as parameters may have
suppress_warnings = ["ref.python"]  # types such as Loss are classes of both packages


def add_contents(app: Any, name: str, source: list[str]) -> None:
    """Let the README, which other readers show as it is, name the other pages."""
    if name == root_doc:
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", "", *others, "```", ""])


def escape_formulas(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Take the stars and bars of a docstring's formulas for what they are: docstrings are plain text, but for their sections and examples."""
    example = False
    for i, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if not example:
            lines[i] = re.sub(r"[*|]|_(?=\W|$)", r"\\\g<0>", line)


def setup(app: Any) -> None:
    """Connect both."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", escape_formulas, priority=400)  # before napoleon
