"""Identities that are shown, statements that are not, and the independent search for a counterexample."""

from itertools import islice

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from derive.equality import random_rationals, rational_normal_form, refutes, vanishes
from derive.special_functions import damped_cosh, damped_sinhc

x, y = sp.symbols("x y", positive=True)
t, gamma, omega = sp.symbols("t gamma omega", positive=True)
z = sp.symbols("z")
mu = sp.sqrt(gamma**2 - omega**2)
C, S = damped_cosh(gamma * t, omega * t), damped_sinhc(gamma * t, omega * t)
U, V = sp.symbols("U V", commutative=False)

TRUE = {
    "square": (x + 1) ** 2 - x**2 - 2 * x - 1,
    "fraction": 1 / x + 1 / y - (x + y) / (x * y),
    "geometric sum": (1 - x**5) / (1 - x) - sum(x**k for k in range(5)),
    "conjugate root": 1 / (gamma + mu) - (gamma - mu) / omega**2,  # the slow root −ω²/(γ+√z)
    "roots of the auxiliary equation": (-gamma + mu) ** 2 + 2 * gamma * (-gamma + mu) + omega**2,  # App. H.2
    "quartic root": (x ** sp.Rational(1, 4) + 1) ** 2 - sp.sqrt(x) - 2 * x ** sp.Rational(1, 4) - 1,
    "root of a number": 1 / (1 + sp.sqrt(2)) - sp.sqrt(2) + 1,
    "function values": (sp.sin(x) + 1) ** 2 - sp.sin(x) ** 2 - 2 * sp.sin(x) - 1,
    "equal arguments": sp.exp(-(x**2 - 1) / (x - 1)) - sp.exp(-x - 1),
    "over-damped oscillator": (sp.exp(-t * (gamma - mu))).diff(t, 2)
    + 2 * gamma * sp.exp(-t * (gamma - mu)).diff(t)
    + omega**2 * sp.exp(-t * (gamma - mu)),
    "oscillator": (t * S).diff(t, 2) + 2 * gamma * (t * S).diff(t) + omega**2 * t * S,
    "oscillator at rest": (C + gamma * t * S).diff(t) + omega**2 * t * S,
    "words": U * (U + V) - U**2 - U * V,
}
FALSE = {
    "constant": sp.Rational(1, 10**30),
    "slip": (x + 1) ** 2 - x**2 - 1,
    "wrong sign of a root": 1 / (gamma + mu) - (gamma + mu) / omega**2,
    "sine is not its argument": sp.sin(x) - x,
    "negative branch": sp.sqrt(z**2) - z,
    "half damping": (t * S).diff(t, 2) + gamma * (t * S).diff(t) + omega**2 * t * S,
    "stiffness without square": (t * S).diff(t, 2) + 2 * gamma * (t * S).diff(t) + omega * t * S,
    "other function": C - S,
    "small coefficient": x - x * (1 + sp.Rational(1, 10**25)),
}


@pytest.mark.parametrize("expr", TRUE.values(), ids=TRUE)
def test_an_identity_is_shown(expr):
    assert vanishes(expr)


@pytest.mark.parametrize("expr", FALSE.values(), ids=FALSE)
def test_what_is_no_identity_is_not_shown(expr):
    assert not vanishes(expr)


@pytest.mark.parametrize("name", sorted(TRUE.keys() - {"words"}))
def test_no_counterexample_is_met_to_an_identity(name):
    assert refutes(TRUE[name]) is None


@pytest.mark.parametrize("name", sorted(FALSE.keys() - {"constant", "negative branch", "small coefficient"}))
def test_a_counterexample_is_met_and_is_one(name):
    point = refutes(FALSE[name])
    assert abs(FALSE[name].subs(point).evalf(40)) > sp.Float("1e-20")


def test_a_counterexample_closer_than_the_digits_asked_for_is_met_with_more_digits():
    assert refutes(FALSE["constant"]) is None
    assert refutes(FALSE["constant"], digits=80) == {}
    assert refutes(FALSE["small coefficient"], digits=80) is not None


def test_an_order_of_words_matters():
    assert not vanishes(U * V - V * U)


# Soundness: what is shown is true

atoms = st.sampled_from([x, y, sp.sqrt(x), sp.sqrt(x + y), sp.exp(-x), sp.Integer(2), sp.Rational(1, 3)])
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] * pair[1]),
        st.tuples(inner, st.sampled_from([2, 3, -1])).map(lambda pair: (pair[0] + 5) ** pair[1]),
    ),
    max_leaves=5,
)


@given(expressions, expressions, atoms, st.sampled_from([0, 0, 1, -1, sp.Rational(1, 10**20)]))
def test_a_product_minus_its_expansion_is_shown_to_vanish_and_nothing_beside_it(first, second, atom, much):
    difference = first * second - sp.expand(first * second)
    assert vanishes(difference + much * atom) is (much == 0)


@given(expressions, expressions)
def test_what_is_shown_has_no_counterexample(first, second):
    assert not (vanishes(first - second) and refutes(first - second))


@given(expressions)
def test_the_normal_form_keeps_the_value(expr):
    assert refutes(rational_normal_form(expr) - expr) is None


# Refusals and reproducibility


def test_an_undefined_function_cannot_be_evaluated():
    with pytest.raises(ValueError, match="expr: expected numbers after substituting"):
        refutes(sp.Function("Q")(x) - x)


def test_random_points_are_reproducible_and_inside_the_unit_interval():
    first, again, other = (list(islice(random_rationals([x, y], seed), 20)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert all(0 < value < 1 for point in first for value in point.values())
