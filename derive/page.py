"""A sheet as one self-contained HTML page: MathML for the formulas, a few lines of CSS, no script and nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import sympy as sp

from derive.derivation import Derivation, Step, plain
from derive.inner_product import expression_latex
from derive.mathml import mathml
from derive.sheet import Formula, Letter, Sheet, Table

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5a6572; --line: #d9dee4; --box: #f6f8fa; --paper: #fff;
  --mark: #0b5cad }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #9aa6b2; --line: #363d45; --box: #1d2228; --paper: #14181c; --mark: #7db8f0 }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 58rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1.5rem }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem }
h1::first-letter, h2::first-letter { text-transform: uppercase }
p { margin: 0 0 .5rem }
ol { list-style: none; margin: 0; padding: 0; counter-reset: step }
ol > li { counter-increment: step; margin: 0 0 1.3rem; padding-left: 2.1rem; position: relative }
ol > li::before { content: counter(step); position: absolute; left: 0; top: .1rem; width: 1.5rem; height: 1.5rem;
  border-radius: 50%; background: var(--mark); color: var(--paper); font-size: .8rem; line-height: 1.5rem;
  text-align: center }
.rule { font-weight: 600 }
.source { color: var(--soft); font-size: .875rem }
.note { border-left: 3px solid var(--mark); padding-left: .8rem; margin: 1rem 0 }
.formula, .relation, .table { overflow-x: auto; background: var(--box); border-radius: 6px; padding: .6rem .9rem;
  margin: .4rem 0 }
.relation { display: grid; grid-template-columns: 1.2rem max-content; gap: .35rem .2rem; align-items: center }
.relation > span { grid-column: 1 }
.relation > math { grid-column: 2; width: max-content; margin: 0 }
.formula > math { width: max-content; margin: 0; padding: .15rem 0 }
math { font-family: "Latin Modern Math", "STIX Two Math", "Cambria Math", "DejaVu Math TeX Gyre", math }
mtable.aligned mtd { text-align: left; padding: .25em 0 }
mtable.aligned mtd:nth-child(1) { text-align: right }
table { border-collapse: collapse }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; white-space: nowrap }
th { border-bottom: 1px solid var(--line) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0 }
dt, dd { margin: 0; min-width: 0 }
@media (max-width: 34rem) {
  body { padding: 1rem .8rem 3rem }
  ol > li { padding-left: 0 }
  ol > li::before { position: static; display: inline-block; margin-right: .5rem }
  ol > li > p { display: inline }
  dl { grid-template-columns: 1fr; gap: 0 }
  dd { margin: 0 0 .6rem }
}
"""


def page(paper: Sheet) -> str:
    """The whole document."""
    body = [
        f"<h1>{_prose(paper.title)}</h1>",
        *(_derivation(derivation, paper.title) for derivation in paper.derivations),
        "<h2>result</h2>",
        *(_part(part) for part in paper.parts),
        *(f'<p class="note">{_prose(note.prose)}</p>' for note in paper.notes),
        _legend(paper.legend),
    ]
    return document(plain(paper.title), body)


def document(title: str, body: Iterable[str], style: str = STYLE) -> str:
    """Parts of a page as a document of its own; ``title`` is plain text."""
    head = (
        '<meta charset="utf-8"/>\n<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>"
    )
    inside = "\n".join(body)
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{inside}\n</body>\n</html>'


def _prose(text: str) -> str:
    """Text with LaTeX between dollars."""
    pieces = text.split("$")
    return "".join(mathml(piece) if k % 2 else escape(piece) for k, piece in enumerate(pieces))


def _derivation(derivation: Derivation, known: str) -> str:
    heading = "derivation" if derivation.title == known else derivation.title
    return f"<h2>{_prose(heading)}</h2>\n{numbered_steps(derivation)}"


def numbered_steps(derivation: Derivation) -> str:
    """The steps as a numbered list."""
    steps = "\n".join(_step(step) for step in derivation.all_steps)
    return f"<ol>\n{steps}\n</ol>"


def _step(step: Step) -> str:
    source = f' <span class="source">{_prose(step.source)}</span>' if step.source else ""
    told = f'<p><span class="rule">{_prose(step.rule)}.</span> {_prose(step.reason)}.{source}</p>'
    rows = [("", step.before), ("=", step.after)]
    shown = "".join(f"<span>{sign}</span>{_math(expr)}" for sign, expr in rows)
    if step.dropped != 0:
        shown += f"<span>+</span>{_math(step.dropped)}"
    return f'<li>{told}<div class="relation" tabindex="0">{shown}</div></li>'


def _math(expr: sp.Basic) -> str:
    return mathml(expression_latex(expr), display=True)


def _part(part: Formula | Table) -> str:
    heading = f"<h3>{_prose(part.heading)}</h3>"
    if isinstance(part, Table):
        return f'{heading}\n<div class="table" tabindex="0">{_table(part)}</div>'
    boxes = "".join(mathml(latex, display=True) for latex in part.latex)
    return f'{heading}\n<div class="formula" tabindex="0">{boxes}</div>'


def _table(part: Table) -> str:
    head = "".join(f"<th>{mathml(latex)}</th>" for _, latex in part.columns)
    rows = ("".join(f"<td>{mathml(latex)}</td>" for _, latex in row) for row in part.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def _legend(letters: tuple[Letter, ...]) -> str:
    rows = "".join(f"<dt>{mathml(letter.latex)}</dt><dd>{_prose(letter.meaning)}</dd>" for letter in letters)
    return f"<h2>where</h2>\n<dl>{rows}</dl>" if rows else ""
