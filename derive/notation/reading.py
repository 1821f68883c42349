"""From how a formula is written to what it says: nodes become quantities, by the vocabulary of what it is held against.

One method for each kind of node. Every choice that the text leaves open is recorded as an assumption; what has no meaning
here is refused with its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from derive.notation import quantities as qu
from derive.notation import tree
from derive.notation.accumulation import Accumulations
from derive.notation.letters import Letters
from derive.notation.lexicon import listed
from derive.notation.operators import Operators, derivatives_joined
from derive.notation.products import added, evaluated, folded, multiply, raised, transposed
from derive.notation.quantities import Differential, Landau, Linear, MeaningError, Quantity
from derive.notation.tokens import FormulaError
from derive.notation.vocabulary import Vocabulary
from derive.regimes import condition

_ARCS = {"sin": "asin", "cos": "acos", "tan": "atan", "sinh": "asinh", "cosh": "acosh", "tanh": "atanh"}
INVERSE = {name: getattr(sp, inverse) for name, inverse in _ARCS.items()}
EUCLIDEAN = frozenset({"2", "F", "fro", "Fro"})
"""Index of a norm that is the root of a sum of squares."""
FUNCTIONS: dict[str, Callable[..., sp.Expr]] = {
    name: getattr(sp, name) for name in listed("exp log sin cos tan sinh cosh tanh coth cot sec csc sech csch erf")
}
FUNCTIONS |= {"ln": sp.log} | {f"arc{name}": inverse for name, inverse in INVERSE.items()}
FUNCTIONS |= {f"ar{name}": inverse for name, inverse in INVERSE.items() if name.endswith("h")}
FUNCTIONS |= {inverse: getattr(sp, inverse) for inverse in _ARCS.values()}


@dataclass
class Reader:
    """Reads the nodes of one statement.

    Parameters
    ----------
    text, vocabulary
        The formula, for messages, and what its letters mean.
    branch, sign
        Which row of cases is read, and which sign of ±.
    later
        Letters that were assigned in a statement before, v ← …, and stand for the next step.
    """

    text: str
    vocabulary: Vocabulary
    branch: int = 0
    sign: int = 1
    assumptions: list[str] = field(default_factory=list)
    conditions: list[tuple[sp.Expr, str, sp.Expr]] = field(default_factory=list)
    others: list[list[tuple[sp.Expr, str, sp.Expr]]] = field(default_factory=list)
    dropped: list[sp.Expr] = field(default_factory=list)
    clock: sp.Expr | None = None
    continued: bool = False
    summed: str = ""
    later: frozenset[str] = frozenset()

    @property
    def now(self) -> sp.Expr:
        """The time of a letter without argument."""
        return self.vocabulary.time if self.clock is None else self.clock

    def assume(self, note: str) -> None:
        """Record an assumption, once."""
        if note and note not in self.assumptions:
            self.assumptions.append(note)

    def fail(self, message: str, node: tree.Node) -> FormulaError:
        """An error at the place of a node."""
        return FormulaError(message, self.text, node.at)

    def read(self, node: tree.Node) -> Quantity:
        """What a node says.

        Raises
        ------
        FormulaError
            If it has no meaning in this vocabulary.
        """
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise self.fail(f"{type(node).__name__.lower()} has no meaning here", node)
        try:
            return method(node)
        except MeaningError as error:
            raise self.fail(str(error), node) from None

    def tried(self, node: tree.Node) -> Quantity | None:
        """What a node says, or None if it has no meaning; nothing of a failed attempt stays."""
        kept = self.vocabulary, self.clock, self.summed, list(self.assumptions)
        try:
            return self.read(node)
        except (FormulaError, MeaningError):
            self.vocabulary, self.clock, self.summed, self.assumptions[:] = kept
            return None

    def scalar(self, node: tree.Node) -> sp.Expr:
        """What a node says, which must be a number or a function of time."""
        value = self.read(node)
        if not isinstance(value, sp.Expr):
            raise self.fail("expected a scalar here", node)
        return value

    # --- leaves ---

    def _number(self, node: tree.Number) -> Quantity:
        return sp.Rational(node.text)

    def _name(self, node: tree.Name) -> Quantity:
        return self._scripted(tree.Scripted(node, None, None, 0, at=node.at))

    def _scripted(self, node: tree.Scripted) -> Quantity:
        base = node.base
        if isinstance(base, tree.Name | tree.Accented | tree.Number) or _is_letter(base):
            return Letters(self).read(node)
        if isinstance(base, tree.Bars):
            return self._primed(self._norm(base, node.sup, node.sub), node)
        if isinstance(base, tree.Group) and node.sub is None and not (node.primes and node.sup):
            return self._primed(self._raised(self.read(base), node), node)
        plain = isinstance(base, tree.Call | tree.Root | tree.Fraction | tree.Angle | tree.Rows) and not node.primes
        if plain and node.sub is None:
            return self._raised(self.read(base), node)
        raise self.fail("these scripts have no meaning here", node)

    def _raised(self, base: Quantity, node: tree.Scripted) -> Quantity:
        if node.sup is None:
            return base
        if isinstance(node.sup, tree.Name) and node.sup.text == "T":
            return transposed(base)
        if isinstance(base, Linear) and set(base.terms.values()) == {1} and [w for w, _ in base.terms] == [("Sigma",)]:
            return self._factor(base, node)
        return raised(base, self.scalar(node.sup))

    def _factor(self, covariance: Linear, node: tree.Scripted) -> Quantity:
        """Σ^{1/2} as a factor G of Σ = GGᵀ."""
        assert node.sup is not None
        exponent = self.scalar(node.sup)
        if exponent != sp.S.Half:
            return raised(covariance, exponent)
        self.assume("Σ^{1/2} read as a factor G with GGᵀ = Σ")
        return covariance.mapped(lambda word, time: (("G",), time))

    def _primed(self, value: Quantity, node: tree.Scripted) -> Quantity:
        """Primes behind a bracket or a norm: the rate of the whole."""
        return multiply(Differential({node.primes: sp.S.One}), value) if node.primes else value

    def _accented(self, node: tree.Accented) -> Quantity:
        return Letters(self).read(tree.Scripted(node, None, None, 0, at=node.at))

    # --- arithmetic ---

    def _total(self, node: tree.Total) -> Quantity:
        found: Quantity | None = None
        for term, sign in zip(node.terms, node.signs, strict=True):
            if isinstance(term, tree.Name) and term.text in ("…", "...", "cdots", "ldots", "dots", "dotsb", "⋯"):
                self.assume("dots read as terms of higher order, not checked")
                self.continued = True
                continue
            value = self.read(term)
            factor = {"+": 1, "-": -1, "±": self.sign, "∓": -self.sign}[sign]
            if isinstance(value, Landau):
                self.dropped.append(value.size)
                continue
            value = multiply(sp.Integer(factor), value)
            found = value if found is None else added(found, value)
        return sp.S.Zero if found is None else found

    def _product(self, node: tree.Product) -> Quantity:
        factors, signs = derivatives_joined(list(node.factors), list(node.signs))
        if any(sign == "o" for sign in signs):
            raise self.fail("products by components (⊙) have no meaning here", node)
        return self._factors(factors, signs)

    def _factors(self, factors: Sequence[tree.Node], signs: Sequence[str]) -> Quantity:
        """Factors from left to right become quantities; operators then act on what is on their right."""
        last = factors[-1]
        if len(factors) > 1 and isinstance(last, tree.EvaluatedAt):  # the bar is read as behind the whole product
            whole = tree.Product((*factors[:-1], last.base), tuple(signs), at=factors[0].at)
            return self.read(tree.EvaluatedAt(whole, last.condition, at=last.at))
        values: list[Quantity] = []
        i = 0
        while i < len(factors):
            if isinstance(factors[i], tree.Big):
                value, taken = Accumulations(self).over(factors, signs, i), len(factors) - i
            else:
                value, taken = Operators(self).bound(factors, signs, i)
                value, taken = self._at_its_time(value, taken, factors, signs, i)
            values.append(self._inverted(value, factors[i]) if signs[i] == "/" else value)
            i += taken
        return folded(values)

    def _at_its_time(
        self, value: Quantity, taken: int, factors: Sequence[tree.Node], signs: Sequence[str], i: int
    ) -> tuple[Quantity, int]:
        """(…)(t), |θ|²(0) and ⟨θ, 1⟩(t): a time in brackets behind what moves is where it is taken, not a factor."""
        node = factors[i]
        base = node.base if isinstance(node, tree.Scripted) else node
        group = factors[i + taken] if i + taken < len(factors) and signs[i + taken] == " " else None
        if not isinstance(group, tree.Group) or group.bracket != "(" or len(group.items) != 1:
            return value, taken
        (item,) = group.items
        if isinstance(base, tree.Name | tree.Accented) and isinstance(value, sp.Symbol) and isinstance(item, tree.Name):
            raise self.fail(f"{value} is a number here, without argument; write a product as {value} * {item.text}", node)
        moving = isinstance(base, tree.Group | tree.Bars | tree.Angle | tree.Number) and _moves(value, self.now)
        if not moving or not isinstance(item, tree.Name | tree.Number):
            return value, taken
        when: Any = self.tried(item)
        if not isinstance(when, sp.Expr) or not (when == 0 or isinstance(when, sp.Symbol)):
            return value, taken
        placed = value.at(when) if isinstance(value, Linear) else evaluated(value, self.now, when)
        return placed, taken + 1

    def _inverted(self, value: Quantity, node: tree.Node) -> sp.Expr:
        if not isinstance(value, sp.Expr):
            raise self.fail("expected a scalar to divide by", node)
        if value == 0:
            raise self.fail("division by 0", node)
        return 1 / value

    def _fraction(self, node: tree.Fraction) -> Quantity:
        derivative = Operators(self).derivative(node)
        if derivative is not None:
            return derivative
        return multiply(1 / self._divisor(node.denominator), self.read(node.numerator))

    def _divisor(self, node: tree.Node) -> sp.Expr:
        value = self.scalar(node)
        if value == 0:
            raise self.fail("division by 0", node)
        return value

    def _root(self, node: tree.Root) -> Quantity:
        index = sp.Integer(2) if node.index is None else self.scalar(node.index)
        value = self.read(node.content)
        if isinstance(value, Linear):
            raise self.fail("the root of a matrix has no meaning here; write it as G with GGᵀ = Σ", node)
        return raised(value, 1 / index)

    def _group(self, node: tree.Group) -> Quantity:
        if len(node.items) != 1:
            raise self.fail("a list has no meaning here", node)
        return self.read(node.items[0])

    def _call(self, node: tree.Call) -> Quantity:
        if node.function not in FUNCTIONS:
            raise self.fail(
                f"the function {node.function} has no meaning here; known are {', '.join(sorted(FUNCTIONS))}", node
            )
        argument = self.scalar(node.argument)
        function = FUNCTIONS[node.function]
        if node.power is None:
            return function(argument)
        power = self.scalar(node.power)
        if power == -1 and node.function in INVERSE:
            return INVERSE[node.function](argument)
        return raised(function(argument), power)

    def _evaluatedat(self, node: tree.EvaluatedAt) -> Quantity:
        what = node.condition
        if not (isinstance(what, tree.Relation) and what.signs[1:] == ("=",)):
            raise self.fail("expected what is set, as in |_{t=0}", node)
        variable, value = self.scalar(what.sides[0]), self.scalar(what.sides[1])
        return evaluated(self.read(node.base), variable, value)

    # --- products of vectors ---

    def _bars(self, node: tree.Bars) -> Quantity:
        return self._norm(node, None, None)

    def _norm(self, node: tree.Bars, power: tree.Node | None, sub: tree.Node | None) -> Quantity:
        value = self.read(node.content)
        if (
            isinstance(sub, tree.Name)
            and sub.text == "h"
            and "homogeneous" in self.vocabulary.notes
            and isinstance(value, Linear)
        ):
            return self._homogeneous(value, power)
        if sub is not None and not (isinstance(sub, tree.Name | tree.Number) and sub.text in EUCLIDEAN):
            raise self.fail("a norm other than the Euclidean has no meaning here", sub)
        exponent = sp.S.One if power is None else self.scalar(power)
        if isinstance(value, sp.Expr) and value.has(sp.I):
            return raised(sp.Abs(value, evaluate=False), exponent)
        if isinstance(value, sp.Expr):
            return raised(sp.sqrt(raised(value, sp.Integer(2))) if exponent % 2 else value, exponent)
        if isinstance(value, Linear) and value.closed:
            return raised(qu.pair(self.moved(value), self.moved(value)), exponent / 2)
        raise self.fail("expected a vector or a number between the bars", node)

    def _homogeneous(self, value: Linear, power: tree.Node | None) -> Quantity:
        """|θ_A(t)|_h²: the solution without drive."""
        if power is None or self.scalar(power) != 2 or len(value.terms) != 1:
            raise MeaningError("expected the square of a homogeneous solution, as in |θ|_h^2")
        ((_, when),) = value.terms
        self.assume(self.vocabulary.notes["homogeneous"])
        return sp.Function("Q_h", real=True)(when)

    def moved(self, vector: Linear) -> Linear:
        """θ_{n+1} − θ_n as the step −ηd_n, and a whole vector as its block where there is one block."""
        return Operators(self).step_taken(vector)

    def _angle(self, node: tree.Angle) -> Quantity:
        left, right = (self._vector(side) for side in (node.left, node.right))
        return qu.pair(left, right)

    def _vector(self, node: tree.Node) -> Linear:
        value = self.read(node)
        if value == 1:
            return Letters(self).ones(None)
        if not isinstance(value, Linear) or not value.closed:
            raise self.fail("expected a vector in the inner product", node)
        return value

    def _big(self, node: tree.Big) -> Quantity:
        return Accumulations(self).over([node], [" "], 0)

    # --- cases ---

    def _rows(self, node: tree.Rows) -> Quantity:
        if node.kind != "cases":
            raise self.fail("a matrix has no meaning here", node)
        rows = [(row[0], row[1] if len(row) > 1 else None) for row in node.rows]
        regimes = [condition(self, cell) for _, cell in rows]
        chosen = min(self.branch, len(rows) - 1)
        if regimes[chosen] is None:
            self.others = [regime for regime in regimes if regime]
        else:
            self.conditions.extend(regimes[chosen] or [])
        return self.read(rows[chosen][0])


def _moves(value: Quantity, now: sp.Expr) -> bool:
    if isinstance(value, Linear):
        return any(time == now for _, time in value.terms)
    return isinstance(value, sp.Expr) and any(f.args[0] == now for f in value.atoms(AppliedUndef))


def _is_letter(node: tree.Node) -> bool:
    r"""Braces or a bar around one letter, as in {\theta}_A."""
    single = isinstance(node, tree.Group) and node.bracket == "{" and len(node.items) == 1
    return single and isinstance(node.items[0], tree.Name | tree.Scripted | tree.Accented)  # type: ignore[attr-defined]
