"""Runge–Kutta methods: orders of the literature, symplecticity, and what a tableau must be."""

import pytest
import sympy as sp

from derive.bseries import adjoint, b_series
from derive.runge_kutta import (
    CATALOGUE,
    PARTITIONED,
    PartitionedRungeKutta,
    RungeKutta,
    TableauError,
    conserves_quadratic_invariants,
    partitioned,
    quadratic_defects,
    runge_kutta,
)
from derive.trees import RootedTree, butcher_product
from tests.derive.elementary_differentials import VARIABLES, at_power, evaluated, h, x, y

R = sp.Rational

ORDERS = {
    "euler": 1,
    "implicit_euler": 1,
    "midpoint": 2,
    "heun": 2,
    "ralston": 2,
    "heun3": 3,
    "kutta3": 3,
    "ssprk33": 3,
    "rk4": 4,
    "kutta38": 4,
    "implicit_midpoint": 2,
    "trapezoidal": 2,
    "gauss4": 4,
    "radau3": 3,
    "lobatto_iiia4": 4,
}
"""The orders that their authors give."""
SYMPLECTIC = {"implicit_midpoint", "gauss4"}
SYMMETRIC = {"implicit_midpoint", "trapezoidal", "gauss4", "lobatto_iiia4"}


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_method_has_the_order_of_the_literature_and_no_more(name):
    assert runge_kutta(name).order == ORDERS[name]
    assert runge_kutta(name).source


@pytest.mark.parametrize("name", CATALOGUE)
def test_of_the_catalogue_only_gauss_methods_conserve_quadratic_invariants(name):
    """HLW, Theorems IV.2.1 and IV.2.2."""
    assert conserves_quadratic_invariants(runge_kutta(name), 6) == (name in SYMPLECTIC)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_condition_on_trees_is_coopers_condition_on_the_tableau(name):
    """b_i a_ij + b_j a_ji = b_i b_j (Cooper 1987): it implies the condition on trees, and is implied for these."""
    method, stages = runge_kutta(name), range(runge_kutta(name).stages)
    cooper = all(
        sp.simplify(method.b[i] * method.A[i][j] + method.b[j] * method.A[j][i] - method.b[i] * method.b[j]) == 0
        for i in stages
        for j in stages
    )
    assert cooper == conserves_quadratic_invariants(method, 5)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_symmetric_methods_are_their_own_adjoints(name):
    series = runge_kutta(name).series(6)  # a method of even order has its first error in common with its adjoint
    assert (adjoint(series) == series) == (name in SYMMETRIC)


@pytest.mark.parametrize("name", CATALOGUE)
def test_explicit_methods_are_recognized(name):
    implicit = {"implicit_euler", "implicit_midpoint", "trapezoidal", "gauss4", "radau3", "lobatto_iiia4"}
    assert runge_kutta(name).is_explicit == (name not in implicit)
    assert runge_kutta(name).has_consistent_rows


def test_euler_loses_quadratic_invariants_at_order_two_by_one():
    leaf = RootedTree()
    assert quadratic_defects(runge_kutta("euler").series(2)) == {(leaf, leaf): -1}


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_modified_equation_keeps_the_invariants_that_the_method_keeps(name):
    """b(u∘v) + b(v∘u) = 0 (HLW, Theorem IX.9.3)."""
    assert (quadratic_defects(runge_kutta(name).modified_equation(5)) == {}) == (name in SYMPLECTIC)


ROTATION = sp.Matrix([-y * (1 + x), x * (1 + x)])
"""Keeps x² + y²."""


def test_the_first_defect_of_euler_is_the_growth_of_the_norm_and_implicit_midpoint_has_none():
    square = sp.Matrix([VARIABLES]) * sp.Matrix(VARIABLES)
    for name, kept in (("euler", False), ("implicit_midpoint", True)):
        field = evaluated(runge_kutta(name).modified_equation(4), (ROTATION,), is_map=False)
        change = (square.jacobian(VARIABLES) * field).applyfunc(sp.expand)
        assert all(at_power(change, k) == [0] for k in range(4)) == kept
        if not kept:  # d|y|²/dt = h|f|² + …
            assert sp.expand(at_power(change, 1)[0] - ROTATION.dot(ROTATION)) == 0


# Partitioned pairs


def test_symplectic_euler_has_the_modified_hamiltonian_of_hlw_example_ix_3_4():
    """p_{n+1} = p − hH_q(p_{n+1}, q), q_{n+1} = q + hH_p(p_{n+1}, q) follows H̃ = H − (h/2) H_p·H_q + …"""
    p, q = VARIABLES
    H = p**2 / 2 + p**2 * q + q**3 / 3 - q
    modified = (
        H
        - h / 2 * H.diff(p) * H.diff(q)
        + h**2
        / 12
        * (H.diff(p, 2) * H.diff(q) ** 2 + H.diff(q, 2) * H.diff(p) ** 2 + 4 * H.diff(p, q) * H.diff(p) * H.diff(q))
    )
    parts = (sp.Matrix([-H.diff(q), 0]), sp.Matrix([0, H.diff(p)]))
    field = evaluated(partitioned("symplectic_euler").modified_equation(3), parts, is_map=False)
    assert (field - sp.Matrix([-modified.diff(q), modified.diff(p)])).applyfunc(sp.expand) == sp.zeros(2, 1)


def test_stormer_verlet_is_symmetric_of_order_two():
    pair = partitioned("stormer_verlet")
    assert pair.order == 2
    assert adjoint(pair.series(5)) == pair.series(5)
    assert {tree.order % 2 for tree, value in pair.modified_equation(5).items() if value != 0} == {1}


@pytest.mark.parametrize("name", PARTITIONED)
def test_the_pairs_conserve_quadratic_invariants_that_mix_both_parts(name):
    """HLW, Theorem VI.7.10."""
    assert conserves_quadratic_invariants(partitioned(name), 5)


def test_two_explicit_euler_methods_do_not():
    euler = runge_kutta("euler")
    assert not conserves_quadratic_invariants(PartitionedRungeKutta(euler, euler), 2)


def test_a_pair_of_equal_methods_is_that_method():
    pair = PartitionedRungeKutta(runge_kutta("heun"), runge_kutta("heun"))
    single = runge_kutta("heun").series(4)
    assert all(value == single[bleached(tree)] for tree, value in pair.series(4).items())


def bleached(tree):
    return RootedTree(tuple(bleached(child) for child in tree.children))


# Tableaux


def test_symbolic_tableaux_give_symbolic_weights():
    a = sp.Symbol("a")
    family = runge_kutta([[0, 0], [a, 0]], [1 - 1 / (2 * a), 1 / (2 * a)])
    assert family.series(3)["[t,t]"] == a / 2
    assert family.order == 2
    assert "array" in family._repr_latex_()


def test_floats_and_arrays_are_taken_as_written():
    np = pytest.importorskip("numpy")
    method = runge_kutta(np.array([[0, 0], [0.1, 0]]), np.array([-4.0, 5.0]))
    assert method == runge_kutta([[0, 0], [R(1, 10), 0]], [-4, 5])
    assert runge_kutta(sp.Matrix([[0, 0], [R(1, 10), 0]]), [-4, 5]) == method


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 0]], [1]), r"A: expected a square tableau, got rows of lengths \[2\]"),
        (([[0], [1, 0]], [0, 1]), r"got rows of lengths \[1, 2\]; pad short rows"),
        (([], []), "A: expected a square tableau"),
        (([[0, 0], [1, 0]], [1]), "b: expected 2 numbers, one for each row of A, got 1"),
        (([[0]], [1], [0, 1]), "c: expected 1 numbers"),
        (([[0]], [1], [1]), "c: expected the row sums of A"),
        (([[0]],), "b: expected the weights"),
        (("rk5",), "A: expected one of"),
        (("rk4", [1]), "A: expected one of"),
        ((3, [1]), "A: expected a sequence of numbers, got 3"),
        (([0, 1], [1]), "A: expected a sequence of numbers, got 0"),
        (([["x"]], [1]), "A: expected exact finite numbers or SymPy expressions, got 'x'"),
        (([[float("inf")]], [1]), "A: expected exact finite numbers"),
        (([[0]], [sp.nan]), "b: expected exact finite numbers"),
    ],
)
def test_a_tableau_that_is_none_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        runge_kutta(*arguments)


def test_a_pair_needs_equally_many_stages_and_a_known_name():
    with pytest.raises(TableauError, match="second: expected as many stages as first, got 1 and 2"):
        PartitionedRungeKutta(runge_kutta("euler"), runge_kutta("heun"))
    with pytest.raises(TableauError, match="name: expected one of"):
        partitioned("leapfrog")


def test_inconsistent_nodes_are_allowed_where_said_outright():
    method = RungeKutta(((sp.S.Zero,),), (sp.S.One,), (sp.S.One,))
    assert not method.has_consistent_rows


# The checker


def test_one_changed_weight_is_seen_by_the_check_of_invariants():
    series = runge_kutta("gauss4").series(5)
    tree = butcher_product(RootedTree.parse("[t]"), RootedTree.parse("[t]"))
    wrong = dict(series) | {tree: series[tree] + R(1, 100)}
    assert not conserves_quadratic_invariants(b_series(wrong, 5, is_map=True), 5)
