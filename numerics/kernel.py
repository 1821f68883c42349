"""Generated kernels: what was derived becomes readable numpy or torch source, and that source is what runs.

=================================  =======================  =============================================================
of                                 kernel                   functions
=================================  =======================  =============================================================
:class:`derive.Solution`, ``Law``  :class:`Kernel`          ``homogeneous``: Q_h(t); ``green``: G(t)
:class:`derive.DiscreteLaw`        :class:`StepKernel`      ``step``, ``first_step``: (Q, C) ↦ (Q, C); ``run``: all of them
a vector field in coordinates      :class:`FieldKernel`     ``field``: θ ↦ f(θ)
=================================  =======================  =============================================================

``kernel.source`` needs nothing but its array library: paste it where you need it.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, overload

import numpy as np
import sympy as sp

from derive import DiscreteLaw, Law, Solution, solve
from derive.symbols import ARGUMENT_NAMES
from numerics.array_namespace import Array, like, namespace
from numerics.hyper_parameters import problem
from numerics.source import (
    LIBRARY,
    Backend,
    KernelError,
    argument_names,
    check_names,
    field_source,
    module_source,
    solution_source,
    step_sources,
    without_time,
)


@dataclass(frozen=True)
class _Generated:
    backend: Backend
    source: str

    @cached_property
    def _functions(self) -> dict[str, Callable[..., Any]]:
        filename = f"<nmech kernel {id(self)}>"
        linecache.cache[filename] = (len(self.source), None, self.source.splitlines(True), filename)
        scope: dict[str, Callable[..., Any]] = {}
        exec(compile(self.source, filename, "exec"), scope)  # our own generated source, never a user's text
        return scope

    def _check_library(self, *values: Array) -> None:
        library = namespace(*values).__name__
        if library != self.backend:
            raise KernelError(f"expected {self.backend} arrays, got {library}; compile with backend={library!r}")


@dataclass(frozen=True)
class Kernel(_Generated):
    """A compiled solution. Call it for Q_h(t), the charge without drive; ``green`` is the impulse response.

    Values are computed in float64 and returned in the dtype of ``t``: with |γt| or |ωt| at 10⁶, the phase would have no
    digits left in float32. In float64 the error is that of rounding the arguments,
    |δQ| ≤ 4ε (|Q| + |γ ∂Q/∂γ| + |ω ∂Q/∂ω| + |t ∂Q/∂t|), ε = 2⁻⁵²: in any regime 1e-13 of the envelope while γt, ωt < 100.

    Parameters
    ----------
    backend
        ``"numpy"`` or ``"torch"``.
    source
        The generated module: two functions, ``homogeneous`` and ``green``, and the entire functions that they call.
    solution
        What was compiled.
    """

    solution: Solution

    def __call__(self, t: Array, **values: Array) -> Array:
        """Q_h at times ``t`` (training time, not steps); arguments broadcast, dtype and device follow ``t``.

        Raises
        ------
        KernelError
            For a missing or unknown argument, a negative time, a value that is not finite, or an array of the other
            backend.
        """
        return self._evaluate("homogeneous", t, values)

    def green(self, t: Array, **values: Array) -> Array:
        """G(t) for t ≥ 0, the response of the charge to a unit impulse of the law's drive at time 0."""
        unknown = set(values) - set(self.arguments("homogeneous")) - set(self.arguments("green"))
        if unknown:
            raise KernelError(f"green: expected the keyword arguments {self.arguments('green')}, got {sorted(unknown)}")
        return self._evaluate("green", t, {k: v for k, v in values.items() if k in self.arguments("green")})

    def arguments(self, part: str = "homogeneous") -> tuple[str, ...]:
        """Names of the keyword arguments of ``homogeneous`` or ``green``."""
        return without_time({"homogeneous": self.solution.homogeneous, "green": self.solution.green}[part])

    def _evaluate(self, part: str, t: Array, values: dict[str, Array]) -> Array:
        expected = self.arguments(part)
        if set(values) != set(expected):
            raise KernelError(f"{part}: expected the keyword arguments {expected}, got {tuple(values)}")
        self._check_library(t, *values.values())
        if namespace(t).__name__ != self.backend:
            raise KernelError(f"t: expected {self.backend} arrays, got {type(t).__name__}")
        t = _floating("t", t)
        precise = _double(t)
        arrays = {name: _checked(name, like(value, precise)) for name, value in values.items()}
        _check_shapes(t, arrays)
        if bool((_checked("t", precise) < 0).any()):
            raise KernelError("t: expected times from 0 on, got a negative one")
        return _as(self._functions[part](precise, **arrays), t)


@dataclass(frozen=True)
class StepKernel(_Generated):
    """A compiled discrete law: one step, the first step, and the recurrence unrolled.

    The functions of ``source`` take the state (``charge`` and, with momentum, ``velocity_overlap``), the drives of a step,
    each of shape ``(neurons,)``, and the hyper-parameters as keywords.

    >>> from derive import discrete_law, sgd, translation
    >>> kernel = compile_kernel(discrete_law(translation(), sgd(momentum=True)))
    >>> kernel.step(1.0, 0.0, breaking=0.0, lr=0.5, momentum=0.0, weight_decay=1.0)  # (1 − ηλ, λ)
    (0.5, 1.0)
    """

    law: DiscreteLaw

    def step(self, *state: Array, **values: Array) -> tuple[Array, ...]:
        """The state after a step, of the state before it and the step's drives and hyper-parameters."""
        return self._functions["step"](*state, **values)

    def first_step(self, *state: Array, **values: Array) -> tuple[Array, ...]:
        """The same for a step before which there was no velocity."""
        return self._functions["first_step"](*state, **values)

    def run(self, *state: Array, **values: Array) -> Array:
        """The charge at steps 0..T, shape ``(steps + 1, neurons)``, a loop over ``step``.

        Drives have shape ``(steps, neurons)``, hyper-parameters are numbers or of shape ``(steps,)``; a law without drives
        takes ``steps``. It is for pasting elsewhere: :func:`numerics.propagate` is faster and checks what it is given.
        """
        return self._functions["run"](*state, **values)


@dataclass(frozen=True)
class FieldKernel(_Generated):
    """A compiled vector field: ``kernel(theta, **values)`` with coordinates along the last axis, in and out.

    >>> x, y = sp.symbols("x y")
    >>> rotation = compile_field((x, y), (-y, x))
    >>> rotation(np.array([3.0, 4.0]))
    array([-4.,  3.])
    """

    coordinates: tuple[sp.Symbol, ...]
    expressions: tuple[sp.Expr, ...]
    parameters: tuple[str, ...]

    def __call__(self, theta: Array, **values: Array) -> Array:
        """f(θ), in shape and dtype of ``theta``, ``(..., len(coordinates))``; arguments broadcast with ``theta[..., 0]``."""
        if set(values) != set(self.parameters):
            raise KernelError(f"field: expected the keyword arguments {self.parameters}, got {tuple(values)}")
        if self.backend == "torch" and namespace(theta) is np:
            raise KernelError(f"theta: expected a torch tensor, got {type(theta).__name__}")
        self._check_library(theta, *values.values())
        theta = _floating("theta", theta)
        if theta.ndim == 0 or theta.shape[-1] != len(self.coordinates):
            raise KernelError(f"theta: expected shape (..., {len(self.coordinates)}), got {tuple(theta.shape)}")
        arrays = {name: _checked(name, like(value, theta)) for name, value in values.items()}
        _check_shapes(theta[..., 0], arrays)
        return self._functions["field"](_checked("theta", theta), **arrays)


# Arguments


def _floating(name: str, value: Array) -> Array:
    """``value`` in a floating dtype of its own library; text and complex numbers are refused."""
    if namespace(value) is not np:
        if value.is_complex():
            raise KernelError(f"{name}: expected real numbers, got complex ones")
        return value if value.is_floating_point() else value.double()
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise KernelError(f"{name}: expected real numbers, got dtype {array.dtype}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _double(t: Array) -> Array:
    """``t`` in at least float64."""
    if namespace(t) is np:
        return t.astype(np.float64) if t.dtype.itemsize < 8 else t
    return t.double()


def _as(value: Array, t: Array) -> Array:
    """``value`` in the dtype of ``t``."""
    return np.asarray(value).astype(t.dtype, copy=False)[()] if namespace(t) is np else value.to(t.dtype)


def _check_shapes(t: Array, arrays: dict[str, Array]) -> None:
    shapes = {"t": tuple(t.shape)} | {name: tuple(array.shape) for name, array in arrays.items()}
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError as error:
        raise KernelError(f"expected arguments that broadcast, got shapes {shapes}") from error


def _checked(name: str, value: Array) -> Array:
    wrong = problem(name, value)
    if wrong is None and name == "lr" and bool((value <= 0).any()):
        wrong = "lr: expected positive numbers, got 0; a law in training time has no step of length 0"
    if wrong:
        raise KernelError(wrong)
    return value


def _check_backend(backend: str) -> None:
    if backend not in LIBRARY:
        raise KernelError(f"backend: expected 'numpy' or 'torch', got {backend!r}")


# Compilation


@overload
def compile_kernel(of: Solution | Law, backend: Backend = "numpy") -> Kernel: ...
@overload
def compile_kernel(of: DiscreteLaw, backend: Backend = "numpy") -> StepKernel: ...
@overload
def compile_kernel(of: Any, backend: Backend = "numpy") -> Any: ...
@lru_cache
def compile_kernel(of: Any, backend: Backend = "numpy") -> Kernel | StepKernel | FieldKernel:
    """Generate and compile the kernel of a solution, a law (which is solved, at rest), a discrete law or a concrete field.

    A concrete field is anything with ``variables``, a tuple of symbols, and as ``field`` as many expressions in them: a
    modified equation of a loss or field. Symbols that are no hyper-parameters are arguments by their own names.

    >>> from derive import law, sgd, solve, translation
    >>> kernel = compile_kernel(solve(law(translation(), sgd())))
    >>> float(kernel(np.log(2.0), initial_charge=3.0, weight_decay=1.0))  # half of 3 after the half-life
    1.5

    Raises
    ------
    KernelError
        For an unknown backend, something else than the above, or an expression with a node that has no kernel.
    """
    _check_backend(backend)
    if isinstance(of, Law):
        return compile_kernel(solve(of), backend)
    if isinstance(of, Solution):
        functions = [solution_source(name, of, backend) for name in ("homogeneous", "green")]
        return Kernel(backend, module_source(backend, functions), of)
    if isinstance(of, DiscreteLaw):
        return StepKernel(backend, module_source(backend, step_sources(of, backend)), of)
    variables, field = getattr(of, "variables", None), getattr(of, "field", None)
    if isinstance(variables, tuple) and isinstance(field, tuple):
        others = set().union(*(f.free_symbols for f in field)) - {*variables, *ARGUMENT_NAMES}
        return compile_field(variables, field, backend, parameters=sorted(others, key=str))
    raise KernelError(
        f"of: expected a Solution, a Law, a DiscreteLaw or an equation with variables and field, got {type(of).__name__}"
    )


def compile_field(
    coordinates: Sequence[sp.Symbol],
    expressions: Sequence[sp.Expr],
    backend: Backend = "numpy",
    *,
    parameters: Sequence[sp.Symbol] = (),
) -> FieldKernel:
    """Generate and compile a vector field given by one expression for each coordinate.

    Symbols of :mod:`derive.symbols` become keyword arguments by the names there, ``parameters`` by their own.

    >>> from derive.symbols import lr
    >>> x = sp.Symbol("x")
    >>> slower = compile_field([x], [-x - lr * x / 2])  # gradient descent on x²/2 to first order
    >>> float(slower(np.array([1.0]), lr=0.5)[0])
    -1.25

    Raises
    ------
    KernelError
        For an unknown backend, lengths that differ, or an expression with a node or a symbol that has no kernel.
    """
    _check_backend(backend)
    coordinates, expressions = tuple(coordinates), tuple(sp.sympify(expression, strict=True) for expression in expressions)
    if len(coordinates) != len(expressions) or not coordinates:
        raise KernelError(
            f"expressions: expected one for each of {len(coordinates)} coordinates, at least one, got {len(expressions)}"
        )
    arguments = {**argument_names(*expressions), **{symbol: symbol.name for symbol in parameters}}
    arguments = {symbol: name for symbol, name in arguments.items() if symbol not in coordinates}
    check_names(arguments)
    source = field_source(coordinates, expressions, arguments, backend)
    return FieldKernel(backend, module_source(backend, [source]), coordinates, expressions, tuple(arguments.values()))
