"""Readings of what a symmetry says: ⟨g, X⟩ = 0, HX + Mg = 0, the relations of App. A, and the charge it conserves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sympy as sp
from sympy.core.function import AppliedUndef

from derive.comparison import Fact
from derive.notation import quantities as qu
from derive.notation.quantities import Linear
from derive.notation.terms import minus, terms_of
from derive.notation.vocabulary import training
from derive.references.charge_blocks import blocks_of, in_blocks, weights_of
from derive.references.reference import Claim, ClaimError, Reference, applied, reference
from derive.relations import Relation
from derive.symbols import charge
from derive.symbols import time as t
from derive.symmetry import Identity, Symmetry


@dataclass(frozen=True)
class Generator:
    """X = Σ_A (m_A θ_A + c_A 1_A): the generator of a symmetry that does not mix blocks."""

    blocks: tuple[str, ...]
    slopes: tuple[sp.Expr, ...]
    constants: tuple[sp.Expr, ...]

    @property
    def vector(self) -> Linear:
        """X."""
        return self._on("theta", self.slopes).plus(self._on("one", self.constants))

    def turned(self, letter: str) -> Linear:
        """M applied to a vector."""
        return self._on(letter, self.slopes)

    def _on(self, letter: str, weights: tuple[sp.Expr, ...]) -> Linear:
        found = Linear({})
        for block, weight in zip(self.blocks, weights, strict=True):
            found = found.plus(qu.letter(letter, block=block).scaled(weight))
        return found


def generator_of(symmetry: Symmetry) -> Generator:
    """The generator, block by block.

    Raises
    ------
    ClaimError
        For one that mixes blocks.
    """
    if not symmetry.linear_part.is_diagonal():
        raise ClaimError(f"against: expected a symmetry that acts on each block by itself, got {symmetry.name!r}")
    return Generator(blocks_of(symmetry), tuple(symmetry.linear_part.diagonal()), tuple(symmetry.constant_part))


def _gradient_fact(X: Generator) -> Fact:
    return Fact("⟨g, X⟩ = 0", terms_of(qu.pair(qu.letter("g"), X.vector)))


def _hessian_fact(X: Generator) -> Fact:
    curved = qu.compose(qu.letter("H", closed=False), X.vector)
    return Fact("HX + Mg = 0", terms_of(curved.plus(X.turned("g"))))


def _orbit_fact(X: Generator) -> Fact:
    curved = qu.pair(X.vector, qu.compose(qu.letter("H", closed=False), X.vector))
    twice = Linear({}).plus(X._on("theta", tuple(m * m for m in X.slopes)))
    twice = twice.plus(X._on("one", tuple(m * c for m, c in zip(X.slopes, X.constants, strict=True))))
    return Fact("XᵀHX + ⟨g, MX⟩ = 0", terms_of(curved + qu.pair(qu.letter("g"), twice)))


def _projected_facts(X: Generator) -> list[Fact]:
    """⟨u, HX + Mg⟩ = 0 along g and along the velocity."""
    curved = qu.compose(qu.letter("H", closed=False), X.vector).plus(X.turned("g"))
    along = [("g", "g", None), ("θ'", "theta'", None), *((f"g_{b}", "g", b) for b in X.blocks), ("Mg", "", None)]
    vectors = [(name, X.turned("g") if name == "Mg" else qu.letter(letter, block=b)) for name, letter, b in along]
    return [Fact(f"⟨{name}, HX + Mg⟩ = 0", terms_of(qu.pair(u, curved))) for name, u in vectors]


def _noise_facts(X: Generator) -> list[Fact]:
    found = []
    for letter in ("Sigma", "G^T"):
        found.append(Fact("noise is orthogonal to X", terms_of(qu.compose(qu.letter(letter, closed=False), X.vector))))
    return found


def _charge_facts(symmetry: Symmetry, claim: Claim) -> list[Fact]:
    """Q' = 0 and Q(t) = Q(0), under gradient flow."""
    if weights_of(symmetry) is None:
        return []
    expand = in_blocks(symmetry) if any("." in name for name in claim.functions) else {}
    Q = applied(charge(t), expand)
    return [Fact("dQ/dt = 0", terms_of(Q.diff(t))), Fact("Q(t) = Q(0)", minus(terms_of(Q), terms_of(Q.subs(t, 0))))]


@reference.register
def _symmetry(against: Symmetry) -> Reference:
    X = generator_of(against)

    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        vanishing = [*_projected_facts(X), _gradient_fact(X), _hessian_fact(X), _orbit_fact(X), *_noise_facts(X)]
        if not any(isinstance(side, Linear) for side in claim.sides):
            charges = in_blocks(against) if any("." in name for name in claim.functions) and weights_of(against) else {}
            claim = claim.mapped(lambda e: applied(e, charges))
            vanishing += _charge_facts(against, claim)
        return _equal_to_zero(claim), _with_consequences(vanishing)

    return Reference(f"the {against.name} symmetry", _vocabulary(X), facts)


def _equal_to_zero(claim: Claim) -> Claim:
    return replace(claim, left=claim.right, right=sp.S.Zero).noted("read as what is 0") if claim.left is None else claim


def _with_consequences(facts: list[Fact]) -> list[Fact]:
    """Facts, and what is left of them when terms that are 0 by themselves are taken out."""
    zero = {next(iter(fact.terms)) for fact in facts if len(fact.terms) == 1}
    shorter = [Fact(f.name, {k: c for k, c in f.terms.items() if k not in zero}) for f in facts if len(f.terms) > 1]
    return facts + [f for f in shorter if f.terms and f.terms not in [g.terms for g in facts]]


def _vocabulary(X: Generator):
    base = training(X.blocks)
    functions = {name: value for name, value in base.functions.items() if name not in ("q", "k")}
    return replace(base, functions=functions)


@reference.register
def _identity(against: Identity) -> Reference:
    X = _generator_in_rows(against)
    fact = _gradient_fact(X) if against.name == "gradient" else _hessian_fact(X)
    return Reference(f"the {against.name} identity", _vocabulary(X), lambda claim: (_equal_to_zero(claim), [fact]))


def _generator_in_rows(against: Identity) -> Generator:
    """The generator read back from the rows of ⟨g, X⟩ = 0 or HX + Mg = 0 in representative coordinates."""
    slopes, constants = [], []
    for j, x in enumerate(against.coordinates and _coordinates(against)):
        row = against.coordinates[0 if against.name == "gradient" else j]
        loss = next(iter(row.atoms(AppliedUndef)))
        entry = row.expand().coeff(loss.diff(x) if against.name == "gradient" else loss.diff(x, 2))
        slopes.append(entry.coeff(x, 1))
        constants.append(entry.coeff(x, 0))
    names = tuple(x.name.partition("_")[2] or x.name for x in _coordinates(against))
    return Generator(names, tuple(slopes), tuple(constants))


def _coordinates(against: Identity) -> tuple[sp.Symbol, ...]:
    (loss,) = set().union(*(row.atoms(AppliedUndef) for row in against.coordinates))
    return loss.args


@reference.register
def _relation(against: Relation) -> Reference:
    if not against.at_identity or len(against.rows) < 1:
        raise ClaimError(
            f"against: expected a relation at the identity element, got {against.name!r}; check it at s = 1 or 0"
        )
    kinds = {
        "gradient and generator": "gradient",
        "Hessian and generator": "hessian",
        "second derivative along the orbit": "orbit",
    }
    if against.name not in kinds:
        raise ClaimError(f"against: expected one of {sorted(kinds)}, got the relation {against.name!r}")
    kind = kinds[against.name]
    if kind == "orbit":
        raise ClaimError("against: the relation along the orbit is checked against its symmetry: check(…, against=symmetry)")
    return reference(Identity(kind, against.rows, sp.S.Zero, sp.S.Zero, against.source))
