"""SymPy source of expressions: text that rebuilds them with nothing but SymPy.

Each letter is declared with its assumptions under a name that Python accepts. Numbers are exact: 1/2 is ``Rational(1, 2)``.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping, Sequence

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.str import StrPrinter

from derive.operator_calculus import operator_on
from derive.sheet import Part
from derive.special_functions import elementary
from derive.symbols import ARGUMENT_NAMES


class _SourcePrinter(StrPrinter):
    """Expressions in the declared names."""

    def __init__(self, names: Mapping[sp.Basic, str]) -> None:
        super().__init__({"order": None})
        self.names = names

    def _print_Symbol(self, expr):
        return self.names[expr]

    _print_Dummy = _print_Symbol

    def _print_Rational(self, expr):
        return f"Rational({expr.p}, {expr.q})"

    _print_Half = _print_Rational

    def _print_Function(self, expr):
        name = self.names.get(expr.func) or type(expr).__name__
        return f"{name}({self.stringify(expr.args, ', ')})"

    def _print_Subs(self, expr):
        value, variables, point = (self._print(part) for part in expr.args)
        return f"Subs({value}, {variables}, {point})"


def source_of(parts: Sequence[tuple[str, Part]], remarks: Sequence[str] = ()) -> str:
    """Declarations with assumptions, then each part in those names.

    >>> from derive.symbols import weight_decay
    >>> print(source_of([("rate", weight_decay / 2 + sp.Rational(1, 3))]))
    from sympy import *
    <BLANKLINE>
    weight_decay = Symbol('lambda', nonnegative=True)
    <BLANKLINE>
    rate = weight_decay/2 + Rational(1, 3)
    """
    parts = [(name, _elementary(part)) for name, part in parts]
    letters = set().union(*(_letters(expr) for _, part in parts for expr in _expressions(part)))
    names = _names(letters, {name for name, _ in parts})
    declared = [f"{names[letter]} = {_declaration(letter)}" for letter in sorted(letters, key=lambda x: names[x])]
    printer = _SourcePrinter(names)
    bodies = [f"{name} = {_body(printer, part)}" for name, part in parts]
    return "\n".join(["from sympy import *", "", *declared, "", *(f"# {remark}" for remark in remarks), *bodies])


def _elementary(part: Part) -> Part:
    if isinstance(part, Mapping):
        return {key: elementary(value) for key, value in part.items()}
    return elementary(part) if isinstance(part, sp.Basic) else [elementary(expr) for expr in part]


def _expressions(part: Part) -> Iterator[sp.Basic]:
    if isinstance(part, Mapping):
        yield from part.values()
    elif isinstance(part, sp.Basic):
        yield part
    else:
        yield from part


def _letters(expr: sp.Basic) -> set:
    applied = {f.func for f in expr.atoms(AppliedUndef) | expr.atoms(operator_on)}
    return expr.atoms(sp.Symbol) | applied


def _body(printer: StrPrinter, part: Part) -> str:
    if isinstance(part, Mapping):
        return "{" + ", ".join(f"{key!r}: {printer.doprint(value)}" for key, value in part.items()) + "}"
    if isinstance(part, sp.Basic):
        return printer.doprint(part)
    return "[" + ", ".join(map(printer.doprint, part)) + "]"


def _names(letters: set, taken: set[str]) -> dict:
    """A name for each letter, all different and none that of a part."""
    names: dict = {}
    for letter in sorted(letters, key=str):
        name = _python_name(letter)
        while name in taken or name in names.values():
            name += "_"
        names[letter] = name
    return names


def _python_name(letter) -> str:
    name = str(ARGUMENT_NAMES.get(letter, getattr(letter, "name", None) or letter.__name__))
    name = re.sub(r"\W+", "_", name.replace("'", "_prime").replace("+", "next")).strip("_")
    return name + ("_" if keyword.iskeyword(name) else "")


def _declaration(letter) -> str:
    if isinstance(letter, sp.Symbol):
        return sp.srepr(letter)
    if letter is operator_on:
        return "Function('operator_on')  # F(D) acting on a function, D the derivative in time"
    return f"Function({letter.__name__!r}{', real=True' if letter(sp.Dummy()).is_real else ''})"
