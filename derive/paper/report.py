"""The findings about the paper, ordered for a reader: what is wrong first, then section by section, then the steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from derive.derivation import Derivation
from derive.paper.claim import SECTIONS
from derive.paper.judging import Finding

TITLE = "Neural Mechanics (Kunin et al. 2021), re-derived"
INTRODUCTION = (
    "Every numbered equation, every entry of a table, every stated count and every displayed formula or sentence of the "
    "paper that can be computed, held against what nmech derives. Formulas were read from a scan; where it is unreadable, "
    "that is said."
)
MARKS = {
    "right": "✓",
    "right up to order": "≈",
    "wrong": "✗",
    "undecided": "?",
    "not judged": "?",
    "definition": "·",
}
"""Outcome -> the sign that stands before a claim."""
COUNTED = {
    "right": "right",
    "right up to order": "right up to an order",
    "wrong": "wrong",
    "definition": "definitions, with nothing to judge",
    "undecided": "not decidable",
    "not judged": "not judged: needs torch",
}
"""Outcome -> what a number of them is called."""


@dataclass(frozen=True)
class Report:
    """Findings in the order of the paper.

    >>> from derive.paper.claims import chosen
    >>> from derive.paper.judging import judge
    >>> Report(tuple(judge(chosen("eq. 24")))).summary
    '1 claim: 1 wrong'
    """

    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What is wrong, misprints and loose words left out."""
        return tuple(found for found in self.findings if found.outcome == "wrong" and not found.claim.slip)

    @property
    def slips(self) -> tuple[Finding, ...]:
        """Misprints and loose words that no result depends on."""
        return tuple(found for found in self.findings if found.outcome == "wrong" and found.claim.slip)

    @property
    def counts(self) -> dict[str, int]:
        """Outcome in words -> number of claims, those that occur."""
        outcomes = [found.outcome for found in self.findings]
        return {words: outcomes.count(outcome) for outcome, words in COUNTED.items() if outcome in outcomes}

    @property
    def summary(self) -> str:
        """One line."""
        total = f"{len(self.findings)} claim{'s' if len(self.findings) != 1 else ''}"
        return f"{total}: {', '.join(f'{number} {words}' for words, number in self.counts.items())}"

    def sections(self) -> Iterator[tuple[str, tuple[Finding, ...]]]:
        """Headings and their findings."""
        for key, heading in SECTIONS.items():
            inside = tuple(found for found in self.findings if found.claim.section == key)
            if inside:
                yield f"{key}  {heading}", inside

    def derivations(self) -> dict[str, tuple[Derivation, ...]]:
        """Call that something was held against -> how what it makes is derived, each once."""
        return {found.source: found.steps for found in self.findings if found.steps}


def summarised(report: Report) -> list[tuple[str, tuple[Finding, ...]]]:
    """The two headings of what is wrong, those that have findings."""
    parts = [
        ("What the paper gets wrong", report.errors),
        ("Misprints and loose words that no result depends on", report.slips),
    ]
    return [(heading, found) for heading, found in parts if found]


def facts(found: Finding) -> list[tuple[str, str]]:
    """What is to be said about a finding besides its formula: (name, plain text)."""
    verdict = found.verdict
    assumed = "; ".join(verdict.assumptions) if verdict else ""
    example = str(verdict.counterexample) if verdict and verdict.counterexample else ""
    rows = [
        ("first difference", found.difference),
        ("for instance", example),
        ("convention", (verdict.convention or "") if verdict else ""),
        ("why", found.reason),
        ("remark", found.claim.remark),
        ("scan", found.claim.scan),
        ("held against", found.against),
        ("evidence", found.evidence),
        ("read", assumed),
    ]
    return [(name, text) for name, text in rows if text]
