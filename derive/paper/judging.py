"""Claims of the paper judged, one after another: the driver, and one judge for each kind of test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, Literal

import sympy as sp

from derive.claims import check, check_derivation
from derive.derivation import Derivation
from derive.equality import vanishes
from derive.paper.claim import Compared, HeldAgainst, LineByLine, Measured, NotJudged, OnActions, PaperClaim
from derive.paper.letters import derived_relation, letters_of
from derive.paper.objects import derived, steps_of
from derive.symbols import group_parameter
from derive.verdict import Difference, Verdict

Outcome = Literal["wrong", "right up to order", "undecided", "not judged", "right", "definition"]

Measurements = Mapping[str, Callable[[], int]]
"""Name of a :class:`Measured` count -> what measures it."""


@dataclass(frozen=True)
class Finding:
    """What was found about one claim of the paper.

    Parameters
    ----------
    claim
        What is printed.
    outcome
        ``"right"``, ``"right up to order"``, ``"wrong"``, ``"undecided"``; ``"definition"``: there is nothing to judge;
        ``"not judged"``: what it takes is not installed.
    against
        What it was held against.
    verdict
        With the first difference, the convention that would explain it and the evidence; None if nothing was judged.
    source
        The call whose steps show how what it was held against is derived; "" for none.
    reason
        Why it is a definition, undecided or not judged, or why two counts differ.
    correct
        Of a wrong formula what was derived in its place, as LaTeX.
    """

    claim: PaperClaim
    outcome: Outcome
    against: str = ""
    verdict: Verdict | None = None
    source: str = ""
    reason: str = ""
    correct: str = ""

    @property
    def steps(self) -> tuple[Derivation, ...]:
        """How what it was held against is derived."""
        return steps_of(self.source) if self.source else ()

    @property
    def difference(self) -> str:
        """The first difference in words, or "": ``printed 4227, derived 4224``."""
        found = None if self.verdict is None else self.verdict.first_difference
        if found is None or self.outcome not in ("wrong", "right up to order"):
            return ""
        return f"printed {found.claimed}, derived {found.correct}"

    @property
    def evidence(self) -> str:
        """How it was decided."""
        if isinstance(self.claim.test, Measured) and self.verdict is not None:
            return "traced and measured"
        if isinstance(self.claim.test, Compared):
            return "computed, exactly"
        return "" if self.verdict is None else self.verdict.evidence

    @property
    def words(self) -> str:
        """The outcome in words, with the order."""
        if self.outcome == "right up to order" and self.verdict is not None:
            return f"right up to order {self.verdict.order}"
        return "nothing to judge" if self.outcome == "definition" else self.outcome


def judge(claims: Iterable[PaperClaim], measurements: Measurements | None = None) -> Iterator[Finding]:
    """Each claim's finding, in order. Without ``measurements`` the counts are not judged.

    >>> from derive.paper.claims import chosen
    >>> (found,) = judge(chosen("App. F, Itô's lemma, second line"))
    >>> found.outcome, str(found.verdict.first_difference)
    ('wrong', 'claimed -dt*eta*|g_A|², correct dt*eta*|g_A|²')
    """
    for claim in claims:
        yield finding(claim.test, claim, measurements or {})


@singledispatch
def finding(test: Any, claim: PaperClaim, measurements: Measurements) -> Finding:
    """The finding about a claim, by the kind of its test.

    Raises
    ------
    TypeError
        For what is no test.
    """
    raise TypeError(f"test: expected a kind of test, got {type(test).__name__} at {claim.place}")


@finding.register
def _held(test: HeldAgainst, claim: PaperClaim, measurements: Measurements) -> Finding:
    verdict = check(test.reading or claim.latex, derived(test.call))
    outcome = "right" if verdict.ok and test.to_order else verdict.kind
    correct = derived(test.call)._repr_latex_().strip("$") if outcome == "wrong" and test.call else ""
    return Finding(claim, outcome, test.call or "itself", verdict, test.call, correct=correct)


@finding.register
def _lines(test: LineByLine, claim: PaperClaim, measurements: Measurements) -> Finding:
    found = check_derivation(test.lines, derived(test.call))
    verdict = found.verdicts[-1]
    reason = "" if found.first_wrong is None else f"line {found.first_wrong + 1} does not follow"
    return Finding(claim, verdict.kind, test.call, verdict, test.call, reason)


@finding.register
def _on_actions(test: OnActions, claim: PaperClaim, measurements: Measurements) -> Finding:
    against = f"relations(…), eq. {test.relation}, of " + ", ".join(test.calls)
    for call in test.calls:
        symmetry = derived(call)
        pair = test.printed(letters_of(symmetry)), derived_relation(symmetry, test.relation)
        printed, right = (sp.Matrix(side).subs(group_parameter, sp.Symbol("alpha")) for side in pair)
        wrong = _first_entry(printed, right)
        if wrong is not None:
            verdict = replace(_verdict(claim, call, wrong, test.convention), assumptions=(MOVED,))
            against, correct = f"relations({call}), eq. {test.relation}", f"{sp.latex(right)} = 0"
            return Finding(claim, "wrong", against, verdict, call, correct=correct)
    return Finding(claim, "right", against, _verdict(claim, against, None), test.calls[-1])


MOVED = "H' is H at ψ(θ, α), its indices are the blocks of parameters"


def _first_entry(printed: sp.Matrix, right: sp.Matrix) -> Difference | None:
    """The first entry that differs: of it, the terms that do."""
    for stated, known in zip(printed, right.reshape(*printed.shape), strict=True):
        difference = sp.expand(stated - known)
        if difference != 0:
            common = sp.Add(*(set(sp.Add.make_args(sp.expand(stated))) & set(sp.Add.make_args(sp.expand(known)))))
            return Difference(sp.expand(stated - common), sp.expand(known - common))
    return None


@finding.register
def _compared(test: Compared, claim: PaperClaim, measurements: Measurements) -> Finding:
    wrong = _first_unequal(_values(test.stated()), _values(test.derived()))
    verdict = _verdict(claim, test.by, wrong, test.convention if wrong else "")
    return Finding(claim, verdict.kind, test.by, verdict, test.steps)  # type: ignore[arg-type]


def _values(given: Any) -> list[sp.Basic]:
    """One value or several as a flat list; words and truth values as symbols that are equal or are not."""
    if isinstance(given, tuple | list | set):
        return [value for part in given for value in _values(part)]
    if isinstance(given, sp.MatrixBase):
        return list(given)
    return [sp.Symbol(str(given)) if isinstance(given, str | bool) else sp.sympify(given, strict=True)]


def _first_unequal(stated: list[sp.Basic], known: list[sp.Basic]) -> Difference | None:
    if len(stated) != len(known):
        return Difference(sp.Integer(len(stated)), sp.Integer(len(known)))
    pairs = zip(stated, known, strict=True)
    return next((Difference(one, two) for one, two in pairs if one != two and not _are_equal(one, two)), None)  # type: ignore[arg-type]


def _are_equal(one: Any, two: Any) -> bool:
    return vanishes(one - two) or sp.simplify(one - two) == 0


@finding.register
def _measured(test: Measured, claim: PaperClaim, measurements: Measurements) -> Finding:
    if test.name not in measurements:
        return Finding(claim, "not judged", "torch_bridge", reason="needs torch")
    found = measurements[test.name]()
    wrong = None if found == test.stated else Difference(sp.Integer(test.stated), sp.Integer(found))
    against = test.name
    verdict = replace(_verdict(claim, against, wrong), evidence="numeric evidence")
    return Finding(claim, verdict.kind, against, verdict, reason=test.reason if wrong else "")  # type: ignore[arg-type]


@finding.register
def _not_judged(test: NotJudged, claim: PaperClaim, measurements: Measurements) -> Finding:
    return Finding(claim, test.kind, reason=test.why)


def _verdict(claim: PaperClaim, against: str, wrong: Difference | None, convention: str = "") -> Verdict:
    return Verdict(
        claim.latex or claim.says, against, "wrong" if wrong else "right", "symbolic proof",
        first_difference=wrong, convention=convention or None,
    )  # fmt: skip
