"""Vectors of parameter space as words of operators, and the inner product that turns them into scalars.

A vector is a SymPy expression linear in non-commuting words such as ``H*g`` (Hessian applied to gradient) or ``M*theta``
(linear part of a generator applied to the parameters); scalars commute and are kept in front. No dimension is chosen,
so what is derived here holds for a network of any size.

``H`` and ``M`` are symmetric: ⟨Hu, v⟩ = ⟨u, Hv⟩.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import sympy as sp

from derive.linear_combination import linear_combination

theta = sp.Symbol("theta", commutative=False)
gradient = sp.Symbol("g", commutative=False)
hessian = sp.Symbol("H", commutative=False)
linear_part = sp.Symbol("M", commutative=False)
linear_part_transposed = sp.Symbol("M^T", commutative=False)
constant_part = sp.Symbol("c", commutative=False)
generator = sp.Symbol("X", commutative=False)
velocity = sp.Symbol("v", commutative=False)
next_velocity = sp.Symbol("v_+", commutative=False)
direction = sp.Symbol("d", commutative=False)
theta_dot = sp.Symbol("theta'", commutative=False)
theta_ddot = sp.Symbol("theta''", commutative=False)

OPERATORS = frozenset({hessian, linear_part})

LETTERS = {
    theta: r"\theta",
    theta_dot: r"\dot\theta",
    theta_ddot: r"\ddot\theta",
    next_velocity: "v_{+}",
}
"""Letter -> its LaTeX, where that is not the letter itself."""


def time_derivative(letter: sp.Symbol, order: int) -> sp.Symbol:
    """The letter of the k-th derivative along training, with k primes.

    >>> time_derivative(theta, 2) == theta_ddot, time_derivative(gradient, 3)
    (True, g''')
    """
    return sp.Symbol(letter.name + "'" * order, commutative=False) if order else letter


def _letter_latex(letter: sp.Symbol) -> str:
    """Derivatives in time with dots, those of the loss with nablas, other letters by name."""
    if letter.is_Add:  # a sum under an operator, as in M (theta + mu)
        return rf"\left({word_latex(letter)}\right)"
    if letter in LETTERS:
        return LETTERS[letter]
    name = letter.name.rstrip("'")
    primes = len(letter.name) - len(name)
    if primes:
        body = _letter_latex(sp.Symbol(name, commutative=False))
        return rf"\{'d' * primes}ot{{{body}}}" if primes <= 3 else rf"{body}^{{({primes})}}"
    if "L[" in name:
        return re.sub(r"D(\d+)L", r"\\nabla^{\1}L", name).replace("theta", r"\theta").replace("*", r"\,")
    return name


class Inner(sp.Expr):
    """⟨u, v⟩ of two words, the atom of every projected equation. Build with :func:`inner`, which expands sums."""

    is_commutative = True

    def __new__(cls, left, right):
        return sp.Expr.__new__(cls, *sorted((left, right), key=lambda word: (_length(word), str(word))))

    def _eval_is_real(self):
        return True

    def _sympystr(self, printer):
        left, right = (printer._print(word) if word.is_Add else str(word).replace("*", " ") for word in self.args)
        return f"<{left}, {right}>"

    def _latex(self, printer, exp=None):
        left, right = (word_latex(word) for word in self.args)
        text = rf"\langle {left}, {right}\rangle"
        return text if exp is None else rf"{text}^{{{exp}}}"


def word_latex(word: sp.Expr) -> str:
    """LaTeX of a word: ``H*g`` -> ``H g``; of a sum, word by word."""
    if word.is_Add:
        return linear_combination((c, word_latex(w)) for w, c in words(word).items())
    return " ".join(map(_letter_latex, word_letters(word)))


def expression_latex(expr: sp.Expr) -> str:
    r"""LaTeX of an expression in scalars, words and their inner products: a letter with primes is one with dots.

    >>> print(expression_latex(2 * theta_dot))
    2 \dot\theta
    """
    letters = (x for x in expr.atoms(sp.Symbol) if not x.is_commutative)
    named = {x: _letter_latex(x) for x in letters if x in LETTERS or not x.name.isalpha()}
    return sp.latex(expr, symbol_names=named)


def word_letters(word: sp.Expr) -> tuple[sp.Symbol, ...]:
    """The letters of a word, left to right."""
    powers = (factor.as_base_exp() for factor in sp.Mul.make_args(word) if not factor.is_commutative)
    return tuple(letter for base, exponent in powers for letter in [base] * int(exponent))


def _length(word: sp.Expr) -> int:
    return sum(len(word_letters(term)) for term in sp.Add.make_args(word))


def words(vector: sp.Expr) -> dict[sp.Expr, sp.Expr]:
    """The vector as word -> scalar coefficient.

    >>> a = sp.Symbol("a")
    >>> words(a * gradient + hessian * (gradient + theta))
    {g: a, H*g: 1, H*theta: 1}
    """
    found: dict[sp.Expr, sp.Expr] = {}
    for term in sp.Add.make_args(sp.expand(vector)):
        if term == 0:
            continue
        scalars, letters = term.args_cnc()
        if not letters:
            raise ValueError(f"vector: expected a sum of words such as H*g, got the scalar term {term}")
        word = sp.Mul(*letters)
        found[word] = found.get(word, sp.S.Zero) + sp.Mul(*scalars)
    return found


def inner(left: sp.Expr, right: sp.Expr) -> sp.Expr:
    """⟨left, right⟩, expanded bilinearly into :class:`Inner` atoms.

    >>> a = sp.Symbol("a")
    >>> inner(a * gradient + theta, generator)
    a*<X, g> + <X, theta>
    """
    pairs = ((u, v, a * b) for u, a in words(left).items() for v, b in words(right).items())
    return sp.Add(*(coefficient * Inner(u, v) for u, v, coefficient in pairs))


def move_operators(expr: sp.Expr, onto: sp.Symbol) -> sp.Expr:
    """Use the symmetry of H and M to move leading operators onto the vector ``onto``: ⟨H w, X⟩ -> ⟨w, H X⟩.

    >>> move_operators(inner(hessian * gradient, generator), onto=generator)
    <g, H X>
    """

    def moved(atom: Inner) -> sp.Expr:
        left, right = atom.args
        if onto not in (left, right):
            return atom
        operator, *rest = word_letters(right if left == onto else left)
        return Inner(operator * onto, sp.Mul(*rest)) if operator in OPERATORS and rest else atom

    return expr.replace(lambda e: isinstance(e, Inner), moved)


def substitute_words(expr: sp.Expr, rules: Mapping[sp.Expr, sp.Expr]) -> sp.Expr:
    """Replace words (vector -> vector) inside every inner product and expand again.

    >>> substitute_words(inner(gradient, hessian * generator), {hessian * generator: -linear_part * gradient})
    -<g, M g>
    """

    def replaced(atom: Inner) -> sp.Expr:
        left, right = (sp.expand(word.subs(rules)) for word in atom.args)
        return inner(left, right)

    return sp.expand(expr.replace(lambda e: isinstance(e, Inner), replaced))


def bilinear(left: sp.Expr, right: sp.Expr) -> sp.Expr:
    """⟨left, right⟩_M = ⟨left, M right⟩, symmetric, each atom written in one order.

    >>> bilinear(theta + gradient, theta)
    <g, M theta> + <theta, M theta>
    """

    def atom(u: sp.Expr, v: sp.Expr) -> Inner:
        first, second = sorted((u, v), key=str)
        return Inner(first, linear_part * second)

    pairs = ((u, v, a * b) for u, a in words(left).items() for v, b in words(right).items())
    return sp.Add(*(coefficient * atom(u, v) for u, v, coefficient in pairs))
