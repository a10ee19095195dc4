"""Sphinx extension that writes formulas as MathML.

Browsers draw MathML themselves, so that no page loads a script for its formulas. The
converter is that of docutils.
"""

import re

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number


def convert(node, as_block):
    r"""Return the formula of `node` as MathML.

    Norms and angle brackets keep the size of the text, as in TeX. Browsers would
    stretch them to the height of what they enclose, and docutils forbids this for other
    brackets only. So these two do not go with ``\left`` and ``\right``.
    """
    try:
        formula = latex2mathml.tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        raise ExtensionError(
            f"{node.source}:{node.line}: formula {node.astext()!r}: {error}"
        ) from error
    return re.sub(r'<mo( class="\w+")?>([‖⟨⟩])', r'<mo\1 stretchy="false">\2', formula)


def visit_math(writer, node):
    """Write a formula inside a line of text."""
    writer.body.append(writer.starttag(node, "span", "", CLASS="math notranslate"))
    writer.body.append(convert(node, False) + "</span>")
    raise nodes.SkipNode


def visit_math_block(writer, node):
    """Write a displayed formula with its number, if it has one."""
    writer.body.append(writer.starttag(node, "div", CLASS="math notranslate"))
    if node["number"]:
        number = get_node_equation_number(writer, node)
        writer.body.append(f'<span class="eqno">({number})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append(convert(node, True) + "</div>\n")
    raise nodes.SkipNode


def setup(app):
    """Register the renderer under the name that `html_math_renderer` takes."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
