"""Kernels of laws, discrete laws and vector fields, and their source pasted where there is no nmech."""

import subprocess
import sys

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive import law, modified_flow, modified_loss, runge_kutta, scale, sgd, solve, symbols, translation
from numerics import FieldKernel, KernelError, StepKernel, compile_field, compile_kernel, propagate
from tests.derive.known_systems import RULES, SYMMETRIES
from tests.numerics.test_kernel import TIMES, kernel, taken
from tests.numerics.test_propagate import Run, discrete

x, y = sp.symbols("x y")
BACKENDS = ["numpy", "torch"]


def library(backend):
    return np if backend == "numpy" else pytest.importorskip("torch")


# Pasted elsewhere


def alone(source, code, tmp_path):
    """Run ``source`` and ``code`` in an empty folder, without nmech on the path; what it prints, as numbers."""
    file = tmp_path / "pasted.py"
    file.write_text(source + "\n\n" + code)
    done = subprocess.run([sys.executable, "-I", "-W", "error", str(file)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.array([float(word) for word in done.stdout.split()])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_source_of_a_solution_runs_in_an_empty_file(backend, tmp_path):
    library(backend)
    k = compile_kernel(solve(law(scale(), sgd(momentum=True))), backend)
    values = taken(k.arguments())
    array = {"numpy": "np.array({})", "torch": "torch.tensor({}, dtype=torch.float64)"}[backend]
    arguments = ", ".join(f"{name}={array.format(value)}" for name, value in values.items())
    code = f"print(*homogeneous({array.format(TIMES.tolist())}, {arguments}).tolist())"
    assert "numerics" not in k.source
    got = alone(k.source, code, tmp_path)
    assert got == pytest.approx(kernel("scale", "momentum")(TIMES, **values), rel=1e-14, abs=1e-300)


def test_the_source_of_a_discrete_law_runs_in_an_empty_file(tmp_path):
    k = compile_kernel(discrete("scale", "momentum"))
    code = (
        "w = np.arange(12.0).reshape(6, 2)\n"
        "charges = run(np.ones(2), np.zeros(2), 0 * w, w, lr=0.1, weight_decay=0.01, momentum=np.linspace(0.5, 0.9, 6))\n"
        "print(*charges.ravel().tolist())"
    )
    drive = np.arange(12.0).reshape(6, 2)
    known = {"lr": 0.1, "weight_decay": 0.01, "momentum": np.linspace(0.5, 0.9, 6)}
    expected = propagate(discrete("scale", "momentum"), np.ones(2), {"direction": drive}, **known)
    assert alone(k.source, code, tmp_path) == pytest.approx(expected.ravel(), rel=1e-13)


def test_the_source_of_a_field_runs_in_an_empty_file(tmp_path):
    k = compile_field((x, y), (-x - symbols.lr * sp.sin(y), x**2))
    code = "print(*field(np.array([[1.0, 2.0], [3.0, 4.0]]), lr=0.5).ravel().tolist())"
    expected = [-1 - 0.5 * np.sin(2), 1, -3 - 0.5 * np.sin(4), 9]
    assert alone(k.source, code, tmp_path) == pytest.approx(expected, rel=1e-15)


def test_source_that_needs_no_entire_functions_brings_none():
    assert "damped" not in kernel("scale", "plain").source
    assert "damped_cosh" in kernel("scale", "momentum").source


# Laws


def test_a_law_is_solved_at_rest():
    found = law(translation(), sgd(momentum=True))
    assert compile_kernel(found) == compile_kernel(solve(found))


# Discrete laws


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_the_unrolled_recurrence_is_what_propagate_gives(symmetry, rule, backend):
    found, run, xp = discrete(symmetry, rule), Run(), library(backend)
    k = compile_kernel(found, backend)
    assert isinstance(k, StepKernel)
    drives, hyper = run.drives(found.drives), {name: run.hyper(rule)[name] for name in found.hyper_parameters}
    size = found.transition.shape[0]
    initial = run.draw(-1, 1, 2, 3)[:size]
    given = {name: xp.asarray(samples) for name, samples in drives.items()}
    if not drives:
        given = {"steps": len(hyper["lr"])}
    got = k.run(*(xp.asarray(row) for row in initial), **given, **hyper, velocity_exists=True)
    assert np.allclose(np.asarray(got), propagate(found, initial, drives, velocity_exists=True, **hyper), rtol=1e-12)


def test_the_first_step_is_that_of_a_fresh_run():
    found = discrete("scale", "dampening")
    k, drive = compile_kernel(found), np.ones((1, 2))
    known = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "dampening": 0.5}
    values = {"breaking": drive[0], "direction": drive[0], **known}
    fresh = propagate(found, np.ones(2), {"breaking": drive, "direction": drive}, **known)[1]
    assert np.allclose(k.first_step(np.ones(2), np.zeros(2), **values)[0], fresh, rtol=1e-15)
    assert not np.allclose(k.step(np.ones(2), np.zeros(2), **values)[0], fresh, rtol=1e-3)


# Vector fields

FIELDS = {
    "powers": (x**3 - y**-2, sp.sqrt(x) / (1 + y) ** sp.Rational(3, 2)),
    "elementary": (sp.tanh(x) * sp.log(y) + sp.cosh(x), sp.atan(y) - sp.Abs(-x) + sp.sign(y) * sp.tan(x / 3)),
    "shared": (sp.exp(-x * y) + sp.sin(x * y) ** 2, sp.exp(-x * y) * sp.cos(x * y)),
    "constants": (sp.pi * x + sp.E * y + sp.exp(sp.Rational(1, 3)), sp.Integer(2)),
    "no coordinate": (symbols.lr * symbols.momentum, -symbols.lr * y),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_a_field_has_the_values_of_its_expressions(field, backend):
    xp, k = library(backend), compile_field((x, y), field, backend)
    points = np.random.default_rng(0).uniform(0.1, 2, (5, 4, 2))
    known = {"lr": 0.5, "momentum": 0.25}
    got = np.asarray(k(xp.asarray(points), **{name: known[name] for name in k.parameters}))
    assert got.shape == points.shape
    numbers = {symbols.lr: sp.Rational(1, 2), symbols.momentum: sp.Rational(1, 4)}
    for place in np.ndindex(5, 4):
        at = dict(zip((x, y), map(sp.Float, points[place]), strict=True))
        assert got[place] == pytest.approx([float(f.subs(numbers).evalf(30, subs=at)) for f in field], rel=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_the_type_of_a_field_is_that_of_its_point(field, dtype, backend):
    xp, k = library(backend), compile_field((x, y), field, backend)
    point = xp.asarray(np.full((3, 2), 0.5, dtype))
    assert k(point, **dict.fromkeys(k.parameters, 0.25)).dtype == getattr(xp, dtype)


def test_arguments_of_a_field_broadcast_with_its_points():
    k = compile_field((x, y), (-x - symbols.lr * x, symbols.lr * 0 + 1))
    got = k(np.ones((4, 2)), lr=np.array([[0.1], [0.2], [0.3]]))
    assert got.shape == (3, 4, 2)
    assert got[:, 0, 0].tolist() == [-1.1, -1.2, -1.3]


@settings(max_examples=20)
@given(st.floats(-2, 2), st.floats(-2, 2))
def test_the_modified_flow_of_a_concrete_loss_compiles(a, b):
    """θ' = −g − (η/2)Hg of L = x²/2 + y² + x²y/3, by hand."""
    loss = x**2 / 2 + y**2 + x**2 * y / 3
    g = sp.Matrix([loss.diff(x), loss.diff(y)])
    k = compile_field((x, y), tuple(-g - symbols.lr / 2 * sp.hessian(loss, (x, y)) * g))
    slope = np.array([a + 2 * a * b / 3, 2 * b + a * a / 3])
    curvature = np.array([[1 + 2 * b / 3, 2 * a / 3], [2 * a / 3, 2]])
    assert k(np.array([a, b]), lr=0.1) == pytest.approx(-slope - 0.05 * curvature @ slope, rel=1e-12, abs=1e-13)


def test_gradients_pass_through_a_field_on_tensors():
    torch = pytest.importorskip("torch")
    k = compile_field((x, y), FIELDS["shared"], "torch")
    assert torch.autograd.gradcheck(k, torch.rand(3, 2, dtype=torch.float64, requires_grad=True))


def test_a_modified_equation_of_a_concrete_field_is_a_field():
    equation = modified_flow(runge_kutta("euler"), field={x: -y, y: x}, order=2)
    k, h = compile_kernel(equation), 0.1  # log(1 + ih)/h = i + h/2 − ih²/3, acting on (1, 0) as 1
    assert isinstance(k, FieldKernel)
    assert k(np.array([1.0, 0.0]), h=h) == pytest.approx([h / 2, 1 - h**2 / 3])
    descent = compile_kernel(modified_flow(sgd(), loss=x**2 / 2, order=1))  # −λ'x − ηλ'²x/2, λ' = 1 + λ
    assert descent(np.array([2.0]), lr=0.5, weight_decay=1.0) == pytest.approx([-4 - 2])


def test_common_subexpressions_are_found_and_names_do_not_clash():
    x0 = sp.Symbol("x0")
    k = compile_field((x0, y), (*FIELDS["shared"][:1], sp.exp(-x * y) + x0), parameters=(x,))
    assert k.source.count("x*y") == 1
    got = k(np.array([7.0, 0.5]), x=2.0)
    assert got == pytest.approx([np.exp(-1) + np.sin(1) ** 2, np.exp(-1) + 7], rel=1e-15)


@pytest.mark.parametrize("name", ["lambda", "np", "theta", "theta_1", "lr", "a b"])
def test_coordinates_may_be_called_anything(name):
    z = sp.Symbol(name)
    assert compile_field((z, y), (y + symbols.lr, 2 * z))(np.array([3.0, 4.0]), lr=1.0).tolist() == [5.0, 6.0]


def test_a_field_says_what_its_coordinates_are():
    source = compile_field((x, y), (-y, x)).source
    assert "Coordinates along the last axis of theta and of the result: x, y." in source


# Refusals

NO_KERNEL = [
    sp.Function("f")(x),
    sp.erf(x),
    sp.Piecewise((x, x > 0), (y, True)),
    sp.Max(x, y),
    sp.I * x,
    sp.Derivative(sp.Function("f")(x), x),
]


@pytest.mark.parametrize("expression", NO_KERNEL, ids=str)
def test_a_node_without_a_kernel_is_refused_by_name(expression):
    with pytest.raises(KernelError, match="field: no kernel for "):
        compile_field((x, y), (expression, x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((x, y), (x,)), "expressions: expected one for each of 2 coordinates"),
        (((), ()), "expressions: expected one"),
        (((x,), (x + y,)), "field: expected the symbols of derive.symbols, got y"),
        (((x,), (x,), "jax"), "backend: expected"),
    ],
)
def test_a_field_that_does_not_fit_is_refused(arguments, message):
    with pytest.raises(KernelError, match=message):
        compile_field(*arguments)


@pytest.mark.parametrize("name", ["lr", "if", "a b", "theta"])
def test_parameters_that_are_no_names_or_taken_are_refused(name):
    with pytest.raises(KernelError, match="parameters: expected names"):
        compile_field((x,), (x * sp.Symbol(name),), parameters=(sp.Symbol(name),))


@pytest.mark.parametrize(
    ("theta", "values", "message"),
    [
        (np.ones(3), {"lr": 0.1}, r"theta: expected shape \(\.\.\., 2\), got \(3,\)"),
        (np.array(1.0), {"lr": 0.1}, "theta: expected shape"),
        (np.ones(2), {}, "field: expected the keyword arguments"),
        (np.ones(2), {"lr": 0.1, "momentum": 0.9}, "field: expected the keyword arguments"),
        (np.array([1.0, np.nan]), {"lr": 0.1}, "theta: expected finite numbers"),
        (np.ones(2), {"lr": -0.1}, "lr: expected"),
        (np.ones((3, 2)), {"lr": np.ones(2)}, "expected arguments that broadcast"),
        (np.ones(2, complex), {"lr": 0.1}, "theta: expected real numbers"),
    ],
)
def test_points_that_do_not_fit_are_refused(theta, values, message):
    with pytest.raises(KernelError, match=message):
        compile_field((x, y), (-symbols.lr * y, x))(theta, **values)


@pytest.mark.parametrize("of", [1.0, "scale", modified_loss(sgd())])
def test_what_has_no_kernel_is_refused_by_type(of):
    with pytest.raises(KernelError, match="of: expected a Solution, a Law, a DiscreteLaw or an equation"):
        compile_kernel(of)
