"""Readings of plain mathematics: identities that hold by themselves, SymPy expressions and equations, a concrete loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import NoneType

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import symbols
from derive.comparison import Fact
from derive.notation import tree
from derive.notation.lexicon import GREEK
from derive.notation.quantities import Linear
from derive.notation.terms import minus, terms_of
from derive.notation.vocabulary import Vocabulary, training
from derive.references.differential import as_system, solved, stands_for_a_solution
from derive.references.reference import Claim, ClaimError, Reference, applied, reference
from derive.references.scalar_equations import follows

CANONICAL = {"t": symbols.time, "tau": symbols.past, "n": symbols.step, "eta": symbols.lr, "lambda": symbols.weight_decay,
             "beta": symbols.momentum, "alpha": symbols.dampening, "gamma": symbols.damping_rate, "omega": symbols.frequency,
             "kappa": symbols.rate}  # fmt: skip
LETTERS = tuple("abcdhjlmnoprstuvwxyzABCDEFGKMNPRSTUVWXYZk") + tuple(letter for letter in GREEK if letter != "pi")


@reference.register
def _identity(against: NoneType) -> Reference:
    """Identities: every letter is a positive number, or a function of t where it is used as one."""
    scalars = {letter: CANONICAL.get(letter, sp.Symbol(letter, positive=True)) for letter in LETTERS}
    scalars |= {f"{letter}_{digit}": sp.Symbol(f"{letter}_{digit}", positive=True) for letter in LETTERS for digit in "0123"}
    base = training()
    taken = {*base.functions, *base.vectors, *base.matrices} - {"d", "k", "w", "v", "W", "G", "I"}
    vocabulary = Vocabulary(
        scalars={name: value for name, value in scalars.items() if name.partition("_")[0] not in taken},
        functions={"Q": "Q", "q": "q", "L": "L", "f": "f"},
        vectors={"theta": "theta", "g": "g"},
        matrices={"H": "H"},
    )
    return Reference("nothing but itself", vocabulary, lambda claim: (_in_numbers(claim), []), adapted=_with_functions)


def _in_numbers(claim: Claim) -> Claim:
    """Functions as numbers where one stands inside another, so that log Q² = 2 log Q is one of numbers."""
    scalars = [side for side in claim.sides if isinstance(side, sp.Expr)]
    inside = {f for side in scalars for e in side.atoms(sp.Function, sp.Pow) if not isinstance(e, AppliedUndef)
              for f in e.atoms(AppliedUndef)}  # fmt: skip
    if not inside or any(side.has(sp.Derivative, sp.Integral, sp.Sum) for side in scalars):
        return claim
    numbers = {f: sp.Symbol(str(f), positive=True) for side in scalars for f in side.atoms(AppliedUndef)}
    return claim.mapped(lambda e: e.xreplace(numbers))


def _with_functions(vocabulary: Vocabulary, nodes: Sequence[tree.Node]) -> Vocabulary:
    """Letters that carry a dot, a prime or (t) are functions of time."""
    used = {name for node in nodes for name in _functions_in(node)} & set(vocabulary.scalars)
    scalars = {name: value for name, value in vocabulary.scalars.items() if name not in used}
    return replace(vocabulary, scalars=scalars, functions={**vocabulary.functions, **{name: name for name in used}})


def _functions_in(root: tree.Node):
    for node in root.walk():
        if isinstance(node, tree.Accented) and node.accent in ("dot", "ddot") and isinstance(node.base, tree.Name):
            yield node.base.text
        if isinstance(node, tree.Scripted) and node.primes and isinstance(node.base, tree.Name):
            yield node.base.text
        if isinstance(node, tree.Product):
            yield from (a.text for a, b in zip(node.factors, node.factors[1:], strict=False)
                        if isinstance(a, tree.Name) and isinstance(b, tree.Group) and _is_time(b))  # fmt: skip


def _is_time(group: tree.Group) -> bool:
    return len(group.items) == 1 and group.items[0] in (tree.Name("t"), tree.Name("tau"))


# --- expressions and equations ---


@reference.register
def _expression(against: sp.Expr) -> Reference:
    expr = _canonical(against)

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        claim = _on_the_loss(claim, expr)
        left = claim.left
        if left is None:
            return replace(claim, left=expr), []
        if any(s.name.endswith("(…)") for s in claim.right.free_symbols if isinstance(claim.right, sp.Expr)):
            raise ClaimError("claim: expected the expression on the right, got its name")
        named = isinstance(left, sp.Symbol | AppliedUndef)
        if named and not expr.has(left):
            return replace(claim, left=expr).noted(f"{left} read as the name of the expression"), []
        return claim, []

    return Reference(f"the expression {_short(against)}", _vocabulary(expr), facts, small=_small(expr))


@reference.register
def _equation(against: sp.Equality) -> Reference:
    return equation_reference(against, [])


def equation_reference(against: sp.Equality, initial: Sequence[sp.Equality]) -> Reference:
    """An equation; of a differential one also its solutions, with the initial data that they are to have."""
    left, right = (_canonical(side) for side in (against.lhs, against.rhs))
    system = as_system(left - right)
    starts = {_start_of(_canonical(e.lhs)): _canonical(e.rhs) for e in initial}

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        unknowns = [rate.expr for rate in system or {}]  # type: ignore[attr-defined]
        if system is not None and claim.left is None:
            claim = replace(claim, left=unknowns[0]).noted(f"read as what {unknowns[0]} equals")
        if system is not None and stands_for_a_solution(claim, unknowns):
            return solved(claim, system, starts), []
        if claim.left is None:
            return replace(claim, left=right).noted("read as what the right side equals"), []
        terms = minus(terms_of(left), terms_of(right))
        rates = [key for key in terms if any(atom.has(sp.Derivative) for atom, _ in key)]
        if not any(key for key in terms):  # no function to tell terms apart: the right side is what is claimed
            return _scalar_equation(claim, left, right)
        begun = [Fact("initial data", minus(terms_of(start), terms_of(value))) for start, value in starts.items()]
        return claim, [Fact("equation", terms, tuple(rates)), *begun]

    return Reference(f"the equation {_short(against)}", _vocabulary(left - right), facts, small=_small(left - right))


def _start_of(expr: sp.Expr) -> sp.Expr:
    """x(0), or the rate at 0 as the function that claims are read with."""
    if isinstance(expr, sp.Subs):
        derivative = expr.expr
        name = f"{derivative.expr.func.__name__}" + "'" * derivative.derivative_count  # type: ignore[attr-defined]
        return sp.Function(name, real=True)(0)
    if not isinstance(expr, AppliedUndef):
        raise ClaimError(f"against: expected initial data as x(0) = … or x'(0) = …, got {expr}")
    return expr


def _scalar_equation(claim: Claim, left: sp.Expr, right: sp.Expr) -> tuple[Claim, list[Fact]]:
    """x = …: solved sides are compared as they stand, of others it is asked whether they follow."""
    if claim.left == left and left.is_Symbol:
        return replace(claim, left=right), []
    return follows(claim, left - right)


def _canonical(expr: sp.Expr) -> sp.Expr:
    """Symbols of the theory by their names, undefined functions real."""
    names = {s: CANONICAL[s.name] for s in expr.free_symbols if s.name in CANONICAL}
    renamed = expr.subs(names)
    return renamed.replace(lambda e: isinstance(e, AppliedUndef), lambda e: sp.Function(e.func.__name__, real=True)(*e.args))


def _vocabulary(expr: sp.Expr) -> Vocabulary:
    own = {s.name: s for s in expr.free_symbols}
    functions = {f.func.__name__: f.func.__name__ for f in expr.atoms(AppliedUndef)}
    others = {
        letter: CANONICAL.get(letter, sp.Symbol(letter, positive=True)) for letter in LETTERS if letter not in functions
    }
    letters = {"theta": "theta", "g": "g"}
    vectors = {name: letter for name, letter in letters.items() if name not in own and name not in functions}
    scalars = {
        name: value for name, value in {**others, **own}.items() if name not in vectors and (name != "d" or "d" in own)
    }
    taken = {*scalars, *functions}
    functions |= {name: name for name in ("L", "Q", "q") if name not in taken}
    matrices = {"H": "H"} if "H" not in taken else {}
    return Vocabulary(scalars, functions, vectors, matrices, named=frozenset(own))


def _small(expr: sp.Expr) -> sp.Symbol:
    """The parameter that an order counts: η or what else is used as a step."""
    for name in ("eta", "h", "epsilon", "dx", "dt"):
        found = next((s for s in expr.free_symbols if s.name == name), None)
        if found is not None:
            return found
    return symbols.lr


def _short(against: sp.Basic) -> str:
    text = str(against)
    return text if len(text) < 80 else f"{text[:77]}…"


# --- a concrete loss ---


def _on_the_loss(claim: Claim, loss: sp.Expr) -> Claim:
    """∇L, H and θ of a claim as those of the expression, read as a loss in all its symbols but the hyper-parameters."""
    letters = {"L", "theta", "g", "H"} & {piece for name in claim.functions for piece in name.split(".")} | (
        claim.letters & {"theta", "g", "H"}
    )
    if not letters or loss.atoms(AppliedUndef):
        return claim
    if claim.rates:
        raise ClaimError("claim: a rate or a prime of the loss is not read here; write its derivatives as ∇L and ∇²L")
    hyper = set(CANONICAL.values())
    unknown = claim.letters - {"theta", "g", "H"}
    if unknown or not loss.free_symbols - hyper:
        raise ClaimError(f"claim: expected θ, ∇L and H of a loss in parameters, got {sorted(unknown)} for the loss {loss}")
    x = sp.Matrix(sorted(loss.free_symbols - hyper, key=str))
    meanings = {"theta": x, "g": sp.Matrix([loss.diff(s) for s in x]), "H": sp.hessian(loss, list(x))}
    note = f"the expression read as a loss of {', '.join(map(str, x))}"

    def concrete(name: str):
        pieces = name.split(".")
        if name == "L":
            return lambda when: loss
        first, *inside, last = (meanings[piece] for piece in pieces)
        for matrix in reversed(inside):
            last = matrix * last
        return lambda when: (first.T * last)[0]

    known = {name: concrete(name) for name in claim.functions if name == "L" or set(name.split(".")) <= set(meanings)}
    claim = claim.mapped(lambda e: applied(e, known), note)
    if any(isinstance(side, Linear) for side in claim.sides):
        return _by_components(claim, meanings, x)
    return claim


def _by_components(claim: Claim, meanings: dict, x: sp.Matrix) -> Claim:
    """A vector equation as one in its components, marked by functions e_1, e_2, …."""
    units = [sp.Function(f"component {s}", real=True)(symbols.time) for s in x]

    def summed(side) -> sp.Expr:
        if side == 0:
            return sp.S.Zero
        if isinstance(side, sp.Expr) and len(x) == 1:
            return units[0] * side
        if not isinstance(side, Linear) or not (side.closed or len(x) == 1):
            raise ClaimError("claim: a vector is compared with what is none")
        total = sp.zeros(len(x), 1)
        for (word, _), c in side.terms.items():
            vector = meanings[word[-1]]
            for piece in reversed(word[:-1]):
                vector = meanings[piece] * vector
            total += c * vector
        return sp.Add(*(unit * entry for unit, entry in zip(units, total, strict=True)))

    left = None if claim.left is None else summed(claim.left)
    return replace(claim, left=left, right=summed(claim.right))
