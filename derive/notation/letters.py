"""What a letter means with its scripts and accents: which vector, function or number, on which block, at what time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import symbols
from derive.notation import quantities as qu
from derive.notation import tree
from derive.notation.products import multiply, raised
from derive.notation.quantities import Differential, Landau, Linear, MeaningError, Quantity
from derive.symbols import time as t

if TYPE_CHECKING:
    from derive.notation.reading import Reader

instant = sp.Symbol("dt", positive=True)
"""dt of a differential."""

STEADY = frozenset({"oo", "eq", "ss", "st", "star", "stat"})
"""Indices of a value at stationarity."""
CONSTANTS = {"pi": sp.pi, "oo": sp.oo, "i": sp.I}


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
            return self._expression(node)
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

    def _expression(self, node: tree.Scripted) -> Quantity:
        """Scripts or dots on what is no letter: (a + b)², or a dot over a bracket."""
        base = node.base
        if not isinstance(base, tree.Accented):
            inner = base.items[0] if isinstance(base, tree.Group) and len(base.items) == 1 else base
            return self.reader._raised(self.reader.read(inner), node)
        order = {"dot": 1, "ddot": 2, "dddot": 3}.get(base.accent)
        if order is None or node.sub is not None or node.primes:
            raise self.reader.fail(f"{base.accent} has no meaning on this", node)
        return self.reader._raised(multiply(Differential({order: sp.S.One}), self.reader.read(base.base)), node)

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
            if spelled.name == "1" and spelled.sup is not None and flat(spelled.sup) == "T":
                return self.ones(None)
            if spelled.subs:
                return self.reader._raised(self.ones(self._place(spelled, node)[0]), _script(spelled))
            return self.reader._raised(sp.Rational(spelled.name), _script(spelled))
        if spelled.name in ("g", "H", "L") and any(flat(sub) == "lambda" for sub in spelled.subs):
            return self._regularized(spelled.name)
        return None

    def _regularized(self, name: str) -> Quantity:
        """L_λ = L + λ|θ|²/2 and its derivatives."""
        decay, theta = self.vocabulary.scalars.get("lambda"), qu.letter("theta")
        if decay is None:
            raise MeaningError("the index λ has no meaning without weight decay")
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
        steady = [sub for sub in spelled.subs if flat(sub) in STEADY] + [s for s in [spelled.sup] if s and flat(s) in STEADY]
        if steady and not self.vocabulary.steps and name == "Q":
            self.reader.assume("the value at stationarity")
            spelled = replace(spelled, subs=tuple(s for s in spelled.subs if s not in steady),
                              sup=None if spelled.sup in steady else spelled.sup)  # fmt: skip
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
        if letter == "f" and self._is_index(spelled.sup) and flat(spelled.sup).isdigit():  # type: ignore[arg-type]
            spelled = replace(spelled, sup=None, rates=min(int(flat(spelled.sup)), 9))  # type: ignore[arg-type]
        if letter == "f" and spelled.rates:
            return qu.letter("f" + "'" * spelled.rates, self.reader.now, closed=False)
        block, when = self._place(spelled, node)
        if spelled.name in self.reader.later and when == self.reader.now:
            when = when + 1
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
            found = self.block_named(flat(script))
            if self.reader.summed and flat(script) == self.reader.summed:
                continue
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

    def block_named(self, text: str) -> str | None:
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
        if (
            when.has(sp.I, sp.E)
            or when.atoms(AppliedUndef)
            or when.free_symbols - allowed
            or (not self.vocabulary.steps and when.is_number and when != 0)
        ):
            raise self.reader.fail(f"the index {flat(script)!r} is no time here", node)
        return when

    @staticmethod
    def _is_index(sup: tree.Node | None) -> bool:
        return isinstance(sup, tree.Group) and sup.bracket == "("


def flat(node: tree.Node) -> str:
    """Letters and digits of a script: ``A_1`` and ``A1`` are one."""
    parts = [part.text for part in node.walk() if isinstance(part, tree.Name | tree.Number)]
    return "".join(parts)


def base_name(node: tree.Node) -> str | None:
    """The letter that a node is about, below scripts and accents."""
    base = node.base if isinstance(node, tree.Scripted) else node
    base = base.base if isinstance(base, tree.Accented) else base
    base = base.base if isinstance(base, tree.Scripted) else base
    if isinstance(base, tree.Group) and base.bracket == "{" and len(base.items) == 1:
        return base_name(base.items[0])
    return base.text if isinstance(base, tree.Name) else None


def factors_of(node: tree.Node) -> list[tree.Node]:
    """The factors of a product, or the node itself."""
    return list(node.factors) if isinstance(node, tree.Product) else [node]


def order_of(node: tree.Node) -> int | None:
    """The order that d² or ∂² states; None if it is no number."""
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


def expanded(sides: list[Quantity]) -> list[tuple[tuple[qu.Word, ...], sp.Expr]]:
    """All ways to take one word from each side, with the product of their coefficients."""
    found: list[tuple[tuple[qu.Word, ...], sp.Expr]] = [((), sp.S.One)]
    for side in sides:
        if not isinstance(side, Linear):
            raise MeaningError("expected vectors in the brackets")
        found = [((*words, word), c * b) for words, c in found for (word, _), b in side.terms.items()]
    return found
