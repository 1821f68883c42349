r"""Is a formula right? A claim is read, held against something derived, and judged term by term.

>>> from derive import law, scale, sgd, solve
>>> S = solve(law(scale(), sgd()))
>>> check(r"|\theta|^2 = e^{-2\lambda t}|\theta_0|^2 + \eta\int_0^t e^{-2\lambda(t-\tau)}|g(\tau)|^2 d\tau", against=S).ok
True
>>> print(check(r"\frac{d}{dt}|\theta_A|^2 = -\lambda|\theta_A|^2 + \eta|g_A|^2", against=S).first_difference)
claimed -lambda*|θ_A|², correct -2*lambda*|θ_A|²
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import symbols
from derive.comparison import Fact
from derive.formula import parse
from derive.judgement import held
from derive.notation import tree
from derive.notation.letters import base_name, flat
from derive.notation.lexicon import listed
from derive.notation.products import MAX_EXPANDED, added, expanded_size, multiply
from derive.notation.quantities import Landau, Linear, Quantity
from derive.notation.reading import Reader
from derive.notation.terms import minus, terms_of
from derive.notation.tokens import FormulaError
from derive.references.reference import Claim, ClaimError, Condition, Reference, reference
from derive.references.scalar_equations import follows
from derive.regimes import condition
from derive.verdict import Verdict

MAX_BRANCHES = 6
NOT_COMPARED = frozenset(
    listed("leftarrow gets ← -= += to rightarrow mapsto longmapsto longrightarrow in sim propto succ succeq subset → ∈ ↦ ->")
)
"""Signs between sides that are neither an equation nor an order."""


def check(claim: str, against: Any = None) -> Verdict:
    r"""Whether a formula says what ``against`` says.

    Parameters
    ----------
    claim
        LaTeX or plain text: an equation, a solution, an identity, a chain a = b = c, several statements after commas.
    against
        What it is held against: a solution, a law, a discrete law, an update rule, a modified equation (abstract, or of a
        concrete loss or field), a method, a B-series, a symmetry, …; a SymPy expression or equation, a list of a
        differential equation and its initial data, a loss as a Python function; None for an identity by itself.

    Raises
    ------
    FormulaError
        If the text is no formula, or has a letter without meaning there; with the position.
    ClaimError
        For an object that nothing can be held against, or a claim that is about something else.

    Examples
    --------
    >>> check(r"\cosh^2 x - \sinh^2 x = 1").evidence
    'symbolic proof'
    """
    return _checked(claim, reference(against))


def _checked(claim: str, known: Reference) -> Verdict:
    statements = parse(claim, words=known.vocabulary.words)
    known = replace(known, vocabulary=known.adapted(known.vocabulary, statements))
    known, statements = _with_definitions(claim, statements, known)
    regime = [part for part in statements if _is_condition(part, alone=len(statements) == 1)]
    claims = [part for part in statements if part not in regime]
    if not claims:
        raise ClaimError(
            f"claim: expected an equation or an expression, got {claim!r}; an inequality only says where a claim holds"
        )
    stated = tuple(c for part in regime for c in condition(Reader(claim, known.vocabulary), part) or ())
    where = tuple(
        c for c in stated if not any(isinstance(side, sp.Expr) and side.has(AppliedUndef) for side in (c[0], c[2]))
    )
    verdicts, assigned = [], frozenset[str]()
    for part in claims:
        verdicts.append(_judged(claim, part, known, where, assigned))
        assigned |= _assigned(part)
    found = _first_wrong(verdicts)
    if where != stated:
        found = replace(found, assumptions=(*found.assumptions, "a condition on a function of time is not used"))
    return found


def _assigned(statement: tree.Node) -> frozenset[str]:
    """The letter that a statement v ← … gives a new value."""
    if not isinstance(statement, tree.Relation) or not set(statement.signs) & ASSIGNS:
        return frozenset()
    name = base_name(statement.sides[0])
    return frozenset() if name is None else frozenset({name})


def _with_definitions(
    text: str, statements: tuple[tree.Node, ...], known: Reference
) -> tuple[Reference, tuple[tree.Node, ...]]:
    """``Q = e^{-μt}, μ = …``: a letter without meaning that a statement beside the claim says what it stands for."""
    waiting = [part for part in statements if len(statements) > 1 and _defined(part, known) is not None]
    kept = tuple(part for part in statements if part not in waiting)
    while waiting:  # a definition may use a letter that is defined behind it
        for statement in waiting:
            try:
                known = _with_definition(text, statement, known)
            except FormulaError:
                if statement is waiting[-1]:
                    raise
                continue
            waiting.remove(statement)
            break
    return known, kept


def _with_definition(text: str, statement: tree.Node, known: Reference) -> Reference:
    name = _defined(statement, known)
    assert isinstance(statement, tree.Relation)
    if name is None:
        return known
    readers = {sign: Reader(text, known.vocabulary, sign=number) for sign, number in (("+", 1), ("-", -1))}
    values = {sign: _value(reader, statement.sides[1]) for sign, reader in readers.items()}
    if not all(isinstance(value, sp.Expr) for value in values.values()):
        raise FormulaError("expected a number for a letter that is defined", text, statement.at)
    more = {name.replace("±", sign): value for sign, value in values.items()} if "±" in name else {name: values["+"]}
    functions = {letter: value for letter, value in known.vocabulary.functions.items() if letter not in more}
    return replace(known, vocabulary=replace(known.vocabulary.with_scalars(more), functions=functions))


def _defined(statement: tree.Node, known: Reference) -> str | None:
    """The letter that a statement defines, or None."""
    if not isinstance(statement, tree.Relation) or len(statement.sides) != 2 or statement.signs[1] not in EQUALS:
        return None
    left = statement.sides[0]
    plain = isinstance(left, tree.Scripted) and left.sup is None and not left.primes and isinstance(left.base, tree.Name)
    if not (isinstance(left, tree.Name) or plain):
        return None
    name = left.text if isinstance(left, tree.Name) else f"{left.base.text}_{flat(left.sub)}"  # type: ignore[union-attr, arg-type]
    words = {*known.vocabulary.scalars, *known.vocabulary.functions, *known.vocabulary.vectors, *known.vocabulary.matrices}
    if name in known.vocabulary.functions and name not in ("Q", "L", "q", "x", "y") and isinstance(left, tree.Name):
        return name if _is_constant(statement.sides[1], known) else None
    return None if name in words or name.partition("_")[0] in words - set(known.vocabulary.scalars) else name


def _is_constant(node: tree.Node, known: Reference) -> bool:
    """Whether a value has letters of numbers only: k = λ says what k is, k = |θ'|² is a claim."""
    value: Any = Reader("", known.vocabulary).tried(node)
    return isinstance(value, sp.Expr) and not value.atoms(AppliedUndef)


def _is_condition(statement: tree.Node, *, alone: bool) -> bool:
    """γ > ω, or γ = ω beside a claim: it says where the claim holds."""
    if not isinstance(statement, tree.Relation):
        return False
    if not set(statement.signs[1:]) & EQUALS:
        return not set(statement.signs[1:]) & NOT_COMPARED
    return not alone and len(statement.sides) == 2 and all(isinstance(side, tree.Name) for side in statement.sides)


def _first_wrong(verdicts: Sequence[Verdict]) -> Verdict:
    """Of several, the one that says most against the claim; all assumptions are kept."""
    rank = {"wrong": 0, "undecided": 1, "right up to order": 2, "right": 3}
    worst = min(verdicts, key=lambda v: rank[v.kind] if not v.ok else 3)
    weak = any(v.evidence != "symbolic proof" for v in verdicts)
    notes = tuple(dict.fromkeys(note for v in verdicts for note in v.assumptions))
    evidence = "numeric evidence" if worst.ok and weak else worst.evidence
    return replace(worst, assumptions=notes, evidence=evidence)


def _judged(
    text: str,
    statement: tree.Node,
    known: Reference,
    where: tuple[Condition, ...] = (),
    assigned: frozenset[str] = frozenset(),
) -> Verdict:
    """One statement, in every row of its cases and both signs of its ±."""
    branches = max((len(node.rows) for node in statement.walk() if isinstance(node, tree.Rows)), default=1)
    signs = (1, -1) if any(isinstance(n, tree.Total) and {"±", "∓"} & set(n.signs) for n in statement.walk()) else (1,)
    if branches > MAX_BRANCHES:
        raise ClaimError(f"claim: expected at most {MAX_BRANCHES} cases, got {branches}")
    found = []
    for branch in range(branches):
        for sign in signs:
            for claim in _read(text, statement, known, branch, sign, assigned):
                found.append(held(text, replace(claim, conditions=(*where, *claim.conditions)), known))
                if found[-1].kind == "wrong":  # one row that is wrong is enough
                    return found[-1]
    return _first_wrong(found)


def _read(
    text: str, statement: tree.Node, known: Reference, branch: int, sign: int, assigned: frozenset[str]
) -> Iterator[Claim]:
    """The claims of a statement: a = b = c claims a = b and a = c."""
    reader = Reader(text, known.vocabulary, branch, sign, later=assigned)
    sides = list(statement.sides) if isinstance(statement, tree.Relation) else [statement]
    signs = list(statement.signs) if isinstance(statement, tree.Relation) else [""]
    if len(sides) == 2 and signs[1] in ASSIGNS and known.vocabulary.steps:
        yield _assignment(reader, sides[0], signs[1], sides[1])
        return
    bad = next((s for s in signs[1:] if s not in EQUALS), None)
    if bad is not None:
        raise reader.fail(f"{bad!r} has no meaning between sides that are checked; expected =", statement)
    if len(sides) > 2 and _is_new(sides[0], known):  # ζ = a = b says a = b, and how it is called
        reader.assume("the letter on the left read as a name")
        sides, signs = sides[1:], ["", *signs[2:]]
    values = [_value(reader, side) for side in sides]
    if len(sides) == 2 and sides[1] == tree.Name("const"):
        values = [_change(reader, values[0]), sp.S.Zero]
    notes = {"approx", "simeq", "≈"} & set(signs)
    if notes:
        reader.assume("≈ read as = up to terms of higher order")
        reader.continued = True
    heads: list[Quantity | None] = [None] if len(values) == 1 else [values[0]]
    for right in values[1:] or values:
        yield Claim(heads[0], right, tuple(reader.conditions), tuple(map(tuple, reader.others)), tuple(reader.dropped),
                    reader.continued, tuple(reader.assumptions))  # fmt: skip


def _value(reader: Reader, node: tree.Node) -> Quantity:
    """What a side says; a side that is all O(…) is 0 up to that."""
    if node == tree.Name("const"):
        return sp.S.Zero
    value = reader.read(node)
    if isinstance(value, Landau):
        reader.dropped.append(value.size)
        return sp.S.Zero
    parts = value.terms.values() if isinstance(value, Linear) else [value]
    if any(isinstance(part, sp.Expr) and expanded_size(part) > MAX_EXPANDED for part in parts):
        raise reader.fail(f"more than {MAX_EXPANDED} terms when multiplied out; check it part by part", node)
    return value


def _change(reader: Reader, value: Quantity) -> Quantity:
    """What is 0 of something constant: its rate, or its change in a step."""
    if not isinstance(value, sp.Expr):
        raise ClaimError("claim: expected a scalar that is constant")
    reader.assume("a constant read as: its rate is 0")
    if reader.vocabulary.steps:
        return value.subs(symbols.step, symbols.step + 1) - value
    return value.diff(symbols.time)


def _is_new(node: tree.Node, known: Reference) -> bool:
    words = known.vocabulary
    names = {*words.scalars, *words.functions, *words.vectors, *words.matrices}
    return isinstance(node, tree.Name) and node.text not in names


def _assignment(reader: Reader, left: tree.Node, sign: str, right: tree.Node) -> Claim:
    """θ ← θ − ηg: the letter on the left stands for its next value, those on the right for the present ones."""
    change = reader.read(right)
    now = reader.now
    if sign != "leftarrow" and sign not in ("gets", "←"):
        change = added(reader.read(left), multiply(sp.Integer(1 if sign == "+=" else -1), change))
    reader.clock, reader.later = now + 1, frozenset()
    target = reader.read(left)
    reader.assume("← read as: the value after the step")
    return Claim(target, change, dropped=tuple(reader.dropped), assumptions=tuple(reader.assumptions))


ASSIGNS = frozenset({"leftarrow", "gets", "←", "-=", "+="})
EQUALS = frozenset(
    {"=", "==", ":=", "equiv", "approx", "simeq", "≈", "≡", ":", "", "coloneqq", "triangleq", "doteq", "colon"}
)


# --- derivations ---


@dataclass(frozen=True)
class DerivationVerdict:
    """What is found about a derivation of several lines.

    Parameters
    ----------
    verdicts
        One for each line, up to the first that does not follow.
    first_wrong
        Index of that line, or None.
    """

    verdicts: tuple[Verdict, ...]
    first_wrong: int | None

    @property
    def ok(self) -> bool:
        """Whether every line follows."""
        return self.first_wrong is None

    def __str__(self) -> str:
        if self.first_wrong is None:
            return f"all {len(self.verdicts)} lines follow"
        return f"line {self.first_wrong + 1} does not follow: {self.verdicts[-1]}"

    def _repr_latex_(self) -> str:
        if self.first_wrong is None:
            return rf"$\text{{all {len(self.verdicts)} lines follow}}$"
        return rf"$\text{{line {self.first_wrong + 1} does not follow: }} {self.verdicts[-1]._repr_latex_().strip('$')}$"


def check_derivation(lines: Sequence[str], against: Any = None) -> DerivationVerdict:
    r"""Which line of a derivation is the first that does not follow.

    A line follows if ``against`` says the same, or if it is the line above in another form: an equation up to a factor, or,
    if it starts with ``=``, the expression above once more. Without ``against`` the first line is a premise.

    >>> check_derivation([r"(a+b)^2", r"= a^2 + 2ab + b^2", r"= a^2 + b^2 + ab"]).first_wrong
    2
    """
    if not lines or isinstance(lines, str):
        raise ClaimError(f"lines: expected a sequence of formulas, got {lines!r}")
    known = reference(against)
    every = [parse(line, words=known.vocabulary.words) for line in lines]
    known = replace(known, vocabulary=known.adapted(known.vocabulary, [node for nodes in every for node in nodes]))
    verdicts: list[Verdict] = []
    for i, line in enumerate(lines):
        verdict = _line(line, every[i], every[i - 1] if i else (), _head(every[: i + 1]), known, premise=against is None)
        verdicts.append(verdict)
        if not verdict.ok:
            return DerivationVerdict(tuple(verdicts), i)
    return DerivationVerdict(tuple(verdicts), None)


def _head(lines: Sequence[tuple[tree.Node, ...]]) -> tree.Node | None:
    """What the chain that the last line continues began with."""
    for nodes in reversed(lines):
        first = nodes[0]
        if not (isinstance(first, tree.Relation) and len(first.sides) == 1):
            return first.sides[0] if isinstance(first, tree.Relation) else first
    return None


def _line(
    text: str,
    nodes: tuple[tree.Node, ...],
    above: tuple[tree.Node, ...],
    head: tree.Node | None,
    known: Reference,
    *,
    premise: bool,
) -> Verdict:
    """The verdict on one line: by what is known, else by the line above."""
    if premise and not above:
        return Verdict(text, "a premise", "right", "symbolic proof")
    first = nodes[0]
    continued = isinstance(first, tree.Relation) and len(first.sides) == 1
    by_itself: Verdict | None = None
    if not premise:
        whole = (tree.Relation((head, *first.sides), ("", *first.signs)),) if continued and head is not None else nodes  # type: ignore[union-attr]
        try:
            by_itself = _first_wrong([_judged(text, part, known) for part in whole])
        except ClaimError:
            by_itself = None
        if by_itself is not None and by_itself.ok:
            return by_itself
    if not above:
        if by_itself is None:
            raise ClaimError("lines: the first line is about something else than what it is held against")
        return by_itself
    follows = _first_wrong([_judged(text, part, _line_above(text, above[-1], known)) for part in _sides_only(nodes)])
    return follows if follows.ok or by_itself is None else by_itself


def _sides_only(nodes: tuple[tree.Node, ...]) -> tuple[tree.Node, ...]:
    """``= x`` as the bare expression x."""
    return tuple(n.sides[0] if isinstance(n, tree.Relation) and len(n.sides) == 1 else n for n in nodes)


def _line_above(text: str, node: tree.Node, known: Reference) -> Reference:
    """The line above as what is held against: an equation up to a factor, an expression as it stands."""
    sides = node.sides if isinstance(node, tree.Relation) else (node,)
    values = [_value(Reader(text, known.vocabulary), side) for side in sides]

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        if claim.left is None:
            return replace(claim, left=values[-1]), []
        if len(values) == 1:
            return claim, []
        terms = minus(terms_of(values[0]), terms_of(values[-1]))
        return follows(claim, terms[()]) if set(terms) == {()} else (claim, [Fact("line above", terms)])

    return Reference("the line above", known.vocabulary, facts, known.small)
