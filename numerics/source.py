"""Python source from SymPy expressions: readable, over one array library, and whole, so that it can be pasted elsewhere.

A function is given by its outputs and by values that are named on the way; common subexpressions are found. What a printer
does not know it refuses by name. Source that needs the entire functions of :mod:`numerics.special` brings them along.
"""

from __future__ import annotations

import ast
import inspect
import keyword
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

import sympy as sp
from sympy.printing.pycode import PythonCodePrinter

from derive import DiscreteLaw, Solution
from derive.discrete_law import DRIVES, C_n, Q_n
from derive.special_functions import damped_cosh, damped_sinhc, squared_arccosh1p
from derive.symbols import ARGUMENT_NAMES, frequency, time
from numerics import special

Backend = Literal["numpy", "torch"]
LIBRARY = {"numpy": "np", "torch": "torch"}
IMPORT = {"numpy": "import numpy as np", "torch": "import torch"}


class KernelError(ValueError):
    """An expression that has no kernel, or arguments that a kernel cannot take."""


class CoshOfSquare(sp.Function):
    """damped_cosh with b² as its second argument: b itself is a root, whose derivative is infinite at ω = 0."""


class SinhcOfSquare(sp.Function):
    """damped_sinhc with b² as its second argument."""


DECAYING = {
    sp.exp: "{library}.exp({0})",
    sp.cos: "{library}.cos({0})",
    sp.sin: "{library}.sin({0})",
    sp.log: "{library}.log({0})",
    squared_arccosh1p: "squared_arccosh1p({0})",
    CoshOfSquare: "damped_cosh({0}, squared={1})",
    SinhcOfSquare: "damped_sinhc({0}, squared={1})",
}
"""What solutions of laws are made of. cosh and sinh are not among them: they overflow where the solution decays."""
ELEMENTARY = {
    **{f: f"{{library}}.{f.__name__}({{0}})" for f in (sp.exp, sp.log, sp.sin, sp.cos, sp.tan, sp.sinh, sp.cosh, sp.tanh)},
    **{f: f"{{library}}.arc{f.__name__[1:]}({{0}})" for f in (sp.asin, sp.acos, sp.atan)},
    sp.Abs: "{library}.abs({0})",
    sp.sign: "{library}.sign({0})",
}
"""What vector fields may be made of besides."""
_ARITHMETIC = (sp.Add, sp.Mul, sp.Pow, sp.Rational, sp.Float)
_AHEAD = {
    "numpy": """\
# The entire functions that the above calls.


def namespace(*arrays):
    return np


def like(value, example):
    dtype = np.asarray(example).dtype
    return np.asarray(value, dtype=dtype if dtype.kind == "f" else np.float64)
""",
    "torch": """\
# The entire functions that the above calls.


def namespace(*arrays):
    return torch


def like(value, example):
    dtype = example.dtype if example.is_floating_point() else torch.float64
    return torch.as_tensor(value, dtype=dtype, device=example.device)
""",
}


class Printer(PythonCodePrinter):
    """SymPy -> source over one array library; a node or symbol it does not know is refused by name.

    ``names`` maps symbols to the variables that hold them, ``calls`` functions to the text of a call; ``what`` is the word
    for the expression in a refusal.
    """

    def __init__(self, backend: Backend, names: Mapping[sp.Symbol, str], calls: Mapping = DECAYING, what: str = "solution"):
        super().__init__({"fully_qualified_modules": False})
        self.library, self.names, self.calls, self.what = LIBRARY[backend], names, calls, what

    def doprint(self, expr, assign_to=None):
        constants = (sp.core.numbers.NumberSymbol,) if self.calls is not DECAYING else ()
        for node in sp.preorder_traversal(expr):
            if not isinstance(node, (*_ARITHMETIC, *constants, sp.Symbol)) and node.func not in self.calls:
                raise KernelError(f"{self.what}: no kernel for {node.func.__name__} in {expr}")
        return super().doprint(expr, assign_to)

    def _print_Function(self, expr):
        if expr.is_number:  # torch has no functions of plain numbers
            return repr(float(expr))
        return self.calls[expr.func].format(*map(self._print, expr.args), library=self.library)

    _print_exp = _print_cos = _print_sin = _print_log = _print_tan = _print_Function
    _print_sinh = _print_cosh = _print_tanh = _print_asin = _print_acos = _print_atan = _print_Abs = _print_sign = (
        _print_Function
    )

    def _print_NumberSymbol(self, expr):
        return repr(float(expr))

    _print_Pi = _print_Exp1 = _print_NumberSymbol

    def _print_Symbol(self, expr):
        if expr not in self.names:
            raise KernelError(
                f"{self.what}: expected the symbols of derive.symbols, got {expr!r}; put in numbers or those symbols"
            )
        return self.names[expr]

    def _print_Pow(self, expr, **_):
        if expr.base.is_number or expr.exp not in (sp.S.Half, -sp.S.Half):
            return super()._print_Pow(expr, rational=True)
        root = f"{self.library}.sqrt({self._print(expr.base)})"
        return root if expr.exp == sp.S.Half else f"1/{root}"

    def _print_Rational(self, expr):
        return f"{expr.p}/{expr.q}" if expr.q != 1 else str(expr.p)


def argument_names(*exprs: sp.Expr) -> dict[sp.Symbol, str]:
    """Symbol -> name of the arguments that occur, in the order of :data:`derive.symbols.ARGUMENT_NAMES`."""
    free = set().union(*(expr.free_symbols for expr in exprs))
    return {symbol: name for symbol, name in ARGUMENT_NAMES.items() if symbol in free}


def function_source(
    signature: str,
    docstring: Sequence[str],
    named: Sequence[tuple[sp.Symbol, sp.Expr]],
    outputs: Sequence[sp.Expr],
    printer: Printer,
    returned: str = "{}",
    before: Sequence[str] = (),
    suffixes: Sequence[str] = (),
) -> str:
    """One function: statements ``before``, values with a name, common subexpressions, and what is returned.

    ``returned`` has braces for the outputs, ``suffixes`` what is added to the text of each.
    """
    taken = {*printer.names.values(), *(str(symbol) for symbol, _ in named)}
    fresh = (sp.Symbol(name) for name in map("x{}".format, range(10**6)) if name not in taken)
    shared, bodies = sp.cse(list(outputs), symbols=fresh)
    local = {symbol: symbol.name for symbol, _ in (*named, *shared)}
    printer = Printer(_backend(printer), {**local, **printer.names}, printer.calls, printer.what)
    lines = [f"{printer.doprint(left)} = {printer.doprint(right)}" for left, right in (*named, *shared)]
    ends = suffixes or [""] * len(bodies)
    result = returned.format(", ".join(printer.doprint(body) + end for body, end in zip(bodies, ends, strict=True)))
    quoted = [f'"""{docstring[0]}', *docstring[1:], '"""']
    text = "\n".join(f"    {line}".rstrip() for line in (*quoted, *before, *lines, f"return {result}"))
    return f"def {signature}:\n{text}\n"


def _backend(printer: Printer) -> Backend:
    return "numpy" if printer.library == "np" else "torch"


def module_source(backend: Backend, functions: Sequence[str]) -> str:
    """The import and the functions, and below them the entire functions if they are called."""
    below = "\n\n".join(functions)
    if any(f"{name}(" in below for name in ("damped_cosh", "damped_sinhc", "squared_arccosh1p")):
        return f"from math import comb, factorial\n\n{IMPORT[backend]}\n\n\n{below}\n\n{entire_functions(backend)}"
    return f"{IMPORT[backend]}\n\n\n{below}"


@lru_cache
def entire_functions(backend: Backend) -> str:
    """The source of :mod:`numerics.special` over one library, without its imports."""
    tree = ast.parse(inspect.getsource(special))
    kept = [_without_annotations(node) for node in tree.body if isinstance(node, (ast.FunctionDef, ast.Assign))]
    return _AHEAD[backend] + "\n\n" + "\n\n".join(ast.unparse(node) for node in kept) + "\n"


def _without_annotations(node: ast.AST) -> ast.AST:
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef):
            part.returns = None
        if isinstance(part, ast.arg):
            part.annotation = None
    return node


# What kernels are made of


def without_time(expr: sp.Expr) -> tuple[str, ...]:
    """Names of the arguments that occur, other than t."""
    return tuple(name for symbol, name in argument_names(expr).items() if symbol != time)


def solution_source(name: str, solution: Solution, backend: Backend) -> str:
    """Rates as local variables, common subexpressions, and the formula as the derivation wrote it."""
    form, rates = _by_squares(getattr(solution, f"{name}_form"), dict(solution.rates))
    used = [(rate, value) for rate, value in rates.items() if rate in form.free_symbols]
    arguments = "".join(f", {argument}" for argument in without_time(getattr(solution, name)))
    printer = Printer(backend, {**ARGUMENT_NAMES, **{rate: rate.name for rate, _ in used}})
    signature = f"{name}(t{', *' if arguments else ''}{arguments})"
    return function_source(signature, _solution_docstring(name, solution), used, [form], printer)


def _by_squares(form: sp.Expr, rates: dict[sp.Symbol, sp.Expr]) -> tuple[sp.Expr, dict[sp.Symbol, sp.Expr]]:
    """The formula and its rates with ω² for ω, which the entire functions are even in."""
    omega_squared = sp.Symbol("omega_squared", nonnegative=True)

    def square(b: sp.Expr) -> sp.Expr:
        return (b**2).subs(frequency, sp.sqrt(omega_squared))

    form = form.replace(damped_cosh, lambda a, b: CoshOfSquare(a, square(b)))
    form = form.replace(damped_sinhc, lambda a, b: SinhcOfSquare(a, square(b)))
    if frequency in rates and frequency not in form.free_symbols:
        value = rates.pop(frequency)
        rates[omega_squared] = value.base if value.is_Pow and value.exp == sp.S.Half else value**2
    return form, rates


def _solution_docstring(name: str, solution: Solution) -> tuple[str, ...]:
    law = solution.law
    what = {
        "homogeneous": f"Charge {law.symmetry.charge} at training time t, without drive.",
        "green": "Response of the charge at training time t to a unit impulse of the drive at time 0.",
    }[name]
    return (
        what,
        "",
        f"Law ({law.form}, order {law.order}):",
        f"    {law}",
        "t and every argument broadcast: t of shape (steps, 1), initial_charge of shape (neurons,).",
    )


def step_sources(law: DiscreteLaw, backend: Backend) -> list[str]:
    """``step``, ``first_step`` and ``run`` of a discrete law."""
    state = {Q_n: "charge", C_n: "velocity_overlap"}
    state = dict(list(state.items())[: law.transition.shape[0]])
    drives = {DRIVES[name]: name for name in law.drives}
    pairs = {"step": (law.transition, law.drive_matrix), "first_step": (law.first_transition, law.first_drive_matrix)}
    rows = {name: list(A * sp.Matrix(list(state)) + B * sp.Matrix(list(drives))) for name, (A, B) in pairs.items()}
    hyper = argument_names(*(row for both in rows.values() for row in both))
    printer = Printer(backend, {**state, **drives, **hyper}, what="law")
    taken = ", ".join([*state.values(), *drives.values(), "*", *hyper.values()])
    words = {"step": "one step", "first_step": "a step before which there was no velocity"}
    steps = [
        function_source(f"{name}({taken})", _step_docstring(law, words[name]), (), rows[name], printer, "({},)")
        for name in pairs
    ]
    return [*steps, _run_source(list(state.values()), list(drives.values()), list(hyper.values()), LIBRARY[backend])]


def _step_docstring(law: DiscreteLaw, what: str) -> tuple[str, ...]:
    return (
        f"State after {what} of the exact law of the charge {law.symmetry.charge}.",
        "",
        "velocity_overlap <v, X>; of the step: breaking <g, X>, gradient <g, g>, direction <d, d>, overlap <d, v> after it.",
    )


def _run_source(state: list[str], drives: list[str], hyper: list[str], library: str) -> str:
    """The recurrence unrolled: a loop that any reader can check."""
    arguments = ", ".join([*state, *drives, *([] if drives else ["steps"]), "*", *hyper, "velocity_exists=False"])
    each = ", ".join([*state, *(f"{name}[n]" for name in drives), *(f"{name}={name}[n]" for name in hyper)])
    number = "np.asarray(x, dtype=float)" if library == "np" else "torch.as_tensor(x, dtype=torch.float64)"
    lines = [
        f"def run({arguments}):",
        '    """Charge at steps 0..T: the recurrence unrolled over drives of shape (steps, neurons).',
        "",
        "    Hyper-parameters are numbers or of shape (steps,); velocity_exists: step 0 is not a first step.",
        '    """',
        *([f"    steps = len({drives[-1]})"] if drives else []),
        *(f"    {name} = {library}.broadcast_to({number.replace('x', name, 1)}, (steps,))" for name in hyper),
        "    charges = [charge]",
        "    for n in range(steps):",
        "        advance = step if n or velocity_exists else first_step",
        f"        {', '.join(state)}{',' if len(state) == 1 else ''} = advance({each})",
        "        charges.append(charge)",
        f"    return {library}.stack(charges)",
    ]
    return "\n".join(lines) + "\n"


_RESERVED = frozenset({"np", "torch", "theta", "field", *ARGUMENT_NAMES.values()})


def check_names(arguments: dict[sp.Symbol, str]) -> None:
    """Refuse what cannot be the name of a keyword argument, or already is another."""
    bad = [name for name in arguments.values() if not name.isidentifier() or keyword.iskeyword(name)]
    bad += [name for symbol, name in arguments.items() if symbol not in ARGUMENT_NAMES and name in _RESERVED]
    if bad or len(set(arguments.values())) != len(arguments):
        raise KernelError(f"parameters: expected names for arguments, each once, got {bad or list(arguments.values())}")


def field_source(
    coordinates: tuple[sp.Symbol, ...], expressions: tuple[sp.Expr, ...], arguments: dict[sp.Symbol, str], backend: Backend
) -> str:
    """``field`` of a point with coordinates along the last axis."""
    taken = {*_RESERVED, *arguments.values()}
    plain = {x: x.name.isidentifier() and not keyword.iskeyword(x.name) and x.name not in taken for x in coordinates}
    names = {x: x.name if plain[x] else f"theta_{i}" for i, x in enumerate(coordinates)}
    printer = Printer(backend, {**arguments, **names}, ELEMENTARY, "field")
    star = ", *" if arguments else ""
    signature = f"field(theta{star}{''.join(f', {name}' for name in arguments.values())})"
    shown = ", ".join(map(str, coordinates))
    docstring = ("Vector field at theta.", "", f"Coordinates along the last axis of theta and of the result: {shown}.")
    unpacked = [f"{name} = theta[..., {i}]" for i, name in enumerate(names.values())]
    library, broadcast = LIBRARY[backend], {"numpy": "broadcast_arrays", "torch": "broadcast_tensors"}[backend]
    axis = {"numpy": "axis", "torch": "dim"}[backend]
    returned = f"{library}.stack({library}.{broadcast}({{}}), {axis}=-1)"
    free = [not set(coordinates) & expression.free_symbols for expression in expressions]
    suffixes = [f" + 0*{next(iter(names.values()))}" if alone else "" for alone in free]  # in the shape of the others
    return function_source(signature, docstring, (), expressions, printer, returned, unpacked, suffixes)
