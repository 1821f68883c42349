"""Readings of Itô laws: what stochastic gradients make of a charge."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp
from sympy.core.function import AppliedUndef

from derive import symbols
from derive.comparison import Fact
from derive.notation import quantities as qu
from derive.notation.terms import terms_of
from derive.notation.vocabulary import training
from derive.references.charge_blocks import blocks_of, in_blocks, speaks_of_blocks
from derive.references.laws import invariant
from derive.references.reference import Claim, Reference, applied, fact_of, key_of, reference
from derive.stochastic import ItoLaw, batch_size, noise_form
from derive.symbols import time as t


@reference.register
def _ito(against: ItoLaw) -> Reference:
    def facts(claim: Claim) -> tuple[Claim, list[Fact]]:
        claim = invariant(against.symmetry, claim)
        claim = _with_drift(against, claim)
        noise = {name for name in claim.functions if name.endswith(".dW") or name.startswith("dW.")}
        if noise:
            zero = dict.fromkeys(noise, lambda when: sp.S.Zero)
            claim = claim.mapped(lambda e: applied(e, zero), "the noise is orthogonal to the generator, Gᵀ X = 0")
        expand = in_blocks(against.symmetry) if speaks_of_blocks(claim) else {}
        claim = claim.mapped(lambda e: applied(e, expand))
        if claim.left is None:
            claim = replace(claim, left=applied(symbols.charge(t), expand).diff(t)).noted("read as what dQ/dt equals")
        equation = applied(against.equation.lhs - against.equation.rhs, expand)
        charge = applied(symbols.charge(t), expand)
        pivots = [key_of(f.diff(t)) for f in sorted(charge.atoms(AppliedUndef), key=str)]
        return claim, [fact_of("Itô law", terms_of(equation), *pivots)]

    base = training(blocks_of(against.symmetry))
    scalars = {**base.scalars, "S": batch_size, "B": batch_size}
    vocabulary = replace(base, scalars=scalars, vectors={**base.vectors, "mu": "mu"},
                         notes={**base.notes, "expectation": "the expectation of dQ read as its drift"},
                         functions={**base.functions, "T": noise_form.__name__})  # fmt: skip
    label = f"the Itô law of the {against.symmetry.name} charge"
    full = against.law
    return Reference(
        label,
        vocabulary,
        facts,
        alternatives=lambda: [("g read as the gradient of the batch, no Σ is needed", reference(full))],
    )


def _with_drift(against: ItoLaw, claim: Claim) -> Claim:
    """⟨μ, X⟩ as the law of full-batch descent has it, where one block carries the symmetry."""
    blocks, p = blocks_of(against.symmetry), against.symmetry.degree
    if len(blocks) != 1:
        return claim
    last = qu.letter("theta" if p == 2 else "one", block=blocks[0])
    (paired,) = qu.pair(qu.letter("mu", block=blocks[0]), last).atoms(AppliedUndef)
    projected = (against.law.drive - against.law.stiffness * symbols.charge(t)) / p
    return claim.mapped(lambda e: applied(e, {paired.func.__name__: lambda when: projected.subs(t, when)}))
