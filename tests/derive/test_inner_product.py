"""Words of operators, against matrices and vectors of exact rationals in which they are spelled out."""

import random

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from derive import inner_product as ip

SIZE = 3
SYMMETRIC = (ip.hessian, ip.linear_part)
VECTORS = (ip.theta, ip.gradient, ip.generator, ip.velocity, ip.theta_dot)


def spelled_out(seed: int) -> dict[sp.Symbol, sp.Matrix]:
    """A random rational matrix or vector for each letter; H and M symmetric."""
    draw = random.Random(seed)

    def matrix(columns):
        return sp.Matrix(SIZE, columns, lambda i, j: sp.Rational(draw.randint(-9, 9), draw.randint(1, 5)))

    square = {letter: matrix(SIZE) for letter in SYMMETRIC}
    return {letter: m + m.T for letter, m in square.items()} | {letter: matrix(1) for letter in VECTORS}


def vector_of(expr, letters):
    def product(word):
        result = sp.eye(SIZE)
        for letter in ip.word_letters(word):
            result = result * letters[letter]
        return result

    return sum((c * product(word) for word, c in ip.words(expr).items()), sp.zeros(SIZE, 1))


def value_of(expr, letters):
    """A scalar expression with every ⟨u, v⟩ replaced by its number."""

    def number(atom):
        left, right = (vector_of(word, letters) for word in atom.args)
        return (left.T * right)[0]

    return sp.expand(expr.xreplace({atom: number(atom) for atom in expr.atoms(ip.Inner)}))


operator_words = st.builds(
    lambda operators, vector: sp.Mul(*operators, vector),
    st.lists(st.sampled_from(SYMMETRIC), max_size=3),
    st.sampled_from(VECTORS),
)
vectors = st.lists(st.tuples(st.integers(-3, 3), operator_words), min_size=1, max_size=3).map(
    lambda terms: sp.expand(sum(c * word for c, word in terms))
)
seeds = st.integers(0, 9)


@given(vectors, vectors, seeds)
def test_the_inner_product_is_the_dot_product(u, v, seed):
    letters = spelled_out(seed)
    assert value_of(ip.inner(u, v), letters) == (vector_of(u, letters).T * vector_of(v, letters))[0]


@given(vectors, vectors)
def test_the_inner_product_is_symmetric(u, v):
    assert ip.inner(u, v) == ip.inner(v, u)


@given(vectors, seeds)
def test_moving_operators_keeps_the_value(u, seed):
    expr = ip.inner(u, ip.generator)
    assert value_of(ip.move_operators(expr, onto=ip.generator), spelled_out(seed)) == value_of(expr, spelled_out(seed))


def test_moving_an_operator_that_is_not_symmetric_would_change_the_value():
    letters = spelled_out(0) | {ip.hessian: sp.Matrix(SIZE, SIZE, range(9))}
    expr = ip.inner(ip.hessian * ip.gradient, ip.generator)
    assert value_of(ip.move_operators(expr, onto=ip.generator), letters) != value_of(expr, letters)


@given(vectors, vectors, seeds)
def test_the_bilinear_form_is_that_of_m(u, v, seed):
    letters = spelled_out(seed)
    form = (vector_of(u, letters).T * letters[ip.linear_part] * vector_of(v, letters))[0]
    assert value_of(ip.bilinear(u, v), letters) == form
    assert ip.bilinear(u, v) == ip.bilinear(v, u)


@given(vectors, seeds)
def test_a_word_is_replaced_everywhere(v, seed):
    letters = spelled_out(seed)
    expr = ip.inner(v, ip.hessian * ip.theta)
    replaced = ip.substitute_words(expr, {ip.theta: ip.gradient - 2 * ip.velocity})
    moved = letters | {ip.theta: letters[ip.gradient] - 2 * letters[ip.velocity]}
    assert value_of(replaced, letters) == value_of(expr, moved)
    assert ip.theta not in replaced.free_symbols


def test_a_scalar_is_no_vector():
    with pytest.raises(ValueError, match="vector: expected a sum of words such as H\\*g, got the scalar term 2"):
        ip.words(ip.gradient + 2)


def test_an_order_of_operators_matters():
    assert ip.inner(ip.hessian * ip.linear_part * ip.gradient, ip.theta) != ip.inner(
        ip.linear_part * ip.hessian * ip.gradient, ip.theta
    )


def test_words_are_written_with_dots_and_angles():
    assert str(ip.inner(ip.hessian * ip.gradient, ip.generator)) == "<X, H g>"
    assert sp.latex(ip.inner(ip.theta_dot, ip.generator) ** 2) == r"\langle X, \dot\theta\rangle^{2}"
    assert ip.word_latex(ip.hessian**2 * ip.theta) == r"H H \theta"
