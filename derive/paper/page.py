"""The report on the paper as one self-contained HTML page: MathML, no script, nothing fetched; details fold out."""

from __future__ import annotations

from html import escape

from derive.derivation import Derivation, plain
from derive.mathml import mathml
from derive.page import STYLE, document, numbered_steps
from derive.paper.judging import Finding
from derive.paper.report import INTRODUCTION, MARKS, TITLE, Report, facts, summarised

CODE = ("first difference", "for instance", "held against")
"""Facts that are formulas or calls in plain text."""

MORE_STYLE = """
:root { --right: #1a7f37; --wrong: #cf222e; --order: #9a6700 }
@media (prefers-color-scheme: dark) { :root { --right: #57c46f; --wrong: #ff7b72; --order: #d9a62b } }
.chips { display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; margin: 1rem 0; list-style: none }
.chips li { background: var(--box); border-radius: 1rem; padding: .15rem .8rem; margin: 0 }
.chips li::before { content: none }
.claim { border-top: 1px solid var(--line); padding: .35rem 0 }
h2 + .claim { border-top: none }
.claim > summary { cursor: pointer; display: grid; grid-template-columns: 1.3rem minmax(8rem, 15rem) 1fr; gap: .6rem;
  list-style: none; align-items: baseline }
.claim > summary::-webkit-details-marker { display: none }
.claim > summary:hover .place { text-decoration: underline }
.place { font-weight: 600 }
.mark { font-weight: 700; text-align: center; color: var(--soft) }
.right > summary .mark { color: var(--right) }
.wrong > summary .mark, .wrong > h3 .mark { color: var(--wrong) }
.order > summary .mark { color: var(--order) }
.outcome { color: var(--soft); font-size: .875rem; white-space: nowrap }
.inside { margin: .3rem 0 1rem 1.9rem }
.error { border-left: 3px solid var(--wrong); padding: .1rem 0 .1rem 1rem; margin: 1.2rem 0 }
.error h3 { margin: 0 0 .2rem }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .5rem 0 0; font-size: .9375rem }
.facts dt { color: var(--soft) }
.facts dd { overflow-wrap: anywhere }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .875em; overflow-wrap: anywhere }
a { color: var(--mark) }
h3, .says, .place { overflow-wrap: anywhere; min-width: 0 }
.steps > summary { cursor: pointer; padding: .25rem 0 }
.steps h3 { margin-left: 1rem }
.steps ol { margin: .6rem 0 0 1rem }
@media (max-width: 34rem) {
  .claim > summary { grid-template-columns: 1.3rem 1fr }
  .claim > summary .says { grid-column: 2 }
  .inside { margin-left: 0 }
  .facts { grid-template-columns: 1fr; gap: 0 }
  .facts dd { margin: 0 0 .4rem }
  .outcome { white-space: normal }
  .steps h3, .steps ol { margin-left: 0 }
}
"""


def page(report: Report) -> str:
    """The whole document."""
    derivations = report.derivations()
    names = {call: f"steps-{k}" for k, call in enumerate(derivations, start=1)}
    body = [f"<h1>{escape(TITLE)}</h1>", f"<p>{escape(INTRODUCTION)}</p>", _chips(report)]
    for heading, found in summarised(report):
        body += [f"<h2>{escape(heading)}</h2>", *(_error(one, names) for one in found)]
    for heading, found in report.sections():
        body += [f"<h2>{escape(heading)}</h2>", *(_row(one, names) for one in found)]
    body += [
        "<h2>The machine's steps</h2>",
        "<p>How what the formulas were held against is derived; each step was checked.</p>",
    ]
    body += [_steps(call, derivations[call], name) for call, name in names.items()]
    return document(TITLE, body, STYLE + MORE_STYLE)


def _chips(report: Report) -> str:
    chips = "".join(f"<li><b>{number}</b> {escape(words)}</li>" for words, number in report.counts.items())
    return f'<ul class="chips">{chips}</ul>'


def _error(found: Finding, names: dict[str, str]) -> str:
    return f'<div class="error"><h3>{escape(found.claim.place)}</h3>{_told(found)}{_inside(found, names)}</div>'


def _told(found: Finding) -> str:
    return f"<p>{escape(found.claim.says)}</p>"


def _row(found: Finding, names: dict[str, str]) -> str:
    kind = {"right": "right", "wrong": "wrong", "right up to order": "order"}.get(found.outcome, "open")
    aside = "" if found.outcome == "right" else f' <span class="outcome">{escape(found.words)}</span>'
    head = (
        f'<span class="mark">{MARKS[found.outcome]}</span><span class="place">{escape(found.claim.place)}</span>'
        f'<span class="says">{escape(found.claim.says)}{aside}</span>'
    )
    inside = f'<div class="inside">{_inside(found, names)}</div>'
    return f'<details class="claim {kind}"><summary>{head}</summary>{inside}</details>'


def _inside(found: Finding, names: dict[str, str]) -> str:
    parts = [_formula(found.claim.latex)] if found.claim.latex else []
    parts += [f"<p>derived:</p>{_formula(found.correct)}"] if found.correct else []
    return "\n".join([*parts, _facts(found, names)])


def _formula(latex: str) -> str:
    return f'<div class="formula" tabindex="0">{mathml(latex, display=True)}</div>'


def _facts(found: Finding, names: dict[str, str]) -> str:
    rows = []
    for name, text in facts(found):
        shown = f"<code>{escape(text)}</code>" if name in CODE else escape(text)
        if name == "held against" and found.source in names:
            shown += f' – <a href="#{names[found.source]}">its steps</a>'
        rows.append(f"<dt>{name}</dt><dd>{shown}</dd>")
    return f'<dl class="facts">{"".join(rows)}</dl>'


def _steps(call: str, derivations: tuple[Derivation, ...], name: str) -> str:
    """The target is inside, so that a link to it folds it out."""
    told = "".join(f"<h3>{escape(plain(one.title))}</h3>{numbered_steps(one)}" for one in derivations)
    return f'<details class="steps"><summary><code>{escape(call)}</code></summary><div id="{name}">{told}</div></details>'
