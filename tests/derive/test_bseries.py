"""B-series: known coefficients, the laws of the group and of substitution, concrete fields, and another library."""

from fractions import Fraction
from math import factorial

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive.bseries import (
    BSeries,
    SeriesError,
    adjoint,
    b_series,
    compose,
    exact_flow,
    field_itself,
    flow,
    inverse,
    modified_equation,
)
from derive.runge_kutta import CATALOGUE, partitioned, runge_kutta
from derive.substitution import modifying_integrator, substitute
from derive.tree_table import tree_table
from derive.trees import RootedTree
from tests.derive.elementary_differentials import at_power, differential, evaluated, h, x, y

R = sp.Rational
EULER = b_series({"t": 1}, 9, is_map=True)

fractions = st.fractions(min_value=-3, max_value=3, max_denominator=6)


def series(order, *, is_map, colours=1):
    """Random B-series; a(t) = 1 keeps them consistent."""
    count = tree_table(order, colours).count(order)
    rows = st.lists(fractions, min_size=count - colours, max_size=count - colours)
    trees = [tree_table(order, colours).tree(number) for number in range(count)]
    return rows.map(
        lambda row: b_series(dict(zip(trees, [1] * colours + row, strict=True)), order, is_map=is_map, colours=colours)
    )


maps, fields = series(4, is_map=True), series(4, is_map=False)


# Known coefficients


def test_euler_follows_the_field_of_hlw_example_ix_7_1_and_chartier_hairer_vilmart():
    known = {"t": 1, "[t]": R(-1, 2), "[[t]]": R(1, 3), "[t,t]": R(1, 6)}
    known |= {"[[[t]]]": R(-1, 4), "[[t,t]]": R(-1, 6), "[[t],t]": R(-1, 12), "[t,t,t]": 0}
    assert modified_equation(EULER.truncated(4)) == b_series(known, 4, is_map=False)


@pytest.mark.parametrize("order", range(1, 10))
def test_eulers_tall_trees_are_the_series_of_the_logarithm(order):
    tall = RootedTree()
    for _ in range(order - 1):
        tall = RootedTree((tall,))
    assert modified_equation(EULER)[tall] == R((-1) ** (order - 1), order)


@pytest.mark.parametrize("leaves", range(1, 9))
def test_eulers_bushy_trees_are_bernoulli_numbers(leaves):
    bernoulli = {1: R(-1, 2)}.get(leaves, sp.bernoulli(leaves))  # B_1 has two conventions
    assert modified_equation(EULER)[RootedTree((RootedTree(),) * leaves)] == bernoulli


def test_the_sums_that_bseries_jl_has_for_explicit_midpoint():
    """Coefficients b(τ) of F(τ)/σ(τ), all trees of order 1 to 9; the empty tree has 0 in both."""
    midpoint = runge_kutta("midpoint")
    assert sum(midpoint.modified_equation(9).values()) == R(19063, 26880)
    assert sum(midpoint.modifying_integrator(9).values()) == R(5460293, 241920)


@pytest.mark.parametrize("order", range(7))
def test_the_exact_flow_follows_f_itself(order):
    assert modified_equation(exact_flow(order)) == field_itself(order)
    assert exact_flow(order) == b_series(lambda tree: R(1, tree.density), order, is_map=True)


def test_the_exact_flow_of_a_split_field_follows_it():
    assert modified_equation(exact_flow(4, colours=2)) == field_itself(4, colours=2)
    assert exact_flow(4, colours=2) == b_series(lambda tree: R(1, tree.density), 4, is_map=True, colours=2)


def test_taking_a_symbolic_time_scales_each_order():
    s = sp.Symbol("s")
    moved = flow(field_itself(5), s)
    assert moved == b_series(lambda tree: s**tree.order / tree.density, 5, is_map=True)
    assert modified_equation(moved) == b_series({"t": s}, 5, is_map=False)


def test_implicit_euler_is_the_adjoint_of_euler():
    assert adjoint(runge_kutta("euler").series(7)) == runge_kutta("implicit_euler").series(7)


def test_a_symmetric_method_follows_even_powers_of_h_only():
    """HLW, Theorem IX.2.2."""
    midpoint = runge_kutta("implicit_midpoint")
    assert adjoint(midpoint.series(7)) == midpoint.series(7)
    assert {tree.order % 2 for tree, value in midpoint.modified_equation(7).items() if value != 0} == {1}


def test_a_field_and_its_map_of_symbolic_coefficients_go_there_and_back():
    alpha = sp.Symbol("alpha")
    method = runge_kutta([[0, 0], [alpha, 0]], [1 - 1 / (2 * alpha), 1 / (2 * alpha)]).series(5)
    assert flow(modified_equation(method)) == method


# Laws


@settings(deadline=None, max_examples=20)
@given(maps, maps, maps)
def test_composition_is_associative(a, b, c):
    assert compose(compose(a, b), c) == compose(a, compose(b, c))


@settings(deadline=None, max_examples=20)
@given(maps)
def test_the_inverse_undoes_a_map_from_both_sides(a):
    nothing = b_series({}, 4, is_map=True)
    assert compose(a, inverse(a)) == nothing == compose(inverse(a), a)
    assert adjoint(adjoint(a)) == a


@settings(deadline=None, max_examples=20)
@given(maps)
def test_the_flow_of_the_modified_equation_is_the_map(a):
    assert flow(modified_equation(a)) == a


@settings(deadline=None, max_examples=20)
@given(fields, fractions, fractions)
def test_flows_of_one_field_add_their_times(b, s, u):
    assert compose(flow(b, s), flow(b, u)) == flow(b, s + u)
    assert modified_equation(flow(b)) == b


@settings(deadline=None, max_examples=10)
@given(series(3, is_map=False, colours=2), fractions, fractions)
def test_so_do_flows_of_a_split_field(b, s, u):
    assert compose(flow(b, s), flow(b, u)) == flow(b, s + u)
    assert modified_equation(flow(b)) == b


@settings(deadline=None, max_examples=20)
@given(fields, fields, maps)
def test_substitution_is_associative_and_f_is_its_unit(b, c, a):
    assert substitute(b, substitute(c, a)) == substitute(substitute(b, c), a)
    assert substitute(field_itself(4), a) == a
    assert substitute(b, field_itself(4)) == b


@settings(deadline=None, max_examples=20)
@given(fields, maps, maps)
def test_substitution_respects_composition(b, a, c):
    """Chartier, Hairer, Vilmart 2010, Proposition 3.7."""
    assert substitute(b, compose(a, c)) == compose(substitute(b, a), substitute(b, c))


@settings(deadline=None, max_examples=20)
@given(fields)
def test_the_flow_of_a_field_is_the_exact_flow_with_it_put_in(b):
    """Two routes that share no code: edge cuts, and partitions of the tree."""
    assert substitute(b, exact_flow(4)) == flow(b)


@settings(deadline=None, max_examples=20)
@given(maps, maps)
def test_a_modifying_integrator_makes_one_method_another(a, target):
    assert substitute(modifying_integrator(a, target), a) == target


def test_a_method_needs_no_correction_to_be_itself():
    method = runge_kutta("rk4").series(6)
    assert modifying_integrator(method, method) == field_itself(6)


@settings(deadline=None, max_examples=20)
@given(maps, st.integers(0, 7), fractions.filter(bool))
def test_one_wrong_coefficient_is_noticed(a, number, error):
    wrong = dict(modified_equation(a))
    tree = list(wrong)[number]
    wrong[tree] += R(error)
    assert flow(b_series(wrong, 4, is_map=False)) != a


# Concrete fields

FIELD = sp.Matrix([y + x**2 / 2 - x * y**2, -x + x * y + y**3 / 3])
POINT = (R(2, 3), R(-1, 2))
PARTS = (sp.Matrix([0, -x + x**2]), sp.Matrix([y + y**2 / 2, 0]))


def step(parts, tableaux, order):
    """One step from POINT, in powers of h: the stages by fixed-point iteration, one power of h gained at a time."""

    def taken(row_of, known):
        slopes = [[part.subs({x: g[0], y: g[1]}, simultaneous=True) for g in inner] for part in parts]
        total = sp.Matrix(POINT)
        for method, at_stages in zip(tableaux, slopes, strict=True):
            for weight, slope in zip(row_of(method), at_stages, strict=True):
                total += h * weight * slope
        return total.applyfunc(lambda v: cut(v, known))

    inner = [sp.Matrix(POINT)] * tableaux[0].stages
    for known in range(1, order + 1):
        inner = [taken(lambda method, i=i: method.A[i], known) for i in range(len(inner))]
    return taken(lambda method: method.b, order)


def at_point(vector):
    return vector.subs(dict(zip((x, y), POINT, strict=True))).applyfunc(sp.expand)


def cut(expression, order):
    """Without the powers of h above an order."""
    polynomial = sp.Poly(expression, h)
    return sp.expand(sum(c * h**power for (power,), c in polynomial.terms() if power <= order))


@pytest.mark.parametrize("name", ["midpoint", "implicit_euler", "kutta3"])
def test_a_series_is_the_step_of_the_method_on_a_concrete_field(name):
    method = CATALOGUE[name]
    assert at_point(evaluated(method.series(4), (FIELD,), is_map=True)) == step((FIELD,), (method,), 4)


def lie_flow(field, order):
    """The flow of a field for the time h, Σ h^k D^k/k! of the coordinates with D = f̃·∇."""
    term, total = sp.Matrix([x, y]), sp.Matrix([x, y])
    for k in range(1, order + 1):
        term = (term.jacobian([x, y]) * field).applyfunc(lambda v, kept=order - k: cut(v, kept))
        total += h**k / factorial(k) * term
    return total


@pytest.mark.parametrize("name", ["euler", "midpoint"])
def test_the_flow_of_a_modified_equation_is_the_step_to_its_order_and_no_further(name):
    method, order = CATALOGUE[name], 3
    modified = evaluated(method.modified_equation(order), (FIELD,), is_map=False)
    difference = step((FIELD,), (method,), order + 1) - at_point(lie_flow(modified, order + 1))
    assert [at_power(difference, k) for k in range(order + 1)] == [[0, 0]] * (order + 1)
    assert at_power(difference, order + 1) != [0, 0]


@pytest.mark.parametrize(("name", "order"), [("symplectic_euler", 3), ("stormer_verlet", 2)])
def test_so_is_that_of_a_partitioned_pair(name, order):
    pair = partitioned(name)
    modified = evaluated(pair.modified_equation(order), PARTS, is_map=False)
    difference = step(PARTS, (pair.first, pair.second), order + 1) - at_point(lie_flow(modified, order + 1))
    assert [at_power(difference, k) for k in range(order + 1)] == [[0, 0]] * (order + 1)
    assert at_power(difference, order + 1) != [0, 0]


def test_a_method_is_exact_on_its_modifying_integrator():
    method = CATALOGUE["midpoint"]
    modified = evaluated(method.modifying_integrator(3), (FIELD,), is_map=False)
    difference = step((modified,), (method,), 3) - at_point(lie_flow(FIELD, 3))
    assert [at_power(difference, k) for k in range(4)] == [[0, 0]] * 4


def test_elementary_differentials_of_the_tests_are_those_of_the_book():
    slope = FIELD.jacobian([x, y])
    assert differential(RootedTree.parse("[[t]]"), (FIELD,)) == (slope * slope * FIELD).applyfunc(sp.expand)


# The mapping


def test_a_series_is_a_mapping_from_trees():
    found = exact_flow(4)
    assert len(found) == len(list(found)) == 8
    assert dict(found)[RootedTree.parse("[[t],t]")] == found["[t,[t]]"] == R(1, 8)
    assert list(found.values()) == [value for _, value in found.items()] == [found[tree] for tree in found]
    assert "[[[[t]]]]" not in found
    assert RootedTree() in found


def test_series_of_one_value_in_two_domains_are_equal_and_hash_equal():
    beta = sp.Symbol("beta")
    plain = b_series({"t": 1}, 3, is_map=True)
    mixed = compose(b_series({"t": beta}, 3, is_map=True), inverse(b_series({"t": beta}, 3, is_map=True)))
    assert mixed == b_series({}, 3, is_map=True)
    assert hash(mixed) == hash(b_series({}, 3, is_map=True))
    assert plain != field_itself(3)
    assert plain != exact_flow(3)
    assert plain != "a series"


def test_latex_shows_signs_and_the_order_left_out():
    shown = modified_equation(EULER)._repr_latex_()
    assert shown.startswith(r"$F(\bullet) - h \frac{1}{2} F([\bullet]) + h^{2} \frac{1}{3}")
    assert shown.endswith("O(h^{4})$")
    assert EULER._repr_latex_() == r"$y + h F(\bullet) + O(h^{5})$"
    assert b_series({}, 2, is_map=False)._repr_latex_() == "$0 + O(h^{2})$"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: modified_equation(field_itself(2)), "a: expected a map"),
        (lambda: inverse(field_itself(2)), "a: expected a map"),
        (lambda: compose(field_itself(2), EULER), "a: expected a map"),
        (lambda: flow(EULER), "b: expected a vector field"),
        (lambda: substitute(EULER, EULER), "b: expected a vector field"),
        (lambda: substitute(field_itself(2, colours=2), exact_flow(2, colours=2)), "expected trees of one colour"),
        (lambda: modifying_integrator(b_series({}, 2, is_map=True)), r"expected a\(t\) ≠ 0"),
        (lambda: modifying_integrator(field_itself(2)), "a, target: expected maps"),
        (lambda: compose(EULER, exact_flow(2, colours=2)), "same colours"),
        (lambda: EULER.truncated(10), "order: expected 0 to 9"),
        (lambda: EULER.agreement(field_itself(3)), "two maps or two fields"),
        (lambda: b_series({"t": 0.5 * sp.Symbol("z")}, 2, is_map=True), "expected exact finite numbers"),
        (lambda: b_series({"t": sp.oo}, 2, is_map=True), "expected exact finite numbers"),
        (lambda: b_series({"t": float("nan")}, 2, is_map=True), "coefficients: expected"),
        (lambda: b_series({"t": "1+1"}, 2, is_map=True), "expected exact finite numbers or SymPy expressions"),
        (lambda: b_series({"[[t]]": 1}, 2, is_map=True), "expected trees of order up to 2"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(SeriesError, match=message):
        call()


def test_a_tree_beyond_the_order_is_no_key():
    with pytest.raises(KeyError, match="order up to 2"):
        exact_flow(2)["[[t]]"]
    with pytest.raises(KeyError):
        exact_flow(2)[RootedTree((), 1)]


# Another library


def in_kauri(kauri, series: BSeries):
    """The same map from kauri's trees, exact."""
    table = {kauri.Tree(nested(tree)): Fraction(int(value.p), int(value.q)) for tree, value in series.items()}
    return kauri.Map(lambda tree: table[tree] if tree.list_repr is not None else Fraction(1))


def nested(tree):
    return [nested(child) for child in tree.children]


@pytest.fixture
def kauri():
    return pytest.importorskip("kauri")


def coefficients(kauri, found, order):
    """A map of kauri's, on our trees up to an order."""
    return b_series(lambda tree: R(Fraction(found(kauri.Tree(nested(tree))))), order, is_map=False)


def test_kauri_finds_the_same_modified_equations_and_modifying_integrators(kauri):
    """By the antipode of the substitution Hopf algebra (Calaque, Ebrahimi-Fard, Manchon), to order 6."""
    antipode = kauri.Map(kauri.cem.antipode)
    exact = kauri.Map(lambda tree: Fraction(1, tree.factorial()))
    for name in ("euler", "midpoint", "implicit_midpoint"):
        method = CATALOGUE[name].series(6)
        weights = in_kauri(kauri, method)
        assert coefficients(kauri, weights ^ (exact & antipode), 6) == modified_equation(method)
        assert coefficients(kauri, exact ^ (weights & antipode), 6) == modifying_integrator(method)


def test_kauri_composes_the_same(kauri):
    """By the coproduct of Butcher, Connes and Kreimer. Its product takes the second factor first."""
    first, second = CATALOGUE["kutta3"].series(6), CATALOGUE["implicit_euler"].series(6)
    found = coefficients(kauri, in_kauri(kauri, first) * in_kauri(kauri, second), 6)
    assert list(found.values()) == list(compose(first, second).values())


def test_kauri_has_the_same_elementary_weights(kauri):
    for name, theirs in (("midpoint", kauri.midpoint), ("rk4", kauri.rk4), ("implicit_midpoint", kauri.implicit_midpoint)):
        weights = theirs.elementary_weights_map()
        for tree, value in CATALOGUE[name].series(6).items():
            assert weights(kauri.Tree(nested(tree))) == pytest.approx(float(value), abs=1e-15)
