"""Numerical evaluation of derived laws on numpy and torch: special functions, generated kernels, propagators, flows."""

from numerics.concrete_field import FlowError
from numerics.discrete_rule import iterate
from numerics.flows import ObservedOrder, OutsideValidityWarning, integrate, observed_order
from numerics.kernel import FieldKernel, Kernel, StepKernel, compile_field, compile_kernel
from numerics.propagate import State, advance, propagate, start
from numerics.source import KernelError
from numerics.step_matrices import PropagationError

__all__ = [
    "FieldKernel",
    "FlowError",
    "Kernel",
    "KernelError",
    "ObservedOrder",
    "OutsideValidityWarning",
    "PropagationError",
    "State",
    "StepKernel",
    "advance",
    "compile_field",
    "compile_kernel",
    "integrate",
    "iterate",
    "observed_order",
    "propagate",
    "start",
]
