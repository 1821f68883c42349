"""Known conventions: what a claim would have to be read as to be right.

Each turns the terms of a claim, or of the fact, into those of another convention; a wrong claim that fits one of them is
explained by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import symbols
from derive.notation.terms import Key, Terms
from derive.symbols import past
from derive.symbols import time as t

Change = Callable[[Terms], Terms]


@dataclass(frozen=True)
class Convention:
    """A reading of the claim's terms, or of the fact's, under which they may agree.

    Parameters
    ----------
    explanation
        What it says of a claim that fits.
    claim, fact
        How terms change; None for not at all.
    """

    explanation: str
    claim: Change | None = None
    fact: Change | None = None


def _substituted(values: dict[sp.Symbol, sp.Expr]) -> Change:
    return lambda terms: {key: c.subs(values, simultaneous=True) for key, c in terms.items()}


def _clock(factor: sp.Expr) -> Change:
    """t → t/factor: the claim counts time in units of ``factor``."""

    def changed(terms: Terms) -> Terms:
        found: Terms = {}
        for key, c in terms.items():
            c = c.subs({t: t / factor, past: past / factor}, simultaneous=True)
            found[key] = c * factor ** (_rate_count(key) - _integral_count(key))
        return found

    return changed


def _scalar_atoms(key: Key) -> list[tuple[sp.Basic, Any]]:
    return [pair for pair in key if isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], sp.Basic)]


def _rate_count(key: Key) -> int:
    if key and isinstance(key[0], tuple) and key[0] and isinstance(key[0][-1], str):
        return key[0][-1].count("'") if key[0][-1].startswith("theta") else 0
    atoms = _scalar_atoms(key)
    rates = sum(d.derivative_count * int(e) for atom, e in atoms for d in atom.atoms(sp.Derivative))
    return rates + sum(f.func.__name__.count("'") for atom, _ in atoms for f in atom.atoms(AppliedUndef))


def _integral_count(key: Key) -> int:
    return sum(1 for atom, _ in _scalar_atoms(key) if isinstance(atom, sp.Integral))


def _ascent(terms: Terms) -> Terms:
    """g → −g and H → −H."""
    found: Terms = {}
    for key, c in terms.items():
        pieces = _letters(key)
        odd = sum(piece in ("g", "H", "T", "b") for piece in pieces) % 2
        found[key] = -c if odd else c
    return found


def _letters(key: Key) -> list[str]:
    if key and isinstance(key[0], tuple) and key[0] and isinstance(key[0][-1], str):
        return [piece for piece in key[0] if isinstance(piece, str)]
    names = [f.func.__name__ for atom, _ in _scalar_atoms(key) for f in atom.atoms(AppliedUndef)]
    return [piece for name in names for piece in name.split(".")]


def norms_squared(expr: sp.Expr) -> sp.Expr:
    """|x| → |x|² for every norm that stands without its square."""

    def rooted(e: sp.Basic) -> bool:
        return isinstance(e, sp.Pow) and e.exp == sp.S.Half and isinstance(e.base, AppliedUndef)

    return expr.replace(rooted, lambda e: e.base)


_critical = _substituted({symbols.frequency: symbols.damping_rate})
_eta, _lam, _beta, _alpha = symbols.lr, symbols.weight_decay, symbols.momentum, symbols.dampening

CONVENTIONS = (
    Convention("λ: it regularises by λ|θ|², not λ|θ|²/2 (a factor 2 in λ)", _substituted({_lam: _lam / 2})),
    Convention("λ: it regularises by λ|θ|²/4, or halves the decay (a factor 2 in λ)", _substituted({_lam: 2 * _lam})),
    Convention("time: it counts steps, t = n, not η·n", _clock(_eta)),
    Convention("time: it counts η per step, not η(1−α)", _clock(1 / (1 - _alpha))),
    Convention("time: it counts η/(1−β) per step (effective learning rate)", _clock(1 - _beta)),
    Convention("sign of L: it ascends, or g stands for −∇L", _ascent),
    Convention("dampening: it is right without dampening, α = 0", None, _substituted({_alpha: sp.S.Zero})),
    Convention("dampening: it has η where η(1−α) stands", _substituted({_eta: _eta * (1 - _alpha)})),
    Convention("momentum: it has η where the effective η/(1−β) stands", _substituted({_eta: _eta / (1 - _beta)})),
    Convention("momentum: it is right without momentum, β = 0", None, _substituted({_beta: sp.S.Zero})),
    Convention("weight decay: it is right without weight decay, λ = 0", None, _substituted({_lam: sp.S.Zero})),
    Convention("regime: it is right at critical damping only, γ = ω", _critical, _critical),
    Convention("letters: η and λ are exchanged", _substituted({_eta: _lam, _lam: _eta})),
    Convention("letters: α and β are exchanged", _substituted({_alpha: _beta, _beta: _alpha})),
    Convention("letters: γ and ω are exchanged",
               _substituted({symbols.damping_rate: symbols.frequency, symbols.frequency: symbols.damping_rate})),
)  # fmt: skip
