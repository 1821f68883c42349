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
from derive.symbols import ARGUMENT_NAMES, time
from numerics import special
from numerics.array_namespace import Array, like, namespace

Backend = Literal["numpy", "torch"]


class KernelError(ValueError):
    """An expression that has no kernel, or arguments that a kernel cannot take."""


_FUNCTIONS = {
    sp.exp: "{lib}.exp",
    sp.cos: "{lib}.cos",
    sp.sin: "{lib}.sin",
    damped_cosh: "damped_cosh",
    damped_sinhc: "damped_sinhc",
}


class _Printer(PythonCodePrinter):
    """SymPy -> source over one array library; a node it does not know is refused by name."""

    def __init__(self, backend: Backend):
        super().__init__({"fully_qualified_modules": False})
        self.library = {"numpy": "np", "torch": "torch"}[backend]

    def _print_Function(self, expr):
        name = _FUNCTIONS.get(expr.func)
        if name is None:
            raise KernelError(f"solution: expected functions {sorted(f.__name__ for f in _FUNCTIONS)}, got {expr.func}")
        return f"{name.format(lib=self.library)}({', '.join(map(self._print, expr.args))})"

    _print_exp = _print_cos = _print_sin = _print_Function

    def _print_Symbol(self, expr):
        return ARGUMENT_NAMES.get(expr, expr.name)

    def _print_Pow(self, expr, **_):
        if expr.base.is_number or expr.exp not in (sp.S.Half, -sp.S.Half):
            return super()._print_Pow(expr, rational=True)
        root = f"{self.library}.sqrt({self._print(expr.base)})"
        return root if expr.exp == sp.S.Half else f"1/{root}"

    def _print_Rational(self, expr):
        return f"{expr.p}/{expr.q}" if expr.q != 1 else str(expr.p)

    def _print_not_supported(self, expr):
        raise KernelError(f"solution: no kernel for {type(expr).__name__} in {expr}")

    emptyPrinter = _print_not_supported


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
        return self._evaluate("green", t, {k: v for k, v in values.items() if k in self.arguments("green")})

    def arguments(self, part: str = "homogeneous") -> tuple[str, ...]:
        """Names of the keyword arguments of ``homogeneous`` or ``green``."""
        expr = {"homogeneous": self.solution.homogeneous, "green": self.solution.green}[part]
        return _argument_names(expr)

    def _evaluate(self, part: str, t: Array, values: dict[str, Array]) -> Array:
        expected = self.arguments(part)
        if set(values) != set(expected):
            raise KernelError(f"{part}: expected the keyword arguments {expected}, got {tuple(values)}")
        if namespace(t, *values.values()).__name__ != self.backend:
            raise KernelError(f"t: expected {self.backend} arrays, got {namespace(t, *values.values()).__name__}; "
                              f"compile with backend={namespace(t).__name__!r}")  # fmt: skip
        t = _floating(t)
        arrays = {name: _checked(name, like(value, t)) for name, value in values.items()}
        if bool((_checked("t", t) < 0).any()):
            raise KernelError("t: expected times from 0 on, got a negative one")
        return self._functions[part](t, **arrays)


def _floating(t: Array) -> Array:
    if namespace(t) is not np:
        return t if t.is_floating_point() else t.double()
    array = np.asarray(t)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _checked(name: str, value: Array) -> Array:
    xp = namespace(value)
    detached = value.detach() if xp is not np else value
    if not bool(xp.isfinite(detached).all()):
        raise KernelError(f"{name}: expected finite numbers, got NaN or infinity")
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
    form = getattr(solution, f"{name}_form")
    printer = _Printer(backend)
    used = [(rate, value) for rate, value in solution.rates if rate in form.free_symbols]
    shared, (body,) = sp.cse([form], symbols=sp.numbered_symbols("x"))
    lines = [f"{printer.doprint(left)} = {printer.doprint(right)}" for left, right in (*used, *shared)]
    arguments = "".join(f", {argument}" for argument in _argument_names(getattr(solution, name)))
    star = ", *" if arguments else ""
    lines = [*_docstring(name, solution), *lines, f"return {printer.doprint(body)}"]
    text = "\n".join(f"    {line}".rstrip() for line in lines)
    return f"def {name}(t{star}{arguments}):\n{text}\n"


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
