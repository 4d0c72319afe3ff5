"""Equations as MathML, which browsers draw themselves: no script, no fonts, nothing from elsewhere.

A math renderer for Sphinx. The LaTeX is read by docutils; what it cannot read is an error of the
build, with the equation.
"""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_mathml(node.astext(), block=False))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_mathml(node.astext(), block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(latex: str, block: bool) -> str:
    try:
        return tex2mathml(latex, as_block=block)
    except MathError as error:
        raise ExtensionError(f"the equation {latex!r} cannot be read: {error}") from error
