"""e^{sM}, in closed form or not, against mpmath's and against what defines it."""

import mpmath
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive.matrix_flow import FlowEntry, affine_flow, matrix_exponential

s, a, b = sp.symbols("s a b", real=True)
w = sp.Symbol("omega", positive=True)
x = sp.Symbol("x", real=True)
NUMBERS = {s: sp.Rational(3, 7), w: sp.Rational(2, 3), x: sp.Rational(-5, 4)}

CLOSED = {
    "stretch": [[2, 0], [0, -3]],
    "boost": [[0, 1], [1, 0]],
    "shear": [[0, x], [0, 0]],
    "rotation": [[0, -w], [w, 0]],
    "golden ratio": [[1, 1], [1, 0]],
    "complex pair": [[1, -2], [3, 1]],
    "Jordan block": [[2, 1, 0], [0, 2, 1], [0, 0, 2]],
    "repeated and semisimple": [[2, 0, 1], [0, 2, 0], [1, 0, 2]],
    "two blocks": [[0, 0, 1, 0], [0, 2, 0, 1], [1, 0, 0, 0], [0, 1, 0, 2]],
    "linear and quadratic factor": [[1, 1, 0], [0, 0, -1], [1, 1, 0]],
}
LEFT = {
    "cubic field": [[0, 0, 1], [1, 0, 1], [0, 1, 0]],
    "repeated rotation": [[0, -1, 0, 0], [1, 0, 0, 0], [1, 0, 0, -1], [0, 1, 1, 0]],
    "eigenvalues that may meet": [[x, 1], [0, w]],
    "rotation of unknown sense": [[0, -x], [x, 0]],
    "five rows": [[int(abs(i - j) == 1) for j in range(5)] for i in range(5)],
    "irrational entries": [[sp.sqrt(2), 1], [1, 0]],
}


def reference(matrix, parameter):
    """mpmath's e^{sM} at the numbers, by its own scaling and squaring."""
    with mpmath.workdps(40):
        exponent = (sp.Matrix(matrix) * parameter).subs(NUMBERS).evalf(40)
        return mpmath.expm(mpmath.matrix(exponent.tolist()))


def is_exponential(found, matrix):
    expected = reference(matrix, s)
    values = found.subs(NUMBERS).evalf(35)
    gaps = (values[i, j] - sp.Float(expected[i, j], 35) for i in range(found.rows) for j in range(found.cols))
    return all(abs(gap) < sp.Rational(1, 10**25) for gap in gaps)


@pytest.mark.parametrize("name", CLOSED)
def test_a_closed_form_is_the_exponential(name):
    found = matrix_exponential(sp.Matrix(CLOSED[name]), s)
    assert not found.has(FlowEntry)
    assert is_exponential(found, CLOSED[name])
    assert not is_exponential(found + sp.eye(found.rows) / 10**20, CLOSED[name])


@pytest.mark.parametrize("name", LEFT)
def test_where_no_closed_form_is_of_use_the_entries_stay_and_are_the_exponential(name):
    found = matrix_exponential(sp.Matrix(LEFT[name]), s)
    assert found.has(FlowEntry)
    assert is_exponential(found, LEFT[name])
    assert not is_exponential(found.T + sp.eye(found.rows) / 10**20, LEFT[name])


def test_blocks_that_are_not_coupled_are_treated_one_by_one():
    matrix = sp.diag(sp.Matrix(LEFT["cubic field"]), sp.Matrix(CLOSED["boost"]))
    found = matrix_exponential(matrix, s)
    assert not found[3:, 3:].has(FlowEntry)
    assert found[:3, 3:].is_zero_matrix
    assert is_exponential(found, matrix)


def test_the_rotation_is_written_with_cosine_and_sine():
    assert matrix_exponential(sp.Matrix([[0, -w], [w, 0]]), s)[1, 0] == sp.sin(w * s)


@given(entries=st.lists(st.fractions(-2, 2, max_denominator=4), min_size=9, max_size=9))
@settings(max_examples=15)
def test_the_exponential_of_any_rational_matrix(entries):
    matrix = sp.Matrix(3, 3, [sp.Rational(x) for x in entries])
    found = matrix_exponential(matrix, s)
    assert is_exponential(found, matrix)
    assert found.subs(s, 0) == sp.eye(3)
    assert found.diff(s).subs(s, 0).applyfunc(sp.simplify) == matrix


# The entries as atoms


M = sp.ImmutableMatrix(LEFT["cubic field"])


def test_an_entry_solves_its_differential_equation():
    entry = FlowEntry(M, 1, 2, 2 * s)
    expected = 2 * sum(M[1, k] * FlowEntry(M, k, 2, 2 * s) for k in range(3))
    assert sp.expand(entry.diff(s) - expected) == 0
    assert entry.diff(a) == 0


def test_entries_know_the_addition_theorem_and_no_wrong_one():
    sum_of_times = FlowEntry(M, 0, 2, a + b + s)
    products = (FlowEntry(M, 0, j, a) * FlowEntry(M, j, k, b) * FlowEntry(M, k, 2, s) for j in range(3) for k in range(3))
    assert sp.expand(sum_of_times - sum(products), trig=True) == 0
    assert sp.expand(sum_of_times - FlowEntry(M, 0, 2, a) * FlowEntry(M, 2, 2, b + s), trig=True) != 0


def test_an_entry_that_is_known_is_not_left_open():
    assert (FlowEntry(M, 1, 1, 0), FlowEntry(M, 0, 1, 0)) == (1, 0)
    assert FlowEntry([[0, 0], [1, 2]], 0, 0, s) == 1
    assert FlowEntry([[0, 0], [1, 2]], 0, 1, s) == 0


def test_the_derivative_by_a_symbol_inside_the_matrix_is_left_open():
    entry = FlowEntry([[x, 1], [0, w]], 0, 1, s)
    assert isinstance(entry.diff(x), sp.Derivative)


def test_an_entry_is_written_with_its_matrix():
    entry = FlowEntry([[0, 1], [2, 0]], 0, 1, s)
    assert str(entry) == "exp(s*[[0, 1], [2, 0]])[0, 1]"
    assert sp.latex(entry).endswith(r"\right]_{1,2}")
    assert hash(entry) == hash(FlowEntry([[0, 1], [2, 0]], 0, 1, s))


def test_the_affine_flow_solves_its_equation():
    matrix, shift = sp.Matrix([[1, 2], [2, 1]]), sp.Matrix([3, -1])
    flow, drift = affine_flow(matrix, shift, s)
    assert (drift.diff(s) - matrix * drift - shift).applyfunc(sp.expand).is_zero_matrix
    assert drift.subs(s, 0).is_zero_matrix
    assert is_exponential(flow, matrix)
    assert not (drift.diff(s) - matrix * drift + shift).applyfunc(sp.expand).is_zero_matrix
