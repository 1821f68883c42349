"""When a B-series in −∇L is a gradient: the condition on free trees against the curl on a concrete loss."""

import pytest
import sympy as sp

from derive.bseries import SeriesError, b_series, exact_flow, field_itself
from derive.gradient_series import FreeTree, free_trees, gradient_defects, gradient_order, split_gradient
from derive.multistep import heavy_ball, nesterov
from derive.runge_kutta import CATALOGUE, runge_kutta
from derive.trees import RootedTree
from tests.derive.elementary_differentials import VARIABLES, evaluated, h, x, y

R = sp.Rational
LOSS = x**2 / 2 + y**2 + x**2 * y / 3
DESCENT = -sp.Matrix([LOSS.diff(x), LOSS.diff(y)])


def curl(field):
    return sp.expand(field[1].diff(x) - field[0].diff(y))


def on_loss(series):
    return evaluated(series, (DESCENT,), is_map=False)


def test_gradient_descent_is_a_gradient_to_the_first_order_in_the_learning_rate_and_not_to_the_second():
    descent = runge_kutta("euler").modified_equation(4)
    path = FreeTree.of(RootedTree.parse("[t,t]"))
    assert gradient_order(descent) == 2
    first = min(gradient_defects(descent), key=lambda free: free.order)
    assert first == path
    assert gradient_defects(descent)[path] == {RootedTree.parse("[[t]]"): R(1, 3), RootedTree.parse("[t,t]"): R(1, 6)}


def test_its_curl_at_the_second_order_is_the_known_one():
    """L = x²/2 + y² + x²y/3; the curl is that of −θ', the field that would be the gradient of a modified loss."""
    found = -curl(on_loss(runge_kutta("euler").modified_equation(3)))
    known = x * (2 * x**2 - 4 * y**2 + 12 * y + 9) / 81
    assert [sp.expand(found.coeff(h, k)) for k in range(2)] == [0, 0]
    assert sp.expand(found.coeff(h, 2) - known) == 0


def test_the_modified_loss_of_gradient_descent_is_equation_16():
    """L + (h/4)|g|² (Kunin et al. 2021, eq. 16), then (h²/12)gᵀHg and the rest −H²g/6."""
    split = split_gradient(runge_kutta("euler").modified_equation(3))
    assert list(split.loss.values()) == [1, R(1, 4), R(1, 12)]
    g, H = -DESCENT, sp.hessian(LOSS, VARIABLES)
    modified = LOSS + h / 4 * g.dot(g) + h**2 / 12 * (g.T * H * g)[0]
    gradient = -sp.Matrix([modified.diff(x), modified.diff(y)])
    assert (on_loss(split.gradient) - gradient).applyfunc(sp.expand) == sp.zeros(2, 1)
    assert (on_loss(split.rest) + h**2 / 6 * H * H * g).applyfunc(sp.expand) == sp.zeros(2, 1)


def test_the_modified_loss_of_the_heavy_ball():
    """L/(1−β) + h(1+β)/(4(1−β)³)|g|²."""
    beta = sp.Symbol("beta")
    split = split_gradient(heavy_ball(beta).slow_flow(2))
    first, second = split.loss.values()
    assert sp.cancel(first - 1 / (1 - beta)) == 0
    assert sp.cancel(second - (1 + beta) / (4 * (1 - beta) ** 3)) == 0
    assert split.rest == b_series({}, 2, is_map=False)


@pytest.mark.parametrize("name", CATALOGUE)
def test_what_splits_off_is_a_gradient_and_the_parts_add_up(name):
    series = runge_kutta(name).modified_equation(5)
    split = split_gradient(series)
    assert gradient_defects(split.gradient) == {}
    assert [split.gradient[tree] + split.rest[tree] for tree in series] == list(series.values())
    assert curl(on_loss(split.gradient.truncated(4))) == 0


@pytest.mark.parametrize("name", ["euler", "midpoint", "heun", "kutta3", "rk4", "implicit_midpoint"])
def test_the_condition_holds_as_far_as_the_curl_vanishes(name):
    """Two-sided: no curl below the order that is found, some at it."""
    series = runge_kutta(name).modified_equation(5)
    order = gradient_order(series)
    found = curl(on_loss(series))
    assert [found.coeff(h, k) for k in range(order)] == [0] * order
    assert order == 5 or found.coeff(h, order) != 0


def test_momentum_fails_where_descent_does():
    for rule in (heavy_ball(R(1, 2)), nesterov(R(1, 2)), nesterov(R(1, 2), textbook=True)):
        assert gradient_order(rule.slow_flow(4)) == 2
        assert curl(on_loss(rule.slow_flow(3))).coeff(h, 2) != 0


def test_a_series_with_one_value_on_each_free_tree_is_a_gradient_and_a_changed_one_is_not():
    values = {tree: R(k, 7) for k, free in enumerate(free_trees(field_itself(5)), start=1) for tree in free.rootings}
    series = b_series(values, 5, is_map=False)
    assert gradient_order(series) == 5
    assert curl(on_loss(series)) == 0
    changed = b_series(values | {RootedTree.parse("[[t],t]"): 9}, 5, is_map=False)
    assert gradient_order(changed) == 3
    assert curl(on_loss(changed)).coeff(h, 3) != 0


def test_the_flow_of_a_loss_needs_no_correction():
    assert gradient_order(field_itself(6)) == 6
    assert list(split_gradient(field_itself(3)).loss.values()) == [1, 0, 0]


def test_free_trees_are_counted_by_oeis_a000055():
    counts = [0] * 10
    for free in free_trees(field_itself(9)):
        counts[free.order] += 1
    assert counts[1:] == [1, 1, 1, 2, 3, 6, 11, 23, 47]


@pytest.mark.parametrize(("tree", "automorphisms"), [("t", 1), ("[t]", 2), ("[t,t]", 2), ("[t,t,t]", 6), ("[[t],[t]]", 2)])
def test_automorphisms_of_free_trees(tree, automorphisms):
    assert FreeTree.of(RootedTree.parse(tree)).symmetry == automorphisms


def test_maps_are_refused():
    with pytest.raises(SeriesError, match="expected a vector field"):
        gradient_defects(exact_flow(3))
    with pytest.raises(SeriesError, match="trees of one colour"):
        split_gradient(field_itself(3, colours=2))


def test_the_modified_loss_shows_as_latex():
    shown = split_gradient(runge_kutta("euler").modified_equation(2))._repr_latex_()
    assert r"L(\bullet) + \frac{1}{4}\, h\, L([\bullet])" in shown
