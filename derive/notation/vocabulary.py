"""Which letter means what: the table by which a claim is read, made for the object that the claim is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import sympy as sp

from derive import symbols

HYPER_PARAMETERS: dict[str, sp.Expr] = {
    "eta": symbols.lr,
    "lambda": symbols.weight_decay,
    "beta": symbols.momentum,
    "alpha": symbols.dampening,
}

TRAINING_NOTES = {
    "w": "w read as the parameters θ",
    "W": "W read as the parameters θ",
    "mathcal L": "𝓛 read as the loss L",
}


@dataclass(frozen=True)
class Vocabulary:
    """Name -> meaning, for one claim.

    Parameters
    ----------
    scalars
        Numbers and symbols: ``eta`` -> η.
    functions
        Scalar functions of time, by the name that the statement uses: ``Q`` -> ``Q``.
    vectors, matrices
        Letters of words (:mod:`derive.notation.quantities`).
    blocks
        Blocks of parameters on which a symmetry acts.
    steps
        Letters that count steps; empty in continuous time.
    coordinates
        Variables of a partial differential equation and its unknown, or none.
    notes
        Name -> the assumption that reading it makes.
    trees
        Letters whose value at a rooted tree is a coefficient: b([t]).
    named
        Letters of an expression that f(x, y) may be the name of.
    """

    scalars: Mapping[str, sp.Expr] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)
    vectors: Mapping[str, str] = field(default_factory=dict)
    matrices: Mapping[str, str] = field(default_factory=dict)
    blocks: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    coordinates: tuple[sp.Expr, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    velocity_is_direction: bool = True
    trees: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()

    @property
    def time(self) -> sp.Symbol:
        """The time at which a letter without argument stands: t, or the step n."""
        return symbols.step if self.steps else symbols.time

    @property
    def words(self) -> frozenset[str]:
        """Names of more than one letter."""
        names = {*self.scalars, *self.functions, *self.vectors, *self.matrices}
        return frozenset(name for name in names if len(name) > 1 and name.isidentifier())

    @property
    def accepted(self) -> str:
        """The names, for a message."""
        names = {*self.scalars, *self.functions, *self.vectors, *self.matrices}
        return ", ".join(sorted(name for name in names if "_" not in name))

    def with_scalars(self, more: Mapping[str, sp.Expr]) -> Vocabulary:
        """The same with more scalars."""
        return replace(self, scalars={**self.scalars, **more})


def training(blocks: tuple[str, ...] = (), *, discrete: bool = False) -> Vocabulary:
    """Letters of training: hyper-parameters, θ, g, H, L and what symmetries make of them."""
    scalars: dict[str, sp.Expr] = {
        **HYPER_PARAMETERS,
        "t": symbols.time,
        "tau": symbols.past,
        "S": sp.Symbol("S", positive=True),
    }
    scalars |= {"n": symbols.step} if discrete else {}
    scalars |= {"D": symbols.derivative, "E": symbols.shift} if discrete else {}
    return Vocabulary(
        scalars=scalars,
        functions={"Q": "Q", "q": "q", "k": "k", "L": "L"}
        if not discrete
        else {"Q": "Q", "q": "q", "C": "C", "u": "u", "L": "L"},
        vectors={"theta": "theta", "w": "theta", "W": "theta", "g": "g", "v": "v", "d": "d"},
        matrices={"H": "H", "Sigma": "Sigma", "G": "G", "I": "I"},
        blocks=blocks,
        steps=("n", "k", "t", "i", "j", "m") if discrete else (),
        notes=TRAINING_NOTES,
    )
