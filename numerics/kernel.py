"""Generated kernels: a :class:`derive.Solution` becomes readable numpy or torch source, and that source is what runs."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import sympy as sp
from sympy.printing.pycode import PythonCodePrinter

from derive import Solution
from derive.special_functions import damped_cosh, damped_sinhc
from derive.symbols import ARGUMENT_NAMES, frequency, time
from numerics import special
from numerics.array_namespace import Array, like, namespace
from numerics.hyper_parameters import problem

Backend = Literal["numpy", "torch"]


class KernelError(ValueError):
    """An expression that has no kernel, or arguments that a kernel cannot take."""


class _CoshOfSquare(sp.Function):
    """damped_cosh with b² as its second argument: b itself is a root, whose derivative is infinite at ω = 0."""


class _SinhcOfSquare(sp.Function):
    """damped_sinhc with b² as its second argument."""


_CALLS = {
    sp.exp: "{library}.exp({0})",
    sp.cos: "{library}.cos({0})",
    sp.sin: "{library}.sin({0})",
    _CoshOfSquare: "damped_cosh({0}, squared={1})",
    _SinhcOfSquare: "damped_sinhc({0}, squared={1})",
}
_ARITHMETIC = (sp.Add, sp.Mul, sp.Pow, sp.Rational, sp.Float)


class _Printer(PythonCodePrinter):
    """SymPy -> source over one array library; a node or symbol it does not know is refused by name."""

    def __init__(self, backend: Backend, local: tuple[sp.Symbol, ...] = ()):
        super().__init__({"fully_qualified_modules": False})
        self.library = {"numpy": "np", "torch": "torch"}[backend]
        self.local = frozenset(local)

    def doprint(self, expr, assign_to=None):
        for node in sp.preorder_traversal(expr):
            if not isinstance(node, (*_ARITHMETIC, sp.Symbol)) and node.func not in _CALLS:
                raise KernelError(f"solution: no kernel for {node.func.__name__} in {expr}")
        return super().doprint(expr, assign_to)

    def _print_Function(self, expr):
        return _CALLS[expr.func].format(*map(self._print, expr.args), library=self.library)

    _print_exp = _print_cos = _print_sin = _print_Function

    def _print_Symbol(self, expr):
        name = ARGUMENT_NAMES.get(expr, expr.name if expr in self.local else None)
        if name is None:
            raise KernelError(
                f"solution: expected the symbols of derive.symbols, got {expr!r}; put in numbers or those symbols"
            )
        return name

    def _print_Pow(self, expr, **_):
        if expr.base.is_number or expr.exp not in (sp.S.Half, -sp.S.Half):
            return super()._print_Pow(expr, rational=True)
        root = f"{self.library}.sqrt({self._print(expr.base)})"
        return root if expr.exp == sp.S.Half else f"1/{root}"

    def _print_Rational(self, expr):
        return f"{expr.p}/{expr.q}" if expr.q != 1 else str(expr.p)


@dataclass(frozen=True)
class Kernel:
    """A compiled solution. Call it for Q_h(t), the charge without drive; ``green`` is the impulse response.

    Parameters
    ----------
    solution
        What was compiled.
    backend
        ``"numpy"`` or ``"torch"``.
    source
        The generated module: two functions, ``homogeneous`` and ``green``.
    """

    solution: Solution
    backend: Backend
    source: str

    @cached_property
    def _functions(self) -> dict[str, Callable[..., Array]]:
        filename = f"<nmech kernel {id(self)}>"
        linecache.cache[filename] = (len(self.source), None, self.source.splitlines(True), filename)
        scope: dict[str, Callable[..., Array]] = {}
        exec(compile(self.source, filename, "exec"), scope)  # our own generated source, never a user's text
        return scope

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
        expr = {"homogeneous": self.solution.homogeneous, "green": self.solution.green}[part]
        return _argument_names(expr)

    def _evaluate(self, part: str, t: Array, values: dict[str, Array]) -> Array:
        expected = self.arguments(part)
        if set(values) != set(expected):
            raise KernelError(f"{part}: expected the keyword arguments {expected}, got {tuple(values)}")
        library = namespace(t, *values.values()).__name__
        if library != self.backend:
            raise KernelError(f"expected {self.backend} arrays, got {library}; compile with backend={library!r}")
        if namespace(t).__name__ != self.backend:
            raise KernelError(f"t: expected {self.backend} arrays, got {type(t).__name__}")
        t = _floating(t)
        arrays = {name: _checked(name, like(value, t)) for name, value in values.items()}
        _check_shapes(t, arrays)
        if bool((_checked("t", t) < 0).any()):
            raise KernelError("t: expected times from 0 on, got a negative one")
        return self._functions[part](t, **arrays)


def _floating(t: Array) -> Array:
    """``t`` in a floating dtype of its own library; text and complex numbers are refused."""
    if namespace(t) is not np:
        if t.is_complex():
            raise KernelError("t: expected real times, got complex ones")
        return t if t.is_floating_point() else t.double()
    array = np.asarray(t)
    if array.dtype.kind not in "iuf":
        raise KernelError(f"t: expected real numbers, got dtype {array.dtype}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _check_shapes(t: Array, arrays: dict[str, Array]) -> None:
    shapes = {"t": tuple(t.shape)} | {name: tuple(array.shape) for name, array in arrays.items()}
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError as error:
        raise KernelError(f"expected arguments that broadcast, got shapes {shapes}") from error


def _checked(name: str, value: Array) -> Array:
    wrong = problem(name, value.detach() if namespace(value) is not np else value)
    if wrong is None and name == "lr" and bool((value <= 0).any()):
        wrong = "lr: expected positive numbers, got 0; a law in training time has no step of length 0"
    if wrong:
        raise KernelError(wrong)
    return value


def _argument_names(expr: sp.Expr) -> tuple[str, ...]:
    return tuple(name for symbol, name in ARGUMENT_NAMES.items() if symbol in expr.free_symbols and symbol != time)


@lru_cache
def compile_kernel(solution: Solution, backend: Backend = "numpy") -> Kernel:
    """Generate and compile the kernel of a solution.

    >>> from derive import law, sgd, solve, translation
    >>> kernel = compile_kernel(solve(law(translation(), sgd())))
    >>> float(kernel(np.log(2.0), initial_charge=3.0, weight_decay=1.0))  # half of 3 after the half-life
    1.5

    Raises
    ------
    KernelError
        For an unknown backend, or a solution with a node that has no kernel.
    """
    if backend not in ("numpy", "torch"):
        raise KernelError(f"backend: expected 'numpy' or 'torch', got {backend!r}")
    library = "import numpy as np" if backend == "numpy" else "import torch"
    functions = [_function_source(name, solution, backend) for name in ("homogeneous", "green")]
    imports = f"{library}\n\nfrom {special.__name__} import damped_cosh, damped_sinhc\n\n\n"
    return Kernel(solution, backend, imports + "\n\n".join(functions))


def _function_source(name: str, solution: Solution, backend: Backend) -> str:
    """One function: the rates as local variables, common subexpressions, and the formula as the derivation wrote it."""
    form, rates = _by_squares(getattr(solution, f"{name}_form"), dict(solution.rates))
    used = [(rate, value) for rate, value in rates.items() if rate in form.free_symbols]
    shared, (body,) = sp.cse([form], symbols=sp.numbered_symbols("x"))
    printer = _Printer(backend, tuple(symbol for symbol, _ in (*used, *shared)))
    lines = [f"{printer.doprint(left)} = {printer.doprint(right)}" for left, right in (*used, *shared)]
    arguments = "".join(f", {argument}" for argument in _argument_names(getattr(solution, name)))
    star = ", *" if arguments else ""
    lines = [*_docstring(name, solution), *lines, f"return {printer.doprint(body)}"]
    text = "\n".join(f"    {line}".rstrip() for line in lines)
    return f"def {name}(t{star}{arguments}):\n{text}\n"


def _by_squares(form: sp.Expr, rates: dict[sp.Symbol, sp.Expr]) -> tuple[sp.Expr, dict[sp.Symbol, sp.Expr]]:
    """The formula and its rates with ω² for ω, which the entire functions are even in."""
    omega_squared = sp.Symbol("omega_squared", nonnegative=True)

    def square(b: sp.Expr) -> sp.Expr:
        return (b**2).subs(frequency, sp.sqrt(omega_squared))

    form = form.replace(damped_cosh, lambda a, b: _CoshOfSquare(a, square(b)))
    form = form.replace(damped_sinhc, lambda a, b: _SinhcOfSquare(a, square(b)))
    if frequency in rates and frequency not in form.free_symbols:
        value = rates.pop(frequency)
        rates[omega_squared] = value.base if value.is_Pow and value.exp == sp.S.Half else value**2
    return form, rates


def _docstring(name: str, solution: Solution) -> tuple[str, ...]:
    law = solution.law
    what = {
        "homogeneous": f"Charge {law.symmetry.charge} at training time t, without drive.",
        "green": "Response of the charge at training time t to a unit impulse of the drive at time 0.",
    }[name]
    return (
        f'"""{what}',
        "",
        f"Law ({law.form}, order {law.order}):",
        f"    {law}",
        "t and every argument broadcast: t of shape (steps, 1), initial_charge of shape (neurons,).",
        '"""',
    )
