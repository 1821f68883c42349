"""Numerical evaluation of derived laws on numpy and torch: special functions, generated kernels, propagators."""

from numerics.kernel import Kernel, KernelError, compile_kernel
from numerics.propagate import State, advance, propagate, start
from numerics.step_matrices import PropagationError

__all__ = ["Kernel", "KernelError", "PropagationError", "State", "advance", "compile_kernel", "propagate", "start"]
