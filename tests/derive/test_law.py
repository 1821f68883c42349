"""Laws of a charge, against the equations of Kunin et al. 2021 and against the exact discrete laws."""

from dataclasses import replace
from fractions import Fraction

import mpmath
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive import SymmetryError, UnsupportedError, discrete_law, gradient_flow, law, rescale, scale, sgd, translation
from derive.law import Q
from derive.symbols import dampening as alpha
from derive.symbols import gradient_form, overlap_form, velocity_form
from derive.symbols import lr as eta
from derive.symbols import momentum as beta
from derive.symbols import time as t
from derive.symbols import weight_decay as lam
from tests.derive.known_systems import ABOUT_A_POINT, POWER_RESCALE, RULES, SHEAR, SYMMETRIES, derived, values

q, k, o = gradient_form(t), velocity_form(t), overlap_form(t)
h = eta * (1 - alpha)

KNOWN = {  # (symmetry, rule) -> mass, damping, stiffness, drive
    ("translation", "plain"): (0, 1, lam, 0),  # eq. 28
    ("scale", "plain"): (0, 1, 2 * lam, eta * q),  # eq. 21, 29
    ("rescale", "plain"): (0, 1, 2 * lam, eta * q),  # eq. 30
    ("translation", "momentum"): (eta * (1 + beta) / 2, 1 - beta, lam, 0),  # eq. 33 with α = 0
    ("scale", "momentum"): (eta * (1 + beta) / 4, (1 - beta) / 2, lam, eta * (1 + beta) / 2 * k),
    ("rescale", "momentum"): (eta * (1 + beta) / 4, (1 - beta) / 2, lam, eta * (1 + beta) / 2 * k),
    ("translation", "dampening"): (h * (1 + beta) / 2, 1 - beta, lam, 0),  # eq. 33
    ("scale", "dampening"): (h * (1 + beta) / 4, (1 - beta) / 2, lam, h * (1 + beta) / 2 * k),  # eq. 35
    ("rescale", "dampening"): (h * (1 + beta) / 4, (1 - beta) / 2, lam, h * (1 + beta) / 2 * k),  # eq. 38
    # beyond the paper, from (E − β)⟨d, d⟩ + 2β²⟨d, v⟩ of the exact recurrence
    ("translation", "nesterov"): (eta * (1 + beta) / 2, 1 - beta + beta * eta * lam, lam, 0),
    ("scale", "nesterov"): (
        eta * (1 + beta) / 4,
        (1 - beta) / 2 + beta * eta * lam,
        lam,
        eta * (1 - beta) / 2 * k + eta * beta**2 * o,
    ),
    ("rescale", "nesterov"): (
        eta * (1 + beta) / 4,
        (1 - beta) / 2 + beta * eta * lam,
        lam,
        eta * (1 - beta) / 2 * k + eta * beta**2 * o,
    ),
}


def coefficients(found):
    return found.mass, found.damping, found.stiffness, found.drive


def same(got, expected):
    return [sp.expand(a - b) for a, b in zip(got, expected, strict=True)] == [0] * 4


# Known answers


@pytest.mark.parametrize(("symmetry", "rule"), KNOWN)
def test_the_law_is_the_one_on_paper(symmetry, rule):
    assert same(coefficients(derived(symmetry, rule)), KNOWN[symmetry, rule])


def test_the_table_of_known_laws_tells_them_apart():
    assert not same(coefficients(derived("scale", "momentum")), KNOWN["scale", "nesterov"])
    assert not same(coefficients(derived("scale", "momentum")), KNOWN["scale", "dampening"])
    assert not same(coefficients(derived("translation", "plain")), KNOWN["scale", "plain"])


@pytest.mark.parametrize("name", SYMMETRIES)
def test_gradient_flow_conserves_every_charge(name):
    found = law(SYMMETRIES[name](), gradient_flow())
    assert found.equation == sp.Eq(Q.diff(t), 0)  # eq. 10–13


@pytest.mark.parametrize(("name", "p"), [("translation", 1), ("scale", 2), ("rescale", 2)])
def test_weight_decay_and_momentum_flow_relax_the_charge(name, p):
    decayed = law(SYMMETRIES[name](), gradient_flow(weight_decay=True))
    slowed = law(SYMMETRIES[name](), gradient_flow(weight_decay=True, momentum=True))
    assert same(coefficients(decayed), (0, 1, p * lam, 0))  # eq. 14
    assert same(coefficients(slowed), (0, 1 - beta, p * lam, 0))  # eq. 15


@pytest.mark.parametrize("rule", RULES)
def test_order_zero_of_an_update_rule_is_its_flow(rule):
    speed = 1 if rule == "plain" else 1 - beta
    assert same(coefficients(derived("scale", rule, order=0)), (0, speed, 2 * lam, 0))


@pytest.mark.parametrize(("name", "stiffness"), [("translation", lam + eta * lam**2 / 2), ("scale", 2 * lam + eta * lam**2)])
def test_the_square_of_weight_decay_is_kept_on_request(name, stiffness):
    kept = derived(name, "plain", keep_weight_decay_squared=True)
    assert sp.expand(kept.stiffness - stiffness) == 0
    mass, damping, _, drive = coefficients(kept)
    assert same((mass, damping, KNOWN[name, "plain"][2], drive), KNOWN[name, "plain"])


def test_modified_flow_without_momentum_is_the_paper_with_beta_zero():
    assert same(
        coefficients(derived("scale", "plain", form="modified flow")),
        [sp.sympify(c, strict=True).subs(beta, 0) for c in KNOWN["scale", "momentum"]],
    )


@pytest.mark.parametrize(("name", "p"), [("translation", 1), ("scale", 2), ("rescale", 2)])
def test_the_normal_form_is_that_below_equations_33_35_38(name, p):
    gamma, omega_squared, drive = derived(name, "dampening").normal_form
    assert sp.cancel(gamma - (1 - beta) / (h * (1 + beta))) == 0
    assert sp.cancel(omega_squared - 2 * p * lam / (h * (1 + beta))) == 0
    assert sp.cancel(drive - (2 * k if p == 2 else 0)) == 0


def test_a_power_rescaling_has_the_law_of_a_rescaling():
    assert same(coefficients(law(POWER_RESCALE, sgd(momentum=True))), KNOWN["rescale", "momentum"])


def test_a_law_says_what_drives_it_and_of_which_order_it_is():
    kinds = ("translation", "plain"), ("scale", "plain"), ("scale", "momentum"), ("scale", "nesterov")
    driven = [(), ("gradient",), ("velocity",), ("velocity", "overlap")]
    assert [derived(*case).drive_forms for case in kinds] == driven
    assert [derived("scale", rule).is_oscillator for rule in ("plain", "momentum")] == [False, True]
    assert [derived("scale", rule).form for rule in ("plain", "momentum")] == ["modified loss", "modified flow"]


# Numbers for symbols

unit = st.fractions(0, Fraction(19, 20), max_denominator=20)
positive = st.fractions(Fraction(1, 20), 3, max_denominator=20)


@settings(max_examples=12)
@given(
    st.sampled_from(sorted(SYMMETRIES)), st.sampled_from(sorted(RULES.keys() - {"plain"})), positive, positive, unit, unit
)
def test_a_law_of_numbers_is_the_law_of_symbols_at_these_numbers(name, kind, lr, weight_decay, momentum, dampening):
    numbers = values(lr=lr, weight_decay=weight_decay, momentum=momentum + Fraction(1, 40), dampening=dampening)
    rule = {argument: value for argument, value in RULES[kind].items() if argument == "nesterov"}
    rule |= {"momentum": numbers[beta]} | ({"dampening": numbers[alpha]} if kind == "dampening" else {})
    numeric = law(SYMMETRIES[name](), sgd(lr=numbers[eta], weight_decay=numbers[lam], **rule))
    assert same(coefficients(numeric), [c.subs(numbers) for c in coefficients(derived(name, kind))])


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("weight_decay", [sp.Rational(1, 2), 2 * lam])
def test_weight_decay_squared_is_dropped_from_numbers_as_it_is_from_symbols(weight_decay, keep):
    numeric = law(scale(), sgd(weight_decay=weight_decay), keep_weight_decay_squared=keep)
    symbolic = derived("scale", "plain", keep_weight_decay_squared=keep)
    assert same(coefficients(numeric), [c.subs(lam, weight_decay) for c in coefficients(symbolic)])


# Order, against the exact recurrence


def test_the_law_of_plain_sgd_follows_one_exact_step_to_second_order_and_no_further():
    found = derived("scale", "plain", keep_weight_decay_squared=True)
    charge, drive = sp.symbols("Q_0 q")
    decay = sp.exp(-found.stiffness * eta)
    continuous = decay * charge + found.drive.subs(q, drive) * (1 - decay) / found.stiffness
    exact = (1 - eta * lam) ** 2 * charge + eta**2 * drive  # eq. 40
    first_difference = sp.expand(sp.series(continuous - exact, eta, 0, 4).removeO())
    assert [first_difference.coeff(eta, order) for order in range(3)] == [0, 0, 0]
    assert sp.expand(first_difference.coeff(eta, 3) - (2 * lam**3 * charge / 3 - lam * drive)) == 0


def slowest(roots):
    return max(roots, key=sp.re)


def rate_gap(symmetry, kind, step, order):
    """Distance of the law's slow exponent from ln(z)/h, z the slow root of the exact recurrence."""
    numbers = values(lr=step, weight_decay="3/4", momentum="1/3", dampening="1/5" if kind == "dampening" else 0)
    discrete = discrete_law(SYMMETRIES[symmetry](), sgd(**RULES[kind])).characteristic_polynomial.subs(numbers)
    (shift,) = discrete.free_symbols
    h_step = sgd(**RULES[kind]).step_size.subs(numbers)
    exact = sp.log(slowest(sp.Poly(discrete, shift).nroots(n=50))) / h_step
    found, s = derived(symmetry, kind, order=order), sp.Symbol("s")
    polynomial = (found.mass * s**2 + found.damping * s + found.stiffness).subs(numbers)
    return abs(slowest(sp.Poly(polynomial, s).nroots(n=50)) - exact)


@pytest.mark.parametrize("kind", ["momentum", "dampening", "nesterov"])
@pytest.mark.parametrize("symmetry", ["translation", "scale"])
@pytest.mark.parametrize("order", [0, 1])
def test_the_rate_of_the_law_is_that_of_the_exact_recurrence_up_to_its_order_and_no_further(symmetry, kind, order):
    first, second = (rate_gap(symmetry, kind, sp.Rational(1, n), order) for n in (4096, 8192))
    assert float(mpmath.log(first / second, 2)) == pytest.approx(order + 1, abs=0.1)


# Refusals

REFUSED = {
    "negative order": ((scale(), sgd(), -1), {}, UnsupportedError, "order: expected 0, 1, 2, … or sympy.oo, got -1"),
    "half an order": ((scale(), sgd(), 1.5), {}, UnsupportedError, "order: expected 0, 1, 2, … or sympy.oo, got 1.5"),
    "order that is a truth value": ((scale(), sgd(), True), {}, UnsupportedError, "order: expected .*, got True"),
    "unknown form": ((scale(), sgd()), {"form": "modified mass"}, UnsupportedError, "form: expected one of .*modified flow"),
    "flow form at order 1": ((scale(), sgd()), {"form": "gradient flow"}, UnsupportedError, "form: expected one of"),
    "form of a flow": (
        (scale(), gradient_flow()),
        {"form": "modified flow"},
        UnsupportedError,
        "form: expected one of .'gradient flow'. at order 1",
    ),
    "modified loss with momentum": (
        (scale(), sgd(momentum=True)),
        {"form": "modified loss"},
        UnsupportedError,
        "form: expected one of .*slow flow.* with momentum, got 'modified loss'",
    ),
    "no charge": ((SHEAR, sgd()), {}, SymmetryError, "shear: no charge exists"),
    "scale and translation at once": ((ABOUT_A_POINT, sgd()), {}, UnsupportedError, "scales and translates at once"),
}


@pytest.mark.parametrize(("arguments", "options", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_the_theory_does_not_cover_is_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        law(*arguments, **options)


def test_a_law_of_first_order_has_no_oscillator_normal_form():
    with pytest.raises(ValueError, match="expected a second-order law, got a first-order one"):
        _ = derived("scale", "plain").normal_form


def test_a_law_without_damping_or_with_a_foreign_drive_is_refused():
    with pytest.raises(ValueError, match="damping: expected a law with damping, got 0"):
        replace(derived("scale", "plain"), damping=sp.S.Zero)
    with pytest.raises(ValueError, match="drive: expected a multiple of one of"):
        replace(derived("scale", "plain"), drive=sp.Function("f")(t))


# Writing


def test_a_law_prints_as_an_equation():
    assert str(derived("scale", "plain")) == "Q' + (2*lambda)*Q = eta*q(t)"
    assert str(derived("translation", "plain")) == "Q' + lambda*Q = 0"
    assert str(law(translation(), gradient_flow())) == "Q' = 0"


def test_latex_shows_the_charge_and_the_drive_of_the_symmetry():
    text = law(rescale(), sgd(momentum=True))._repr_latex_()
    assert r"\ddot Q" in text
    assert r"Q = |\theta_{A1}|^2 - |\theta_{A2}|^2" in text
    assert r"k(t) = |\dot\theta_{A1}|^2 - |\dot\theta_{A2}|^2" in text
    assert r"q(t) = |g_{A}|^2" in derived("scale", "plain")._repr_latex_()
    assert "k(t)" not in derived("translation", "momentum")._repr_latex_()
