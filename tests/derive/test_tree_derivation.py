"""The equation of each tree, cut by hand, holds for the values that the fast algorithm finds, and for no others."""

import pytest
import sympy as sp

from derive import b_series, discrete_manifold, heavy_ball, memoryless_iteration, nesterov, runge_kutta, sgd, slow_flow
from derive.derivation import DerivationError
from derive.tree_derivation import field_of_map, field_of_multistep, flow_weight, manifold_of_field, map_of_field, on_tree
from derive.trees import RootedTree

half = sp.Rational(1, 2)


def conclusions(derivation):
    """Tree -> the last expression of its lemma."""
    return {str(lemma.steps[0].before.args[1]): lemma.steps[-1].after for lemma in derivation.lemmas}


def spoiled(series, tree):
    values = {key: value + (1 if str(key) == tree else 0) for key, value in series.items()}
    return b_series(values, series.order, is_map=series.is_map)


def test_the_exact_flow_has_the_weight_one_over_the_density():
    """With b(t) = 1 and 0 elsewhere Σ p_k(τ) = 1/γ(τ) (HLW, Theorem III.1.3)."""
    for text in ("t", "[t]", "[[t]]", "[t,t]", "[[t],t]", "[[t,t]]", "[t,t,t,t]"):
        tree = RootedTree.parse(text)
        weight = flow_weight(tree).replace(on_tree, lambda _, brackets: sp.Integer(brackets.name == "t"))
        assert weight == sp.Rational(1, tree.density)


def test_the_steps_of_midpoint_end_in_its_known_coefficients():
    method = runge_kutta("midpoint")
    found = conclusions(field_of_map("midpoint", method.series(4), method.modified_equation(4)))
    assert {tree: found[tree] for tree in ("t", "[t]", "[[t]]", "[t,t]")} == {
        "t": 1, "[t]": 0, "[[t]]": -sp.Rational(1, 6), "[t,t]": -sp.Rational(1, 12)
    }  # fmt: skip
    assert len(found) == 8


@pytest.mark.parametrize(
    "rule", [heavy_ball(half), nesterov(half), nesterov(half, textbook=True)], ids=lambda rule: rule.name
)
def test_the_steps_of_a_multistep_rule_end_in_its_slow_flow(rule):
    flow = rule.slow_flow(4)
    assert conclusions(field_of_multistep("", rule, flow)) == {str(tree): value for tree, value in flow.items()}
    with pytest.raises(DerivationError):
        field_of_multistep("", rule, spoiled(flow, "[t,t]"))


@pytest.mark.parametrize("tree", ["t", "[t]", "[[t]]", "[t,t,t]"])
def test_a_wrong_coefficient_makes_no_derivation(tree):
    method = runge_kutta("euler")
    with pytest.raises(DerivationError):
        field_of_map("euler", method.series(4), spoiled(method.modified_equation(4), tree))


@pytest.mark.parametrize("is_nesterov", [False, True])
def test_the_steps_of_momentums_other_objects_end_in_their_coefficients(is_nesterov):
    rule = sgd(momentum=half, nesterov=is_nesterov)
    flow, a, c = (make(rule, 2).coefficients for make in (slow_flow, memoryless_iteration, discrete_manifold))
    momentum = rule.momentum if is_nesterov else None
    assert conclusions(map_of_field("", flow, a)) == {str(tree): value for tree, value in a.items()}
    assert conclusions(manifold_of_field("", flow, c, momentum)) == {str(tree): value for tree, value in c.items()}
    with pytest.raises(DerivationError):
        map_of_field("", flow, spoiled(a, "[t]"))
    with pytest.raises(DerivationError):
        manifold_of_field("", flow, spoiled(c, "[t]"), momentum)
