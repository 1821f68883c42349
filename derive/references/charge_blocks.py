"""Charges and drives as the norms and sums that they stand for: Q of a rescale symmetry is |θ_A1|² − |θ_A2|²."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from derive.notation import quantities as qu
from derive.references.reference import Claim
from derive.symmetry import Symmetry


def blocks_of(symmetry: Symmetry) -> tuple[str, ...]:
    """Names of the blocks on which a symmetry acts."""
    return tuple(x.name.partition("_")[2] or x.name for x in symmetry.coordinates)


def weights_of(symmetry: Symmetry) -> tuple[sp.Expr, ...] | None:
    """The coefficients of the blocks in the charge; None for a charge that mixes blocks."""
    charge, p = symmetry.charge, symmetry.degree
    weights = tuple(charge.coeff(x, p) for x in symmetry.coordinates)
    rest = charge - sum(w * x**p for w, x in zip(weights, symmetry.coordinates, strict=True))
    return weights if sp.expand(rest) == 0 else None


def in_blocks(symmetry: Symmetry) -> dict[str, Callable[..., sp.Expr]]:
    """Q, q, k, T (and the drives of a step) -> the norms that they stand for."""
    weights = weights_of(symmetry)
    if weights is None:
        return {}
    pairs = list(zip(blocks_of(symmetry), weights, strict=True))

    def form(left: str, right: str, later: int = 0) -> Callable[..., sp.Expr]:
        def summed(when: sp.Expr) -> sp.Expr:
            vectors = (
                (w, qu.letter(left, when + later, block=b), qu.letter(right, when + later, block=b)) for b, w in pairs
            )
            return sp.Add(*(w * qu.pair(u, v) for w, u, v in vectors))

        return summed

    last = "theta" if symmetry.degree == 2 else "one"
    return {
        "Q": form("theta", last),
        "q": form("g", "g"),
        "k": form("theta'", "theta'"),
        "T": lambda when: sp.Add(*(w * sp.Function(f"tr.{b}.Sigma", real=True)(when) for b, w in pairs)),
        "Q'": lambda when: sp.Add(*(w * sp.Function(f"theta.{b}.{last}'", real=True)(when) for b, w in pairs)),
        "b": form("g", last),
        "w": form("d", "d"),
        "v": form("v", "v", 1),
        "C": form("theta", "v") if last == "theta" else form("v", "one"),
        "o": form("d", "v"),
    }


def speaks_of_blocks(claim: Claim) -> bool:
    """Whether a claim names blocks of parameters rather than Q, q and k."""
    return any("." in name for name in claim.functions)
