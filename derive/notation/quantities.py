"""What a formula's parts may be: scalars (SymPy), vectors and matrices as words, and operators that differentiate.

A word is a tuple of letters: ``("H", "g")`` is the Hessian applied to the gradient, ``("A:A1", "theta")`` the block θ_A1
of the parameters. Two vectors pair to a scalar function of time, ``theta.A.theta`` for |θ_A|². All matrices but G are
symmetric, blocks are disjoint, and L has as many derivatives as are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.symbols import time as t

Word = tuple[Any, ...]
"""Letters, the last one a vector unless the word is a matrix; a letter may hold words, as in f''(u, v)."""

RATES = {"theta": "theta'", "theta'": "theta''", "theta''": "theta'''"}
"""Letter -> its time derivative. The ones vector does not move."""


class MeaningError(ValueError):
    """Parts of a formula that do not go together."""


@dataclass(frozen=True)
class Linear:
    """Σ c · word, the words being vectors (``closed``) or matrices. Keys are (word, time)."""

    terms: Mapping[tuple[Word, sp.Expr], sp.Expr]
    closed: bool = True
    row: bool = False

    def __hash__(self) -> int:
        return hash(tuple(sorted(map(str, self.terms.items()))))

    def scaled(self, factor: sp.Expr) -> Linear:
        """The product with a scalar."""
        return Linear({key: c * factor for key, c in self.terms.items()}, self.closed, self.row)

    def plus(self, other: Linear) -> Linear:
        """The sum of two of one kind."""
        if self.closed != other.closed:
            raise MeaningError("a vector and a matrix are added")
        terms = dict(self.terms)
        for key, c in other.terms.items():
            terms[key] = terms.get(key, sp.S.Zero) + c
        return Linear({key: c for key, c in terms.items() if c != 0}, self.closed, self.row or other.row)

    def at(self, time: sp.Expr) -> Linear:
        """The same at another time."""
        return self.mapped(lambda word, _: (word, time))

    def mapped(self, change: Callable[[Word, sp.Expr], tuple[Word, sp.Expr]]) -> Linear:
        """The words and times changed one by one."""
        terms: dict[tuple[Word, sp.Expr], sp.Expr] = {}
        for (word, time), c in self.terms.items():
            key = change(word, time)
            terms[key] = terms.get(key, sp.S.Zero) + c
        return Linear(terms, self.closed, self.row)


@dataclass(frozen=True)
class Differential:
    """Σ_k c_k ∂^k in one variable: an operator that waits for what it is applied to."""

    coefficients: Mapping[int, sp.Expr]
    variable: sp.Symbol = t

    def __hash__(self) -> int:
        return hash(tuple(sorted(map(str, self.coefficients.items()))))


@dataclass(frozen=True)
class Landau:
    """O(x^k): what is left out, as scalar factor times a power of the variable."""

    size: sp.Expr


Quantity = Any
"""A SymPy scalar, a :class:`Linear`, a :class:`Differential` or a :class:`Landau`."""


def letter(name: str, time: sp.Expr = t, *, closed: bool = True, block: str | None = None) -> Linear:
    """One letter, restricted to a block of the parameters if one is named.

    >>> pair(letter("theta", block="A"), letter("theta", block="A"))
    theta.A.theta(t)
    """
    word = (name,) if block is None else (f"A:{block}", name)
    return Linear({(word, time): sp.S.One}, closed)


def is_block(piece: Any) -> bool:
    """Whether a letter is the restriction to a block."""
    return isinstance(piece, str) and piece.startswith("A:")


def tidy(word: Word) -> Word | None:
    """Restrictions multiplied out: to a block twice is once, to two disjoint blocks is nothing (None)."""
    found: list[Any] = []
    for piece in word:
        if is_block(piece) and found and is_block(found[-1]):
            if piece != found[-1]:
                return None
            continue
        if piece != "I":
            found.append(piece)
    return tuple(found) or word


def compose(left: Linear, right: Linear) -> Linear:
    """A matrix applied to a vector or to a matrix."""
    terms: dict[tuple[Word, sp.Expr], sp.Expr] = {}
    for (u, _), a in left.terms.items():
        for (v, time), b in right.terms.items():
            word = tidy((*u, *v))
            if word is not None:
                terms[word, time] = terms.get((word, time), sp.S.Zero) + a * b
    return Linear(terms, right.closed)


def pair(left: Linear, right: Linear) -> sp.Expr:
    """⟨left, right⟩ as a sum of scalar functions of time."""
    total = sp.S.Zero
    for (u, s), a in left.terms.items():
        for (v, time), b in right.terms.items():
            total += a * b * _pairing(u, v, s, time)
    return total


def _pairing(u: Word, v: Word, s: sp.Expr, time: sp.Expr) -> sp.Expr:
    word = tidy((*_transposed(u), *v))
    if word is None:
        return sp.S.Zero
    if s != time and "one" not in (u[-1], v[-1]):
        raise MeaningError(f"vectors at two times, {s} and {time}, in one product")
    when = s if v[-1] == "one" and u[-1] != "one" else time
    return scalar(min(word, _transposed(word), key=_weight), when)


def _transposed(word: Word) -> Word:
    turned = {"G": "G^T", "G^T": "G"}
    return tuple(turned.get(piece, piece) if isinstance(piece, str) else piece for piece in reversed(word))


def _weight(word: Word) -> tuple[Any, ...]:
    return (str(word[0]) == "one", -len(str(word[0])) if str(word[0]).startswith("theta") else 0, tuple(map(str, word)))


def scalar(word: Word, when: sp.Expr) -> sp.Expr:
    """The function of time that a pairing is; velocities along θ are written as rates of the norm (product rule)."""
    inside = word[1:-1]
    first, last = word[0], word[-1]
    still = all(is_block(piece) for piece in inside)
    if still and when == t and first != last and {first, last} <= {"theta", "theta'", "theta''", "one"}:
        ends = {first, last}
        if ends == {"theta", "theta'"}:
            return scalar(("theta", *inside, "theta"), t).diff(t) / 2
        if ends == {"theta", "theta''"}:
            return scalar(("theta", *inside, "theta"), t).diff(t, 2) / 2 - scalar(("theta'", *inside, "theta'"), t)
        if ends == {"theta'", "theta''"}:
            return scalar(("theta'", *inside, "theta'"), t).diff(t) / 2
        if "one" in ends and ends != {"theta", "one"}:
            order = 1 if "theta'" in ends else 2
            return scalar(("theta", *inside, "one"), t).diff(t, order)
    return sp.Function(".".join(map(_spelled, word)), real=True)(when)


def _spelled(piece: Any) -> str:
    return piece.removeprefix("A:") if isinstance(piece, str) else str(piece)


def rate_of(vector: Linear) -> Linear:
    """The time derivative of a sum of words that end in θ or a velocity."""
    terms: dict[tuple[Word, sp.Expr], sp.Expr] = {}
    for (word, time), c in vector.terms.items():
        if time != t:
            raise MeaningError(f"a vector at time {time} is differentiated in t")
        if any(not is_block(piece) for piece in word[:-1]):
            raise MeaningError("the rate of a matrix times a vector is not covered")
        if c.has(t):
            terms[word, t] = terms.get((word, t), sp.S.Zero) + c.diff(t)
        if word[-1] == "one":
            continue
        moved = ("H", "theta'") if word[-1] == "g" else (RATES.get(word[-1]),)
        if moved[-1] is None:
            raise MeaningError(f"the rate of {word[-1]} is not covered")
        key = ((*word[:-1], *moved), t)
        terms[key] = terms.get(key, sp.S.Zero) + c
    return Linear(terms)


loss = sp.Function("L", real=True)(t)
"""L along training."""


def gradient(expr: sp.Expr) -> Linear:
    """∇ of a scalar built of L, |∇L|², |θ|² and products with constants: ∇L = g, ∇⟨u, v⟩ by the product rule.

    >>> gradient(pair(letter("g"), letter("g"))).terms
    {(('H', 'g'), t): 2}
    """
    total = Linear({})
    for value in sorted(expr.atoms(sp.core.function.AppliedUndef), key=str):
        slope = expr.diff(value) if not expr.has(sp.Derivative) else None
        if slope is None or slope.atoms(sp.core.function.AppliedUndef):
            raise MeaningError(f"the gradient of {expr} is not covered")
        total = total.plus(_gradient_of(value).scaled(slope))
    return total


def _gradient_of(value: sp.Expr) -> Linear:
    name, time = value.func.__name__, value.args[0]
    if name == "L":
        return letter("g", time)
    if name == "L~":  # the modified loss is what θ descends
        return Linear({(("theta'",), time): -sp.S.One})
    pieces = name.split(".")
    if name.startswith("L_"):
        return letter("g" + name[1:], time)
    if pieces == ["mean", "square"]:
        return Linear({(("K",), time): sp.Integer(2)})
    if pieces[0] == pieces[-1] == "theta":
        inside = tuple(f"A:{piece}" for piece in pieces[1:-1])
        return Linear({((*inside, "theta"), time): sp.Integer(2)})
    if pieces == ["g", "g"]:
        return Linear({(("H", "g"), time): sp.Integer(2)})
    if pieces == ["g", "H", "g"]:
        third = ("T", (("g",), ("g",)))
        return Linear({(("H", "H", "g"), time): sp.Integer(2), (third, time): sp.S.One})
    if len(pieces) == 2 and pieces[0] == pieces[1] and pieces[0].startswith("g_"):
        index = pieces[0][1:]
        return Linear({((f"H{index}", pieces[0]), time): sp.Integer(2)})
    if sorted(pieces) == ["g", "theta"]:
        return Linear({(("g",), time): sp.S.One, (("H", "theta"), time): sp.S.One})
    raise MeaningError(f"the gradient of {value} is not covered")
