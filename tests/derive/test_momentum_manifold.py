"""Slow flow, discrete manifold, memoryless iteration: three constants, one dynamics."""

import pytest
import sympy as sp

from derive import (
    UnsupportedError,
    discrete_manifold,
    heavy_ball,
    memoryless_iteration,
    modified_flow,
    runge_kutta,
    sgd,
    slow_flow,
)
from derive.bseries import BSeries, compose, exact_flow, field_itself, flow, in_one_domain, modified_equation
from derive.momentum_manifold import DiscreteManifold, MemorylessIteration, ModifiedField
from derive.symbols import dampening as alpha
from derive.symbols import lr as eta
from derive.symbols import momentum as beta
from tests.derive.known_systems import CURVED_LOSS, x, y

R = sp.Rational
RULES = {
    "classical": sgd(momentum=True),
    "number": sgd(momentum=R(9, 10)),
    "dampening": sgd(momentum=True, dampening=True),
    "nesterov": sgd(momentum=True, nesterov=True),
}


def test_the_three_constants_at_first_order_are_three():
    """−(1+β)/2, −1 and −β over (1−β)³: of θ', of −v and of (θ_{n+1} − θ_n)/h."""
    rule = sgd(momentum=True)
    found = [derive(rule, 1).coefficients["[t]"] for derive in (slow_flow, discrete_manifold, memoryless_iteration)]
    known = [-(1 + beta) / 2, -1, -beta]
    assert [sp.cancel(c * (1 - beta) ** 3 - k) for c, k in zip(found, known, strict=True)] == [0, 0, 0]
    assert len({sp.cancel(c) for c in found}) == 3


@pytest.mark.parametrize("kind", RULES)
def test_at_leading_order_they_agree(kind):
    for derive in (slow_flow, discrete_manifold, memoryless_iteration):
        assert sp.cancel(derive(RULES[kind], 0).coefficients["t"] * (1 - RULES[kind].momentum)) == 1


@pytest.mark.parametrize("kind", RULES)
def test_the_memoryless_iteration_is_the_slow_flow_for_one_step(kind):
    fast, slow = memoryless_iteration(RULES[kind], 3).coefficients, slow_flow(RULES[kind], 3).coefficients
    assert modified_equation(fast) == slow
    assert flow(slow) == fast
    assert flow(slow) != exact_flow(4)


def invariance_defect(rule, manifold):
    """v(θ_{n+1}) − βv(θ_n) − aG(θ_n), as a series: 0 on the manifold."""
    moved = compose(memoryless_iteration(rule, manifold.order).coefficients, manifold.coefficients)
    domain, after, before = in_one_domain(moved, manifold.coefficients)
    kept = domain.from_sympy(rule.momentum)
    force = [domain.convert(e, s.domain) for s in [field_itself(moved.order)] for e in s.elements]
    return [a - kept * b - f for a, b, f in zip(after, before, force, strict=True)]


@pytest.mark.parametrize("kind", RULES)
def test_the_manifold_is_invariant_under_the_step(kind):
    assert not any(invariance_defect(RULES[kind], discrete_manifold(RULES[kind], 4)))


def test_a_wrong_manifold_is_seen_not_to_be():
    rule, right = RULES["classical"], discrete_manifold(RULES["nesterov"], 2)
    assert any(invariance_defect(rule, right))


def test_the_slow_flow_is_what_modified_flow_has_for_coefficients():
    assert modified_flow(sgd(momentum=True), order=3).coefficients == slow_flow(sgd(momentum=True), 3).coefficients
    assert modified_flow(heavy_ball(R(1, 2)), order=4).coefficients == slow_flow(sgd(momentum=R(1, 2)), 3).coefficients
    assert not modified_flow(heavy_ball(R(1, 2)), order=3).is_gradient
    assert list(modified_flow(heavy_ball(R(1, 2)), order=2).split.loss.values()) == [2, 3]  # 1/(1−β), (1+β)/(4(1−β)³)


# On a concrete loss


def gradient(point):
    return sp.Matrix([CURVED_LOSS.diff(x), CURVED_LOSS.diff(y)]).subs(dict(zip((x, y), point, strict=True)))


@pytest.mark.parametrize("nesterov", [False, True])
def test_on_a_loss_a_step_from_the_manifold_leads_to_the_manifold(nesterov):
    """In exact fractions: the position is the memoryless iteration's, the velocity misses v(θ) by O(h^{p+1}) and no less."""
    rule, order = sgd(momentum=R(1, 2), nesterov=nesterov, weight_decay=False), 2
    v = sp.Matrix(discrete_manifold(rule, order).on(loss=CURVED_LOSS))
    jump = sp.Matrix(memoryless_iteration(rule, order).on(loss=CURVED_LOSS))
    start, errors = sp.Matrix([R(3, 5), R(-2, 7)]), []
    at = dict(zip((x, y), start, strict=True))
    for lr in (R(1, 2000), R(1, 4000)):
        g = gradient(start)
        velocity = R(1, 2) * v.subs(at).subs(eta, lr) + g
        after = start - lr * (g + R(1, 2) * velocity if nesterov else velocity)
        expected = v.subs(dict(zip((x, y), after, strict=True))).subs(eta, lr)
        assert after == jump.subs(at).subs(eta, lr)
        errors.append((velocity - expected).norm())
    assert float(sp.log(errors[0] / errors[1]) / sp.log(2)) == pytest.approx(order + 1, abs=0.1)


def test_dampening_scales_the_velocity_and_the_step():
    rule = sgd(momentum=True, dampening=True, weight_decay=False)
    (v,) = discrete_manifold(rule, 0).on(loss=x**2 / 2)
    assert sp.cancel(v - (1 - alpha) * x / (1 - beta)) == 0
    (after,) = memoryless_iteration(rule, 0).on(field={x: -x})
    assert sp.cancel(after - x + eta * (1 - alpha) * x / (1 - beta)) == 0


def test_the_quadratic_loss_knows_its_manifold_exactly():
    """v = (1/z − 1)/η · (−θ), z the slow root, to the order asked for."""
    rule, lr = sgd(momentum=R(1, 2), weight_decay=False), R(1, 10**6)
    z = (R(3, 2) - lr + sp.sqrt((R(3, 2) - lr) ** 2 - 2)) / 2
    (v,) = discrete_manifold(rule, 3).on(loss=x**2 / 2)
    gap = abs((v.subs({x: 1, eta: lr}) - (1 / z - 1) / lr).evalf(60))
    assert 1e-26 < gap < 1e-18


# Values and refusals


def test_they_are_frozen_values_and_show_as_latex():
    rule = sgd(momentum=R(1, 2))
    for derive in (slow_flow, discrete_manifold, memoryless_iteration):
        assert derive(rule, 2) == derive(rule, 2)
        assert hash(derive(rule, 2)) == hash(derive(rule, 2))
        assert derive(rule, 1)._repr_latex_().startswith("$")
    assert r"\theta_{n+1} = \theta_n" in memoryless_iteration(rule, 1)._repr_latex_()
    assert slow_flow(rule).validity.limit == modified_flow(rule).validity.limit


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: discrete_manifold(sgd()), "rule: expected momentum, got none"),
        (lambda: discrete_manifold(heavy_ball(R(1, 2))), "rule: expected sgd"),
        (lambda: memoryless_iteration(runge_kutta("rk4")), "rule: expected sgd"),
        (lambda: memoryless_iteration(sgd(momentum=True), -1), "order: expected .*, got -1"),
        (lambda: slow_flow("sgd"), "rule: expected sgd.*, got str"),
        (lambda: discrete_manifold(sgd(momentum=True)).on(), "loss, field: expected one of them"),
        (lambda: discrete_manifold(sgd(momentum=True)).on(loss=x, field={x: x}), "loss, field: expected one of them"),
    ],
)
def test_what_has_no_manifold_is_refused(call, message):
    with pytest.raises(UnsupportedError, match=message):
        call()


@pytest.mark.parametrize("kind", [ModifiedField, DiscreteManifold, MemorylessIteration])
def test_a_series_of_another_order_or_kind_is_refused(kind):
    wrong = BSeries(2, 1 - int(kind is MemorylessIteration), *[exact_flow(2).domain, exact_flow(2).elements])
    for series in (wrong, exact_flow(5)):
        with pytest.raises(ValueError, match="coefficients: expected a"):
            kind(sgd(momentum=True), 1, series)
