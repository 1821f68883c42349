"""What the paper's formulas are held against: a call of the public API, as text, -> what it derives.

A test evaluates every text and finds the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import sympy as sp

from derive.action import symmetry_from_action
from derive.derivation import Derivation
from derive.discrete_law import discrete_law
from derive.families import linear_symmetry, power_rescale
from derive.law import law
from derive.modified_equation import modified_flow, modified_loss
from derive.relations import noether, relation_steps, theorem_1
from derive.runge_kutta import runge_kutta
from derive.sheets import sheet
from derive.solution import solve
from derive.stochastic import ito_law, stochastic_modified_equation
from derive.symmetry import Symmetry, rescale, scale, translation
from derive.update_rule import UpdateRule, gradient_flow, sgd

x, y = sp.symbols("x y", real=True)
A, rest = sp.symbols("theta_A theta_rest", real=True)
a = sp.Symbol("a", positive=True)


def _sgd(**options: Any) -> UpdateRule:
    return sgd(momentum=True, dampening=True, **options)


OBJECTS: Mapping[str, Callable[[], Any]] = MappingProxyType({
    "": lambda: None,
    "translation()": translation,
    "scale()": scale,
    "rescale()": rescale,
    "power_rescale(1, 2)": lambda: power_rescale(1, 2),
    "symmetry_from_action((A, rest), (a * A, rest), a)": lambda: symmetry_from_action((A, rest), (a * A, rest), a),
    "symmetry_from_action((x, y), (a * x, y / a**2), a)": lambda: symmetry_from_action((x, y), (a * x, y / a**2), a),
    "linear_symmetry([[0, 1], [0, 0]])": lambda: linear_symmetry([[0, 1], [0, 0]]),
    "x / y": lambda: x / y,
    "theorem_1(translation())": lambda: theorem_1(translation()),
    "theorem_1(scale())": lambda: theorem_1(scale()),
    "theorem_1(rescale())": lambda: theorem_1(rescale()),
    "noether(rescale())": lambda: noether(rescale()),
    "gradient_flow()": gradient_flow,
    "gradient_flow(weight_decay=True)": lambda: gradient_flow(weight_decay=True),
    "gradient_flow(momentum=True)": lambda: gradient_flow(momentum=True),
    "sgd()": sgd,
    "sgd(weight_decay=False)": lambda: sgd(weight_decay=False),
    "sgd(momentum=True, weight_decay=False)": lambda: sgd(momentum=True, weight_decay=False),
    "sgd(momentum=True, dampening=True, weight_decay=False)": lambda: _sgd(weight_decay=False),
    "sgd(momentum=True, dampening=True, weight_decay=False, first_step='zero')":
        lambda: _sgd(weight_decay=False, first_step="zero"),
    "modified_loss(sgd(weight_decay=False))": lambda: modified_loss(sgd(weight_decay=False)),
    "modified_loss(sgd())": lambda: modified_loss(sgd()),
    "modified_loss(sgd(weight_decay=False), loss=a * x**2 / 2, variables=(x,))":
        lambda: modified_loss(sgd(weight_decay=False), loss=a * x**2 / 2, variables=(x,)),
    "modified_flow(sgd(weight_decay=False))": lambda: modified_flow(sgd(weight_decay=False)),
    "modified_flow(sgd(momentum=True, weight_decay=False))": lambda: modified_flow(sgd(momentum=True, weight_decay=False)),
    "modified_flow(sgd(momentum=True, dampening=True))": lambda: modified_flow(_sgd()),
    "modified_flow(runge_kutta('euler'), field={x: -y, y: x}, order=1)":
        lambda: modified_flow(runge_kutta("euler"), field={x: -y, y: x}, order=1),
    "modified_flow(runge_kutta('euler'), field={x: -y, y: x}, order=sp.oo).matrix[0]":
        lambda: modified_flow(runge_kutta("euler"), field={x: -y, y: x}, order=sp.oo).matrix[0],
    "solve(law(translation(), sgd()))": lambda: solve(law(translation(), sgd())),
    "solve(law(scale(), sgd()))": lambda: solve(law(scale(), sgd())),
    "solve(law(rescale(), sgd()))": lambda: solve(law(rescale(), sgd())),
    "law(translation(), sgd(), keep_weight_decay_squared=True)":
        lambda: law(translation(), sgd(), keep_weight_decay_squared=True),
    "law(scale(), sgd(), keep_weight_decay_squared=True)": lambda: law(scale(), sgd(), keep_weight_decay_squared=True),
    "law(rescale(), sgd(), keep_weight_decay_squared=True)": lambda: law(rescale(), sgd(), keep_weight_decay_squared=True),
    "law(translation(), sgd(), sp.oo)": lambda: law(translation(), sgd(), sp.oo),
    "law(translation(), sgd(), sp.oo).stiffness": lambda: law(translation(), sgd(), sp.oo).stiffness,
    "stochastic_modified_equation(sgd(weight_decay=False), 1)":
        lambda: stochastic_modified_equation(sgd(weight_decay=False), 1),
    "stochastic_modified_equation(sgd(), 2)": lambda: stochastic_modified_equation(sgd(), 2),
    "ito_law(scale(), sgd())": lambda: ito_law(scale(), sgd()),
    "solve(law(translation(), sgd(momentum=True, dampening=True)))": lambda: solve(law(translation(), _sgd())),
    "solve(law(scale(), sgd(momentum=True, dampening=True)))": lambda: solve(law(scale(), _sgd())),
    "solve(law(rescale(), sgd(momentum=True, dampening=True)))": lambda: solve(law(rescale(), _sgd())),
    "discrete_law(translation(), sgd())": lambda: discrete_law(translation(), sgd()),
    "discrete_law(scale(), sgd())": lambda: discrete_law(scale(), sgd()),
    "discrete_law(rescale(), sgd())": lambda: discrete_law(rescale(), sgd()),
})  # fmt: skip
"""Call -> object. Of its letters ``x``, ``y``, ``A`` (θ_A) and ``rest`` (other parameters) are real, ``a`` is positive."""


@cache
def derived(call: str) -> Any:
    """What a call derives, once.

    >>> derived("solve(law(translation(), sgd()))").law.stiffness
    lambda

    Raises
    ------
    KeyError
        For a call that is not in the table.
    """
    return OBJECTS[call]()


@cache
def steps_of(call: str) -> tuple[Derivation, ...]:
    """How what a call derives follows, step by step; empty for what is a premise, such as an update rule.

    >>> [derivation.title for derivation in steps_of("solve(law(translation(), sgd()))")]
    ['law of the translation charge, modified loss, order 1', 'check of the solution']
    """
    result = derived(call)
    if isinstance(result, Derivation):
        return (result,)
    if isinstance(result, Symmetry):
        return (relation_steps(result),)
    try:
        return sheet(result).derivations
    except TypeError:  # a premise, or a value
        return ()
