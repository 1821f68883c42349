"""What was derived, on paper: text, LaTeX, Markdown, one HTML page, or SymPy source to go on from."""

from __future__ import annotations

from typing import Any, Literal

from derive.derivation import plain
from derive.page import page
from derive.sheet import Formula, Sheet, Table
from derive.sheets import sheet
from derive.source import source_of

Format = Literal["text", "latex", "markdown", "html", "python"]


def render(result: Any, format: Format = "text") -> str:
    """How ``result`` follows, step by step, and what it is.

    ``result`` is a law, its solution, a discrete law, an Itô law, a symmetry, a relation, a derivation, a modified equation
    (in words, by trees, or of a scheme), one of momentum's three objects, a stochastic modified equation, or the loss of an
    epoch.

    >>> from derive import discrete_law, sgd, translation
    >>> scope = {}
    >>> exec(render(discrete_law(translation(), sgd()), "python"), scope)
    >>> scope["law"].lhs
    Q_n*(E + eta*lambda - 1)

    Raises
    ------
    ValueError
        For an unknown format.
    TypeError
        For what is no result of this kind.
    """
    writers = {"text": _text, "latex": _latex, "markdown": _markdown, "html": page, "python": _python}
    if format not in writers:
        raise ValueError(f"format: expected one of {sorted(writers)}, got {format!r}")
    return writers[format](sheet(result))


def _python(paper: Sheet) -> str:
    return source_of(paper.source, paper.remarks)


# Text

_INDENT = " " * 5


def _text(paper: Sheet) -> str:
    blocks = [derivation.to_text() for derivation in paper.derivations] or [plain(paper.title)]
    blocks += ["\n".join([_small(part.heading), *(_INDENT + line for line in _text_lines(part))]) for part in paper.parts]
    blocks += [note.text for note in paper.notes]
    if paper.legend:
        width = max(8, *(len(letter.text) for letter in paper.legend))
        rows = (f"{_INDENT}{letter.text:<{width}} {plain(letter.meaning)}" for letter in paper.legend)
        blocks.append("\n".join(["where", *rows]))
    return "\n\n".join(blocks)


def _small(heading: str) -> str:
    return heading[:1].lower() + heading[1:]


def _text_lines(part: Formula | Table) -> list[str]:
    if isinstance(part, Formula):
        return list(part.text)
    rows = [[text for text, _ in row] for row in (part.columns, *part.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


# LaTeX


def _latex(paper: Sheet) -> str:
    blocks = [derivation.to_latex() for derivation in paper.derivations]
    blocks += [rf"\paragraph{{{part.heading}}}" + "\n" + _latex_body(part) for part in paper.parts]
    blocks += [rf"\noindent {note.prose}" for note in paper.notes]
    where = "; ".join(f"${letter.latex}$: {letter.meaning}" for letter in paper.legend)
    return "\n".join([*blocks, *([rf"\noindent Here {where}."] if where else [])])


def _latex_body(part: Formula | Table) -> str:
    if isinstance(part, Formula):
        return "\n".join(rf"\[ {formula} \]" for formula in part.latex)
    head, *rows = (" & ".join(f"${latex}$" for _, latex in row) + r" \\" for row in (part.columns, *part.rows))
    body = "\n".join([head, r"\hline", *rows])
    return rf"\begin{{tabular}}{{{'l' * len(part.columns)}}}" + "\n" + body + "\n" + r"\end{tabular}"


# Markdown


def _markdown(paper: Sheet) -> str:
    blocks = [derivation.to_markdown() for derivation in paper.derivations]
    blocks += [f"**{part.heading}**\n\n{_markdown_body(part)}" for part in paper.parts]
    blocks += [f"{note.prose}\n" for note in paper.notes]
    where = "\n".join(f"* ${letter.latex}$: {letter.meaning}" for letter in paper.legend)
    return "\n".join([*blocks, *([f"Here\n\n{where}\n"] if where else [])])


def _markdown_body(part: Formula | Table) -> str:
    if isinstance(part, Formula):
        return "\n".join(f"$$\n{formula}\n$$\n" for formula in part.latex)
    rows = ["| " + " | ".join(f"${latex}$" for _, latex in row) + " |" for row in (part.columns, *part.rows)]
    return "\n".join([rows[0], "|" + " --- |" * len(part.columns), *rows[1:], ""])
