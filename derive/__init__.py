"""Symbolic derivations for neural mechanics: symmetry + update rule -> law of the charge -> closed-form solution."""

from derive.bseries import BSeries, SeriesError, b_series
from derive.derivation import Derivation, DerivationError, Step
from derive.discrete_law import DiscreteLaw, discrete_law
from derive.gradient_series import GradientSplit, gradient_order, split_gradient
from derive.law import Law, law
from derive.modified_equation import ModifiedEquation, UnsupportedError, modified_flow, modified_loss
from derive.multistep import LinearMultistep, heavy_ball, multistep, multistep_of, nesterov
from derive.rendering import render
from derive.runge_kutta import PartitionedRungeKutta, RungeKutta, conserves_quadratic_invariants, partitioned, runge_kutta
from derive.solution import Solution, SolutionError, solve
from derive.symmetry import Identity, Symmetry, SymmetryError, rescale, scale, translation
from derive.tree_table import rooted_trees
from derive.trees import RootedTree
from derive.update_rule import UpdateRule, UpdateRuleError, gradient_flow, sgd

__all__ = [
    "BSeries",
    "Derivation",
    "DerivationError",
    "DiscreteLaw",
    "GradientSplit",
    "Identity",
    "Law",
    "LinearMultistep",
    "ModifiedEquation",
    "PartitionedRungeKutta",
    "RootedTree",
    "RungeKutta",
    "SeriesError",
    "Solution",
    "SolutionError",
    "Step",
    "Symmetry",
    "SymmetryError",
    "UnsupportedError",
    "UpdateRule",
    "UpdateRuleError",
    "b_series",
    "conserves_quadratic_invariants",
    "discrete_law",
    "gradient_flow",
    "gradient_order",
    "heavy_ball",
    "law",
    "modified_flow",
    "modified_loss",
    "multistep",
    "multistep_of",
    "nesterov",
    "partitioned",
    "render",
    "rescale",
    "rooted_trees",
    "runge_kutta",
    "scale",
    "sgd",
    "solve",
    "split_gradient",
    "translation",
]
