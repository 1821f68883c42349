"""Is a modified equation of gradient descent a gradient? B-series in f = −∇L (Hairer, Lubich, Wanner 2006, IX.9).

Let L(φ) be the scalar that contracts ∇^k L at each vertex of degree k of a free tree φ along its edges: |∇L|² for one edge,
gᵀHg for two. Its gradient is the sum over the vertices v of F(φ hung up by v), up to the sign that f = −∇L brings. As
|Aut φ|/σ(τ) vertices give the rooted tree τ, the field Σ h^{|τ|−1} b(τ)/σ(τ) F(τ) is a gradient for every L if and only if b
has one value on all rootings of each free tree. The modified loss is then Σ_φ (−h)^{|φ|−1} b(φ)/|Aut φ| L(φ).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy as sp

from derive.bseries import BSeries, SeriesError
from derive.linear_combination import linear_combination
from derive.trees import RootedTree, rootings


@dataclass(frozen=True)
class FreeTree:
    """A tree without a root: the set of its rooted forms.

    >>> path = FreeTree.of(RootedTree.parse("[[t]]"))
    >>> path.rootings, path.symmetry
    ((RootedTree.parse('[[t]]'), RootedTree.parse('[t,t]')), 2)

    Parameters
    ----------
    rootings
        The rooted trees that it can be hung up as, the tallest first.
    """

    rootings: tuple[RootedTree, ...]

    @classmethod
    def of(cls, tree: RootedTree) -> FreeTree:
        """The free tree below a rooted one."""
        return cls(tuple(sorted(rootings(tree), key=lambda rooted: rooted.sort_key, reverse=True)))

    @property
    def order(self) -> int:
        """The number of vertices."""
        return self.rootings[0].order

    @property
    def symmetry(self) -> int:
        """|Aut φ| = σ(τ) · (number of vertices that give the rooting τ)."""
        tree = self.rootings[0]
        return tree.symmetry * rootings(tree)[tree]

    @property
    def latex(self) -> str:
        """The bushiest rooting, in the bracket notation."""
        return self.rootings[-1].latex


def free_trees(series: BSeries) -> Iterator[FreeTree]:
    """Each free tree up to the order of ``series``, once: 1, 1, 1, 2, 3, 6, 11, 23, … (OEIS A000055).

    >>> from derive.bseries import field_itself
    >>> [sum(tree.order == n for tree in free_trees(field_itself(8))) for n in range(1, 9)]
    [1, 1, 1, 2, 3, 6, 11, 23]
    """
    seen: set[RootedTree] = set()
    for tree in series:
        if tree not in seen:
            found = FreeTree.of(tree)
            seen.update(found.rootings)
            yield found


def _expect_field(series: BSeries) -> None:
    if series.is_map or series.colours != 1:
        raise SeriesError("series: expected a vector field over trees of one colour; of a map, take modified_equation(map)")


def gradient_defects(series: BSeries) -> dict[FreeTree, dict[RootedTree, sp.Expr]]:
    """The free trees on whose rootings b takes more than one value, with the values. None: the field is a gradient.

    Gradient descent fails first at h², on the path of three vertices:

    >>> from derive.runge_kutta import runge_kutta
    >>> (found,) = gradient_defects(runge_kutta("euler").modified_equation(3)).values()
    >>> {str(tree): value for tree, value in found.items()}
    {'[[t]]': 1/3, '[t,t]': 1/6}
    """
    _expect_field(series)
    values = {free: {tree: series[tree] for tree in free.rootings} for free in free_trees(series)}
    return {free: found for free, found in values.items() if len(set(found.values())) > 1}


def gradient_order(series: BSeries) -> int:
    """The highest n such that the field is a gradient through h^{n−1}: 2 for gradient descent.

    >>> from derive.runge_kutta import runge_kutta
    >>> gradient_order(runge_kutta("euler").modified_equation(5))
    2
    """
    return min((free.order for free in gradient_defects(series)), default=series.order + 1) - 1


@dataclass(frozen=True)
class GradientSplit:
    """A field as the descent of a modified loss, and a rest that no loss gives.

    Parameters
    ----------
    loss
        Free tree -> coefficient of h^{|φ|−1} L(φ) in the modified loss.
    gradient, rest
        The fields −∇(modified loss) and what is left, which is 0 if the field is a gradient.
    """

    loss: dict[FreeTree, sp.Expr]
    gradient: BSeries
    rest: BSeries

    def _repr_latex_(self) -> str:
        powers = ("", r"h\, ", *(rf"h^{{{k}}}\, " for k in range(2, self.gradient.order)))
        terms = ((c, f"{powers[free.order - 1]}L({free.latex})") for free, c in self.loss.items())
        return rf"$\tilde L = {linear_combination(terms)}$"


def split_gradient(series: BSeries) -> GradientSplit:
    """Split a field so that the rest vanishes on the bushiest rooting of each free tree, and wherever b agrees with it.

    Any common value of b on the rootings of a free tree splits off a gradient; this choice leaves H²g/6 of gradient
    descent's H²g/3 + T[g,g]/12, since ∇(gᵀHg)/12 = H²g/6 + T[g,g]/12:

    >>> from derive.runge_kutta import runge_kutta
    >>> split = split_gradient(runge_kutta("euler").modified_equation(3))
    >>> list(split.loss.values())
    [1, 1/4, 1/12]
    >>> split.rest
    <B-series of a field to order 3: t: 0, [t]: 0, [[t]]: 1/6, [t,t]: 0>
    """
    _expect_field(series)
    common, loss = list(series.elements), {}
    for free in free_trees(series):
        chosen = free.rootings[-1]
        value = series.elements[series.table.number(chosen)]
        for tree in free.rootings:
            common[series.table.number(tree)] = value
        loss[free] = series[chosen] * (-1) ** (free.order - 1) / free.symmetry
    rest = tuple(b - c for b, c in zip(series.elements, common, strict=True))
    gradient, left = (BSeries(series.order, 0, series.domain, part) for part in (tuple(common), rest))
    return GradientSplit(loss, gradient, left)
