"""Large operators and what they bind: ∫ with its differential, Σ and ∏ with an index, Σ over parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sympy as sp
from sympy.core.function import AppliedUndef

from derive.notation import quantities as qu
from derive.notation import tree
from derive.notation.letters import Letters
from derive.notation.operators import is_d
from derive.notation.products import multiply
from derive.notation.quantities import Linear, Quantity
from derive.symbols import past

if TYPE_CHECKING:
    from derive.notation.reading import Reader


class Accumulations:
    """The part of reading that is about sums, products and integrals."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def over(self, factors: Sequence[tree.Node], signs: Sequence[str], i: int) -> Quantity:
        """What the large operator at ``i`` makes of the rest of its product."""
        head = factors[i]
        assert isinstance(head, tree.Big)
        rest, kept = list(factors[i + 1 :]), list(signs[i + 1 :])
        if head.kind == "int":
            return self._integral(head, rest, kept)
        if head.kind in ("sum", "prod"):
            return self._sum(head, rest, kept)
        if head.kind == "lim":
            return self._limit(head, rest, kept)
        raise self.reader.fail(f"{head.kind} has no meaning here", head)

    def _integral(self, head: tree.Big, rest: list[tree.Node], signs: list[str]) -> Quantity:
        at = next((j for j in range(len(rest) - 1) if is_d(rest[j]) and _is_variable(rest[j + 1])), None)
        if at is None or head.lower is None or head.upper is None:
            raise self.reader.fail("expected an integral with limits and its differential, as in \\int_0^t … d\\tau", head)
        variable = rest[at + 1]
        if not isinstance(variable, tree.Name):  # t' is a letter of its own under the integral
            new = tree.Name("primed variable", at=variable.at)
            rest, variable = [tree.renamed(node, variable, new) for node in rest], new
        inside, outside = rest[:at], rest[at + 2 :]
        if not inside:
            inside, outside = outside, []
        lower, upper = self.reader.scalar(head.lower), self.reader.scalar(head.upper)
        body = self._bound_body(inside, signs, variable.text, past, head)
        value = sp.Integral(body, (past, lower, upper))
        if not outside:
            return value
        return multiply(value, self.reader._factors(outside, [" ", *signs[len(rest) - len(outside) + 1 :]]))

    def _limit(self, head: tree.Big, rest: list[tree.Node], signs: list[str]) -> sp.Expr:
        """The limit of all that stands on its right, in a letter that has a meaning of its own."""
        lower = head.lower
        if not isinstance(lower, tree.Relation) or len(lower.sides) != 2 or lower.signs[1] not in _TENDS or not rest:
            raise self.reader.fail("expected a limit as in \\lim_{t\\to\\infty}", head)
        variable, target = (self.reader.scalar(side) for side in lower.sides)
        body = self.reader._factors(rest, [" ", *signs[1:]])
        if not isinstance(variable, sp.Symbol) or not isinstance(body, sp.Expr):
            raise self.reader.fail("expected the limit of a scalar in a letter", head)
        return sp.Limit(body, variable, target)

    def _sum(self, head: tree.Big, rest: list[tree.Node], signs: list[str]) -> Quantity:
        lower = head.lower
        if isinstance(lower, tree.Name) and head.kind == "sum":
            return self._over_parameters(lower.text, rest, signs, head)
        if not (isinstance(lower, tree.Relation) and isinstance(lower.sides[0], tree.Name)):
            raise self.reader.fail("expected a sum with limits, as in \\sum_{i=0}^{n-1}", head)
        if lower.signs[1] in ("in", "∈") and head.upper is None:
            return self._over_parameters(lower.sides[0].text, rest, signs, head)
        start, stop = self._limits(lower, head)
        index = sp.Symbol("i", integer=True, nonnegative=True)
        body = self._bound_body(rest, signs, lower.sides[0].text, index, head)
        return (sp.Sum if head.kind == "sum" else sp.Product)(body, (index, start, stop))

    def _limits(self, lower: tree.Relation, head: tree.Big) -> tuple[sp.Expr, sp.Expr]:
        if head.upper is None and lower.signs[1] in ("<", "lt"):
            return sp.S.Zero, self.reader.scalar(lower.sides[1]) - 1
        if head.upper is None or lower.signs[1] != "=":
            raise self.reader.fail("expected a sum with limits, as in \\sum_{i=0}^{n-1}", head)
        return self.reader.scalar(lower.sides[1]), self.reader.scalar(head.upper)

    def _over_parameters(self, index: str, rest: list[tree.Node], signs: list[str], head: tree.Node) -> sp.Expr:
        """Σ_i θ_i as ⟨θ, 1⟩ and Σ_i θ_i² as |θ|²."""
        kept, self.reader.summed = self.reader.summed, index
        value: Any = self.reader._factors(rest, [" ", *signs[1:]]) if rest else sp.S.Zero
        self.reader.summed = kept
        total: Any = qu.pair(value, Letters(self.reader).ones(None)) if isinstance(value, Linear) and value.closed else value
        if not isinstance(total, sp.Expr) or not total.atoms(AppliedUndef):
            raise self.reader.fail(f"expected a sum over the parameters, as in \\sum_{index} \\theta_{index}", head)
        self.reader.assume(f"the sum over {index} read as one over all parameters of the block")
        return total

    def _bound_body(
        self, nodes: list[tree.Node], signs: list[str], name: str, variable: sp.Symbol, head: tree.Node
    ) -> sp.Expr:
        """The body under a large operator, whose bound variable is also the time of letters without argument."""
        if not nodes:
            raise self.reader.fail("expected what is integrated or summed", head)
        if self.reader.clock == variable:
            raise self.reader.fail("a sum inside a sum, or an integral inside an integral, is not covered", head)
        kept = self.reader.vocabulary, self.reader.clock
        self.reader.vocabulary = self.reader.vocabulary.with_scalars({name: variable})
        self.reader.clock = variable
        signs = [" ", *signs[1 : len(nodes)]]
        value = self.reader._factors(nodes, signs)
        self.reader.vocabulary, self.reader.clock = kept
        if not isinstance(value, sp.Expr):
            raise self.reader.fail("expected a scalar to integrate or sum", head)
        return value


_TENDS = frozenset({"to", "rightarrow", "longrightarrow", "→", "->"})


def _is_variable(node: tree.Node) -> bool:
    primed = isinstance(node, tree.Scripted) and node.primes == 1 and node.sup is None and isinstance(node.base, tree.Name)
    return primed or isinstance(node, tree.Name)
