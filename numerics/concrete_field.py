"""A concrete field and its constants as numbers: what iterating and integrating share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import sympy as sp

from derive import ConcreteEquation, ConcreteLoss, LinearEquation, OscillatorEquation, UpdateRule
from derive.symbols import ARGUMENT_NAMES, step_size
from numerics.hyper_parameters import problem

Floats = np.ndarray
Flow = ConcreteEquation | LinearEquation | OscillatorEquation
Equation = Flow | ConcreteLoss
Field = Callable[[Floats], Floats]


class FlowError(ValueError):
    """Numbers with which a flow cannot be followed."""


def argument_name(symbol: sp.Symbol) -> str:
    """The name under which a constant's value is given: ``lr``, ``momentum``, …, ``step_size`` for h, else its own.

    >>> argument_name(step_size), argument_name(sp.Symbol("a"))
    ('step_size', 'a')
    """
    return "step_size" if symbol == step_size else ARGUMENT_NAMES.get(symbol, symbol.name)


def flow_of(equation: Equation) -> Flow:
    """The equation, of a modified loss its field."""
    if not isinstance(equation, (ConcreteEquation, LinearEquation, OscillatorEquation, ConcreteLoss)):
        raise FlowError("equation: expected one on a concrete field, modified_flow(rule, loss=…) or "
                        f"modified_flow(rule, field=…), got {type(equation).__name__}")  # fmt: skip
    return equation.equation if isinstance(equation, ConcreteLoss) else equation


def original(equation: Equation) -> tuple[sp.Expr, ...]:
    """f, which the rule is run on."""
    return flow_of(equation).original


def symbols_of(equation: Flow) -> set[sp.Symbol]:
    """The constants of the equation and of its rule."""
    rule, expressions = equation.rule, [*equation.field, *equation.original, equation.step]
    if isinstance(rule, UpdateRule):
        expressions += [rule.lr, rule.momentum, rule.dampening, rule.weight_decay]
    return set().union(*(e.free_symbols for e in expressions)) - set(equation.variables)


def values_of(equation: Flow, constants: Mapping[str, float]) -> dict[sp.Symbol, float]:
    """Symbol -> value for the constants of an equation, all of them and no others."""
    found = sorted(symbols_of(equation), key=str)
    symbols = {argument_name(symbol): symbol for symbol in found}
    if len(symbols) != len(found):
        raise FlowError(f"equation: expected symbols with different names, got {found}")
    if set(symbols) != set(constants):
        raise FlowError(f"constants: expected {sorted(symbols)}, got {sorted(constants)}")
    for name, value in constants.items():
        wrong = problem(name, numbers(name, [value]))
        if wrong:
            raise FlowError(wrong)
    return {symbols[name]: float(value) for name, value in constants.items()}


def number(expr: sp.Expr, values: Mapping[sp.Symbol, float]) -> float:
    """An expression in the constants as a float."""
    return float(expr.subs(values))


def compiled(components: Sequence[sp.Expr], variables: Sequence[sp.Symbol], values: Mapping[sp.Symbol, float]) -> Field:
    """The field as a function of an array, constants put in."""
    constants = list(values)
    shown = [c.xreplace({root: root.evalf(20) for root in c.atoms(sp.CRootOf)}) for c in components]
    function = sp.lambdify((list(variables), constants), shown, ["scipy", "numpy"], cse=True)
    given = [values[symbol] for symbol in constants]
    return lambda theta: _real(np.array(function(theta, given)))


def _real(values: Floats) -> Floats:
    """Sums over conjugate eigenvalues without the rounding errors of their imaginary parts; NaN where they are more."""
    if values.dtype.kind != "c":
        return values.astype(np.float64)
    real, imaginary = np.real(values), np.imag(values)
    return np.where(np.abs(imaginary) <= 1e-9 * (1 + np.abs(real)), real, np.nan)


def start_of(equation: Equation, start: Sequence[float] | Floats) -> Floats:
    """θ(0), one number for each variable."""
    return point("start", start, len(flow_of(equation).variables))


def point(name: str, value: Sequence[float] | Floats, size: int) -> Floats:
    """``size`` numbers."""
    found = numbers(name, value)
    if found.shape != (size,):
        raise FlowError(f"{name}: expected {size} numbers, one for each variable, got shape {found.shape}")
    return found


def numbers(name: str, value: Sequence[float] | Floats) -> Floats:
    """A row of finite real numbers, as float64."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.ndim != 1 or not np.isfinite(array).all():
        raise FlowError(f"{name}: expected finite real numbers in one row, got {value!r}")
    return array.astype(np.float64)
