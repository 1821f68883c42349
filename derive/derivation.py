"""A derivation is an ordered list of steps, each of which the machine checks when it is built.

A step says: by this rule, this expression equals that one. It is *re-checked*, not trusted: after the given facts are
used, the difference must vanish identically (or, for a truncation, be of the order stated).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import sympy as sp

from derive.equality import rational_normal_form
from derive.inner_product import expression_latex
from derive.laurent_series import laurent_series


class DerivationError(ValueError):
    """A step of a derivation does not follow."""


@dataclass(frozen=True)
class Step:
    """One step: ``before`` equals ``after``, by ``rule``.

    Parameters
    ----------
    before, after
        Expressions claimed equal (scalars, or vectors as words of :mod:`derive.inner_product`).
    rule
        The name of what is done: ``"project on the generator"``.
    reason
        Why it may be done, in a sentence; formulas in it are LaTeX between dollars.
    given
        The facts used, as pairs (expression, what it is known to equal). Applied to ``before - after`` by the check.
    dropped
        What a truncation neglects: ``before - after`` must equal it, so nothing else is lost. An ``Order`` says only
        from which power on; then the series of ``before - after`` must start there or later.
    source
        Where the step stands in the literature.

    Raises
    ------
    DerivationError
        If ``after`` does not follow from ``before``.

    Examples
    --------
    >>> x = sp.Symbol("x")
    >>> Step((x + 1) ** 2, x**2 + 2 * x + 1, "expand", "distributive law").rule
    'expand'
    >>> Step((x + 1) ** 2, x**2 + 1, "expand", "a slip")
    Traceback (most recent call last):
    derive.derivation.DerivationError: step 'expand': before - after = 2*x, expected 0
    """

    before: sp.Expr
    after: sp.Expr
    rule: str
    reason: str
    given: tuple[tuple[sp.Expr, sp.Expr], ...] = ()
    dropped: sp.Expr = sp.S.Zero
    source: str = ""

    def __post_init__(self) -> None:
        known = dict(self.given)
        left = _unexplained(sp.expand(self.before.subs(known) - self.after.subs(known)), self.dropped)
        if left != 0:
            found = left if isinstance(self.dropped, sp.Order) else sp.expand(left + self.dropped)
            raise DerivationError(f"step {self.rule!r}: before - after = {found}, expected {self.dropped}")

    def _repr_latex_(self) -> str:
        return rf"$\text{{{self.rule}:}}\quad {_relation(self)}$"


def _unexplained(difference: sp.Expr, dropped: sp.Expr) -> sp.Expr:
    """What of ``difference`` is neither 0 nor covered by ``dropped``."""
    if isinstance(dropped, sp.Order):
        (small,) = dropped.variables
        low = laurent_series(difference, small, sp.degree(dropped.expr, small))
        return sp.Add(*(coefficient * small**power for power, coefficient in low.items()))
    return rational_normal_form(difference.doit() - dropped)


@dataclass(frozen=True)
class Derivation:
    """Steps in order, from a premise to a conclusion: each starts with the expression that the one before ends with.

    Parameters
    ----------
    title
        What is derived.
    steps
        The chain.
    lemmas
        Derivations whose conclusions the chain's premise is made of.

    Raises
    ------
    DerivationError
        If a step does not start where the one before it ended.

    Examples
    --------
    >>> x = sp.Symbol("x")
    >>> print(Derivation("a square", (Step((x + 1) ** 2, x**2 + 2 * x + 1, "expand", "distributive law"),)).to_text())
    a square
    <BLANKLINE>
    1. expand: distributive law
         (x + 1)**2
       = x**2 + 2*x + 1
    """

    title: str
    steps: tuple[Step, ...]
    lemmas: tuple[Derivation, ...] = ()

    def __post_init__(self) -> None:
        for one, following in pairwise(self.steps):
            if one.after != following.before:
                raise DerivationError(
                    f"{self.title}: step {following.rule!r} starts from {following.before}, "
                    f"but step {one.rule!r} ends with {one.after}"
                )

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The lemmas' steps, then these."""
        return (*(step for lemma in self.lemmas for step in lemma.all_steps), *self.steps)

    def to_text(self) -> str:
        """Plain text, one numbered step after another."""
        return "\n".join([self.title, *(_step_text(k, step) for k, step in enumerate(self.all_steps, start=1))])

    def to_markdown(self) -> str:
        """Markdown with display formulas between ``$$``."""
        body = "\n\n".join(
            f"{k}. **{step.rule}** – {step.reason}{_source(step)}\n\n   $$\n   {_relation(step)}\n   $$"
            for k, step in enumerate(self.all_steps, start=1)
        )
        return f"### {self.title}\n\n{body}\n"

    def to_latex(self) -> str:
        """LaTeX: an ``enumerate`` to paste into a paper (needs amsmath)."""
        items = "\n".join(
            rf"\item \textbf{{{step.rule}}}: {step.reason}{_source(step)}" + "\n" + rf"\[ {_relation(step)} \]"
            for step in self.all_steps
        )
        return rf"\paragraph{{{self.title}}}" + "\n" + r"\begin{enumerate}" + "\n" + items + "\n" + r"\end{enumerate}"

    def _repr_latex_(self) -> str:
        rows = r" \\ ".join(rf"\text{{{step.rule}:}}\quad & {_relation(step)}" for step in self.all_steps)
        return rf"$\begin{{aligned}}{rows}\end{{aligned}}$"


_PLAIN = (
    (r"\$", ""),
    (r"\\[,;]", " "),
    (r"\\langle ", "<"),
    (r"\\rangle", ">"),
    (r"\\bullet ?", "t"),
    (r"\\ddot\s*(\\?[A-Za-z]+)", r"\1''"),
    (r"\\dot(?![a-z])\s*(\\?[A-Za-z]+)", r"\1'"),
    (r"\\nabla", "grad"),
    (r"\\to\b", "->"),
    (r"\\dots", "..."),
    (r"\\widetilde (\w)", r"\1~"),
    (r"_\{(\w+)\}", r"_\1"),
    (r"\{", "("),
    (r"\}", ")"),
    (r"\\([A-Za-z]+)\s*", r"\1 "),
    (r" (?=[),;^_']|$)", ""),
)


def plain(reason: str) -> str:
    r"""A reason without its LaTeX: ``$\langle g, X\rangle = 0$`` -> ``<g, X> = 0``."""
    for latex, text in _PLAIN:
        reason = re.sub(latex, text, reason)
    return reason


def _source(step: Step) -> str:
    return f" ({step.source})" if step.source else ""


def _relation(step: Step) -> str:
    dropped = "" if step.dropped == 0 else rf" \;+\; \left[{expression_latex(step.dropped)}\right]"
    return f"{expression_latex(step.before)} \\;=\\; {expression_latex(step.after)}{dropped}"


def _step_text(number: int, step: Step) -> str:
    lines = [
        f"\n{number}. {step.rule}: {plain(step.reason)}{plain(_source(step))}",
        f"     {step.before}",
        f"   = {step.after}",
    ]
    if step.dropped != 0:
        lines.append(f"   dropped: {step.dropped}")
    return "\n".join(lines)
