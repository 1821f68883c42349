"""Numerical evaluation of derived laws on numpy and torch: special functions, generated kernels, propagators."""

from numerics.concrete_field import FlowError
from numerics.discrete_rule import iterate
from numerics.flows import ObservedOrder, OutsideValidityWarning, integrate, observed_order
from numerics.kernel import Kernel, KernelError, compile_kernel
from numerics.propagate import PropagationError, propagate

__all__ = [
    "FlowError",
    "Kernel",
    "KernelError",
    "ObservedOrder",
    "OutsideValidityWarning",
    "PropagationError",
    "compile_kernel",
    "integrate",
    "iterate",
    "observed_order",
    "propagate",
]
