"""Update rules, against a plain simulation in exact fractions, torch.optim.SGD, and Kunin et al. 2021, appendix C."""

from dataclasses import FrozenInstanceError
from fractions import Fraction
from itertools import islice

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive import UpdateRuleError, gradient_flow, sgd
from derive.symbols import dampening, lr, momentum, weight_decay
from derive.symbols import shift as E
from tests.derive.known_systems import RULES, descend, random_gradients, rationals

NUMBERS = {"lr": Fraction(1, 7), "momentum": Fraction(3, 5), "dampening": Fraction(1, 4), "weight_decay": Fraction(2, 9)}


def numbers_of(kind):
    """The numbers with which ``RULES[kind]`` is run, 0 where it has none."""
    return NUMBERS | {name: Fraction(0) for name in ("momentum", "dampening") if name not in RULES[kind]}


def run(kind, *, steps=10, first_step="torch", seed=0):
    """(θ_n, G_n) of a scalar parameter, n = 0, 1, …, from v = 0."""
    hyper = numbers_of(kind)
    schedule = [hyper] * steps
    if first_step == "torch":
        schedule = [hyper | {"dampening": Fraction(0)}, *schedule[1:]]
    start = [next(rationals(seed))]
    course = list(descend(start, random_gradients(seed, 1), schedule, nesterov=kind == "nesterov"))
    total = [step.gradient[0] + hyper["weight_decay"] * step.theta[0] for step in course]
    return [step.theta[0] for step in course] + [course[-1].next_theta[0]], total


def apply(polynomial, sequence, n):
    """(Σ c_k E^k x)_n = Σ c_k x_{n+k} of a Laurent polynomial that looks back at most one step, in exact rationals."""
    coefficients = sp.Poly(sp.expand(E * polynomial), E).as_dict()
    return sum(c * sp.Rational(sequence[n + power - 1]) for (power,), c in coefficients.items())


def misfit(rule, theta, total):
    """A(E)θ_n + hB(E)G_n at each n that has both neighbours: 0 if the polynomials are those of the run."""
    numbers = {symbol: sp.Rational(NUMBERS[name]) for symbol, name in
               ((lr, "lr"), (momentum, "momentum"), (dampening, "dampening"))}  # fmt: skip
    left, right = (p.subs(numbers) for p in rule.shift_polynomials)
    h = rule.step_size.subs(numbers)
    return {apply(left, theta, n) + h * apply(right, total, n) for n in range(1, len(total))}


# The recurrence


@pytest.mark.parametrize("first_step", ["torch", "zero"])
@pytest.mark.parametrize("kind", RULES)
def test_the_derived_recurrence_is_the_one_that_a_run_obeys(kind, first_step):
    assert misfit(sgd(**RULES[kind]), *run(kind, first_step=first_step)) == {0}


@pytest.mark.parametrize("kind", ["plain", "dampening", "nesterov"])
def test_the_recurrence_of_another_rule_is_not_obeyed(kind):
    assert 0 not in misfit(sgd(**RULES["momentum"]), *run(kind))


@settings(max_examples=30)
@given(beta=st.fractions(0, Fraction(99, 100), max_denominator=100))
def test_numbers_give_the_recurrence_of_the_symbols(beta):
    symbolic, number = sgd(momentum=True).shift_polynomials, sp.Rational(beta)
    numeric = sgd(momentum=number).shift_polynomials
    assert all(sp.expand(a.subs(momentum, number) - b) == 0 for a, b in zip(symbolic, numeric, strict=True))


@pytest.mark.parametrize(
    ("kind", "left", "right"),
    [
        ("plain", E - 1, 1),
        ("momentum", (E - 1) * (1 - momentum / E), 1),
        ("dampening", (E - 1) * (1 - momentum / E), 1),
        ("nesterov", (E - 1) * (1 - momentum / E), 1 + momentum - momentum / E),
    ],
)
def test_the_shift_polynomials_of_the_known_rules(kind, left, right):
    got = sgd(**RULES[kind]).shift_polynomials
    assert [sp.expand(got[0] - left), sp.expand(got[1] - right)] == [0, 0]


@pytest.mark.parametrize("kind", RULES)
def test_the_rule_is_consistent_with_momentum_flow(kind):
    left, right = sgd(**RULES[kind]).shift_polynomials
    beta = 0 if kind == "plain" else momentum
    assert (left.subs(E, 1), right.subs(E, 1)) == (0, 1)
    assert sp.expand(sp.diff(left, E).subs(E, 1) - (1 - beta)) == 0  # appendix C.2


# Semantics of torch


@pytest.mark.parametrize("kind", RULES)
def test_the_simulation_is_torch_optim_sgd(kind):
    torch = pytest.importorskip("torch")
    theta, _ = run(kind, steps=6)
    settings = {name: float(value) for name, value in numbers_of(kind).items()}
    parameter = torch.nn.Parameter(torch.tensor([float(theta[0])], dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], **settings, nesterov=kind == "nesterov")
    gradients = random_gradients(0, 1)
    for expected in theta[1:]:
        parameter.grad = torch.tensor([float(gradients(0, [])[0])], dtype=torch.float64)
        optimizer.step()
        assert parameter.item() == pytest.approx(float(expected), rel=1e-13)


def test_dampening_is_ignored_without_momentum():
    rule = sgd(dampening=True)
    assert (rule.step_size, rule.gradient_gain, rule.shift_polynomials[1]) == (lr, 1, 1)


def test_one_step_of_a_dampened_rule_advances_time_by_eta_times_one_minus_alpha():
    assert sp.expand(sgd(momentum=True, dampening=True).step_size - lr * (1 - dampening)) == 0


def test_only_torchs_first_step_is_undamped():
    settings = {"momentum": True, "dampening": True}
    assert sgd(**settings).first_gradient_gain == 1
    assert sgd(**settings, first_step="zero").first_gradient_gain == 1 - dampening
    started, from_zero = (run("dampening", first_step=first)[0] for first in ("torch", "zero"))
    assert started[0] == from_zero[0]
    assert started[1] != from_zero[1]


# Numbers


@given(st.integers(1, 10**12), st.integers(0, 20))
def test_a_decimal_is_taken_as_it_is_written(digits, places):
    assert sgd(lr=float(f"{digits}e-{places}")).lr == sp.Rational(digits, 10**places)


@given(st.floats(1e-6, 1e6))
def test_no_float_is_rounded(value):
    assert float(sgd(lr=value).lr) == value


@pytest.mark.parametrize(("value", "taken"), [(0.1, sp.Rational(1, 10)), (2, sp.Integer(2)), (lr / 3, lr / 3)])
def test_numbers_and_expressions_are_taken_exactly(value, taken):
    assert sgd(lr=value).lr == taken


def test_a_numpy_number_is_taken_as_pythons():
    np = pytest.importorskip("numpy")
    assert sgd(lr=np.float64(0.1)) == sgd(lr=0.1)


def test_a_sympy_float_is_taken_exactly_too():
    assert sgd(lr=sp.Float(0.1), momentum=sp.Float(0.9)) == sgd(lr=0.1, momentum=0.9)


def test_true_is_the_symbol_and_false_is_zero():
    rule = sgd(momentum=True)
    assert (rule.lr, rule.momentum, rule.dampening, rule.weight_decay) == (lr, momentum, 0, weight_decay)
    assert set(rule.symbols) == {lr, momentum, weight_decay}


def test_gradient_flow_is_a_rule_without_a_step():
    rule = gradient_flow(weight_decay=True, momentum=0.5)
    assert rule.is_flow
    assert (rule.lr, rule.weight_decay, rule.momentum) == (0, weight_decay, sp.Rational(1, 2))
    assert not sgd().is_flow


# Refusals

REFUSED = {
    "nesterov without momentum": ({"nesterov": True}, "nesterov: expected momentum and no dampening"),
    "nesterov with dampening": (
        {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
        "nesterov: expected momentum and no dampening",
    ),
    "negative lr": ({"lr": -0.1}, "lr: expected 0 or more, got -1/10"),
    "no lr": ({"lr": 0}, "lr: expected a positive learning rate, got 0"),
    "false lr": ({"lr": False}, "lr: expected a positive learning rate, got 0"),
    "lr that is not a number": ({"lr": float("nan")}, "lr: expected 0 or more"),
    "infinite lr": ({"lr": float("inf")}, "lr: expected 0 or more"),
    "lr as text": ({"lr": "0.1"}, "lr: expected True, False, a number or a SymPy expression, got '0.1'"),
    "lr that is nothing": ({"lr": None}, "lr: expected True, False, a number"),
    "negative momentum": ({"momentum": -0.1}, "momentum: expected at least 0 and below 1"),
    "momentum one": ({"momentum": 1}, "momentum: expected at least 0 and below 1"),
    "momentum above one": ({"momentum": sp.Rational(3, 2)}, "momentum: expected at least 0 and below 1"),
    "dampening one": ({"momentum": 0.9, "dampening": 1.0}, "dampening: expected at least 0 and below 1"),
    "negative weight decay": ({"weight_decay": -1}, "weight_decay: expected 0 or more, got -1"),
    "unknown first step": ({"first_step": "adam"}, "first_step: expected 'torch' or 'zero', got 'adam'"),
}


@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_hyper_parameters_that_no_rule_has_are_refused_by_name(settings, message):
    with pytest.raises(UpdateRuleError, match=message):
        sgd(**settings)


@pytest.mark.parametrize("name", list(islice(REFUSED, 3)))
def test_torch_refuses_the_same(name):
    torch = pytest.importorskip("torch")
    settings = {"lr": 0.1} | REFUSED[name][0]
    with pytest.raises(ValueError, match=r"Nesterov|Invalid"):
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], **settings)


def test_an_imaginary_learning_rate_is_refused():
    with pytest.raises(UpdateRuleError, match="lr: expected"):
        sgd(lr=sp.I)


def test_a_rule_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        sgd().lr = sp.Integer(1)


def test_latex_shows_the_recurrence_or_the_flow():
    assert r"\theta_n = -\eta" in sgd()._repr_latex_()
    assert r"\dot\theta = -g" in gradient_flow()._repr_latex_()
