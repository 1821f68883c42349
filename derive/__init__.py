"""Symbolic derivations for neural mechanics: symmetry + update rule -> law of the charge -> closed-form solution."""

from derive.derivation import Derivation, DerivationError, Step
from derive.discrete_law import DiscreteLaw, discrete_law
from derive.law import Law, law
from derive.modified_equation import ModifiedEquation, UnsupportedError, modified_flow, modified_loss
from derive.relations import Relation, identity_of_order, noether, relations, theorem_1
from derive.rendering import render
from derive.solution import Solution, SolutionError, solve
from derive.symmetry import Identity, Symmetry, SymmetryError, rescale, scale, translation
from derive.update_rule import UpdateRule, UpdateRuleError, gradient_flow, sgd

__all__ = [
    "Derivation",
    "DerivationError",
    "DiscreteLaw",
    "Identity",
    "Law",
    "ModifiedEquation",
    "Relation",
    "Solution",
    "SolutionError",
    "Step",
    "Symmetry",
    "SymmetryError",
    "UnsupportedError",
    "UpdateRule",
    "UpdateRuleError",
    "discrete_law",
    "gradient_flow",
    "identity_of_order",
    "law",
    "modified_flow",
    "modified_loss",
    "noether",
    "relations",
    "render",
    "rescale",
    "scale",
    "sgd",
    "solve",
    "theorem_1",
    "translation",
]
