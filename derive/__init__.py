"""Symbolic derivations for neural mechanics: symmetry + update rule -> law of the charge -> closed-form solution."""

from derive.derivation import Derivation, DerivationError, Step
from derive.discrete_law import DiscreteLaw, discrete_law
from derive.law import Law, law
from derive.modified_equation import ModifiedEquation, UnsupportedError, modified_flow, modified_loss
from derive.pde_scheme import ModifiedPDE, Scheme, SchemeError, finite_difference, modified_pde
from derive.relations import Relation, identity_of_order, noether, relations, theorem_1
from derive.rendering import render
from derive.shuffling import EpochLoss, epoch_loss
from derive.solution import Solution, SolutionError, solve
from derive.stochastic import ItoLaw, StochasticModifiedEquation, ito_law, stochastic_modified_equation
from derive.symmetry import Identity, Symmetry, SymmetryError, rescale, scale, translation
from derive.update_rule import UpdateRule, UpdateRuleError, gradient_flow, sgd

__all__ = [
    "Derivation",
    "DerivationError",
    "DiscreteLaw",
    "EpochLoss",
    "Identity",
    "ItoLaw",
    "Law",
    "ModifiedEquation",
    "ModifiedPDE",
    "Relation",
    "Scheme",
    "SchemeError",
    "Solution",
    "SolutionError",
    "Step",
    "StochasticModifiedEquation",
    "Symmetry",
    "SymmetryError",
    "UnsupportedError",
    "UpdateRule",
    "UpdateRuleError",
    "discrete_law",
    "epoch_loss",
    "finite_difference",
    "gradient_flow",
    "identity_of_order",
    "ito_law",
    "law",
    "modified_flow",
    "modified_loss",
    "modified_pde",
    "noether",
    "relations",
    "render",
    "rescale",
    "scale",
    "sgd",
    "solve",
    "stochastic_modified_equation",
    "theorem_1",
    "translation",
]
