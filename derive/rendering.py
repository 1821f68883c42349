"""What was derived, on paper: text, LaTeX, Markdown, or SymPy source to go on from."""

from __future__ import annotations

import keyword
from typing import Literal

import sympy as sp
from sympy.core.function import AppliedUndef

from derive.derivation import Derivation, plain
from derive.discrete_law import DRIVES, DiscreteLaw
from derive.solution import Solution
from derive.symbols import ARGUMENT_NAMES
from derive.symmetry import Symmetry

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


def _symmetry(result: Solution | DiscreteLaw) -> Symmetry:
    return result.law.symmetry if isinstance(result, Solution) else result.symmetry


def _legend(result: Solution | DiscreteLaw) -> list[tuple[str, str, str]]:
    """(letter in text, letter in LaTeX, meaning in LaTeX between dollars) of what the formulas hold."""
    form = _symmetry(result).form_latex
    rows = [
        ("g, H", "g, H", r"gradient and Hessian of the loss"),
        ("X, M, c", "X, M, c", r"generator of the symmetry, $X(\theta) = M \theta + c$"),
    ]
    if isinstance(result, DiscreteLaw):
        drives = {
            "breaking": (r"b_n", r"$\langle g_n, X(\theta_n)\rangle$, which is 0 for an exact symmetry"),
            "gradient": ("q_n", f"${form('g')}$ at step $n$"),
            "direction": ("w_n", f"${form('d')}$ of the step $\\theta_{{n+1}} = \\theta_n - \\eta d_n$"),
            "overlap": ("o_n", r"$\langle d_n, v_{n+1}\rangle$, the same form of $d_n$ and $v_{n+1}$"),
        }
        rows += [("Q_n", "Q_n", f"charge ${form(chr(92) + 'theta')}$ at step $n$"),
                 ("E", "E", "shift by one step, $E x_n = x_{n+1}$")]  # fmt: skip
        rows += [("C_n", "C_n", r"$\langle v_n, X(\theta_n)\rangle$")] if result.transition.shape[0] == 2 else []
        return rows + [(drives[name][0], *drives[name]) for name in result.drives]
    rows += [("Q", "Q", f"charge ${form(chr(92) + 'theta')}$"),
             ("t", "t", r"training time, $\sum h$ with $h = \eta(1-\alpha)$"),
             ("D, E", "D, E", r"time derivative and shift by one step, $E = e^{hD}$")]  # fmt: skip
    names = {"gradient": ("q(t)", f"${form('g')}$"), "velocity": ("k(t)", f"${form(chr(92) + 'dot' + chr(92) + 'theta')}$")}
    names["overlap"] = ("o(t)", r"$\langle d, v\rangle$, the same form of a step's direction and velocity")
    return rows + [(letter, letter, meaning) for letter, meaning in (names[name] for name in result.law.drive_operators)]


def _text(result: Solution | DiscreteLaw) -> str:
    legend = [f"     {letter:<8} {plain(meaning)}" for letter, _, meaning in _legend(result)]
    lines = [_derivation(result).to_text(), "", "law"]
    if isinstance(result, DiscreteLaw):
        state = "(Q_n, C_n)" if result.transition.shape[0] == 2 else "(Q_n)"
        letters = ", ".join(str(DRIVES[name]) for name in result.drives)
        lines += [f"     x_(n+1) = A x_n + B f_n   with x_n = {state}, f_n = ({letters})"]
        lines += [f"     A = {result.transition.tolist()}", f"     B = {result.drive_matrix.tolist()}"]
        if result.first_transition != result.transition or result.first_drive_matrix != result.drive_matrix:
            lines += [f"     first step: A = {result.first_transition.tolist()}, B = {result.first_drive_matrix.tolist()}"]
        lines += ["", "for constant hyper-parameters and b_n = 0", f"     {result.equation.lhs} = {result.equation.rhs}"]
        return "\n".join([*lines, "", "where", *legend])
    rates = [f"     {symbol} = {value}" for symbol, value in result.rates]
    lines += [f"     {result.law}", "", "solution, in every damping regime", f"     Q(t) = {result.formula}", "with", *rates]
    if result.law.is_oscillator:
        lines += ["     damped_cosh(a, b) = exp(-a) cosh(sqrt(a^2 - b^2))",
                  "     damped_sinhc(a, b) = exp(-a) sinh(sqrt(a^2 - b^2))/sqrt(a^2 - b^2)"]  # fmt: skip
    return "\n".join([*lines, "", "where", *legend])


def _formulas(result: Solution | DiscreteLaw) -> list[tuple[str, str]]:
    """(heading, LaTeX without delimiters)."""
    if isinstance(result, Solution):
        return [("Law", result.law._repr_latex_().strip("$")), ("Solution", result._repr_latex_().strip("$"))]
    state = sp.Matrix([sp.Symbol("Q_n"), sp.Symbol("C_n")][: result.transition.shape[0]])
    drives = sp.Matrix([DRIVES[name] for name in result.drives])
    A, B = sp.latex(result.transition), sp.latex(result.drive_matrix)
    recurrence = rf"x_{{n+1}} = {A}\, x_n + {B}\, f_n, \qquad x_n = {sp.latex(state)},\; f_n = {sp.latex(drives)}"
    return [("Law", recurrence), ("For constant hyper-parameters and an exact symmetry", result._repr_latex_().strip("$"))]


def _latex(result: Solution | DiscreteLaw) -> str:
    formulas = "\n".join(rf"\paragraph{{{heading}}}" + "\n" + rf"\[ {formula} \]" for heading, formula in _formulas(result))
    where = "; ".join(f"${letter}$: {meaning}" for _, letter, meaning in _legend(result))
    return _derivation(result).to_latex() + "\n" + formulas + "\n" + rf"\noindent Here {where}."


def _markdown(result: Solution | DiscreteLaw) -> str:
    formulas = "\n".join(f"**{heading}**\n\n$$\n{formula}\n$$\n" for heading, formula in _formulas(result))
    where = "\n".join(f"* ${letter}$: {meaning}" for _, letter, meaning in _legend(result))
    return _derivation(result).to_markdown() + "\n" + formulas + f"\nHere\n\n{where}\n"


def _python(result: Solution | DiscreteLaw) -> str:
    """SymPy source that rebuilds the law (and the solution) as expressions equal to ours."""
    if isinstance(result, DiscreteLaw):
        return _source({"law": result.equation}, "")
    note = "# the solution is 0/0 at critical damping; nmech's own functions are not" if result.law.is_oscillator else ""
    return _source({"law": result.law.equation, "solution": result.elementary}, note)


def _source(parts: dict[str, sp.Basic], note: str) -> str:
    """Declarations with assumptions, then each part in those names."""
    letters = set().union(*(part.atoms(sp.Symbol) | {f.func for f in part.atoms(AppliedUndef)} for part in parts.values()))
    names = {letter: _python_name(letter) for letter in letters}
    declared = [f"{names[letter]} = {sp.srepr(letter) if letter.is_Symbol else _function(letter)}"
                for letter in sorted(letters, key=lambda x: names[x])]  # fmt: skip
    symbols = {letter: sp.Symbol(name) for letter, name in names.items() if letter.is_Symbol}
    functions = {f: sp.Function(name) for f, name in names.items() if not f.is_Symbol}
    bodies = []
    for name, part in parts.items():
        renamed = part.replace(lambda e: isinstance(e, AppliedUndef), lambda e: functions[e.func](*e.args)).xreplace(symbols)
        bodies.append(f"{name} = {renamed}")
    return "\n".join(["from sympy import *", "", *declared, "", *filter(None, [note]), *bodies])


def _python_name(letter: sp.Basic) -> str:
    name = str(ARGUMENT_NAMES.get(letter, getattr(letter, "name", letter)))
    return name.replace("'", "_prime") + ("_" if keyword.iskeyword(name) else "")


def _function(letter: sp.Basic) -> str:
    return f"Function({letter.name!r}, real=True)"
