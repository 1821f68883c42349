"""A sheet: what is written down of one result, in no format yet.

:mod:`derive.sheets` makes sheets of results, :mod:`derive.rendering` writes them. Mathematics is kept twice, as plain text
and as LaTeX without delimiters; in prose LaTeX stands between dollars (:func:`derive.derivation.plain` takes it out again).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from derive.derivation import Derivation, plain

Part = sp.Basic | Sequence[sp.Basic] | Mapping[str, sp.Basic]
"""What one name of the SymPy source stands for: an expression, a list of them, or a dictionary by text."""


@dataclass(frozen=True)
class Formula:
    """A display formula.

    Parameters
    ----------
    heading
        What it is, in words.
    text
        Lines of plain text.
    latex
        LaTeX without delimiters, one display formula each.
    """

    heading: str
    text: tuple[str, ...]
    latex: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of (plain text, LaTeX) under ``columns`` of the same kind.

    Raises
    ------
    ValueError
        If a row has not one cell for each column.
    """

    heading: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[tuple[str, str], ...], ...]

    def __post_init__(self) -> None:
        wrong = next((row for row in self.rows if len(row) != len(self.columns)), None)
        if wrong is not None:
            raise ValueError(f"rows: expected {len(self.columns)} cells in each row, one for each column, got {wrong}")


@dataclass(frozen=True)
class Letter:
    """A letter of the formulas: as plain text, in LaTeX, and what it means (prose)."""

    text: str
    latex: str
    meaning: str


@dataclass(frozen=True)
class Note:
    """A sentence: as plain text, and as prose with LaTeX between dollars. :func:`note` makes one."""

    text: str
    prose: str


def note(sentence: str, **formulas: sp.Basic) -> Note:
    r"""A sentence in which ``<name>`` stands for the expression of that name.

    >>> note("It holds for <here> and <x>.", here=sp.Symbol("eta") < 1, x=sp.Rational(1, 2))
    Note(text='It holds for eta < 1 and 1/2.', prose='It holds for $\\eta < 1$ and $\\frac{1}{2}$.')
    """
    text, prose = plain(sentence), sentence
    for name, expr in formulas.items():
        text, prose = text.replace(f"<{name}>", str(expr)), prose.replace(f"<{name}>", f"${sp.latex(expr)}$")
    return Note(text, prose)


@dataclass(frozen=True)
class Sheet:
    """A result on paper.

    Parameters
    ----------
    title
        What it is.
    derivations
        How it follows; each step was checked when it was built.
    parts
        The formulas and tables, in reading order.
    legend
        What their letters mean.
    source
        Pairs (name, what it stands for): the result in SymPy.
    notes
        Where it holds, and what to do where it does not.
    remarks
        Comments on the source.
    """

    title: str
    derivations: tuple[Derivation, ...]
    parts: tuple[Formula | Table, ...]
    legend: tuple[Letter, ...]
    source: tuple[tuple[str, Part], ...]
    notes: tuple[Note, ...] = ()
    remarks: tuple[str, ...] = ()
