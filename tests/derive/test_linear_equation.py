"""Modified equations of linear fields to all orders: their exponential is the map, exactly."""

import mpmath
import pytest
import sympy as sp

from derive import UnsupportedError, heavy_ball, modified_flow, modified_loss, nesterov, runge_kutta, sgd
from derive.symbols import lr as eta
from derive.symbols import step_size as h
from derive.symbols import weight_decay as lam

R = sp.Rational
x, y = sp.symbols("x y", real=True)
a, z = sp.symbols("a z", real=True)
PLAIN = sgd(weight_decay=False)
FIELDS = {
    "symmetric": ({x: -2 * x + y, y: x - 2 * y}, 0),
    "rotation": ({x: -y, y: x}, 0),
    "spiral": ({x: -x / 2 - y, y: x - y / 2}, 0),
    "defective": ({x: -x + y, y: -y}, 0),
    "affine": ({x: -x + 1, y: -3 * y + x - 2}, 0),
    "affine and singular": ({x: -x + 1, y: sp.Integer(2)}, 0),
    "constant": ({x: sp.Integer(1), y: y}, 0),
}
METHODS = {name: runge_kutta(name) for name in ("euler", "midpoint", "rk4", "implicit_midpoint", "gauss4")}


def linear_part(field):
    return sp.Matrix(list(field.values())).jacobian([x, y]), sp.Matrix(list(field.values())).subs({x: 0, y: 0})


def bordered(matrix, constant):
    return matrix.row_join(constant).col_join(sp.zeros(1, 3))


def exponential(equation, step):
    """exp(h S) on (x, y, 1), in forty digits."""
    with mpmath.workdps(40):
        numbers = bordered(equation.matrix, equation.constant).subs(equation.step, step).evalf(40)
        entries = [[mpmath.mpf(sp.re(entry)) for entry in row] for row in numbers.tolist()]
        return sp.Matrix(3, 3, list(map(sp.Float, mpmath.expm(mpmath.matrix(entries) * mpmath.mpf(step.p) / step.q))))


def step_of_method(method, field, step):
    """R(hA) on (x, y, 1): the stages of the tableau, solved."""
    A = bordered(*linear_part(field)) * step
    stages, size = method.stages, 3
    stacked = sp.eye(size * stages) - sp.kronecker_product(sp.Matrix(method.A), A)
    slopes = stacked.LUsolve(sp.kronecker_product(sp.ones(stages, 1), A))
    return sp.eye(size) + sp.kronecker_product(sp.Matrix([method.b]), sp.eye(size)) * slopes


def distance(left, right):
    return max(abs(entry) for entry in (left - right).evalf(40))


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("name", METHODS)
def test_the_flow_for_one_step_is_the_map(name, kind):
    field, step = FIELDS[kind][0], R(1, 5)
    equation = modified_flow(METHODS[name], field=field, order=sp.oo)
    assert distance(exponential(equation, step), step_of_method(METHODS[name], field, step)) < 1e-25


def test_and_another_map_is_told_apart():
    equation = modified_flow(METHODS["euler"], field=FIELDS["spiral"][0], order=sp.oo)
    assert distance(exponential(equation, R(1, 5)), step_of_method(METHODS["rk4"], FIELDS["spiral"][0], R(1, 5))) > 1e-3


def test_gradient_descent_is_the_logarithm_of_one_minus_eta_a():
    """θ' = (1/η) log(I − ηA)θ: eigenvalues log(1 − η)/η and log(1 − 3η)/η."""
    matrix = modified_flow(PLAIN, loss=x**2 - x * y + y**2, order=sp.oo).matrix
    rates = [sp.log(1 - eta) / eta, sp.log(1 - 3 * eta) / eta]
    assert [
        sp.simplify((matrix * v - r * v).norm()) for r, v in zip(rates, (sp.ones(2, 1), sp.Matrix([1, -1])), strict=True)
    ] == [0, 0]


def test_a_rotation_grows_at_the_known_rate():
    matrix = modified_flow(METHODS["euler"], field=FIELDS["rotation"][0], order=sp.oo).matrix
    assert matrix[0, 0] == matrix[1, 1] == sp.log(1 + h**2) / (2 * h)
    assert matrix[1, 0] == -matrix[0, 1] == sp.atan(h) / h
    assert modified_flow(METHODS["implicit_midpoint"], field=FIELDS["rotation"][0], order=sp.oo).matrix[0, 0] == 0


@pytest.mark.parametrize("make", [heavy_ball, nesterov], ids=["heavy ball", "nesterov"])
def test_momentum_is_the_slow_part_of_the_companion_matrix(make):
    """Along e^{tS} from any start the recurrence holds."""
    momentum, step = R(1, 4), R(1, 20)
    field = FIELDS["symmetric"][0]
    A = linear_part(field)[0]
    Z = exponential(modified_flow(make(momentum), field=field, order=sp.oo), step)[:2, :2]
    force = step * A * ((1 + momentum) * Z - momentum * sp.eye(2) if make is nesterov else Z)
    assert max(abs(e) for e in Z**2 - (1 + momentum) * Z + momentum * sp.eye(2) - force) < 1e-30
    companion = sp.Matrix(sp.BlockMatrix([[(1 + momentum) * sp.eye(2) + step * A, -momentum * sp.eye(2)],
                                          [sp.eye(2), sp.zeros(2)]]))  # fmt: skip
    if make is heavy_ball:
        slow = sorted((abs(z) for z in companion.eigenvals(multiple=True)), key=sp.N)[-2:]
        assert abs(sp.N(slow[0] * slow[1]) - Z.det()) < 1e-14


@pytest.mark.parametrize("rule", [PLAIN, heavy_ball(R(1, 3)), runge_kutta("heun")], ids=["descent", "heavy ball", "heun"])
def test_the_series_of_finite_order_is_the_beginning(rule):
    field = FIELDS["affine"][0]
    exact, series = (modified_flow(rule, field=field, order=n) for n in (sp.oo, 3))
    point, step = {x: R(1, 3), y: R(2, 7)}, exact.step
    for a, b in zip(exact.field, series.field, strict=True):
        gap = (a - b).subs(point)
        assert abs(gap.subs(step, R(1, 10**4)).evalf(50)) < 1e-11
        assert abs(gap.subs(step, R(1, 10**4)).evalf(50)) > 1e-18


def test_a_quadratic_loss_has_a_modified_loss():
    found = modified_loss(sgd(), loss=x**2 / 2 + 2 * y**2, order=sp.oo)
    known = -(x**2) * sp.log(1 - eta * (1 + lam)) / (2 * eta) - y**2 * sp.log(1 - eta * (4 + lam)) / (2 * eta)
    assert refuted_nowhere(found.loss - known)
    assert found.is_gradient
    assert found.reason == ""
    assert len(found.conditions) == 2
    assert "not symmetric" in modified_flow(PLAIN, field=FIELDS["rotation"][0], order=sp.oo).reason


def refuted_nowhere(expr):
    return all(abs(expr.subs({x: R(1, 3), y: R(1, 7), eta: s, lam: R(1, 9)}).evalf(40)) < 1e-35 for s in (R(1, 9), R(1, 11)))


def test_conditions_say_where_momentum_leaves_the_real_axis():
    equation = modified_flow(sgd(momentum=R(1, 4), weight_decay=False), field={x: -x, y: -x - y}, order=sp.oo)
    inside, outside = R(24, 100), R(26, 100)  # (1 − √β)² = 1/4
    assert all(bool(c.subs(eta, inside)) for c in equation.conditions)
    assert not all(bool(c.subs(eta, outside)) for c in equation.conditions)


@pytest.mark.parametrize(
    ("rule", "field", "message"),
    [
        (sgd(lr=R(1, 2), weight_decay=False), {x: -x, y: -3 * y}, "eigenvector of -3 by a positive number, got -1/2"),
        (sgd(lr=R(1, 2), weight_decay=False), {x: -x, y: -2 * y}, "eigenvector of -2 by a positive number, got 0"),
        (sgd(lr=R(3, 10), momentum=R(1, 4), weight_decay=False), {x: -x}, "eigenvector of -1 by a positive number"),
        (sgd(lr=R(1, 4), momentum=R(1, 4), weight_decay=False), {x: y - x, y: -y}, "just where the roots of the rule meet"),
        (PLAIN, {x: -(x**2)}, "expected a linear field"),
        (PLAIN, {x: a * x + y, y: y + z, z: x - z}, "simple eigenvalues where .*put in numbers, or take order=n"),
        (runge_kutta("euler"), {x: sp.exp(x)}, "expected a linear field"),
    ],
)
def test_where_there_is_no_real_flow_it_is_refused(rule, field, message):
    with pytest.raises(UnsupportedError, match=message):
        modified_flow(rule, field=field, order=sp.oo)


def test_eigenvalues_without_short_formulas_are_kept_as_roots():
    loss = x**2 + 2 * y**2 + 3 * z**2 + x * y / 2 + y * z / 3 + x * z / 5
    equation = modified_loss(PLAIN, loss=loss, order=sp.oo)
    step, A = R(1, 10), sp.hessian(loss, (x, y, z))
    with mpmath.workdps(40):
        entries = equation.matrix.subs(eta, step).evalf(40).tolist()
        found = mpmath.expm(mpmath.matrix([[mpmath.mpf(sp.re(e)) for e in row] for row in entries]) / 10)
        assert mpmath.mnorm(found - mpmath.matrix((sp.eye(3) - step * A).evalf(40).tolist())) < 1e-30


def test_exactly_critical_momentum_still_has_a_flow():
    """ηλ = (1 − √β)² = 1/4: both roots are 1/2."""
    critical = sgd(lr=R(1, 4), momentum=R(1, 4), weight_decay=False)
    assert modified_flow(critical, field={x: -x}, order=sp.oo).matrix[0, 0] == 4 * sp.log(R(1, 2))


def test_it_is_a_frozen_value_and_shows_as_latex():
    first, second = (modified_flow(PLAIN, field=FIELDS["symmetric"][0], order=sp.oo) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first.order is sp.oo
    assert r"\dot{x}" in first._repr_latex_()
    assert first.validity.limit == 1
