"""Operators written with letters, and what they take from their right: d/dt, ∇, ∂, Tr, Δ, arguments in brackets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import symbols
from derive.notation import quantities as qu
from derive.notation import tree
from derive.notation.letters import Letters, base_name, expanded, factors_of, flat, instant, order_of
from derive.notation.products import evaluated, multiply
from derive.notation.quantities import Differential, Landau, Linear, MeaningError, Quantity
from derive.symbols import time as t

if TYPE_CHECKING:
    from derive.notation.reading import Reader


class Operators:
    """The part of reading that is about factors which act on their neighbours."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.letters = Letters(reader)

    @property
    def vocabulary(self):
        """The reader's table."""
        return self.reader.vocabulary

    def bound(self, factors: Sequence[tree.Node], signs: Sequence[str], i: int) -> tuple[Quantity, int]:
        """The quantity at ``i`` with what it takes from its right, and how many factors that is."""
        node = factors[i]
        after = factors[i + 1] if i + 1 < len(factors) and signs[i + 1] == " " else None
        name = base_name(node)
        if (
            name == "E"
            and isinstance(after, tree.Group)
            and "expectation" in self.vocabulary.notes
            and len(after.items) == 1
        ):
            self.reader.assume(self.vocabulary.notes["expectation"])
            return self.reader.read(after), 2
        if after is not None and name in _TAKERS:
            taken = getattr(self, f"_take_{_TAKERS[name]}")(node, factors, signs, i)
            if taken is not None:
                return taken
        if self._is_a_name(node, after):
            return sp.Symbol(f"{name}(…)"), 2
        if name in self.vocabulary.trees and isinstance(after, tree.Group):
            coefficient = coefficient_of(after)
            if coefficient is not None:
                return coefficient, 2
        if after is not None and self._takes_argument(node, name, after):
            applied = self._applied(node, after)
            last = i + 2 == len(factors)
            if applied is not None and not (last and name == "H" and self._is_vector(after)):
                return applied, 2
        return self.reader.read(node), 1

    def _is_a_name(self, node: tree.Node, after: tree.Node | None) -> bool:
        """f(x) for the expression that a claim is held against: a letter of no meaning before letters of the expression."""
        known = self.vocabulary
        if (
            not isinstance(node, tree.Name)
            or not known.named
            or not isinstance(after, tree.Group)
            or node.text in known.named
        ):
            return False
        if node.text in {*known.functions, *known.vectors, *known.matrices} - {"L"}:
            return False
        return after.bracket == "(" and all(isinstance(item, tree.Name) and item.text in known.named for item in after.items)

    def _takes_argument(self, node: tree.Node, name: str | None, after: tree.Node) -> bool:
        known = {*self.vocabulary.functions, *self.vocabulary.vectors, *self.vocabulary.matrices}
        group = after.base if isinstance(after, tree.Scripted) else after
        above = factors_of(node.numerator) if isinstance(node, tree.Fraction) else []
        rate = len(above) > 1 and base_name(above[0]) in ("d", "partial")
        takes = name in known or isinstance(node, tree.Accented) or rate
        return takes and isinstance(group, tree.Group) and group.bracket != "{"

    def _is_vector(self, node: tree.Node) -> bool:
        """Whether brackets hold a vector: H(θ_A) with nothing behind it is the matrix applied to it."""
        value = self.reader.tried(node)
        return isinstance(value, Linear) and value.closed

    def _applied(self, node: tree.Node, after: tree.Node) -> Quantity | None:
        group = after.base if isinstance(after, tree.Scripted) else after
        assert isinstance(group, tree.Group)
        if base_name(node) == "L" and self._holds_the_unknowns(group):
            return self.reader.read(node)
        if len(group.items) != 1:
            if self.vocabulary.coordinates:
                return self.reader.read(node)
            return self._tensor(self.reader.read(node), group)
        argument = self.reader.tried(group.items[0])
        when, block = self._argument_time(argument)
        if when is None:
            if base_name(node) in _ELSEWHERE and base_name(node) in self.vocabulary.functions:
                raise self.reader.fail(
                    f"{base_name(node)} is taken at another point, which is not covered; write a product with *", node
                )
            return None
        kept, self.reader.clock = self.reader.clock, None
        value = self.reader.read(node)
        self.reader.clock = kept
        value = self._at(value, when, block)
        return self.reader._raised(value, after) if isinstance(after, tree.Scripted) else value

    def _holds_the_unknowns(self, group: tree.Group) -> bool:
        """L(x, y): the loss where it is, not at another point."""
        known = {*self.vocabulary.functions, *self.vocabulary.named}
        return all(isinstance(item, tree.Name) and item.text in known for item in group.items)

    def _argument_time(self, argument: Quantity) -> tuple[sp.Expr | None, str | None]:
        """The time an argument stands for: itself, or that of the parameters in it; None for a factor in brackets."""
        if isinstance(argument, Linear):
            ends = {(word[-1], time) for word, time in argument.terms}
            if len(argument.terms) == 1 and next(iter(ends))[0] == "theta":
                (((word, time), c),) = argument.terms.items()
                if c != 1:
                    raise MeaningError("a function of the parameters is taken at another point, which is not covered")
                return time, word[0][2:] if qu.is_block(word[0]) else None
            return None, None
        if not isinstance(argument, sp.Expr) or argument.atoms(AppliedUndef):
            return None, None
        if not self.vocabulary.steps and argument.free_symbols and not argument.free_symbols & {t, symbols.past}:
            return (argument, None) if _is_duration(argument) else (None, None)
        clocks = {t, symbols.past, symbols.step, sp.Symbol("i", integer=True, nonnegative=True)}
        steady = {symbols.lr, symbols.dampening} if not self.vocabulary.steps else set()
        is_time = argument == 0 or (argument.free_symbols & clocks and not argument.free_symbols - clocks - steady)
        return (argument, None) if is_time else (None, None)

    def _at(self, value: Quantity, when: sp.Expr, block: str | None) -> Quantity:
        if isinstance(value, Linear):
            placed = value.at(when)
            if block is not None and not all(any(map(qu.is_block, word)) for word, _ in placed.terms):
                placed = placed.mapped(lambda word, time: ((f"A:{block}", *word), time))
            return placed
        return evaluated(value, self.vocabulary.time, when)

    def _tensor(self, head: Quantity, group: tree.Group) -> Quantity | None:
        """T[u, v] or f''(u, v): a word of words."""
        if not isinstance(head, Linear) or head.closed:
            return None
        ((word, time),) = head.terms
        sides = [self.reader.read(item) for item in group.items]
        total: dict[tuple[qu.Word, sp.Expr], sp.Expr] = {}
        for words, c in expanded(sides):
            key = ((*word, tuple(sorted(words))), time)
            total[key] = total.get(key, sp.S.Zero) + c
        return Linear(total)

    def _take_gradient(self, node: tree.Node, factors: Sequence[tree.Node], signs: Sequence[str], i: int):
        order = self._stated_order(node)
        value, taken = self.bound(factors, signs, i + 1)
        while isinstance(value, sp.Expr) and not value.atoms(AppliedUndef) and i + 1 + taken < len(factors):
            more, count = self.bound(factors, signs, i + 1 + taken)
            value, taken = multiply(value, more), taken + count
        if not isinstance(value, sp.Expr):
            raise self.reader.fail("expected a scalar after ∇", node)
        block = None
        if isinstance(node, tree.Scripted) and node.sub is not None:
            block = self.letters.block_named(flat(node.sub).removeprefix("theta").removeprefix("_"))
        found, after = self._differentiated(value, order, block, node), i + 1 + taken
        group = factors[after] if after < len(factors) else None
        if order == 3 and isinstance(group, tree.Group) and len(group.items) == 2:
            return self._tensor(found, group), 2 + taken
        return found, 1 + taken

    def _stated_order(self, node: tree.Node) -> int:
        order = order_of(node)
        if order is None:
            raise self.reader.fail("expected the order of a derivative, as in \\nabla^2", node)
        return order

    def _differentiated(self, value: sp.Expr, order: int, block: str | None, node: tree.Node) -> Linear:
        if order == 1:
            found = qu.gradient(value)
            if block is None and len(self.vocabulary.blocks) == 1:
                block = self.vocabulary.blocks[0]
            return found if block is None else found.mapped(lambda word, time: ((f"A:{block}", *word), time))
        if order in (2, 3) and isinstance(value, AppliedUndef) and value.func.__name__ == "L":
            return qu.letter("H" if order == 2 else "T", self.reader.now, closed=False)
        names = value.atoms(AppliedUndef)
        if order == 2 and len(names) == 1 and value in names and value.func.__name__.startswith("L_"):
            return qu.letter(f"H{value.func.__name__[1:]}", self.reader.now, closed=False)
        if order == 2 and value.coeff(qu.loss) == 1:
            rest = value - qu.loss
            gradient = qu.gradient(rest) if rest != 0 else Linear({})
            if all(word == ("theta",) for word, _ in gradient.terms):
                decay = sp.Add(*gradient.terms.values())
                return qu.letter("H", closed=False).plus(Linear({(("I",), t): decay}, closed=False))
        raise self.reader.fail(f"the derivative of order {order} of {value} is not covered", node)

    def _take_partial(self, node: tree.Node, factors: Sequence[tree.Node], signs: Sequence[str], i: int):
        if not isinstance(node, tree.Scripted) or node.sub is None:
            return None
        order = self._stated_order(node)
        if self.vocabulary.coordinates and len(flat(node.sub)) > 1:  # ∂_{xxx}
            symbols_of = [self.reader.read(tree.Name(letter, at=node.at)) for letter in flat(node.sub)]
            if len(set(symbols_of)) != 1 or order != 1:
                raise self.reader.fail("expected one variable to differentiate in, as in \\partial_{xx}", node)
            return Differential({len(symbols_of): sp.S.One}, symbols_of[0]), 1
        variable = self.reader.read(node.sub)
        if isinstance(variable, Linear):
            ((word, _),) = variable.terms
            value, taken = self.bound(factors, signs, i + 1)
            if not isinstance(value, sp.Expr):
                raise self.reader.fail("expected a scalar to differentiate", node)
            return self._differentiated(value, order, word[0][2:] if qu.is_block(word[0]) else None, node), 1 + taken
        if not isinstance(variable, sp.Symbol):
            raise self.reader.fail("expected a variable to differentiate in", node)
        return Differential({order: sp.S.One}, variable), 1

    def _take_trace(self, node: tree.Node, factors: Sequence[tree.Node], signs: Sequence[str], i: int):
        value, taken = self.bound(factors, signs, i + 1)
        while (
            isinstance(value, Linear)
            and i + 1 + taken < len(factors)
            and base_name(factors[i + 1 + taken]) in self.vocabulary.matrices
        ):
            more, count = self.bound(factors, signs, i + 1 + taken)
            value, taken = multiply(value, more), taken + count
        if not isinstance(value, Linear) or value.closed:
            raise self.reader.fail("expected a matrix after Tr", node)
        total = sp.S.Zero
        for (word, time), c in value.terms.items():
            blocks = {piece[2:] for piece in word if qu.is_block(piece)}
            letters = sorted(piece for piece in word if not qu.is_block(piece))
            if letters not in (["Sigma"], ["G", "G^T"]) or len(blocks) > 1:
                raise self.reader.fail("expected Tr Σ or Tr GGᵀ", node)
            block = next(iter(blocks), self.vocabulary.blocks[0] if len(self.vocabulary.blocks) == 1 else "")
            total += c * sp.Function(f"tr.{block}.Sigma", real=True)(time)
        return total, 1 + taken

    def _take_differential(self, node: tree.Node, factors: Sequence[tree.Node], signs: Sequence[str], i: int):
        name = base_name(factors[i + 1])
        if "d" in self.vocabulary.scalars and f"d{name}" not in self.vocabulary.scalars and name not in ("t", "W"):
            return None  # a number called d
        if isinstance(node, tree.Scripted) or (name == "W" and "W" not in self.vocabulary.functions):
            return (qu.letter("dW"), 2) if name == "W" else None
        if f"d{name}" in self.vocabulary.scalars:
            return self._width(name, factors[i + 1]), 2
        if name == "t" and not self.vocabulary.steps:
            return instant, 2
        if name in self.vocabulary.vectors and name == "d":
            return None
        value, taken = self.bound(factors, signs, i + 1)
        return multiply(multiply(instant, Differential({1: sp.S.One})), value), 1 + taken

    def _take_change(self, node: tree.Node, factors: Sequence[tree.Node], signs: Sequence[str], i: int):
        name = base_name(factors[i + 1]) or ""
        if f"d{name}" in self.vocabulary.scalars:
            return self._width(name, factors[i + 1]), 2
        value, taken = self.bound(factors, signs, i + 1)
        if isinstance(value, sp.Expr) and value.atoms(AppliedUndef) and self.vocabulary.steps:
            if isinstance(node, tree.Scripted):
                raise self.reader.fail("powers of Δ are not covered; write the values out", node)
            return value.subs(symbols.step, symbols.step + 1) - value, 1 + taken
        if not isinstance(value, Linear) or not self.vocabulary.steps:
            raise self.reader.fail("Δ is read on charges, on the parameters of a step, and on mesh widths", node)
        return self._step_of(value), 1 + taken

    def _width(self, name: str | None, node: tree.Node) -> Quantity:
        """dx or Δx, and Δx² as (Δx)²."""
        width = self.vocabulary.scalars[f"d{name}"]
        return self.reader._raised(width, node) if isinstance(node, tree.Scripted) else width

    def _step_of(self, vector: Linear) -> Linear:
        """Δθ_n = −ηd_n."""
        letter, later = ("v", 1) if self.vocabulary.velocity_is_direction else ("d", 0)
        return vector.mapped(lambda word, time: ((*word[:-1], letter), time + later)).scaled(-symbols.lr)

    def step_taken(self, vector: Linear) -> Linear:
        """θ_{n+1} − θ_n as −ηd_n."""
        if not self.vocabulary.steps or len(vector.terms) != 2:
            return vector
        (early, a), (late, b) = sorted(vector.terms.items(), key=lambda item: sp.default_sort_key(item[0][1]))
        if early[1] != late[1] and sp.simplify(early[1] - late[1]) == 1:
            early, a, late, b = late, b, early, a
        if early[0] == late[0] and early[0][-1] == "theta" and a == -b and sp.simplify(late[1] - early[1]) == 1:
            return self._step_of(Linear({early: b}))
        return vector

    def _take_inner(self, node: tree.Node, factors: Sequence[tree.Node], signs: Sequence[str], i: int):
        group = factors[i + 1]
        if not isinstance(group, tree.Group) or len(group.items) != 2:
            raise self.reader.fail("expected inner(x, y)", node)
        return self.reader.read(tree.Angle(*group.items, at=node.at)), 2

    def _take_norm(self, node: tree.Node, factors: Sequence[tree.Node], signs: Sequence[str], i: int):
        group, power, primes = factors[i + 1], None, 0
        if isinstance(group, tree.Scripted):
            group, power, primes = group.base, group.sup, group.primes
        if not isinstance(group, tree.Group) or len(group.items) != 1:
            raise self.reader.fail("expected norm(x)", node)
        norm = tree.Bars(group.items[0], at=node.at)
        return self.reader.read(tree.Scripted(norm, None, power, primes, at=node.at)), 2

    def _take_part(self, node: tree.Node, factors: Sequence[tree.Node], signs: Sequence[str], i: int):
        """Re z and Im z."""
        value, taken = self.bound(factors, signs, i + 1)
        if not isinstance(value, sp.Expr) or isinstance(node, tree.Scripted):
            raise self.reader.fail("expected a number after Re or Im", node)
        return (sp.re if base_name(node) == "Re" else sp.im)(value, evaluate=False), 1 + taken

    def _take_landau(self, node: tree.Node, factors: Sequence[tree.Node], signs: Sequence[str], i: int):
        group = factors[i + 1]
        if not isinstance(group, tree.Group) or len(group.items) != 1:
            return None
        return Landau(self.reader.scalar(group.items[0])), 2

    # --- fractions that differentiate ---

    def derivative(self, node: tree.Fraction) -> Quantity | None:
        r"""``d x / d t`` and ``\partial L / \partial\theta``; None for a quotient."""
        below = factors_of(node.denominator)
        above = factors_of(node.numerator)
        sign = base_name(below[0])
        if len(below) != 2 or sign not in ("d", "partial") or base_name(above[0]) not in ("d", "partial"):
            return None
        order = order_of(below[1])
        if order != order_of(above[0]) or order is None:
            return None
        clock, self.reader.clock = self.reader.clock, None
        whole = not isinstance(below[1], tree.Scripted) or below[1].sub is not None
        variable = self.reader.read(below[1] if whole else below[1].base)  # type: ignore[attr-defined]
        target = self.reader._factors(above[1:], [" "] * (len(above) - 1)) if len(above) > 1 else None
        self.reader.clock = clock
        if isinstance(variable, Linear):
            ((word, _),) = variable.terms
            if not isinstance(target, sp.Expr):
                raise self.reader.fail("expected what is differentiated in the numerator", node)
            return self._differentiated(target, order, word[0][2:] if qu.is_block(word[0]) else None, node)
        if not isinstance(variable, sp.Symbol) or self.vocabulary.steps:
            raise self.reader.fail("expected a variable of continuous time or space to differentiate in", node)
        operator = Differential({order: sp.S.One}, variable)
        if target is None:
            return operator
        rate = multiply(operator, target)
        return rate if clock is None else self._at(rate, clock, None)


_ELSEWHERE = frozenset({"L", "f"})
"""Functions that a bracket is never a factor of."""

_TAKERS = {
    "nabla": "gradient", "partial": "partial", "Tr": "trace", "d": "differential", "Delta": "change", "inner": "inner",
    "norm": "norm", "abs": "norm", "O": "landau", "o": "landau",
    "Re": "part", "Im": "part",
}  # fmt: skip
"""Letter -> which method takes what follows it."""


def coefficient_of(group: tree.Group) -> sp.Symbol | None:
    """b(τ) as a symbol with the tree in its name: ``t`` or ``τ`` is one vertex, ``[…]`` is hung on a root."""

    def spelled(node: tree.Node) -> str | None:
        if isinstance(node, tree.Name):
            return "t" if node.text in ("t", "tau", "bullet") else None
        if not isinstance(node, tree.Group) or node.bracket != "[":
            return None
        inside = [spelled(item) for item in node.items]
        return None if None in inside else f"[{','.join(map(str, inside))}]"

    text = spelled(group.items[0]) if len(group.items) == 1 else None
    return None if text is None else sp.Symbol(f"coefficient {text}")


def _is_duration(expr: sp.Expr) -> bool:
    """Whether an expression counts time, as 1/λ and nη do, and 1 − ηλ does not."""
    unit = sp.Symbol("unit", positive=True)
    times, rates = (symbols.lr, symbols.step_size), (
        symbols.weight_decay, symbols.rate, symbols.damping_rate, symbols.frequency)  # fmt: skip
    scaled = expr.subs({**{s: unit * s for s in times}, **{s: s / unit for s in rates}}, simultaneous=True)
    return bool(scaled.has(unit)) and sp.expand(scaled - unit * expr) == 0


def is_d(node: tree.Node) -> bool:
    """Whether a node is the d of a differential."""
    return isinstance(node, tree.Name) and node.text == "d"


def derivatives_joined(factors: list[tree.Node], signs: list[str]) -> tuple[list[tree.Node], list[str]]:
    """``d X / d t`` in plain text as the fraction it stands for."""
    for j in range(1, len(factors) - 1):
        base = factors[0].base if isinstance(factors[0], tree.Scripted) else factors[0]
        if signs[j] == "/" and is_d(factors[j]) and is_d(base) and signs[j + 1] == " ":
            top = factors[0] if j == 1 else tree.Product(tuple(factors[:j]), tuple(signs[:j]), at=factors[0].at)
            bottom = tree.Product((factors[j], factors[j + 1]), (" ", " "), at=factors[j].at)
            joined = tree.Fraction(top, bottom, at=factors[0].at)
            return [joined, *factors[j + 2 :]], [signs[0], *signs[j + 2 :]]
    return factors, signs
