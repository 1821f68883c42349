"""Symbolic derivations for neural mechanics: symmetry + update rule -> law of the charge -> closed-form solution."""

import importlib
from typing import TYPE_CHECKING, Any

from derive.action import symmetry_from_action
from derive.bseries import BSeries, SeriesError, b_series
from derive.charge_series import ChargeSeries, charge_rate, tree_residual
from derive.concrete_equation import ConcreteEquation
from derive.concrete_loss import ConcreteLoss
from derive.derivation import Derivation, DerivationError, Step
from derive.discrete_law import DiscreteLaw, discrete_law
from derive.families import GeneralLinear, general_linear, linear_symmetry, power_rescale
from derive.gradient_series import GradientSplit, gradient_order, split_gradient
from derive.law import Law, law
from derive.linear_equation import LinearEquation
from derive.modified_equation import ModifiedEquation, modified_flow, modified_loss
from derive.momentum_manifold import (
    DiscreteManifold,
    MemorylessIteration,
    ModifiedField,
    discrete_manifold,
    memoryless_iteration,
    slow_flow,
)
from derive.multistep import LinearMultistep, heavy_ball, multistep, multistep_of, nesterov
from derive.oscillator_equation import OscillatorEquation, oscillator
from derive.pde_scheme import ModifiedPDE, Scheme, SchemeError, finite_difference, modified_pde
from derive.relations import Relation, identity_of_order, noether, relations, theorem_1
from derive.rendering import render
from derive.runge_kutta import PartitionedRungeKutta, RungeKutta, conserves_quadratic_invariants, partitioned, runge_kutta
from derive.shuffling import EpochLoss, epoch_loss
from derive.solution import Solution, SolutionError, solve
from derive.stochastic import ItoLaw, StochasticModifiedEquation, ito_law, stochastic_modified_equation
from derive.symmetry import Identity, Symmetry, SymmetryError, rescale, scale, translation
from derive.tree_table import rooted_trees
from derive.trees import RootedTree
from derive.update_rule import UnsupportedError, UpdateRule, UpdateRuleError, gradient_flow, sgd
from derive.validity import Validity, validity

if TYPE_CHECKING:
    from derive.claims import DerivationVerdict, check, check_derivation
    from derive.notation.tokens import FormulaError
    from derive.references.reference import ClaimError
    from derive.verdict import Counterexample, Difference, Verdict

_OF_CLAIMS = {
    "ClaimError": "references.reference",
    "Counterexample": "verdict",
    "DerivationVerdict": "claims",
    "Difference": "verdict",
    "FormulaError": "notation.tokens",
    "Verdict": "verdict",
    "check": "claims",
    "check_derivation": "claims",
}
"""Name -> its module, loaded when first asked for: deriving needs none of what reads formulas, a third of the package."""


def __getattr__(name: str) -> Any:
    if name not in _OF_CLAIMS:
        raise AttributeError(f"module 'derive' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"derive.{_OF_CLAIMS[name]}"), name)
    return value


__all__ = [
    "BSeries",
    "ChargeSeries",
    "ClaimError",
    "ConcreteEquation",
    "ConcreteLoss",
    "Counterexample",
    "Derivation",
    "DerivationError",
    "DerivationVerdict",
    "Difference",
    "DiscreteLaw",
    "DiscreteManifold",
    "EpochLoss",
    "FormulaError",
    "GeneralLinear",
    "GradientSplit",
    "Identity",
    "ItoLaw",
    "Law",
    "LinearEquation",
    "LinearMultistep",
    "MemorylessIteration",
    "ModifiedEquation",
    "ModifiedField",
    "ModifiedPDE",
    "OscillatorEquation",
    "PartitionedRungeKutta",
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
    "Validity",
    "Verdict",
    "b_series",
    "charge_rate",
    "check",
    "check_derivation",
    "conserves_quadratic_invariants",
    "discrete_law",
    "discrete_manifold",
    "epoch_loss",
    "finite_difference",
    "general_linear",
    "gradient_flow",
    "gradient_order",
    "heavy_ball",
    "identity_of_order",
    "ito_law",
    "law",
    "linear_symmetry",
    "memoryless_iteration",
    "modified_flow",
    "modified_loss",
    "modified_pde",
    "multistep",
    "multistep_of",
    "nesterov",
    "noether",
    "oscillator",
    "partitioned",
    "power_rescale",
    "relations",
    "render",
    "rescale",
    "rooted_trees",
    "runge_kutta",
    "scale",
    "sgd",
    "slow_flow",
    "solve",
    "split_gradient",
    "stochastic_modified_equation",
    "symmetry_from_action",
    "theorem_1",
    "translation",
    "tree_residual",
    "validity",
]
