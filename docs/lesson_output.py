"""How a lesson's cells show on the page: the last value as a formula where it has one, as Jupyter does."""

from textwrap import indent

FIGURE_STYLE = {
    "figure.figsize": (6.4, 3.8),
    "figure.dpi": 110,
    "savefig.bbox": "tight",
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def figure_style(gallery_conf, file_name):
    """The look of all figures; called before each lesson."""
    import matplotlib as mpl

    mpl.rcParams.update(FIGURE_STYLE)


def last_value(block, block_vars, gallery_conf):
    """reStructuredText of the value of a cell that ends in an expression. A scraper of sphinx-gallery."""
    scope = block_vars["example_globals"]
    value = scope.get("___")
    scope["___"] = None
    if value is None or type(value).__module__.startswith("matplotlib"):
        return ""
    values = value if isinstance(value, (tuple, list)) and value and all(map(has_formula, value)) else [value]
    return "\n".join(formula(one) if has_formula(one) else literal(one) for one in values)


def has_formula(value):
    return hasattr(value, "_repr_latex_")


def formula(value):
    body = value._repr_latex_().strip("$").replace(r"\displaystyle", "").strip()
    return f"\n.. rst-class:: formula-out\n\n.. math::\n\n{indent(body, '    ')}\n"


def literal(value):
    return f"\n.. rst-class:: sphx-glr-script-out\n\n.. code-block:: none\n\n{indent(repr(value), '    ')}\n"
