"""A B-series in f = −∇L − λθ as words of :mod:`derive.inner_product`: [t] is H g, [t,t] is ∇³L[g, g].

Third and higher derivatives of the loss are letters of their own, ``D3L[g, H*g]`` for ∇³L[g, Hg], symmetric and linear
in each place.
"""

from __future__ import annotations

from itertools import product
from math import factorial

import sympy as sp

from derive import inner_product as ip
from derive.bseries import BSeries, append_powers
from derive.trees import RootedTree


def higher_derivative(vectors: tuple[sp.Expr, ...]) -> sp.Expr:
    """∇^{m+1}L[v_1, …, v_m] for m ≥ 2, multiplied out into letters.

    >>> higher_derivative((ip.gradient, 2 * ip.theta + ip.gradient))
    D3L[g, g] + 2*D3L[g, theta]
    """
    total = sp.S.Zero
    for chosen in product(*(ip.words(vector).items() for vector in vectors)):
        arguments = ", ".join(sorted(str(word) for word, _ in chosen))
        letter = sp.Symbol(f"D{len(vectors) + 1}L[{arguments}]", commutative=False)
        total += sp.Mul(*(scalar for _, scalar in chosen)) * letter
    return total


def differential(tree: RootedTree, weight_decay: sp.Expr, known: dict[RootedTree, sp.Expr]) -> sp.Expr:
    """F(τ) of f = −g − λθ in words; those of subtrees are kept in ``known``.

    >>> differential(RootedTree.parse("[[t]]"), sp.S.Zero, {})
    -H**2*g
    """
    if tree not in known:
        below = [differential(child, weight_decay, known) for child in tree.children]
        if not below:
            known[tree] = -ip.gradient - weight_decay * ip.theta
        elif len(below) == 1:
            known[tree] = sp.expand(-(ip.hessian * below[0]) - weight_decay * below[0])
        else:
            known[tree] = sp.expand(-higher_derivative(tuple(below)))
    return known[tree]


def field_in_words(series: BSeries, weight_decay: sp.Expr, step: sp.Expr) -> sp.Expr:
    """Σ h^{|τ|−1} b(τ)/σ(τ) F(τ).

    >>> from derive.runge_kutta import runge_kutta
    >>> field_in_words(runge_kutta("euler").modified_equation(3), sp.S.Zero, sp.Symbol("h"))
    -h**2*D3L[g, g]/12 - h**2*H**2*g/3 - h*H*g/2 - g
    """
    known: dict[RootedTree, sp.Expr] = {}
    return sp.expand(
        sp.Add(*(step ** (tree.order - 1) * b / tree.symmetry * differential(tree, weight_decay, known)
                 for tree, b in series.items() if b != 0))
    )  # fmt: skip


def flow_in_words(series: BSeries, weight_decay: sp.Expr, step: sp.Expr) -> list[sp.Expr]:
    """θ, hL θ, (hL)²θ/2, …, L the Lie derivative along the field: the flow for the time h is their sum.

    >>> from derive.runge_kutta import runge_kutta
    >>> sp.expand(sum(flow_in_words(runge_kutta("euler").modified_equation(4), sp.S.Zero, sp.Symbol("h"))))
    -h*g + theta
    """
    powers: list[list] = []
    for element in series.elements:
        append_powers(series.table, list(series.elements), powers, series.domain.zero)[0] = element
    known: dict[RootedTree, sp.Expr] = {}
    groups = [ip.theta] + [sp.S.Zero] * series.order
    for tree, weights in zip(series, powers, strict=True):
        for k, weight in enumerate(weights, start=1):
            number = series.domain.to_sympy(weight) / (factorial(k) * tree.symmetry)
            groups[k] += step**tree.order * number * differential(tree, weight_decay, known)
    return [sp.expand(group) for group in groups]
