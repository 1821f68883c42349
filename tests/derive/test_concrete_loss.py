"""The modified loss of a concrete loss: when there is one, what it is, and why there is none."""

import pytest
import sympy as sp

from derive import UnsupportedError, heavy_ball, modified_flow, modified_loss, runge_kutta, sgd
from derive.concrete_loss import potential
from derive.equality import refutes
from derive.symbols import lr as eta
from derive.symbols import momentum as beta
from derive.symbols import weight_decay as lam
from tests.derive.known_systems import CURVED_LOSS, x, y

R = sp.Rational
PLAIN = sgd(weight_decay=False)
g = sp.Matrix([CURVED_LOSS.diff(x), CURVED_LOSS.diff(y)])
H = sp.hessian(CURVED_LOSS, (x, y))


def descends(found):
    """Whether θ' = −∇(its loss)."""
    return all(refutes(c + sp.diff(found.loss, v)) is None for c, v in zip(found.field, found.variables, strict=True))


def test_equation_16_on_a_loss():
    found = modified_loss(PLAIN, loss=CURVED_LOSS)
    assert sp.expand(found.loss - CURVED_LOSS - eta / 4 * g.dot(g)) == 0
    assert found.is_gradient
    assert found.reason == ""
    assert found.curl == {(x, y): 0}


def test_weight_decay_is_part_of_the_loss():
    found = modified_loss(sgd(), loss=CURVED_LOSS)
    decayed = CURVED_LOSS + lam / 2 * (x**2 + y**2)
    assert sp.expand(found.original - decayed) == 0
    assert sp.expand(found.loss - decayed - eta / 4 * (decayed.diff(x) ** 2 + decayed.diff(y) ** 2)) == 0


@pytest.mark.parametrize("rule", [PLAIN, sgd()], ids=["plain", "weight decay"])
def test_at_second_order_the_curl_is_the_known_one_and_there_is_no_loss(rule):
    found = modified_loss(rule, loss=CURVED_LOSS, order=2)
    known = eta**2 * x * (2 * x**2 - 4 * y**2 + 12 * y + 9) / 81
    assert sp.expand(found.curl[x, y].subs(lam, 0) - known) == 0
    assert (found.is_gradient, found.gradient_order, found.loss) == (False, 1, None)


def test_the_reason_names_the_curl_and_the_trees():
    reason = modified_loss(PLAIN, loss=CURVED_LOSS, order=2).reason
    assert "eta**2" in reason
    assert "x*(2*x**2 - 4*y**2 + 12*y + 9)/81" in reason
    assert "b([[t]]) = 1/3 and b([t,t]) = 1/6" in reason


def test_what_splits_off_is_the_loss_on_free_trees_and_the_rest_is_a_sixth_of_h_squared_g():
    found = modified_loss(PLAIN, loss=CURVED_LOSS, order=2)
    assert sp.expand(found.gradient_part - CURVED_LOSS - eta / 4 * g.dot(g) - eta**2 / 12 * (g.T * H * g)[0]) == 0
    assert [sp.expand(a + b) for a, b in zip(found.rest, eta**2 / 6 * H * H * g, strict=True)] == [0, 0]
    parts = zip(found.field, found.rest, (x, y), strict=True)
    assert [sp.expand(c - r + sp.diff(found.gradient_part, v)) for c, r, v in parts] == [0, 0]


def test_the_loss_of_momentum_is_that_of_the_slow_flow():
    found = modified_loss(sgd(momentum=True, weight_decay=False), loss=CURVED_LOSS)
    known = CURVED_LOSS / (1 - beta) + eta * (1 + beta) / (4 * (1 - beta) ** 3) * g.dot(g)
    assert sp.cancel(sp.together(found.loss - known)) == 0


def test_a_quadratic_loss_keeps_a_modified_loss_at_every_order():
    quadratic = x**2 + x * y + 2 * y**2
    found = modified_loss(PLAIN, loss=quadratic, order=4)
    assert found.is_gradient
    assert descends(found)
    exact = modified_loss(PLAIN, loss=quadratic, order=sp.oo)
    series = sp.series(exact.loss.subs({x: R(1, 3), y: R(2, 5)}), eta, 0, 5).removeO()
    assert sp.expand(sp.nsimplify(sp.expand(series - found.loss.subs({x: R(1, 3), y: R(2, 5)})))).equals(0)


@pytest.mark.parametrize("loss", [sp.exp(x), sp.log(1 + sp.exp(-x)), sp.sqrt(1 + x**2), x**4 - x**2], ids=str)
def test_in_one_dimension_every_order_has_a_loss(loss):
    found = modified_loss(PLAIN, loss=loss, order=2)
    assert found.is_gradient
    assert found.loss is None or descends(found)
    assert found.loss is not None or "closed form" in found.reason


def test_a_loss_in_exponentials_has_its_curl():
    loss = sp.exp(x * y) + x**2
    found = modified_loss(PLAIN, loss=loss, order=2)
    assert not found.is_gradient
    field = modified_flow(PLAIN, loss=loss, order=2).field
    assert refutes(found.curl[x, y] + field[1].diff(x) - field[0].diff(y)) is None
    assert refutes(found.curl[x, y]) is not None
    assert descends(modified_loss(PLAIN, loss=loss, order=1))


def test_a_rotationally_symmetric_loss_has_one_though_the_trees_say_no_for_others():
    """∇L and all Hg, HHg, … are radial, so the curl vanishes on this loss: it is the loss that decides."""
    found = modified_loss(PLAIN, loss=(x**2 + y**2) ** 2, order=3)
    assert found.is_gradient
    assert descends(found)


def test_runge_kutta_methods_have_modified_losses_too():
    found = modified_loss(runge_kutta("implicit_midpoint"), loss=CURVED_LOSS, order=2)
    assert not found.is_gradient
    assert modified_loss(runge_kutta("rk4"), loss=CURVED_LOSS, order=3).loss.equals(CURVED_LOSS)
    assert modified_loss(heavy_ball(R(1, 2)), loss=CURVED_LOSS).is_gradient


def test_more_than_two_parameters_have_a_curl_for_each_pair():
    z = sp.Symbol("z", real=True)
    found = modified_loss(PLAIN, loss=x**2 * y + z**2, order=2)
    assert set(found.curl) == {(x, y), (x, z), (y, z)}
    assert found.curl[x, z] == found.curl[y, z] == 0
    assert found.curl[x, y] != 0


def test_a_potential_is_checked_by_its_gradient():
    assert potential((sp.S.Zero, sp.S.Zero), (x, y)) == 0
    assert potential((y, -x), (x, y)) is None
    assert potential((sp.exp(x) * y, sp.exp(x)), (x, y)).equals(y * sp.exp(x))


def test_a_modified_loss_is_a_frozen_value_and_shows_as_latex():
    first, second = (modified_loss(PLAIN, loss=CURVED_LOSS) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first._repr_latex_().startswith(r"$\tilde L = ")
    assert r"\dot{x}" in modified_loss(PLAIN, loss=CURVED_LOSS, order=2)._repr_latex_()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "order: expected .* from 1 on .*, got 0"),
        ({"order": sp.oo}, "order: expected a linear field"),
        ({"variables": ()}, "variables: expected different symbols"),
        ({"variables": (x, "y")}, "variables: expected different symbols"),
    ],
)
def test_what_is_no_order_or_no_variables_is_refused(options, message):
    with pytest.raises(UnsupportedError, match=message):
        modified_loss(PLAIN, loss=CURVED_LOSS, **options)
