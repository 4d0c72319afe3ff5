"""The documentation site: ``make docs`` builds it into out/docs, with nothing from other hosts.

Pages are the Markdown files here; index.md says their order. Equations become MathML (mathml.py),
the command line's page is written by commands.py, the Python API by autodoc.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import styleclip

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for mathml

project = "StyleCLIP"
author = "The StyleCLIP authors of this project"
copyright = f"{author}, MIT licence"
release = version = styleclip.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.githubpages", "mathml"]
myst_enable_extensions = ["dollarmath", "attrs_inline", "deflist"]
myst_heading_anchors = 3
myst_url_schemes = ["http", "https", "mailto"]
exclude_patterns = ["_build"]
html_math_renderer = "mathml"
smartquotes = False  # --options and quoted prompts stay what can be typed
math_numfig = False

html_theme = "furo"
html_title = "StyleCLIP"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {"footer_icons": []}
pygments_style, pygments_dark_style = "friendly", "native"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
toc_object_entries_show_parents = "hide"
python_display_short_literal_types = True
python_maximum_signature_line_length = 88
maximum_signature_line_length = 88

nitpicky = True
# Names of Python and of other projects: their lists of names would have to be fetched.
OTHERS = (
    r"(torch|nn|np|PIL|Image|transformers|collections|pathlib|Path|Tensor|Mapping|dict|"
    r"CLIPModel|PreTrainedModel)\b.*"
)
ALIASES = r"(.*\.)?(Templates|Activation|Interpolation|G)"  # the signature shows these by name
nitpick_ignore_regex = [("py:.*", OTHERS), ("py:.*", ALIASES)]


FIELD = re.compile(r"^    (\w+): .+?  # (.+)$", re.MULTILINE)  # of a dataclass, with its comment


def setup(app: Sphinx) -> None:
    app.connect("source-read", _list_the_rest)
    app.connect("autodoc-process-docstring", _as_it_is_written)
    app.connect("missing-reference", _public_name)


def _list_the_rest(app: Sphinx, page: str, source: list[str]) -> None:
    """Where index.md says so, the pages that it does not name: a new one is there at once."""
    if page == "index":
        named = set(source[0].split())
        rest = sorted(app.env.found_docs - named - {"index"})
        source[0] = source[0].replace("(every other page)", "\n".join(rest))


def _as_it_is_written(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings are prose with ``literals``; a field's comment is its documentation."""
    lines[:] = [_prose(line) for line in lines]
    if what == "class" and dataclasses.is_dataclass(thing):
        comments = FIELD.findall(inspect.getsource(thing))
        lines += ["", *(f"- ``{field}``: {_prose(comment)}" for field, comment in comments), ""]


def _prose(line: str) -> str:
    """Outside of literals, in one backtick or two, no sign means anything to Sphinx."""
    parts = re.split(r"``(.+?)``|`([^`]+)`", line)
    prose = [re.sub(r"([*|_`])", r"\\\1", part) for part in parts[::3]]
    literals = [f"``{two or one}``" for two, one in zip(parts[1::3], parts[2::3], strict=True)]
    return "".join(chain.from_iterable(zip_longest(prose, literals, fillvalue="")))


def _public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element
) -> nodes.Element | None:
    """styleclip.editing.edit.Edit is documented as styleclip.Edit."""
    name = node.get("reftarget", "").rpartition(".")[2]
    for module in ("styleclip", "styleclip.checkpoints"):
        found = env.domains.python_domain.objects.get(f"{module}.{name}")
        if found is not None:
            return env.domains.python_domain.resolve_xref(
                env, node["refdoc"], app.builder, node["reftype"], f"{module}.{name}", node, shown
            )
    return None
