"""Numerical evaluation of derived laws on numpy and torch: special functions, generated kernels, propagators."""

from numerics.kernel import Kernel, KernelError, compile_kernel
from numerics.propagate import PropagationError, advance, propagate

__all__ = ["Kernel", "KernelError", "PropagationError", "advance", "compile_kernel", "propagate"]
