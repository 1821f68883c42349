"""What was derived, on paper: text, LaTeX, Markdown, or SymPy source to go on from."""

from __future__ import annotations

from typing import Literal

import sympy as sp

from derive.derivation import Derivation
from derive.discrete_law import DiscreteLaw
from derive.solution import Solution

Format = Literal["text", "latex", "markdown", "python"]


def render(result: Solution | DiscreteLaw, format: Format = "text") -> str:
    """The derivation of a law, the law, and (of a continuous one) its solution.

    >>> from derive import discrete_law, sgd, translation
    >>> scope = {}
    >>> exec(render(discrete_law(translation(), sgd()), "python"), scope)
    >>> scope["law"].lhs
    Q_n*(E + eta*lambda - 1)

    Raises
    ------
    ValueError
        For an unknown format.
    """
    writers = {"text": _text, "latex": _latex, "markdown": _markdown, "python": _python}
    if format not in writers:
        raise ValueError(f"format: expected one of {sorted(writers)}, got {format!r}")
    return writers[format](result)


def _derivation(result: Solution | DiscreteLaw) -> Derivation:
    return result.law.derivation if isinstance(result, Solution) else result.derivation


def _text(result: Solution | DiscreteLaw) -> str:
    lines = [_derivation(result).to_text(), "", "law"]
    if isinstance(result, DiscreteLaw):
        state = ", ".join(("Q_n", "C_n = <v_n, X>")[: result.transition.shape[0]])
        return "\n".join([*lines, f"     x_(n+1) = A x_n + B f_n   with x = ({state}), f = ({', '.join(result.drives)})",
                          f"     A = {result.transition.tolist()}", f"     B = {result.drive_matrix.tolist()}",
                          "", "for constant hyper-parameters, E x_n = x_(n+1)",
                          f"     {result.equation.lhs} = {result.equation.rhs}"])  # fmt: skip
    rates = [f"     {symbol} = {value}" for symbol, value in result.rates]
    return "\n".join([*lines, f"     {result.law}", "", "solution, in every damping regime", f"     Q(t) = {result.formula}",
                      "with", *rates, *_legend(result)])  # fmt: skip


def _legend(result: Solution) -> list[str]:
    charge = [f"     Q = {result.law.symmetry.charge}"]
    if not result.law.is_oscillator:
        return charge
    return [*charge, "     damped_cosh(a, b) = exp(-a) cosh(sqrt(a^2 - b^2))",
            "     damped_sinhc(a, b) = exp(-a) sinh(sqrt(a^2 - b^2))/sqrt(a^2 - b^2)"]  # fmt: skip


def _formulas(result: Solution | DiscreteLaw) -> list[tuple[str, str]]:
    """(heading, LaTeX without delimiters)."""
    if isinstance(result, DiscreteLaw):
        return [("Law", result._repr_latex_().strip("$"))]
    return [("Law", result.law._repr_latex_().strip("$")), ("Solution", result._repr_latex_().strip("$"))]


def _latex(result: Solution | DiscreteLaw) -> str:
    formulas = "\n".join(rf"\paragraph{{{heading}}}" + "\n" + rf"\[ {formula} \]" for heading, formula in _formulas(result))
    return _derivation(result).to_latex() + "\n" + formulas


def _markdown(result: Solution | DiscreteLaw) -> str:
    formulas = "\n".join(f"**{heading}**\n\n$$\n{formula}\n$$\n" for heading, formula in _formulas(result))
    return _derivation(result).to_markdown() + "\n" + formulas


def _python(result: Solution | DiscreteLaw) -> str:
    """SymPy source that rebuilds the law (and the solution) as expressions."""
    parts = (
        {"law": result.equation}
        if isinstance(result, DiscreteLaw)
        else {"law": result.law.equation, "solution": result.elementary}
    )
    return "\n".join(["from sympy import *", "", *(f"{name} = {sp.srepr(value)}" for name, value in parts.items())])
