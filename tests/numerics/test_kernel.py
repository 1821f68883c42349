"""Generated numpy kernels: the values of the symbolic solution, in source that a person can read, and what they refuse."""

import ast
import inspect
import math
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from derive import Solution, gradient_flow, law, scale, sgd, solve, translation
from derive.symbols import initial_charge, lr, momentum, rate
from derive.symbols import time as t
from numerics import KernelError, compile_kernel
from numerics.source import Printer
from tests.derive.known_systems import BY_ARGUMENT, REGIMES, RULES, SYMMETRIES, hyper_for, oscillator, solved

ROOT = Path(__file__).resolve().parents[2]
VALUES = {"lr": 0.1, "momentum": 0.9, "dampening": 0.25, "weight_decay": 5e-3, "initial_charge": 3.0, "initial_rate": -2.0}
TIMES = np.array([0.0, 0.1, 1.0, 7.5, 100.0])
PARTS = ("homogeneous", "green")
CRITICAL = {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.5}
"""γ = ω = 1 exactly, for a translation."""


def kernel(symmetry="translation", rule="momentum", **options):
    return compile_kernel(solved(symmetry, rule, **options))


def taken(part, values=VALUES):
    """Those of ``values`` that the kernel has arguments for."""
    return {name: values[name] for name in part}


# Values


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_the_kernel_has_the_values_of_the_formula(symmetry, rule):
    solution, k = solved(symmetry, rule), kernel(symmetry, rule)
    exact = {BY_ARGUMENT[name]: sp.Rational(value) for name, value in VALUES.items()}
    for part, expr in (("homogeneous", solution.homogeneous), ("green", solution.green)):
        function = k if part == "homogeneous" else k.green
        got = function(TIMES, **taken(k.arguments(part)))
        expected = [float(expr.subs(exact).subs(t, sp.Rational(time)).evalf(30)) for time in TIMES]
        assert got == pytest.approx(expected, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("symmetry", "p"), [("translation", 1), ("rescale", 2)])
def test_each_regime_is_the_papers_case(regime, symmetry, p):
    hyper = {name: float(value) for name, value in hyper_for(*REGIMES[regime], degree=p).items()}
    k, times = kernel(symmetry), TIMES[:-1]
    charge, impulse = np.array([[float(x) for x in oscillator(*REGIMES[regime], time)] for time in times]).T
    assert k(times, initial_charge=1.0, **hyper) == pytest.approx(charge, rel=1e-11, abs=1e-14)
    mass = hyper["lr"] * (1 + hyper["momentum"]) / (2 * p)
    assert mass * k.green(times, **hyper) == pytest.approx(impulse, rel=1e-11, abs=1e-14)


def test_exactly_critical_damping_needs_no_care():
    got = kernel()(TIMES, initial_charge=2.0, **CRITICAL)
    assert got == pytest.approx([2 * math.exp(-x) * (1 + x) for x in TIMES], rel=1e-14, abs=1e-300)


@given(
    st.floats(1e-4, 1e5),
    st.one_of(st.just(1.0), st.floats(0, 1e3), st.floats(1 - 1e-12, 1 + 1e-12)),
)
def test_values_are_finite_bounded_and_silent_up_to_a_hundred_thousand_damping_times(damped_time, ratio):
    """γ = 1 and ω = ratio: a charge at rest never grows."""
    hyper = CRITICAL | {"weight_decay": 0.5 * ratio**2}
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        got = kernel()(damped_time, initial_charge=1.0, **hyper)
        green = kernel().green(damped_time, **hyper)
    assert abs(got) <= 1 + 1e-9
    assert math.isfinite(green)


def test_where_accumulated_exponentials_overflow_single_precision_the_kernel_does_not():
    """η 0.1, β 0.9, λ 5e-4: e^{γt} leaves float32 at step 1,686, its square at 851."""
    steps = np.array([851, 1686, 10_000, 40_000])
    values = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "initial_charge": 1.0}
    gamma = mpmath.mpf("0.1") / (mpmath.mpf("0.1") * mpmath.mpf("1.9"))
    omega = mpmath.sqrt(2 * mpmath.mpf("5e-4") / (mpmath.mpf("0.1") * mpmath.mpf("1.9")))
    expected = [float(oscillator(gamma, omega, step / 10)[0]) for step in steps.tolist()]
    assert kernel()(steps * 0.1, **values) == pytest.approx(expected, rel=1e-12)
    single = kernel()((steps * 0.1).astype(np.float32), **values)
    assert single.dtype == np.float32
    assert single == pytest.approx(expected, rel=2e-3)


def test_times_and_neurons_broadcast():
    charges = np.array([1.0, -2.0, 0.0])
    got = kernel()(TIMES[:, None], **taken(kernel().arguments()) | {"initial_charge": charges})
    assert got.shape == (5, 3)
    assert got[:, 1] == pytest.approx(-2 * got[:, 0], rel=1e-15)
    assert not got[:, 2].any()


def test_whole_numbers_and_lists_are_times_too():
    values = taken(kernel().arguments())
    assert kernel()(3, **values) == kernel()(3.0, **values)
    assert kernel()([1, 2], **values).tolist() == kernel()(np.array([1.0, 2.0]), **values).tolist()


def test_a_law_with_numbers_needs_no_arguments():
    k = compile_kernel(solve(law(translation(), sgd(lr=0.5, momentum=0.5, weight_decay=0.25))))
    assert (k.arguments(), k.arguments("green")) == (("initial_charge",), ())
    assert k(2.0, initial_charge=1.0) == pytest.approx(
        float(kernel()(2.0, initial_charge=1.0, lr=0.5, momentum=0.5, weight_decay=0.25)), rel=1e-14
    )


def test_a_conserved_charge_stays():
    k = compile_kernel(solve(law(scale(), gradient_flow())))
    assert k(TIMES, initial_charge=4.0).tolist() == [4.0] * 5
    assert k.green(TIMES).tolist() == [1.0] * 5


def test_a_moving_start_has_its_own_argument():
    moving, resting = kernel(start="free"), kernel()
    values = taken(moving.arguments())
    assert "initial_rate" in moving.arguments()
    difference = moving(TIMES, **values) - resting(TIMES, **taken(resting.arguments()))
    mass = solved("translation", "momentum").law.mass
    scaled = values["initial_rate"] * float(mass.subs({lr: 0.1, momentum: 0.9}))
    assert difference == pytest.approx(scaled * moving.green(TIMES, **taken(moving.arguments("green"))), rel=1e-9, abs=1e-14)


# Source


def test_the_source_is_python_with_the_words_of_the_theory():
    source = kernel("scale", "dampening").source
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    assert {"homogeneous", "green"} <= set(functions)
    assert [argument.arg for argument in functions["green"].args.kwonlyargs] == [
        "lr",
        "weight_decay",
        "momentum",
        "dampening",
    ]
    assert "theta_A**2" in ast.get_docstring(functions["homogeneous"])
    assert all(name in source for name in ("gamma = ", "omega", "damped_cosh", "damped_sinhc"))
    assert "Dummy" not in source
    assert max(map(len, source.splitlines())) <= 125


def test_the_formula_never_asks_for_the_regime():
    branches = (ast.If, ast.IfExp, ast.Compare)
    for symmetry in SYMMETRIES:
        formulas = [f for f in ast.parse(kernel(symmetry, "nesterov").source).body if getattr(f, "name", "") in PARTS]
        assert len(formulas) == 2
        assert not any(isinstance(node, branches) for formula in formulas for node in ast.walk(formula))
        assert not any("where" in ast.unparse(formula) for formula in formulas)


def test_the_source_shown_is_the_source_that_runs():
    k, scope = kernel("scale", "plain"), {}
    exec(k.source, scope)
    values = taken(k.arguments())
    assert scope["homogeneous"](TIMES, **values).tolist() == k(TIMES, **values).tolist()
    assert inspect.getsource(k._functions["homogeneous"]) in k.source + "\n"


def test_a_kernel_is_compiled_once():
    assert kernel("scale", "plain") is kernel("scale", "plain")


def test_the_source_is_the_same_in_every_process():
    code = (
        "from derive import *; from numerics import compile_kernel;"
        "print(compile_kernel(solve(law(rescale(), sgd(momentum=True, nesterov=True)))).source, end='')"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] == kernel("rescale", "nesterov").source


X, Y = sp.symbols("X Y", positive=True)


def by_name(expr):
    return {symbol: symbol.name for symbol in expr.free_symbols}


@pytest.mark.parametrize(
    "expr",
    [
        X / 3 - Y,
        -X * Y / 7 + sp.Rational(2, 3),
        X**-2,
        X ** sp.Rational(3, 2) / Y ** sp.Rational(1, 3),
        1 / sp.sqrt(X + Y),
        sp.sqrt(X) / (1 + sp.sqrt(Y)),
        (X + Y) ** 2 / (X - Y) ** 3,
        sp.sqrt(2) * X,
        2**X,
        -(X**2),
        sp.exp(-X / 3) * sp.cos(Y) - sp.sin(X * Y),
        sp.Float("0.1") * X,
    ],
)
def test_what_is_printed_has_the_value_of_what_was_given(expr):
    scope = {"np": np, "X": np.array(1.7), "Y": np.array(0.6)}
    got = eval(Printer("numpy", by_name(expr)).doprint(expr), scope)
    assert got == pytest.approx(float(expr.subs({X: sp.Rational(1.7), Y: sp.Rational(0.6)}).evalf(30)), rel=1e-14)


# Refusals

GOOD = taken(("lr", "momentum", "weight_decay", "initial_charge"))
REFUSED = {
    "unknown argument": ({"t": 1.0, "learning_rate": 0.1}, "expected the keyword arguments"),
    "missing argument": ({"t": 1.0, "lr": None}, "expected the keyword arguments"),
    "NaN among the times": ({"t": np.array([0.0, np.nan])}, "t: expected finite numbers"),
    "infinite time": ({"t": np.inf}, "t: expected finite numbers"),
    "NaN in an argument": ({"t": 1.0, "lr": np.nan}, "lr: expected finite numbers"),
    "infinite argument": ({"t": 1.0, "initial_charge": np.inf}, "initial_charge: expected finite numbers"),
    "negative time": ({"t": np.array([1.0, -1e-9])}, "t: expected times from 0 on, got a negative one"),
}


def call(function, change):
    values = {name: value for name, value in (GOOD | change).items() if value is not None}
    return function(values.pop("t"), **values)


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_arguments_that_do_not_fit_are_refused_by_name(change, message):
    with pytest.raises(KernelError, match=message):
        call(kernel(), change)


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "infinite argument"])
def test_the_green_function_refuses_the_same(name):
    change, message = REFUSED[name]
    with pytest.raises(KernelError, match=message):
        call(kernel().green, change)


@pytest.mark.parametrize("change", [{"lr": 0.0}, {"lr": -0.1}, {"weight_decay": -1.0}, {"momentum": 1.0}, {"momentum": 2.0}])
def test_hyper_parameters_outside_their_range_are_refused_by_name(change):
    with pytest.raises(KernelError, match=next(iter(change))):
        call(kernel(), {"t": 1.0} | change)


def test_an_unknown_backend_is_refused():
    with pytest.raises(KernelError, match="backend: expected 'numpy' or 'torch', got 'jax'"):
        compile_kernel(solved("scale", "plain"), backend="jax")


UNKNOWN = [
    sp.Function("f")(X),
    sp.conjugate(sp.Symbol("Z")),
    *(f(X) for f in (sp.erf, sp.cosh, sp.loggamma, sp.gamma)),
    sp.pi * X,
    sp.I * X,
    sp.Max(X, Y),
    sp.Piecewise((X, X > 1), (Y, True)),
    sp.Integral(sp.exp(X**2), (X, 0, 1)),
]


@pytest.mark.parametrize("expr", UNKNOWN[:2], ids=str)
def test_an_undefined_function_is_refused_by_name(expr):
    with pytest.raises(KernelError, match=expr.func.__name__):
        Printer("numpy", by_name(expr)).doprint(expr)


@pytest.mark.parametrize("expr", UNKNOWN[2:], ids=str)
def test_a_node_that_sympy_prints_but_no_kernel_has_is_refused_by_name(expr):
    with pytest.raises(KernelError, match=r"solution: "):
        Printer("numpy", by_name(expr)).doprint(expr)


def test_a_right_solution_in_functions_without_a_kernel_is_refused():
    relaxation = sp.cosh(rate * t) - sp.sinh(rate * t)
    right = solved("translation", "plain")
    other = Solution(right.law, initial_charge * relaxation, relaxation, right.rates)
    with pytest.raises(KernelError, match=r"solution: .*cosh"):
        compile_kernel(other)


def test_a_symbol_that_is_no_argument_is_refused_by_name():
    solution = solve(law(translation(), sgd(weight_decay=sp.Symbol("mu", positive=True))))
    with pytest.raises(KernelError, match="mu"):
        compile_kernel(solution)
