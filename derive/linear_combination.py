"""LaTeX of Σ c_k x_k as a reader would write it: no coefficient 1, no ``+ −``, brackets around sums only."""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp


def linear_combination(terms: Iterable[tuple[sp.Expr, str]]) -> str:
    r"""LaTeX of the sum of coefficient times symbol, the symbols given in LaTeX; ``0`` if nothing is left.

    >>> a, b = sp.symbols("a b")
    >>> print(linear_combination([(sp.Integer(1), "x"), (-a / 2, "y"), (1 - b, "z"), (sp.Integer(0), "w")]))
    x - \frac{a}{2}\, y + \left(1 - b\right) z
    """
    text = "".join(_signed(coefficient, symbol) for coefficient, symbol in terms if coefficient != 0)
    return text.removeprefix(" + ").strip() or "0"


def _signed(coefficient: sp.Expr, symbol: str) -> str:
    """One term with its sign; a sum is negative if each of its terms is."""
    negative = all(term.could_extract_minus_sign() for term in sp.Add.make_args(coefficient))
    size = -coefficient if negative else coefficient
    factor = "" if size == 1 else rf"\left({sp.latex(size)}\right) " if size.is_Add else rf"{sp.latex(size)}\, "
    return f" {'-' if negative else '+'} {factor}{symbol}"
