"""How far modified equations can be trusted: the limits against what happens beyond them."""

from itertools import pairwise

import mpmath
import pytest
import sympy as sp

from derive import heavy_ball, modified_flow, multistep, nesterov, runge_kutta, sgd, validity
from derive.symbols import dampening as alpha
from derive.symbols import lr as eta
from derive.symbols import momentum as beta
from derive.validity import Validity, characteristic, curvature, multiplier, slow_multiplier, stability_function, stiffness

R = sp.Rational


def test_the_limit_of_momentum_is_one_minus_root_beta_squared():
    found = validity(sgd(momentum=True))
    assert sp.expand(found.limit - (1 - sp.sqrt(beta)) ** 2) == 0
    assert found.condition == (eta * curvature < found.limit)
    assert validity(sgd(momentum=True, dampening=True)).step == eta * (1 - alpha)


def test_the_limit_of_plain_descent_is_where_a_step_leads_to_the_minimum():
    assert validity(sgd()).limit == 1
    assert validity(sgd()).singular_points == (1,)


def test_the_limit_of_nesterov_is_where_its_roots_meet():
    """(1+β)²(1−x) = 4β."""
    assert sp.cancel(validity(sgd(momentum=True, nesterov=True)).limit - ((1 - beta) / (1 + beta)) ** 2) == 0
    assert validity(nesterov(beta, textbook=True)).limit == validity(nesterov(beta)).limit


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("euler", 1),
        ("implicit_euler", 1),
        ("midpoint", sp.sqrt(2)),
        ("heun", sp.sqrt(2)),
        ("implicit_midpoint", 2),
        ("gauss4", 2 * sp.sqrt(3)),
    ],
)
def test_the_limit_of_a_runge_kutta_method_is_the_nearest_zero_or_pole_of_its_stability_function(name, limit):
    assert sp.simplify(validity(runge_kutta(name)).limit - limit) == 0


def test_so_it_is_where_roots_have_no_short_formula():
    """1 + z + z²/2 + z³/6 + z⁴/24: the zeros nearest 0 by mpmath."""
    nearest = min(abs(z) for z in mpmath.polyroots([1, 4, 12, 24, 24]))
    assert float(sp.N(validity(runge_kutta("rk4")).limit)) == pytest.approx(float(nearest), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("euler", 1 + multiplier), ("rk4", sum(multiplier**k / sp.factorial(k) for k in range(5))),
     ("implicit_midpoint", (1 + multiplier / 2) / (1 - multiplier / 2))],
)  # fmt: skip
def test_stability_functions_are_those_of_the_literature(name, expected):
    """Hairer, Wanner 1996, IV.2 and IV.3."""
    assert sp.cancel(stability_function(runge_kutta(name)) - expected) == 0


RULES = {"descent": sgd(), "heavy ball": heavy_ball(R(1, 4)), "nesterov": nesterov(R(1, 4)), "adams bashforth":
         multistep({1: 1, 0: -1}, {0: R(3, 2), -1: R(-1, 2)}), "midpoint": runge_kutta("midpoint")}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_the_coefficients_of_log_z_grow_at_the_rate_of_the_limit(name):
    """Cauchy–Hadamard: |c_n|^{1/n} → 1/limit; at n = 60 a square root is n^{−3/(2n)} = 0.9 of it, or a little less."""
    root = slow_multiplier(RULES[name])
    with mpmath.workdps(60):
        values = mpmath.taylor(sp.lambdify(stiffness, sp.log(root), "mpmath"), 0, 60)
        observed = max(abs(values[n]) ** (mpmath.mpf(1) / n) for n in range(56, 61))
    assert 0.85 < float(observed) * float(sp.N(validity(RULES[name]).limit)) < 1.02


def test_past_the_limit_momentum_oscillates_and_before_it_does_not():
    """z is complex above (1 − √β)² = 1/4, and real below."""
    polynomial = characteristic(heavy_ball(R(1, 4)))
    for x, is_real in ((R(24, 100), True), (R(26, 100), False)):
        roots = sp.roots(sp.Poly(polynomial.subs(stiffness, x), multiplier))
        assert all(root.is_real for root in roots) == is_real


def test_it_holds_for_numbers_below_the_limit_only():
    momentum = validity(sgd(momentum=True))
    assert momentum.holds(curvature=1, eta=0.002, beta=0.9)
    assert not momentum.holds(curvature=2, eta=0.002, beta=0.9)
    assert validity(heavy_ball(R(1, 4))).holds(h=R(1, 5), curvature=1)
    assert not validity(heavy_ball(R(1, 4))).holds(h=R(1, 4), curvature=1)
    with pytest.raises(ValueError, match=r"symbols: expected numbers for \['beta'\] too, got \['eta'\]"):
        momentum.holds(curvature=1, eta=0.1)


def test_the_error_of_a_truncation_falls_inside_the_limit_and_not_outside():
    descent = validity(sgd())
    inside = [descent.truncation(n, R(1, 2)) for n in range(1, 6)]
    assert all(a > b for a, b in pairwise(inside))
    exact = sp.log(2)
    assert abs(inside[0] - (1 - (R(1, 2) + R(1, 8)) / exact).evalf()) < 1e-12
    midpoint = validity(runge_kutta("midpoint"))
    assert midpoint.truncation(9, R(5, 2)) > midpoint.truncation(5, R(5, 2))


def test_every_kind_of_equation_has_its_validity():
    x = sp.Symbol("x")
    assert modified_flow(sgd(momentum=True)).validity == validity(sgd(momentum=True))
    assert modified_flow(runge_kutta("euler"), field={x: x}).validity.limit == 1
    assert isinstance(modified_flow(heavy_ball(R(1, 2))).validity, Validity)
    assert r"\lambda_{max}" in validity(sgd())._repr_latex_()
