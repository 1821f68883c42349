"""What is found about a claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import sympy as sp

from derive.notation.spoken import latex

Kind = Literal["right", "right up to order", "wrong", "undecided"]
Evidence = Literal["symbolic proof", "numeric evidence", "undecided"]


@dataclass(frozen=True)
class Difference:
    """The first term in which a claim differs: as claimed and as it should be, both in the claim's own scale and side.

    ``claimed`` is 0 for a term that is missing, ``correct`` for one that should not be there. ``term`` is what the
    coefficients stand before: a charge, the integral of a drive, a word.
    """

    claimed: sp.Expr
    correct: sp.Expr
    term: sp.Expr = sp.S.One

    def __str__(self) -> str:
        if self.claimed == 0:
            return f"missing {self.correct}"
        if self.correct == 0:
            return f"{self.claimed} should not be there"
        return f"claimed {self.claimed}, correct {self.correct}"

    def _repr_latex_(self) -> str:
        return rf"$\text{{claimed }} {latex(self.claimed)},\quad \text{{correct }} {latex(self.correct)}$"


@dataclass(frozen=True)
class Counterexample:
    """Rational values at which the first differing coefficient is not what it should be, and both its values."""

    point: Mapping[str, sp.Rational]
    claimed: sp.Expr
    correct: sp.Expr

    def __post_init__(self) -> None:
        object.__setattr__(self, "point", MappingProxyType(dict(self.point)))

    def __hash__(self) -> int:
        return hash((tuple(self.point.items()), self.claimed, self.correct))

    def __str__(self) -> str:
        where = ", ".join(f"{name} = {number}" for name, number in self.point.items())
        return f"{f'at {where}: ' if where else ''}claimed {self.claimed}, correct {self.correct}"

    def _repr_latex_(self) -> str:
        where = ",\\ ".join(rf"{sp.latex(sp.Symbol(name))} = {sp.latex(number)}" for name, number in self.point.items())
        values = rf"\text{{claimed }} {latex(self.claimed)},\quad \text{{correct }} {latex(self.correct)}"
        return f"${where}:\\quad {values}$" if where else f"${values}$"


@dataclass(frozen=True)
class Verdict:
    """What :func:`derive.claims.check` finds.

    Parameters
    ----------
    claim, against
        What was claimed, and what it was held against, in words.
    kind
        ``"right"``; ``"right up to order"``: it agrees to ``order`` and says no more, or says so itself; ``"wrong"``;
        ``"undecided"``.
    order
        The power of the small parameter up to which the claim agrees, where that has a meaning.
    first_difference, counterexample
        The first wrong term, and values at which it shows.
    convention
        A known convention under which the claim would be right.
    evidence
        How it was decided: a symbolic proof, or values in forty digits at random rational points.
    assumptions
        How the text was read where it leaves a choice.
    to_order
        Whether the claim itself says to which order it holds.
    reason
        Why nothing could be decided, or what makes the verdict plain.
    """

    claim: str
    against: str
    kind: Kind
    evidence: Evidence
    order: int | None = None
    first_difference: Difference | None = None
    counterexample: Counterexample | None = None
    convention: str | None = None
    assumptions: tuple[str, ...] = field(default=())
    to_order: bool = False
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the claim is right as it stands."""
        return self.kind == "right" or (self.kind == "right up to order" and self.to_order)

    def __str__(self) -> str:
        title = self.kind if self.kind != "right up to order" else f"right up to order {self.order}"
        lines = [f"{title} ({self.evidence}), against {self.against}"]
        lines += [f"  first difference: {self.first_difference}"] if self.first_difference else []
        lines += [f"  {self.counterexample}"] if self.counterexample else []
        lines += [f"  agrees up to order {self.order}"] if self.order is not None and self.kind == "wrong" else []
        lines += [f"  convention: {self.convention}"] if self.convention else []
        lines += [f"  {self.reason}"] if self.reason else []
        lines += [f"  assumed: {note}" for note in self.assumptions]
        return "\n".join(lines)

    def _repr_latex_(self) -> str:
        text = rf"\text{{{self.kind}"
        text += f" {self.order}}}" if self.kind == "right up to order" else "}"
        if self.first_difference is not None:
            text += rf":\quad {self.first_difference._repr_latex_().strip('$')}"
        return f"${text}$"
