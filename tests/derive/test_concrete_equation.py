"""Modified equations of concrete fields: known equations, and two independent ways to the same field."""

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive import (
    ConcreteEquation,
    UnsupportedError,
    gradient_flow,
    heavy_ball,
    modified_flow,
    multistep,
    nesterov,
    partitioned,
    runge_kutta,
    sgd,
)
from derive.concrete_equation import aligned
from derive.differential_ring import DifferentialRing
from derive.symbols import lr as eta
from derive.symbols import step_size, weight_decay
from tests.derive import elementary_differentials
from tests.derive.elementary_differentials import evaluated, x, y

R = sp.Rational
beta = sp.Symbol("beta")
h = step_size
LOTKA_VOLTERRA = {x: x * (2 - y), y: y * (x - 1)}
CUBIC = {x: y - x**3 / 2 + 1, y: x * y - x**2 * y / 3}


def same(found, expected):
    return [sp.expand(a - b) for a, b in zip(found, expected, strict=True)] == [0] * len(expected)


# Known equations


def test_euler_on_a_quadratic_is_example_1_1_of_hairer_lubich_wanner():
    """HLW, IX.1: y' = y² − hy³ + (3/2)h²y⁴ − (8/3)h³y⁵ + (31/6)h⁴y⁶ − (157/15)h⁵y⁷."""
    known = [1, -1, R(3, 2), R(-8, 3), R(31, 6), R(-157, 15)]
    terms = modified_flow(runge_kutta("euler"), field={y: y**2}, order=5).terms
    assert terms == tuple((c * y ** (k + 2),) for k, c in enumerate(known))


def test_lotka_volterra_is_example_1_2_of_hairer_lubich_wanner():
    """Explicit Euler: q' = q(p−1) − (h/2)q(p²−pq+1), p' = −p(q−2) − (h/2)p(q²−pq−3q+4)."""
    p, q = sp.symbols("p q")
    equation = modified_flow(runge_kutta("euler"), field={q: q * (p - 1), p: p * (2 - q)}, order=1)
    known = (q * (p - 1) - h / 2 * q * (p**2 - p * q + 1), -p * (q - 2) - h / 2 * p * (q**2 - p * q - 3 * q + 4))
    assert same(equation.field, known)


def test_implicit_euler_is_explicit_euler_with_the_step_reversed():
    explicit, implicit = (modified_flow(runge_kutta(n), field=CUBIC, order=4) for n in ("euler", "implicit_euler"))
    assert same(implicit.field, [c.subs(h, -h) for c in explicit.field])


def test_a_symmetric_method_has_even_powers_only():
    terms = modified_flow(runge_kutta("implicit_midpoint"), field=LOTKA_VOLTERRA, order=5).terms
    assert [any(part) for part in terms] == [True, False, True, False, True, False]


def test_euler_on_a_rotation_grows_by_half_a_step_at_first():
    """Growth ln(1+h²)/(2h) = h/2 − h³/4 + h⁵/6 (Kunin et al. 2021, Fig. 7)."""
    terms = modified_flow(runge_kutta("euler"), field={x: -y, y: x}, order=5).terms
    growth = [sp.diff(part[0], x) for part in terms]
    assert growth == [0, R(1, 2), 0, R(-1, 4), 0, R(1, 6)]


def test_a_method_of_order_p_changes_the_field_at_h_to_the_p():
    terms = modified_flow(runge_kutta("rk4"), field=LOTKA_VOLTERRA, order=4).terms
    assert [any(part) for part in terms] == [True, False, False, False, True]


# Lie series against trees


@pytest.mark.parametrize("field", [LOTKA_VOLTERRA, CUBIC], ids=["quadratic", "cubic"])
@pytest.mark.parametrize("name", ["euler", "midpoint", "heun3", "rk4", "implicit_euler", "implicit_midpoint", "gauss4"])
def test_lie_series_agree_with_elementary_differentials(name, field):
    method, parts = runge_kutta(name), (sp.Matrix(list(field.values())),)
    by_trees = evaluated(method.modified_equation(4), parts, is_map=False).subs(elementary_differentials.h, h)
    assert same(modified_flow(method, field=field, order=3).field, by_trees)


@pytest.mark.parametrize(
    "rule",
    [
        heavy_ball(R(1, 2)),
        nesterov(R(1, 2)),
        nesterov(R(1, 2), textbook=True),
        multistep({1: 1, 0: -1}, {0: R(3, 2), -1: R(-1, 2)}),
        multistep({1: R(3, 2), 0: -2, -1: R(1, 2)}, {1: 1}),
    ],
    ids=["heavy ball", "nesterov", "textbook", "adams bashforth", "bdf"],
)
def test_so_they_do_for_multistep_rules(rule):
    parts = (sp.Matrix(list(CUBIC.values())),)
    by_trees = evaluated(rule.slow_flow(4), parts, is_map=False).subs(elementary_differentials.h, h)
    assert same(modified_flow(rule, field=CUBIC, order=3).field, by_trees)


def test_so_they_do_with_symbols_for_momentum_and_in_the_field():
    a = sp.Symbol("a")
    field = {x: a * y - x**2, y: x * y}
    by_trees = evaluated(heavy_ball(beta).slow_flow(3), (sp.Matrix(list(field.values())),), is_map=False)
    found = modified_flow(heavy_ball(beta), field=field, order=2).field
    differences = [a - b for a, b in zip(found, by_trees.subs(elementary_differentials.h, h), strict=True)]
    assert [sp.cancel(d) for d in differences] == [0, 0]


coefficients = st.fractions(min_value=-2, max_value=2, max_denominator=5).map(lambda f: R(f.numerator, f.denominator))
polynomials = st.lists(coefficients, min_size=6, max_size=6).map(
    lambda c: sp.Add(*(k * m for k, m in zip(c, (1, x, y, x * y, x**2, y**3), strict=True)))
)


@given(first=polynomials, second=polynomials, name=st.sampled_from(["euler", "midpoint", "ralston", "implicit_midpoint"]))
@settings(max_examples=8)
def test_so_they_do_on_any_polynomial_field(first, second, name):
    by_trees = evaluated(runge_kutta(name).modified_equation(3), (sp.Matrix([first, second]),), is_map=False)
    found = modified_flow(runge_kutta(name), field={x: first, y: second}, order=2).field
    assert same(found, by_trees.subs(elementary_differentials.h, h))


SMOOTH = {
    "softplus": {x: -sp.exp(-x * y) / (1 + sp.exp(-x * y)), y: sp.log(1 + sp.exp(x))},
    "trigonometric": {x: sp.sin(x) * y, y: sp.cos(x + y) - sp.tan(y)},
    "roots": {x: sp.sqrt(1 + x**2), y: (1 + x * y) ** R(-3, 2)},
    "hyperbolic": {x: sp.tanh(x * y), y: sp.cosh(x) - sp.sinh(y) * sp.sqrt(2) * sp.pi},
    "inverse functions": {x: sp.atan(x) + sp.asinh(y), y: sp.erf(x) / (2 + sp.atanh(y / 3))},
    "variable exponents": {x: (1 + x) ** y, y: 2**x},
}


@pytest.mark.parametrize("field", SMOOTH.values(), ids=SMOOTH)
def test_fields_that_are_no_polynomials_agree_with_sympy_derivatives_at_a_point(field):
    point = {x: R(2, 7), y: R(3, 5)}
    by_trees = evaluated(runge_kutta("midpoint").modified_equation(4), (sp.Matrix(list(field.values())),), is_map=False)
    found = modified_flow(runge_kutta("midpoint"), field=field, order=3).field
    step = {elementary_differentials.h: R(1, 3), h: R(1, 3)}
    for a, b in zip(found, by_trees, strict=True):
        assert abs((a - b).subs(step).subs(point).evalf(40)) < 1e-30


def test_the_comparison_sees_a_wrong_coefficient():
    method = runge_kutta("midpoint")
    parts = (sp.Matrix(list(CUBIC.values())),)
    by_trees = evaluated(runge_kutta("heun").modified_equation(4), parts, is_map=False).subs(elementary_differentials.h, h)
    assert not same(modified_flow(method, field=CUBIC, order=3).field, by_trees)


# The ring


def test_a_derivative_in_the_ring_is_the_derivative():
    expr = sp.log(1 + sp.exp(-(x**2))) * sp.sqrt(y) / (1 + x * y) + sp.tan(x) ** 2 + 3**y
    field = DifferentialRing([expr], (x, y))
    for k, variable in enumerate((x, y)):
        difference = field.to_expr(field.derivative(field.from_expr(expr), k)) - expr.diff(variable)
        assert abs(difference.subs({x: R(1, 3), y: R(2, 5)}).evalf(40)) < 1e-30


def test_zero_is_seen_where_generators_are_dependent_and_only_there():
    trigonometric = DifferentialRing([sp.sin(x), sp.cos(x)], (x,))
    one = trigonometric.from_expr(sp.sin(x) ** 2 + sp.cos(x) ** 2)
    assert trigonometric.is_zero(one - 1)
    assert not trigonometric.is_zero(one - 2)
    assert not DifferentialRing([x], (x,)).is_zero(DifferentialRing([x], (x,)).from_expr(x))


# What comes back, and what is refused


def test_an_equation_is_a_frozen_value():
    first, second = (modified_flow(sgd(), loss=x**2 * y**2, order=2) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    with pytest.raises(AttributeError):
        first.order = 3
    with pytest.raises(ValueError, match=r"terms: expected f_0 … f_1, got 3"):
        ConcreteEquation(first.rule, 1, first.variables, first.original, first.step, first.terms)
    with pytest.raises(ValueError, match="terms: expected 1 components each"):
        ConcreteEquation(first.rule, 2, (x,), first.original, first.step, first.terms)


def test_an_update_rule_brings_its_weight_decay_and_its_step_size():
    equation = modified_flow(sgd(momentum=True, dampening=True), loss=x**2 / 2, order=0)
    assert same(equation.original, [-x - weight_decay * x])
    assert equation.step == sgd(momentum=True, dampening=True).step_size
    assert sp.cancel(equation.field[0] * (1 - sp.Symbol("beta", nonnegative=True)) + x * (1 + weight_decay)) == 0


def test_a_list_with_variables_is_a_field_too():
    by_name = modified_flow(runge_kutta("euler"), field=LOTKA_VOLTERRA, order=2)
    assert modified_flow(runge_kutta("euler"), field=list(LOTKA_VOLTERRA.values()), variables=(x, y), order=2) == by_name
    assert (
        modified_flow(runge_kutta("euler"), field=sp.Matrix(list(LOTKA_VOLTERRA.values())), variables=[x, y], order=2)
        == by_name
    )


def test_it_shows_as_latex():
    shown = modified_flow(runge_kutta("euler"), field={y: y**2}, order=1)._repr_latex_()
    assert r"\dot{y} &= " in shown
    assert r"O\left(h^{2}\right)" in shown
    assert aligned((x,), (y,)) == r"$\begin{aligned}\dot{x} &= y\end{aligned}$"


EULER = runge_kutta("euler")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: modified_flow(EULER, field={x: 0.5 * x}), r"field\[x\]: expected exact numbers, got the float 0.5"),
        (lambda: modified_flow(EULER, loss=0.5 * x**2), "loss: expected exact numbers, got the float 0.5"),
        (lambda: modified_flow(EULER, field={x: "x"}), r"field\[x\]: expected a SymPy expression, got 'x'"),
        (lambda: modified_flow(EULER, loss="x**2"), "loss: expected a SymPy expression"),
        (lambda: modified_flow(EULER, field="x"), "field: expected {x: …, y: …}, or a list with variables"),
        (lambda: modified_flow(EULER, field=[x]), r"a list with variables=\(x, y\), got \[x\]"),
        (lambda: modified_flow(EULER, field=[x, y], variables=(x,)), "field: expected 1 components"),
        (lambda: modified_flow(EULER, field={x: y}, variables=(x, y)), "variables: expected those of the field"),
        (lambda: modified_flow(EULER, field=[x, y], variables=(x, x)), "variables: expected different symbols"),
        (lambda: modified_flow(EULER, field={}), "variables: expected different symbols"),
        (lambda: modified_flow(EULER, loss=sp.Integer(3)), "loss: expected an expression in the parameters"),
        (lambda: modified_flow(EULER, loss=x, field={x: x}), "loss: expected a field or a loss, got both"),
        (lambda: modified_flow(EULER, variables=(x,)), "variables: expected a loss= or field= in them"),
        (lambda: modified_flow(EULER, field={x: sp.Abs(x)}), r"field: expected arithmetic, .* got Abs\(x\)"),
        (lambda: modified_flow(EULER, field={x: sp.Max(x, 0)}), "field: expected arithmetic"),
        (lambda: modified_flow(EULER, field={x: sp.gamma(x)}), "field: expected arithmetic"),
        (lambda: modified_flow(EULER, field={x: sp.Function("f")(x)}), "field: expected arithmetic"),
        (lambda: modified_flow(EULER, field={x: sp.I * x}), r"field\[x\]: expected a finite real expression"),
        (lambda: modified_flow(EULER, field={x: sp.oo * x}), r"field\[x\]: expected a finite real expression"),
        (lambda: modified_flow(EULER, field={x: sp.Symbol("h") * x}), r"no symbol of the rule in it, got \['h'\]"),
        (lambda: modified_flow(sgd(), loss=eta * x**2), r"no symbol of the rule in it, got \['eta'\]"),
        (lambda: modified_flow(heavy_ball(beta), field={x: beta * x}), r"no symbol of the rule in it, got \['beta'\]"),
        (lambda: modified_flow(sgd(), loss=weight_decay**2), r"no symbol of the rule in it, got \['lambda'\]"),
        (lambda: modified_flow(gradient_flow(), loss=x**2), "rule: expected a rule with steps"),
        (lambda: modified_flow(partitioned("symplectic_euler"), field={x: x}), "got PartitionedRungeKutta"),
        (lambda: modified_flow("sgd", field={x: x}), "rule: expected sgd.*, got str"),
        (lambda: modified_flow(EULER, field={x: x}, order=-1), "order: expected .*, got -1"),
        (lambda: modified_flow(EULER, field={x: x}, order=2.0), "order: expected .*, got 2.0"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(call, message):
    with pytest.raises(UnsupportedError, match=message):
        call()
