"""What a claim may be held against: one reading for each type, from the object to a vocabulary and a list of facts.

To cover a further type, register a function with :data:`reference` that returns a :class:`Reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import symbols
from derive.comparison import Fact
from derive.notation.quantities import Linear, Quantity
from derive.notation.terms import Terms
from derive.notation.tree import Node
from derive.notation.vocabulary import Vocabulary

Condition = tuple[sp.Expr, str, sp.Expr]


class ClaimError(ValueError):
    """An object that no claim can be held against, or a claim that is about something else."""


@dataclass(frozen=True)
class Claim:
    """A statement as it was read: ``left`` = ``right``, or ``right`` alone.

    Parameters
    ----------
    left, right
        The two sides; ``left`` is None for a bare expression.
    conditions, excluded
        Where it is claimed: the regime of its row of cases.
    dropped
        The sizes of its O(…) terms.
    continued
        Whether it ends in dots.
    """

    left: Quantity | None
    right: Quantity
    conditions: tuple[Condition, ...] = ()
    excluded: tuple[tuple[Condition, ...], ...] = ()
    dropped: tuple[sp.Expr, ...] = ()
    continued: bool = False
    assumptions: tuple[str, ...] = ()

    @property
    def sides(self) -> tuple[Quantity, ...]:
        """The sides that are there."""
        return (self.right,) if self.left is None else (self.left, self.right)

    @property
    def functions(self) -> set[str]:
        """Names of the functions of time in it."""
        scalars = [side for side in self.sides if isinstance(side, sp.Expr)]
        return {f.func.__name__ for side in scalars for f in side.atoms(AppliedUndef)}

    @property
    def letters(self) -> set[str]:
        """Letters of the vectors in it."""
        words = (word for side in self.sides if isinstance(side, Linear) for word, _ in side.terms)
        return {piece for word in words for piece in _flat(word)}

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        """Symbols of all coefficients."""
        found: set[sp.Symbol] = set()
        for side in self.sides:
            parts = side.terms.values() if isinstance(side, Linear) else [side]
            found = found.union(*(part.free_symbols for part in parts if isinstance(part, sp.Expr)))
        return found

    @property
    def rates(self) -> int:
        """The highest time derivative of a charge in it."""
        scalars = [side for side in self.sides if isinstance(side, sp.Expr)]
        return max((d.derivative_count for side in scalars for d in side.atoms(sp.Derivative)), default=0)

    def mapped(self, change: Callable[[sp.Expr], sp.Expr], *notes: str) -> Claim:
        """Every scalar changed: sides, coefficients and conditions."""

        def on(side: Quantity | None) -> Quantity | None:
            if isinstance(side, Linear):
                return Linear({key: change(c) for key, c in side.terms.items()}, side.closed, side.row)
            return change(side) if isinstance(side, sp.Expr) else side

        conditions = tuple((change(a), sign, change(b)) for a, sign, b in self.conditions)
        excluded = tuple(tuple((change(a), sign, change(b)) for a, sign, b in row) for row in self.excluded)
        kept = (*self.assumptions, *(note for note in notes if note not in self.assumptions))
        right = on(self.right)
        assert right is not None
        return replace(self, left=on(self.left), right=right, conditions=conditions, excluded=excluded, assumptions=kept)

    def noted(self, *notes: str) -> Claim:
        """The same with further assumptions."""
        return replace(self, assumptions=(*self.assumptions, *(note for note in notes if note not in self.assumptions)))


def _flat(word: Sequence[Any]) -> list[str]:
    found: list[str] = []
    for piece in word:
        found.extend([piece] if isinstance(piece, str) else _flat(piece))
    return found


@dataclass(frozen=True)
class Reference:
    """What a claim is read with and held against.

    Parameters
    ----------
    label
        What it is, for the verdict.
    vocabulary
        What letters mean.
    facts
        From a claim to the claim in canonical form and the statements that it may make.
    small
        The parameter whose powers an order counts.
    alternatives
        Pairs (convention, reference) to try when a claim is wrong.
    adapted
        The vocabulary for one formula, where what a letter is shows in its use: x(t) is a function, x a number.
    """

    label: str
    vocabulary: Vocabulary
    facts: Callable[[Claim], tuple[Claim, list[Fact]]]
    small: sp.Symbol = symbols.lr
    alternatives: Callable[[], list[tuple[str, Reference]]] = field(default=list)
    adapted: Callable[[Vocabulary, Sequence[Node]], Vocabulary] = field(default=lambda vocabulary, nodes: vocabulary)


@singledispatch
def reference(against: Any) -> Reference:
    """The reading of an object; register further types here.

    Raises
    ------
    ClaimError
        For a type without a reading.
    """
    known = ", ".join(sorted(kind.__name__ for kind in reference.registry if kind is not object))
    raise ClaimError(f"against: expected one of {known}, got {type(against).__name__}")


def applied(expr: sp.Expr, values: dict[str, Callable[..., sp.Expr]]) -> sp.Expr:
    """Functions replaced by name, derivatives carried out."""
    present = {f.func.__name__ for f in expr.atoms(AppliedUndef)}
    if not present & set(values):
        return expr

    def is_named(e: sp.Basic) -> bool:
        return isinstance(e, AppliedUndef) and e.func.__name__ in values

    return expr.replace(is_named, lambda e: values[e.func.__name__](*e.args)).doit(integrals=False, sums=False)


def key_of(expr: sp.Expr) -> tuple:
    """The key of one scalar atom."""
    return ((expr, sp.S.One),)


def fact_of(name: str, terms: Terms, *pivots: tuple, fixed: bool = False) -> Fact:
    """A fact whose pivots are those of ``pivots`` that it has."""
    return Fact(name, terms, tuple(p for p in pivots if p in terms), fixed)
