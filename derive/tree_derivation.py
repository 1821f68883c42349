"""Why a B-series has its coefficients: for each small tree the equation that b(τ) solves, checked with the found values.

The flow of the field h f̃ for the time s h has the weight Σ_k s^k p_k(τ), with p_1 = b and, over the edges of the tree,

    k p_k(τ) = Σ p_{k−1}(trunk) b(branch)

(Calvo, Murua, Sanz-Serna 1994; Murua 1999). The values come from :func:`derive.bseries.solve_for_field`, on numbered trees;
here the same equations are written out by cutting the trees themselves, and held against them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sympy as sp

from derive.bseries import BSeries
from derive.derivation import Derivation, Step
from derive.multistep import LinearMultistep
from derive.tree_table import edge_cuts
from derive.trees import RootedTree

SHOWN = 4
"""Trees of up to this many vertices get a step of their own."""
SOURCE = "Calvo, Murua, Sanz-Serna 1994; Hairer, Lubich, Wanner 2006, IX.9"


class on_tree(sp.Function):
    """A coefficient by its tree, ``b([t,t])``: the arguments are the letter and the tree's brackets, as symbols.

    >>> weight("b", RootedTree.parse("[t,t]"))
    b([t,t])
    """

    nargs = 2

    def _sympystr(self, printer):
        letter, brackets = self.args
        return f"{letter}({brackets})"

    def _latex(self, printer, exp=None):
        letter, brackets = self.args
        power = "" if exp is None else f"^{{{exp}}}"
        return f"{letter}({RootedTree.parse(brackets.name).latex}){power}"


def weight(letter: str, tree: RootedTree) -> sp.Expr:
    """The coefficient of a tree, as a letter."""
    return on_tree(sp.Symbol(letter), sp.Symbol(str(tree)))


def powers(tree: RootedTree) -> list[sp.Expr]:
    """p_1, …, p_n of a tree of n vertices, in b of it and of smaller trees.

    >>> powers(RootedTree.parse("[[t]]"))
    [b([[t]]), b([t])*b(t), b(t)**3/6]
    """
    found = [weight("b", tree)] + [sp.S.Zero] * (tree.order - 1)
    for (trunk, branch), count in edge_cuts(tree).items():
        for k, power in enumerate(powers(trunk), start=2):
            found[k - 1] += sp.Rational(count, k) * power * weight("b", branch)
    return [sp.expand(power) for power in found]


def flow_weight(tree: RootedTree, time: int = 1) -> sp.Expr:
    """The weight of the flow for ``time`` steps: Σ_k s^k p_k(τ)."""
    return sp.Add(*(sp.Integer(time) ** k * power for k, power in enumerate(powers(tree), start=1)))


def field_of_map(title: str, a: Mapping[RootedTree, sp.Expr], b: BSeries) -> Derivation:
    """b is the logarithm of the map a: b(τ) = a(τ) − Σ_{k≥2} p_k(τ), tree by tree.

    >>> from derive.runge_kutta import runge_kutta
    >>> euler = runge_kutta("euler")
    >>> [step.after for step in field_of_map("Euler", euler.series(2), euler.modified_equation(2)).all_steps[-2:]]
    [a([t]) - b(t)**2/2, -1/2]
    """
    reason = (
        r"the flow of $\widetilde f$ for the time $h$ has the weight $b(\tau) + p_2(\tau) + \dots$, the map has $a(\tau)$; "
        r"$k\,p_k(\tau)$ is the sum of $p_{k-1}\,b$ over the two parts that each edge of $\tau$ leaves"
    )

    def solved(tree: RootedTree) -> sp.Expr:
        return weight("a", tree) - sp.Add(*powers(tree)[1:])

    return _by_tree(title, "b", b, solved, {"a": a, "b": b}, ("flow = map", reason))


def field_of_multistep(title: str, rule: LinearMultistep, b: BSeries) -> Derivation:
    """Σ_k α_k y(s_k h) = h Σ_j β_j f(…) tree by tree, y a solution of the field b, solved for b(τ)."""
    reason = (
        r"at the shift $s$ the solution has the weight $\sum_k s^k p_k(\tau)$, $k\,p_k(\tau)$ the sum of $p_{k-1}\,b$ over "
        r"the edges of $\tau$; $h f$ has the product of the weights of the branches at the root of $\tau$"
    )

    def solved(tree: RootedTree) -> sp.Expr:
        known = sp.Add(*(alpha * (flow_weight(tree, shift) - shift * weight("b", tree)) for shift, alpha in rule.positions))
        pull = sp.Add(*(beta * _product(place, tree) for beta, place in rule.gradients))
        return (pull - known) / rule.distance

    return _by_tree(title, "b", b, solved, {"b": b}, ("put the solution into the rule", reason))


def _product(place: tuple[tuple[int, sp.Expr], ...], tree: RootedTree) -> sp.Expr:
    """The weight of h f at a mixture of iterates."""
    return sp.Mul(*(sp.Add(*(c * flow_weight(child, shift) for shift, c in place)) for child in tree.children))


def map_of_field(title: str, b: BSeries, a: BSeries) -> Derivation:
    """a is the flow of b for one step."""
    reason = (
        r"the flow of $\widetilde f$ for the time $h$ has the weight $b(\tau) + p_2(\tau) + \dots$, "
        r"$k\,p_k(\tau)$ the sum of $p_{k-1}\,b$ over the edges of $\tau$"
    )
    return _by_tree(title, "a", a, flow_weight, {"b": b}, ("follow the flow for one step", reason))


def manifold_of_field(title: str, b: BSeries, c: BSeries, momentum: sp.Expr | None = None) -> Derivation:
    """c of v = (θ − φ_{−h}(θ))/h, or with Nesterov's ``momentum`` β of that less f at φ_{−h}(θ), over β."""
    reason = r"$\theta_n - \theta_{n-1}$ is minus what the flow for one step back adds, of weight $\sum_k (-1)^k p_k(\tau)$"
    reason += r"; $d = G + \beta v$ with $G = -f$ at $\theta_{n-1}$" if momentum is not None else ""

    def found(tree: RootedTree) -> sp.Expr:
        moved = -flow_weight(tree, -1)
        return moved if momentum is None else (moved - _product(((-1, sp.S.One),), tree)) / momentum

    return _by_tree(title, "c", c, found, {"b": b}, ("run the flow one step back", reason))


def _by_tree(
    title: str,
    letter: str,
    series: BSeries,
    formula: Callable[[RootedTree], sp.Expr],
    known: Mapping[str, Mapping[RootedTree, sp.Expr]],
    told: tuple[str, str],
) -> Derivation:
    """For each small tree: letter(τ) = formula(τ) = value, given the coefficients of the ``known`` series."""
    lemmas, (rule, reason), source = [], told, SOURCE
    for tree in series.truncated(min(series.order, SHOWN)):
        name, written, value = weight(letter, tree), formula(tree), series[tree]
        letters = written.atoms(on_tree)
        given = {x: known[x.args[0].name][RootedTree.parse(x.args[1].name)] for x in letters} | {name: value}
        facts = tuple(sorted(given.items(), key=str))
        steps = [Step(name, written, rule, reason, facts, source=source)]
        if written != value:
            steps.append(Step(written, value, "put in the values", "those of smaller trees are known", facts))
        lemmas.append(Derivation(f"{letter}({tree})", tuple(steps)))
        reason, source = "the same for the next tree", ""
    return Derivation(title, (), tuple(lemmas))
