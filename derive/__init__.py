"""Symbolic derivations for neural mechanics: symmetry + update rule -> law of the charge -> closed-form solution."""

from derive.bseries import BSeries, SeriesError, b_series
from derive.claims import DerivationVerdict, check, check_derivation
from derive.derivation import Derivation, DerivationError, Step
from derive.discrete_law import DiscreteLaw, discrete_law
from derive.formula_tokens import FormulaError
from derive.gradient_series import GradientSplit, gradient_order, split_gradient
from derive.law import Law, law
from derive.modified_equation import ModifiedEquation, UnsupportedError, modified_flow, modified_loss
from derive.multistep import LinearMultistep, heavy_ball, multistep, multistep_of, nesterov
from derive.pde_scheme import ModifiedPDE, Scheme, SchemeError, finite_difference, modified_pde
from derive.references import Claim, ClaimError, Reference, reference
from derive.relations import Relation, identity_of_order, noether, relations, theorem_1
from derive.rendering import render
from derive.runge_kutta import PartitionedRungeKutta, RungeKutta, conserves_quadratic_invariants, partitioned, runge_kutta
from derive.shuffling import EpochLoss, epoch_loss
from derive.solution import Solution, SolutionError, solve
from derive.stochastic import ItoLaw, StochasticModifiedEquation, ito_law, stochastic_modified_equation
from derive.symmetry import Identity, Symmetry, SymmetryError, rescale, scale, translation
from derive.tree_table import rooted_trees
from derive.trees import RootedTree
from derive.update_rule import UpdateRule, UpdateRuleError, gradient_flow, sgd
from derive.verdict import Counterexample, Difference, Verdict

__all__ = [
    "BSeries",
    "Claim",
    "ClaimError",
    "Counterexample",
    "Derivation",
    "DerivationError",
    "DerivationVerdict",
    "Difference",
    "DiscreteLaw",
    "EpochLoss",
    "FormulaError",
    "GradientSplit",
    "Identity",
    "ItoLaw",
    "Law",
    "LinearMultistep",
    "ModifiedEquation",
    "ModifiedPDE",
    "PartitionedRungeKutta",
    "Reference",
    "Relation",
    "RootedTree",
    "RungeKutta",
    "Scheme",
    "SchemeError",
    "SeriesError",
    "Solution",
    "SolutionError",
    "Step",
    "StochasticModifiedEquation",
    "Symmetry",
    "SymmetryError",
    "UnsupportedError",
    "UpdateRule",
    "UpdateRuleError",
    "Verdict",
    "b_series",
    "check",
    "check_derivation",
    "conserves_quadratic_invariants",
    "discrete_law",
    "epoch_loss",
    "finite_difference",
    "gradient_flow",
    "gradient_order",
    "heavy_ball",
    "identity_of_order",
    "ito_law",
    "law",
    "modified_flow",
    "modified_loss",
    "modified_pde",
    "multistep",
    "multistep_of",
    "nesterov",
    "noether",
    "partitioned",
    "reference",
    "relations",
    "render",
    "rescale",
    "rooted_trees",
    "runge_kutta",
    "scale",
    "sgd",
    "solve",
    "split_gradient",
    "stochastic_modified_equation",
    "theorem_1",
    "translation",
]
