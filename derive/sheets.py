"""Which sheet each kind of result is written on."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from derive import law_sheets, method_sheets
from derive.bseries import BSeries
from derive.derivation import Derivation
from derive.discrete_law import DiscreteLaw
from derive.law import Law
from derive.modified_equation import ModifiedEquation
from derive.momentum_manifold import DiscreteManifold, MemorylessIteration, ModifiedField
from derive.pde_scheme import ModifiedPDE
from derive.relations import Relation
from derive.sheet import Sheet
from derive.shuffling import EpochLoss
from derive.solution import Solution
from derive.stochastic import ItoLaw, StochasticModifiedEquation
from derive.symmetry import Symmetry

READINGS = {
    BSeries: method_sheets.of_series,
    Derivation: law_sheets.of_derivation,
    DiscreteLaw: law_sheets.of_discrete_law,
    DiscreteManifold: method_sheets.of_manifold,
    EpochLoss: method_sheets.of_epoch_loss,
    ItoLaw: law_sheets.of_ito_law,
    Law: law_sheets.of_law,
    MemorylessIteration: method_sheets.of_iteration,
    ModifiedEquation: method_sheets.of_equation,
    ModifiedField: method_sheets.of_field,
    ModifiedPDE: method_sheets.of_pde,
    Relation: law_sheets.of_relation,
    Solution: law_sheets.of_solution,
    StochasticModifiedEquation: method_sheets.of_stochastic,
    Symmetry: law_sheets.of_symmetry,
}
"""Type of a result -> how it is read."""


@singledispatch
def sheet(result: Any) -> Sheet:
    """The sheet of a result; of a sheet, itself.

    >>> from derive import law, scale, sgd
    >>> sheet(law(scale(), sgd())).title
    'law of the scale charge, modified loss, order 1'

    Raises
    ------
    TypeError
        For what no sheet is made of.
    """
    kinds = sorted(kind.__name__ for kind in READINGS)
    raise TypeError(f"result: expected one of {kinds}, got {type(result).__name__}")


sheet.register(Sheet, lambda paper: paper)
for _kind, _read in READINGS.items():
    sheet.register(_kind, _read)
