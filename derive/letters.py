"""What a letter with its scripts, accents and argument means, and the operators written with letters: d/dt, ∇, ∂, Tr, Δ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import formula_tree as tree
from derive import quantities as qu
from derive import symbols
from derive.products import evaluated, multiply, raised
from derive.quantities import Differential, Landau, Linear, MeaningError, Quantity
from derive.symbols import time as t

if TYPE_CHECKING:
    from derive.reading import Reader

instant = sp.Symbol("dt", positive=True)
"""dt of a differential."""

CONSTANTS = {"pi": sp.pi, "oo": sp.oo}


@dataclass(frozen=True)
class Spelling:
    """A letter taken apart."""

    name: str
    subs: tuple[tree.Node, ...]
    sup: tree.Node | None
    rates: int
    accent: str
    at: int


class Letters:
    """The part of reading that is about letters."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    @property
    def vocabulary(self):
        """The reader's table."""
        return self.reader.vocabulary

    # --- one letter ---

    def read(self, node: tree.Scripted) -> Quantity:
        """A letter, with scripts and accents."""
        spelled = _spelling(node)
        if spelled is None:
            inner = node.base.items[0] if isinstance(node.base, tree.Group) else node.base
            return self.reader._raised(self.reader.read(inner), node)
        special = self._special(spelled, node)
        if special is not None:
            return special
        vocabulary = self.vocabulary
        for table, meaning in (
            (vocabulary.functions, self._function),
            (vocabulary.vectors, self._vector),
            (vocabulary.matrices, self._matrix),
        ):
            if spelled.name in table and not self._is_named_scalar(spelled):
                self.reader.assume(vocabulary.notes.get(spelled.name, ""))
                return meaning(spelled, node)
        return self._scalar(spelled, node)

    def _is_named_scalar(self, spelled: Spelling) -> bool:
        return "_".join([spelled.name, *map(flat, spelled.subs)]) in self.vocabulary.scalars

    def _special(self, spelled: Spelling, node: tree.Node) -> Quantity | None:
        """e, π, numbers, the vector of ones, and what carries the index λ."""
        if spelled.name == "e" and not spelled.subs and "e" not in self.vocabulary.scalars:
            exponent = sp.S.One if spelled.sup is None else self.reader.scalar(spelled.sup)
            return raised(sp.E, exponent) if not isinstance(raised(sp.E, exponent), Landau) else None
        if spelled.name in CONSTANTS and spelled.name not in self.vocabulary.scalars:
            return self.reader._raised(CONSTANTS[spelled.name], _script(spelled))
        if spelled.name.replace(".", "").isdigit():
            if spelled.subs:
                return self.reader._raised(self.ones(self._place(spelled, node)[0]), _script(spelled))
            return self.reader._raised(sp.Rational(spelled.name), _script(spelled))
        if spelled.name in ("g", "H", "L") and any(flat(sub) == "lambda" for sub in spelled.subs):
            return self._regularized(spelled.name)
        return None

    def _regularized(self, name: str) -> Quantity:
        """L_λ = L + λ|θ|²/2 and its derivatives."""
        decay, theta = self.vocabulary.scalars["lambda"], qu.letter("theta")
        self.reader.assume("the index λ read as: with weight decay, L_λ = L + λ|θ|²/2")
        if name == "L":
            return qu.loss + decay * qu.pair(theta, theta) / 2
        if name == "g":
            return qu.letter("g").plus(theta.scaled(decay))
        return qu.letter("H", closed=False).plus(Linear({(("I",), t): decay}, closed=False))

    def ones(self, block: str | None) -> Linear:
        """The vector of ones, on a block."""
        if block is None and len(self.vocabulary.blocks) == 1:
            block = self.vocabulary.blocks[0]
        return qu.letter("one", self.reader.now, block=block)

    def _scalar(self, spelled: Spelling, node: tree.Node) -> Quantity:
        name = "_".join([spelled.name, *map(flat, spelled.subs)])
        known = self.vocabulary.scalars
        if name not in known or spelled.accent or spelled.rates:
            shown = name if not spelled.accent else f"{spelled.accent} {name}"
            raise self.reader.fail(f"unknown letter {shown!r} here; known are {self.vocabulary.accepted}", node)
        self.reader.assume(self.vocabulary.notes.get(name, ""))
        return self.reader._raised(known[name], _script(spelled))

    def _function(self, spelled: Spelling, node: tree.Node) -> Quantity:
        name = self.vocabulary.functions[spelled.name]
        if self.vocabulary.coordinates:
            return self._unknown(spelled, node)
        if "homogeneous" in self.vocabulary.notes and [flat(sub) for sub in spelled.subs] == ["h"]:
            name, spelled = f"{name}_h", replace(spelled, subs=())
        block, when = self._place(spelled, node)
        label = name if block is None else f"{name}_{block}"
        label = f"{label}~" if spelled.accent == "tilde" else label
        if spelled.accent not in ("", "tilde"):
            raise self.reader.fail(f"{spelled.accent} has no meaning on {spelled.name}", node)
        value = sp.Function(label, real=True)(when)
        if spelled.rates:
            if when == 0:
                value = sp.Function(label + "'" * spelled.rates, real=True)(0)
            else:
                value = value.diff(when, spelled.rates) if when.is_Symbol else value
        return value if self._is_index(spelled.sup) else self.reader._raised(value, _script(spelled))

    def _unknown(self, spelled: Spelling, node: tree.Node) -> Quantity:
        """u of a partial differential equation, with the variables it is differentiated in as indices."""
        u, *variables = self.vocabulary.coordinates
        by_name = {str(v): v for v in variables}
        letters = "".join(map(flat, spelled.subs))
        if spelled.rates or spelled.accent or any(letter not in by_name for letter in letters):
            raise self.reader.fail(f"expected u with indices of {', '.join(by_name)}, as in u_{{xx}}", node)
        counts = [(by_name[letter], letters.count(letter)) for letter in dict.fromkeys(letters)]
        return self.reader._raised(sp.Derivative(u, *counts) if counts else u, _script(spelled))

    def _vector(self, spelled: Spelling, node: tree.Node) -> Quantity:
        letter = self.vocabulary.vectors[spelled.name]
        if letter == "f" and spelled.rates:
            return qu.letter("f" + "'" * spelled.rates, self.reader.now, closed=False)
        block, when = self._place(spelled, node)
        if spelled.accent in ("hat", "tilde", "bar") and letter == "g":
            self.reader.assume("the gradient of a batch read as g")
        elif spelled.accent == "tilde" and letter == "f":
            return qu.letter("theta'", when)
        elif spelled.accent:
            raise self.reader.fail(f"{spelled.accent} has no meaning on {spelled.name}", node)
        if block is None and len(self.vocabulary.blocks) == 1:
            block = self.vocabulary.blocks[0]
        letter, when = self._direction(letter, when)
        if letter == "G+":  # g + λθ
            decay = self.vocabulary.scalars["lambda"]
            return qu.letter("g", when).plus(qu.letter("theta", when).scaled(decay))
        value = qu.letter(letter, when, block=block)
        for _ in range(spelled.rates):
            value = _rate_at(value, when)
        if spelled.sup is None or self._is_index(spelled.sup):
            return value
        if flat(spelled.sup) == "2":
            self.reader.assume(f"{spelled.name}² read as |{spelled.name}|²")
        return self.reader._raised(value, _script(spelled))

    def _direction(self, letter: str, when: sp.Expr) -> tuple[str, sp.Expr]:
        """The step is along d_n = v_{n+1} (without Nesterov): one letter for both."""
        if letter == "d" and self.vocabulary.velocity_is_direction:
            return "v", when + 1
        return letter, when

    def _matrix(self, spelled: Spelling, node: tree.Node) -> Quantity:
        letter = self.vocabulary.matrices[spelled.name]
        block, _ = self._place(spelled, node)
        power = 1
        if spelled.rates and not letter.startswith("f"):
            raise self.reader.fail("a rate of a matrix has no meaning here", node)
        if spelled.sup is not None and flat(spelled.sup) in ("T", "top", "dagger"):
            letter = {"G": "G^T"}.get(letter, letter)
        elif spelled.sup is not None and not self._is_index(spelled.sup):
            exponent = self.reader.scalar(spelled.sup)
            if letter == "Sigma" and exponent == sp.S.Half:
                self.reader.assume("Σ^{1/2} read as a factor G with GGᵀ = Σ")
                letter = "G"
            elif exponent.is_Integer and 1 <= int(exponent) <= 12:
                power = int(exponent)
            else:
                raise self.reader.fail(f"the power {exponent} of a matrix has no meaning here", node)
        word = (letter,) * power if block is None else (f"A:{block}", *(letter,) * power)
        return Linear({(word, self.reader.now): sp.S.One}, closed=False)

    # --- where and when ---

    def _place(self, spelled: Spelling, node: tree.Node) -> tuple[str | None, sp.Expr]:
        """(block, time) that the scripts say."""
        block, when = None, self.reader.now
        scripts = [*spelled.subs, *([spelled.sup] if self._is_index(spelled.sup) else [])]
        for script in scripts:
            found = self._block(flat(script))
            if found is not None:
                block = found
            elif spelled.name == "g" and flat(script) in ("B", "S", "mathcalB"):
                self.reader.assume("the gradient of a batch read as g")
            elif self._is_losses_index(script):
                block = flat(script)
            else:
                when = self._time(script, node)
        return block, when

    def _is_losses_index(self, script: tree.Node) -> bool:
        return "batch" in self.vocabulary.notes and flat(script) in ("k", "i", "j", "b")

    def _block(self, text: str) -> str | None:
        blocks = self.vocabulary.blocks
        text = text.replace("_", "").removeprefix("theta")
        if text in blocks:
            return text
        if len(blocks) == 2 and not self.vocabulary.steps and text in ("1", "2"):
            self.reader.assume(f"the indices 1 and 2 read as the blocks {blocks[0]} and {blocks[1]}")
            return blocks[int(text) - 1]
        return None

    def _time(self, script: tree.Node, node: tree.Node) -> sp.Expr:
        inner = script.items[0] if isinstance(script, tree.Group) and len(script.items) == 1 else script
        try:
            when = self.reader.scalar(inner)
        except ValueError:
            raise self.reader.fail(
                f"unknown index {flat(script)!r}; known blocks are {self.vocabulary.blocks or 'none'}", node
            ) from None
        allowed = (
            {symbols.step, sp.Symbol("i", integer=True, nonnegative=True)} if self.vocabulary.steps else {t, symbols.past}
        )
        if when.free_symbols - allowed or (not self.vocabulary.steps and when.is_number and when != 0):
            raise self.reader.fail(f"the index {flat(script)!r} is no time here", node)
        return when

    @staticmethod
    def _is_index(sup: tree.Node | None) -> bool:
        return isinstance(sup, tree.Group) and sup.bracket == "("

    # --- letters bound to what follows ---

    def bound(self, factors: Sequence[tree.Node], signs: Sequence[str], i: int) -> tuple[Quantity, int]:
        """The quantity at ``i`` with what it takes from its right, and how many factors that is."""
        node = factors[i]
        after = factors[i + 1] if i + 1 < len(factors) and signs[i + 1] == " " else None
        name = _base_name(node)
        if after is not None and name in _TAKERS:
            taken = getattr(self, f"_take_{_TAKERS[name]}")(node, factors, signs, i)
            if taken is not None:
                return taken
        if after is not None and self._takes_argument(node, name, after):
            applied = self._applied(node, after)
            last = i + 2 == len(factors)
            if applied is not None and not (last and name == "H" and self._is_vector(after)):
                return applied, 2
        return self.reader.read(node), 1

    def _takes_argument(self, node: tree.Node, name: str | None, after: tree.Node) -> bool:
        known = {*self.vocabulary.functions, *self.vocabulary.vectors, *self.vocabulary.matrices}
        group = after.base if isinstance(after, tree.Scripted) else after
        above = _factors_of(node.numerator) if isinstance(node, tree.Fraction) else []
        rate = len(above) > 1 and _base_name(above[0]) in ("d", "partial")
        takes = name in known or isinstance(node, tree.Accented) or rate
        return takes and isinstance(group, tree.Group) and group.bracket != "{"

    def _is_vector(self, node: tree.Node) -> bool:
        """Whether brackets hold a vector: H(θ_A) with nothing behind it is the matrix applied to it."""
        kept = list(self.reader.assumptions)
        try:
            value = self.reader.read(node)
        except (ValueError, MeaningError):
            return False
        finally:
            self.reader.assumptions[:] = kept
        return isinstance(value, Linear) and value.closed

    def _applied(self, node: tree.Node, after: tree.Node) -> Quantity | None:
        group = after.base if isinstance(after, tree.Scripted) else after
        assert isinstance(group, tree.Group)
        if len(group.items) != 1:
            if self.vocabulary.coordinates:
                return self.reader.read(node)
            return self._tensor(self.reader.read(node), group)
        try:
            argument = self.reader.read(group.items[0])
        except (ValueError, MeaningError):
            return None
        when, block = self._argument_time(argument)
        if when is None:
            return None
        kept, self.reader.clock = self.reader.clock, None
        value = self.reader.read(node)
        self.reader.clock = kept
        value = self._at(value, when, block)
        return self.reader._raised(value, after) if isinstance(after, tree.Scripted) else value

    def _argument_time(self, argument: Quantity) -> tuple[sp.Expr | None, str | None]:
        """The time an argument stands for: itself, or that of the parameters in it; None for a factor in brackets."""
        if isinstance(argument, Linear):
            ends = {(word[-1], time) for word, time in argument.terms}
            if len(argument.terms) == 1 and next(iter(ends))[0] == "theta":
                ((word, time),) = argument.terms
                return time, word[0][2:] if qu.is_block(word[0]) else None
            return None, None
        if not isinstance(argument, sp.Expr):
            return None, None
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
        for words, c in _expanded(sides):
            key = ((*word, tuple(sorted(words))), time)
            total[key] = total.get(key, sp.S.Zero) + c
        return Linear(total)

    def _take_gradient(self, node: tree.Node, factors: Sequence[tree.Node], signs: Sequence[str], i: int):
        order = int(flat(node.sup)) if isinstance(node, tree.Scripted) and node.sup is not None else 1
        value, taken = self.bound(factors, signs, i + 1)
        while isinstance(value, sp.Expr) and not value.atoms(AppliedUndef) and i + 1 + taken < len(factors):
            more, count = self.bound(factors, signs, i + 1 + taken)
            value, taken = multiply(value, more), taken + count
        if not isinstance(value, sp.Expr):
            raise self.reader.fail("expected a scalar after ∇", node)
        block = None
        if isinstance(node, tree.Scripted) and node.sub is not None:
            block = self._block(flat(node.sub).removeprefix("theta").removeprefix("_"))
        found, after = self._differentiated(value, order, block, node), i + 1 + taken
        group = factors[after] if after < len(factors) else None
        if order == 3 and isinstance(group, tree.Group) and len(group.items) == 2:
            return self._tensor(found, group), 2 + taken
        return found, 1 + taken

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
        order = int(flat(node.sup)) if node.sup is not None else 1
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
            and _base_name(factors[i + 1 + taken]) in self.vocabulary.matrices
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
        name = _base_name(factors[i + 1])
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
        name = _base_name(factors[i + 1]) or ""
        if f"d{name}" in self.vocabulary.scalars:
            return self._width(name, factors[i + 1]), 2
        value, taken = self.bound(factors, signs, i + 1)
        if not isinstance(value, Linear) or not self.vocabulary.steps:
            raise self.reader.fail("Δ is read on the parameters of a step and on mesh widths", node)
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
        group, power = factors[i + 1], None
        if isinstance(group, tree.Scripted):
            group, power = group.base, group.sup
        if not isinstance(group, tree.Group) or len(group.items) != 1:
            raise self.reader.fail("expected norm(x)", node)
        return self.reader._norm(tree.Bars(group.items[0], at=node.at), power, None), 2

    def _take_landau(self, node: tree.Node, factors: Sequence[tree.Node], signs: Sequence[str], i: int):
        group = factors[i + 1]
        if not isinstance(group, tree.Group) or len(group.items) != 1:
            return None
        return Landau(self.reader.scalar(group.items[0])), 2

    # --- fractions that differentiate ---

    def derivative(self, node: tree.Fraction) -> Quantity | None:
        """``d x / d t`` and ``\\partial L / \\partial\\theta``; None for a quotient."""
        below = _factors_of(node.denominator)
        above = _factors_of(node.numerator)
        sign = _base_name(below[0])
        if len(below) != 2 or sign not in ("d", "partial") or _base_name(above[0]) not in ("d", "partial"):
            return None
        order = _order(below[1])
        if order != _order(above[0]) or order is None:
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


_TAKERS = {"nabla": "gradient", "partial": "partial", "Tr": "trace", "d": "differential", "Delta": "change", "inner": "inner",
           "norm": "norm", "abs": "norm", "O": "landau", "o": "landau", "mathcalO": "landau"}  # fmt: skip


def flat(node: tree.Node) -> str:
    """Letters and digits of a script: ``A_1`` and ``A1`` are one."""
    parts = [part.text for part in node.walk() if isinstance(part, tree.Name | tree.Number)]
    return "".join(parts)


def _base_name(node: tree.Node) -> str | None:
    base = node.base if isinstance(node, tree.Scripted) else node
    base = base.base if isinstance(base, tree.Accented) else base
    base = base.base if isinstance(base, tree.Scripted) else base
    return base.text if isinstance(base, tree.Name) else None


def _factors_of(node: tree.Node) -> list[tree.Node]:
    return list(node.factors) if isinstance(node, tree.Product) else [node]


def _order(node: tree.Node) -> int | None:
    if not isinstance(node, tree.Scripted) or node.sup is None:
        return 1
    text = flat(node.sup)
    return int(text) if text.isdigit() and len(text) < 3 else None


def _script(spelled: Spelling) -> tree.Scripted:
    return tree.Scripted(tree.Name(spelled.name, at=spelled.at), None, spelled.sup, 0, at=spelled.at)


def _spelling(node: tree.Scripted) -> Spelling | None:
    """The letter, with scripts inside and outside accents and braces gathered; None if it is no letter."""
    base: tree.Node = node.base
    rates, accent, subs, sup = node.primes, "", [node.sub], node.sup
    while not isinstance(base, tree.Name | tree.Number):
        if isinstance(base, tree.Accented):
            dots = {"dot": 1, "ddot": 2, "dddot": 3}.get(base.accent, 0)
            rates, accent, base = rates + dots, accent or ("" if dots else base.accent), base.base
        elif isinstance(base, tree.Group) and len(base.items) == 1:
            base = base.items[0]
        elif isinstance(base, tree.Scripted) and not (base.sup is not None and sup is not None):
            rates, sup, subs, base = rates + base.primes, sup or base.sup, [*subs, base.sub], base.base
        else:
            return None
    items: list[tree.Node] = []
    for sub in subs:
        if isinstance(sub, tree.Group) and sub.bracket == "{":
            items.extend(sub.items)
        elif sub is not None:
            items.append(sub)
    return Spelling(base.text, tuple(items), sup, rates, accent, node.at)


def _rate_at(value: Linear, when: sp.Expr) -> Linear:
    moved = qu.rate_of(replace(value, terms={(word, t): c for (word, _), c in value.terms.items()}))
    return moved.at(when)


def _expanded(sides: list[Quantity]) -> list[tuple[tuple[qu.Word, ...], sp.Expr]]:
    found: list[tuple[tuple[qu.Word, ...], sp.Expr]] = [((), sp.S.One)]
    for side in sides:
        if not isinstance(side, Linear):
            raise MeaningError("expected vectors in the brackets")
        found = [((*words, word), c * b) for words, c in found for (word, _), b in side.terms.items()]
    return found
