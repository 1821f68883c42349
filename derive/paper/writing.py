"""The report on the paper as text, Markdown, LaTeX or one HTML page."""

from __future__ import annotations

import re
from collections.abc import Callable
from textwrap import fill
from typing import Literal

from derive.paper.judging import Finding
from derive.paper.page import page
from derive.paper.report import INTRODUCTION, MARKS, TITLE, Report, facts, summarised

Format = Literal["text", "markdown", "latex", "html"]
FORMATS: tuple[Format, ...] = ("text", "markdown", "latex", "html")
WIDTH = 118


def write(report: Report, format: Format = "text", *, whole: bool = True) -> str:
    """The report.

    Parameters
    ----------
    report
        What was found.
    format
        ``"text"`` has the summary and one line for each claim, or all about each if ``whole`` is False (which is for a few
        claims); the others have everything: formulas, what they were held against, and the machine's steps.
    whole
        Whether the findings are those of the whole paper.

    Examples
    --------
    >>> from derive.paper.claims import chosen
    >>> from derive.paper.judging import judge
    >>> print(write(Report(tuple(judge(chosen("eq. 9")))), "text").splitlines()[-1])
      ✓ eq. 9   Gradient flow, of which gradient descent is the Euler discretisation.

    Raises
    ------
    ValueError
        For an unknown format.
    """
    writers: dict[str, Callable[[Report], str]] = {
        "text": _text if whole else _in_full,
        "markdown": _markdown,
        "latex": _latex,
        "html": page,
    }
    if format not in writers:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    return writers[format](report)


# Text


def _text(report: Report) -> str:
    blocks = [f"{TITLE}\n{report.summary}"]
    for heading, found in summarised(report):
        blocks.append("\n".join([heading, *("\n" + _at_length(one) for one in found)]))
    for heading, found in report.sections():
        width = max(len(one.claim.place) for one in found)
        blocks.append("\n".join([heading, *(_line(one, width) for one in found)]))
    return "\n\n".join(blocks)


def _line(found: Finding, width: int) -> str:
    aside = "" if found.outcome in ("right", "wrong") else f"  [{found.words}]"
    return f"  {MARKS[found.outcome]} {found.claim.place:<{width}}   {found.claim.says}{aside}"


def _at_length(found: Finding) -> str:
    """Without what is for the page: where it was held against, evidence and assumptions."""
    kept = ("first difference", "convention", "why", "remark")
    rows = [f"{name}: {text}" for name, text in facts(found) if name in kept]
    return "\n".join([f"  {found.claim.place}: {found.claim.says}", *(_indented(row) for row in rows)])


def _indented(text: str) -> str:
    return fill(
        text, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False
    )


def _in_full(report: Report) -> str:
    blocks = [_whole(found) for found in report.findings]
    blocks += [steps.to_text() for derivations in report.derivations().values() for steps in derivations]
    return "\n\n".join(blocks)


def _whole(found: Finding) -> str:
    lines = [f"{found.claim.place}: {found.words}", _indented(found.claim.says)]
    lines += [_indented(f"as printed: {' '.join(found.claim.latex.split())}")] if found.claim.latex else []
    lines += [_indented(f"derived: {found.correct}")] if found.correct else []
    return "\n".join([*lines, *(_indented(f"{name}: {text}") for name, text in facts(found))])


# Markdown


def _markdown(report: Report) -> str:
    return f"# {TITLE}\n\n{INTRODUCTION}\n\n{markdown_body(report)}"


def markdown_body(report: Report, *, steps: bool = True) -> str:
    """Everything below the title; without the machine's steps if ``steps`` is False."""
    blocks = [f"**{report.summary}**"]
    for heading, found in summarised(report):
        blocks += [f"## {heading}", *(_markdown_finding(one, "###") for one in found)]
    for heading, found in report.sections():
        blocks += [f"## {heading}", _markdown_table(found)]
    for call, derivations in report.derivations().items() if steps else ():
        blocks.append(f"## How `{call}` follows\n\n" + "\n".join(one.to_markdown() for one in derivations))
    return "\n\n".join(blocks) + "\n"


def _markdown_finding(found: Finding, level: str) -> str:
    blocks = [f"{level} {found.claim.place}", _prose(found.claim.says)]
    blocks += [f"$$\n{_one_line(found.claim.latex)}\n$$"] if found.claim.latex else []
    blocks += [f"Derived:\n\n$$\n{found.correct}\n$$"] if found.correct else []
    rows = (f"* {name}: {f'`{text}`' if name in CODE else _prose(text)}" for name, text in facts(found))
    return "\n\n".join([*blocks, "\n".join(rows)])


CODE = ("first difference", "for instance", "held against")
"""Facts that are formulas or calls in plain text."""


def _prose(text: str) -> str:
    """Text in which no letter is markup."""
    return re.sub(r"([\\`*_<\[\]])", r"\\\1", text).replace("|", "∣")


def _one_line(latex: str) -> str:
    return " ".join(latex.split())


def _markdown_table(findings: tuple[Finding, ...]) -> str:
    rows = ["| place | claim | | verdict |", "| --- | --- | --- | --- |"]
    for found in findings:
        shown = f"${_one_line(found.claim.latex)}$".replace("|", r"\vert ") if found.claim.latex else ""
        place, says = _prose(found.claim.place), _prose(found.claim.says)
        rows.append(f"| {place} | {says} | {shown} | {MARKS[found.outcome]} {found.words} |")
    return "\n".join(rows)


# LaTeX


def _latex(report: Report) -> str:
    blocks = [rf"\section*{{{_tex(TITLE)}}}", _tex(INTRODUCTION), rf"\textbf{{{_tex(report.summary)}}}"]
    for heading, found in summarised(report):
        blocks += [rf"\subsection*{{{_tex(heading)}}}", *map(_latex_finding, found)]
    for heading, found in report.sections():
        blocks += [rf"\subsection*{{{_tex(heading)}}}", *map(_latex_finding, found)]
    for call, derivations in report.derivations().items():
        blocks += [rf"\subsection*{{How {_tex(call)} follows}}", *(steps.to_latex() for steps in derivations)]
    return "\n\n".join(blocks) + "\n"


def _latex_finding(found: Finding) -> str:
    lines = [rf"\paragraph{{{_tex(found.claim.place)}: {_tex(found.words)}}} {_tex(found.claim.says)}"]
    lines += [rf"\[ {_display(found.claim.latex)} \]"] if found.claim.latex else []
    lines += [rf"Derived: \[ {found.correct} \]"] if found.correct else []
    return "\n".join([*lines, *(rf"\emph{{{name}:}} {_tex(text)}" + r"\\" for name, text in facts(found))])


def _display(latex: str) -> str:
    """``align*`` is no part of a display formula."""
    return latex.replace("{align*}", "{aligned}")


_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "^": r"\^{}", "&": r"\&", "%": r"\%", "#": r"\#",
    "$": r"\$", "~": r"\~{}", "η": r"$\eta$", "λ": r"$\lambda$", "β": r"$\beta$", "α": r"$\alpha$", "γ": r"$\gamma$",
    "ω": r"$\omega$", "θ": r"$\theta$", "Θ": r"$\Theta$", "ψ": r"$\psi$", "φ": r"$\varphi$", "τ": r"$\tau$",
    "κ": r"$\kappa$", "Σ": r"$\Sigma$",
    "Λ": r"$\Lambda$", "∂": r"$\partial$", "∇": r"$\nabla$", "⟨": r"$\langle$", "⟩": r"$\rangle$", "√": r"$\surd$",
    "→": r"$\to$", "↦": r"$\mapsto$", "≠": r"$\neq$", "≈": r"$\approx$", "·": r"$\cdot$", "×": r"$\times$", "⊙": r"$\odot$",
    "−": "$-$", "…": r"\dots{}", "²": "$^2$", "³": "$^3$", "⁻": "$^-$", "⁺": "$^+$", "₀": "$_0$", "₁": "$_1$", "₂": "$_2$",
    "ᵀ": "$^T$", "ℝ": r"$\mathbb{R}$", "∈": r"$\in$", "|": "$|$", "<": "$<$", ">": "$>$", "“": "``", "”": "''",
    "Δ": r"$\Delta$",
    "ô": r"\^o", "’": "'", "∫": r"$\int$", "𝓛": r"$\mathcal L$", "≥": r"$\geq$",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(re.sub(r"^\$(.+)\$$", r"\\ensuremath{\1}", _SPECIAL.get(letter, letter)) for letter in text)
