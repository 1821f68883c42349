"""Loaded before anything is collected, so that a module read for its doctests is the one that the tests import."""

import derive
import numerics

__all__ = ["derive", "numerics"]
