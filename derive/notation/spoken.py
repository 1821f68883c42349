"""Terms of a statement as a reader writes them: ``theta.A.theta(t)`` is |θ_A|²."""

from __future__ import annotations

import re

import sympy as sp
from sympy.core.function import AppliedUndef

from derive.notation.terms import Key
from derive.symbols import step as n
from derive.symbols import time as t

_LETTERS = {"theta": "θ", "theta'": "θ'", "theta''": "θ''", "one": "1", "Sigma": "Σ", "G^T": "Gᵀ"}
_LATEX = {
    "θ": r"\theta ", "Σ": r"\Sigma ", "∇": r"\nabla ", "⟨": r"\langle ", "⟩": r"\rangle ", "²": "^{2}", "Gᵀ": r"G^{\top}",
    "Tr ": r"\operatorname{Tr} ", "mean ": r"\operatorname{mean} ", "d/dt ": r"\frac{d}{dt} ",
}  # fmt: skip
_OPERATORS = {"H", "T", "Sigma", "G", "G^T", "M", "f'", "f''", "f'''"}


def spoken(key: Key, coefficient: sp.Expr) -> sp.Expr:
    """A whole term, coefficient included; the kernel of an integral is written inside it.

    >>> spoken(((sp.Function("theta.A.theta")(t), sp.S.One),), sp.Integer(2))
    2*|θ_A|²
    """
    if coefficient == 0:
        return sp.S.Zero
    if not all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], sp.Basic) for pair in key):
        word, time = key
        label = _word(word) if time in (t, n) else f"{_word(word)}[{time}]"
        return coefficient * sp.Symbol(label, commutative=False)
    total, wrap = coefficient, None
    for atom, exponent in key:
        if isinstance(atom, sp.Integral | sp.Sum) and exponent == 1 and wrap is None:
            wrap, atom = (type(atom), atom.args[1]), atom.args[0]
        total = total * _named(atom) ** exponent
    return wrap[0](total, wrap[1]) if wrap else total


def latex(expr: sp.Expr) -> str:
    r"""LaTeX of an expression with spoken terms in it.

    >>> latex(-2 * sp.Symbol("|θ_A1|²"))
    '- 2 |\\theta _{A1}|^{2}'
    """
    spoken_ones = [symbol for symbol in expr.atoms(sp.Symbol) if not re.fullmatch(r"[A-Za-z0-9_']+", symbol.name)]
    return sp.latex(expr, symbol_names={symbol: _latex_name(symbol.name) for symbol in spoken_ones})


def _latex_name(name: str) -> str:
    name = re.sub(r"d\^(\d)/dt\^\1 ", r"\\frac{d^{\1}}{dt^{\1}} ", name)
    for shown, written in _LATEX.items():
        name = name.replace(shown, written)
    return re.sub(r"_(\w+)", r"_{\1}", name).replace("} \\", "}\\, \\")


def _named(expr: sp.Basic) -> sp.Expr:
    rates = {d: _rate(d) for d in expr.atoms(sp.Derivative) if "." in str(d.expr)}
    expr = expr.xreplace(rates)
    expr = expr.xreplace({f: sp.Symbol(f.func.__name__) if f.func.__name__ != "1" else sp.S.One
                          for f in expr.atoms(AppliedUndef) if not f.args})  # fmt: skip
    return expr.xreplace({f: sp.Symbol(_function(f)) for f in expr.atoms(AppliedUndef) if "." in f.func.__name__})


def _rate(derivative: sp.Derivative) -> sp.Symbol:
    inside = _function(derivative.expr) if isinstance(derivative.expr, AppliedUndef) else str(derivative.expr)
    k = derivative.derivative_count
    return sp.Symbol(f"d/dt {inside}" if k == 1 else f"d^{k}/dt^{k} {inside}")


def _function(f: AppliedUndef) -> str:
    """The name of a pairing as it is written, with its time unless that is t or n."""
    name, when = str(f.func.__name__), f.args[0]
    initial = name.endswith("'") and when == 0 and name.split(".")[-1] in ("theta'", "one'")
    pieces = (name[:-1] if initial else name).split(".")
    at = "" if when in (t, n) else f"({when})"
    if pieces == ["mean", "square"]:
        return "mean |∇L_k|²"
    if pieces[0] == "tr":
        return f"Tr Σ_{pieces[1]}" if pieces[1] else "Tr Σ"
    first, *inside, last = pieces
    block = f"_{inside[0]}" if len(inside) == 1 and inside[0] not in _OPERATORS else ""
    if first == last and len(inside) <= 1 and (block or not inside):
        text = f"|{_LETTERS.get(first, first)}{block}{at}|²"
    else:
        middle = [p for p in inside if p in _OPERATORS]
        left = f"{_LETTERS.get(first, first)}{block}{at}"
        text = f"⟨{left}, {' '.join([*middle, _LETTERS.get(last, last)])}{at if last != 'one' else ''}⟩"
    return f"d/dt {text}" if initial else text


def _word(word: tuple) -> str:
    blocks = [piece[2:] for piece in word if isinstance(piece, str) and piece.startswith("A:")]
    letters = [piece for piece in word if not (isinstance(piece, str) and piece.startswith("A:"))]
    shown = [_LETTERS.get(p, p) if isinstance(p, str) else f"({', '.join(map(_word, p))})" for p in letters]
    return " ".join(shown) + (f"_{blocks[-1]}" if blocks else "")
