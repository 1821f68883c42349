"""A claim of the paper as data: where it stands, what is printed there, and how it is to be judged.

Nothing here knows an answer. What a claim is held against is named by a call of the public API
(:mod:`derive.paper.objects`), or computed by a function that derives it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from derive.paper.letters import Letters


@dataclass(frozen=True)
class HeldAgainst:
    """Judged by :func:`derive.check`.

    Parameters
    ----------
    call
        What the formula is held against, a key of :data:`derive.paper.objects.OBJECTS`; ``""``: it is to hold by itself.
    reading
        The formula that is given to ``check`` where it spells what is printed in other letters; ``""``: as printed.
    to_order
        Whether the paper itself claims no more than the order in the reading's O(…).
    """

    call: str
    reading: str = ""
    to_order: bool = False


@dataclass(frozen=True)
class LineByLine:
    """Judged by :func:`derive.check_derivation`: every line has to follow."""

    call: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class OnActions:
    """A relation about ∂ψ, ∇f and Hf, judged on symmetries for a loss of which nothing but its invariance is known.

    Parameters
    ----------
    relation
        Which of the five of :func:`derive.relations`, by its equation: 22 to 26.
    printed
        The side of the equation that does not vanish (or both, as their difference), in the letters of ψ.
    calls
        The symmetries, keys of :data:`derive.paper.objects.OBJECTS`.
    convention
        A reading under which it would be right.
    """

    relation: int
    printed: Callable[[Letters], Any]
    calls: tuple[str, ...]
    convention: str = ""


@dataclass(frozen=True)
class Compared:
    """A value that the paper states beside one that is derived: expressions, numbers, or several of them.

    Parameters
    ----------
    stated, derived
        Both as functions, called when the claim is judged.
    by
        What derives it, in words or as a call.
    steps
        A key of :data:`derive.paper.objects.OBJECTS` whose steps show how; ``""`` for none.
    convention
        A reading under which it would be right.
    """

    stated: Callable[[], Any]
    derived: Callable[[], Any]
    by: str
    steps: str = ""
    convention: str = ""


@dataclass(frozen=True)
class Measured:
    """A number that the paper states beside one that is found in the traced or measured network, by ``name``.

    ``reason`` is why the two differ, if they do. What measures needs torch, and is given to
    :func:`derive.paper.judging.judge`.
    """

    stated: int
    name: str
    reason: str = ""


@dataclass(frozen=True)
class NotJudged:
    """A definition, with nothing to judge, or a claim that cannot be decided, and why."""

    kind: Literal["definition", "undecided"]
    why: str


Test = HeldAgainst | LineByLine | OnActions | Compared | Measured | NotJudged


@dataclass(frozen=True)
class PaperClaim:
    """One claim of Kunin et al. 2021.

    Parameters
    ----------
    place
        ``"eq. 16"``, ``"Table 2, row 1, scale"``, ``"Sect. 6, stationary state"``: unique.
    section
        The heading it is listed under: ``"3"`` … ``"7"``, ``"A"`` … ``"J"``.
    says
        What it says, in words. Words are plain text throughout, formulas in them in Unicode.
    test
        How it is judged.
    latex
        The formula as printed, ordinary LaTeX without delimiters; ``""`` for a statement in words.
    scan
        What the scan that was read leaves unreadable, and how it was read.
    remark
        What follows from the verdict, or what the derivation knows besides.
    slip
        Whether, if it is wrong, it is a misprint or a loose word that no result of the paper depends on.

    Raises
    ------
    ValueError
        For an unknown section, or a formula that is judged as printed and is not there.
    """

    place: str
    section: str
    says: str
    test: Test
    latex: str = ""
    scan: str = ""
    remark: str = ""
    slip: bool = False

    def __post_init__(self) -> None:
        if self.section not in SECTIONS:
            raise ValueError(f"section: expected one of {', '.join(SECTIONS)}, got {self.section!r} at {self.place}")
        if isinstance(self.test, HeldAgainst) and not (self.test.reading or self.latex):
            raise ValueError(f"latex: expected the formula that is judged at {self.place}, got none")


SECTIONS = {
    "3": "Symmetries in the loss shape gradient and Hessian geometries",
    "4": "Symmetry leads to conservation laws under gradient flow",
    "5": "A realistic continuous model for stochastic gradient descent",
    "6": "Combining symmetry and modified gradient flow",
    "7": "Conclusion",
    "A": "Symmetry and geometry",
    "B": "Conservation laws",
    "C": "Limiting differential equations for learning rules",
    "D": "Modified equation analysis",
    "E": "Deriving the exact learning dynamics of SGD",
    "F": "Modeling stochasticity",
    "G": "Deriving the exact learning dynamics of SGD with momentum",
    "H": "General solutions for ODEs",
    "I": "Deriving dynamics in the discrete setting",
    "J": "Experimental details",
}
"""Sections and appendices of the paper, in its order."""
