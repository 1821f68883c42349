"""Numerical evaluation of derived laws on numpy and torch: special functions, generated kernels, propagators."""

from numerics.kernel import FieldKernel, Kernel, StepKernel, compile_field, compile_kernel
from numerics.propagate import State, advance, propagate, start
from numerics.source import KernelError
from numerics.step_matrices import PropagationError

__all__ = [
    "FieldKernel",
    "Kernel",
    "KernelError",
    "PropagationError",
    "State",
    "StepKernel",
    "advance",
    "compile_field",
    "compile_kernel",
    "propagate",
    "start",
]
