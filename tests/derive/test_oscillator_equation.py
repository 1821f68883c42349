"""The modified flow of a concrete loss: the paper's equation, and what it is for."""

import pytest
import sympy as sp

from derive import UnsupportedError, gradient_flow, heavy_ball, oscillator, sgd
from derive.oscillator_equation import OscillatorEquation
from derive.symbols import lr as eta
from derive.symbols import momentum as beta
from derive.symbols import weight_decay as lam
from tests.derive.known_systems import CURVED_LOSS, x, y

w_x, w_y = sp.symbols("w_x w_y", real=True)


def test_equation_17_on_a_loss():
    """(η(1+β)/2)θ'' + (1−β)θ' = −∇L − λθ."""
    swing = oscillator(sgd(momentum=True), loss=CURVED_LOSS)
    assert swing.variables == (x, y, w_x, w_y)
    pulls = [-CURVED_LOSS.diff(v) - lam * v for v in (x, y)]
    for field, pull, w in zip(swing.field[2:], pulls, (w_x, w_y), strict=True):
        assert sp.cancel(eta * (1 + beta) / 2 * field + (1 - beta) * w - pull) == 0
    assert swing.field[:2] == (w_x, w_y)
    assert [sp.expand(a - b) for a, b in zip(swing.original, pulls, strict=True)] == [0, 0]


def test_nesterov_adds_the_change_of_the_gradient():
    swing = oscillator(sgd(momentum=True, nesterov=True, weight_decay=False), loss=CURVED_LOSS)
    change = sp.hessian(CURVED_LOSS, (x, y)) * sp.Matrix([w_x, w_y])
    for k, v in enumerate((x, y)):
        assert sp.expand(swing.force[k] + CURVED_LOSS.diff(v) + beta * eta * change[k]) == 0


def test_it_is_a_frozen_value_and_shows_as_latex():
    swing = oscillator(sgd(momentum=True), loss=x**2)
    assert swing == oscillator(sgd(momentum=True), loss=x**2)
    assert hash(swing) == hash(oscillator(sgd(momentum=True), loss=x**2))
    assert r"\dot{x} &= w_{x}" in swing._repr_latex_()
    with pytest.raises(ValueError, match="velocities: expected as many"):
        OscillatorEquation(
            swing.rule, (x, y), swing.velocities, swing.original, eta, swing.mass, swing.friction, swing.force
        )


@pytest.mark.parametrize(
    ("rule", "loss", "message"),
    [
        (heavy_ball(beta), x**2, "rule: expected sgd"),
        (gradient_flow(), x**2, "rule: expected a rule with steps"),
        (sgd(momentum=True), 0.5 * x**2, "loss: expected exact numbers"),
        (sgd(momentum=True), eta * x**2, "no symbol of the rule in it"),
        (sgd(momentum=True), x**2 * w_x, "no symbol named like the velocities"),
    ],
)
def test_what_is_not_covered_is_refused(rule, loss, message):
    with pytest.raises(UnsupportedError, match=message):
        oscillator(rule, loss=loss)
