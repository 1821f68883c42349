"""The flow of an affine vector field X(θ) = Mθ + c: θ ↦ e^{sM}θ + ∫_0^s e^{uM}c du.

A closed form is given where the eigenvalues allow one without branching; otherwise the entries of e^{sM} stay as they
are, as atoms that know all that is needed of them: e^{0M} = I, d/ds e^{sM} = Me^{sM}, and the addition theorem
e^{(a+b)M} = e^{aM}e^{bM}. An explicit formula for an eigenvalue that is the root of a cubic is of no use to anyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mpmath
import sympy as sp

LARGEST_CLOSED_FORM = 4
"""Rows of a coupled block beyond which the entries of its exponential are left as they are."""


class FlowEntry(sp.Expr):
    """(e^{sM})_{ij}, with M an exact square matrix and i, j counted from 0.

    Examples
    --------
    >>> s = sp.Symbol("s", real=True)
    >>> M = sp.Matrix([[1, 2], [3, 4]])
    >>> FlowEntry(M, 0, 1, 0), FlowEntry(M, 0, 1, s).diff(s).subs(s, 0)
    (0, 2)

    The addition theorem is one of :func:`sympy.expand`'s, like that of the sine:

    >>> a, b = sp.symbols("a b", real=True)
    >>> product = sum(FlowEntry(M, 0, k, a) * FlowEntry(M, k, 1, b) for k in range(2))
    >>> sp.expand(FlowEntry(M, 0, 1, a + b), trig=True) - product
    0
    """

    is_commutative = True
    is_real = True

    def __new__(cls, matrix, row, column, parameter):
        matrix, parameter = sp.ImmutableMatrix(matrix), sp.sympify(parameter, strict=True)
        i, j = int(row), int(column)
        if parameter == 0 or matrix.row(i).is_zero_matrix:
            return sp.S.One if i == j else sp.S.Zero
        return sp.Expr.__new__(cls, matrix, sp.Integer(i), sp.Integer(j), parameter)

    def _eval_derivative(self, s):
        matrix, i, j, parameter = self.args
        if s in matrix.free_symbols:
            return sp.Derivative(self, s, evaluate=False)
        entries = (matrix[i, k] * FlowEntry(matrix, k, j, parameter) for k in range(matrix.rows))
        return parameter.diff(s) * sp.Add(*entries)

    def _eval_expand_trig(self, **hints):
        matrix, i, j, parameter = self.args
        if not parameter.is_Add:
            return self
        first, *others = sorted(parameter.args, key=sp.default_sort_key)
        rest = sp.Add(*others)
        entries = (FlowEntry(matrix, i, k, first) * FlowEntry(matrix, k, j, rest) for k in range(matrix.rows))
        return sp.Add(*entries).expand(trig=True)

    def _eval_evalf(self, prec):
        matrix, i, j, parameter = self.args
        if self.free_symbols:
            return self
        return sp.Float(_numerically(matrix * parameter, prec)[int(i), int(j)], precision=prec)

    def _sympystr(self, printer):
        matrix, i, j, parameter = self.args
        return f"exp({printer._print(parameter)}*{matrix.tolist()})[{i}, {j}]"

    def _latex(self, printer, exp=None):
        matrix, i, j, parameter = self.args
        text = rf"\left[e^{{{printer._print(parameter)} {printer._print(matrix)}}}\right]_{{{i + 1},{j + 1}}}"
        return text if exp is None else rf"{text}^{{{exp}}}"


@lru_cache(maxsize=64)
def _numerically(exponent: sp.ImmutableMatrix, prec: int) -> Any:
    """mpmath's exponential, kept, since all entries of one matrix are asked for in turn."""
    with mpmath.workprec(2 * prec):
        return mpmath.expm(mpmath.matrix(exponent.evalf(mpmath.mp.dps).tolist()))


def affine_flow(M: sp.MatrixBase, c: sp.MatrixBase, s: sp.Expr) -> tuple[sp.ImmutableMatrix, sp.ImmutableMatrix]:
    """(e^{sM}, ∫_0^s e^{uM}c du), both from one exponential: that of [[M, c], [0, 0]].

    >>> s = sp.Symbol("s", real=True)
    >>> affine_flow(sp.Matrix([[1]]), sp.Matrix([[2]]), s)  # θ' = θ + 2
    (Matrix([[exp(s)]]), Matrix([[2*exp(s) - 2]]))
    """
    size = M.rows
    generator = sp.Matrix(M).row_join(c).col_join(sp.zeros(1, size + 1))
    flow = matrix_exponential(generator, s)
    return flow[:size, :size], flow[:size, size:]


def matrix_exponential(matrix: sp.MatrixBase, s: sp.Expr) -> sp.ImmutableMatrix:
    """e^{sM}, one block of coupled rows at a time: in closed form, or by :class:`FlowEntry`.

    >>> s = sp.Symbol("s", real=True)
    >>> matrix_exponential(sp.Matrix([[0, -1], [1, 0]]), s)
    Matrix([
    [cos(s), -sin(s)],
    [sin(s),  cos(s)]])
    """
    result = sp.zeros(*matrix.shape)
    for rows in matrix.connected_components():
        block = sp.ImmutableMatrix(matrix.extract(rows, rows))
        found = _closed_form(block, s)
        if found is None:
            found = sp.Matrix(*block.shape, lambda i, j, block=block: FlowEntry(block, i, j, s))
        for i, row in enumerate(rows):
            for j, column in enumerate(rows):
                result[row, column] = found[i, j]
    return sp.ImmutableMatrix(result)


@dataclass(frozen=True)
class _Factor:
    """f^k, a factor of a polynomial in z that annihilates M, with f monic of degree 1 or 2, irreducible."""

    base: sp.Poly
    power: int

    @property
    def center(self) -> sp.Expr:
        """α of f = z − α, or f = (z − α)² − δ."""
        return -self.base.nth(self.base.degree() - 1) / self.base.degree()

    @property
    def split(self) -> sp.Expr:
        """δ of f = (z − α)² − δ."""
        return self.center**2 - self.base.nth(0)


def _closed_form(block: sp.ImmutableMatrix, s: sp.Expr) -> sp.Matrix | None:
    """Σ_f π_f(M) e^{sM}: π_f(M) projects on the kernel of f(M)^k, where e^{s(M−α)} is a finite sum."""
    factors = _factors(block) if block.rows <= LARGEST_CLOSED_FORM else None
    if factors is None:
        return None
    total = sp.zeros(*block.shape)
    for factor in factors:
        total += _projector(factor, factors, block) * _exponential_on(factor, block, s)
    total = total.applyfunc(lambda entry: sp.expand(entry))
    return None if any(map(_divides_by_symbols, total)) else total


def _factors(block: sp.ImmutableMatrix) -> list[_Factor] | None:
    """The factors of the characteristic polynomial, of their product without multiplicity if that annihilates M too."""
    z = sp.Dummy("z")
    polynomial = sp.Poly(block.charpoly().all_coeffs(), z).to_field()
    if not (polynomial.domain.is_QQ or polynomial.domain.is_FractionField):
        return None
    factors = [_Factor(base.monic(), power) for base, power in polynomial.factor_list()[1]]
    simple = sp.prod((f.base for f in factors), start=sp.Poly(1, z, domain=polynomial.domain))
    if _at_matrix(simple, block).is_zero_matrix:
        factors = [_Factor(f.base, 1) for f in factors]
    solvable = all(f.base.degree() == 1 or (f.base.degree() == 2 and f.power == 1) for f in factors)
    return factors if solvable else None


def _projector(factor: _Factor, factors: list[_Factor], block: sp.ImmutableMatrix) -> sp.Matrix:
    """π_f(M) with π_f ≡ 1 modulo f^k and π_f ≡ 0 modulo the other factors."""
    others = [f.base**f.power for f in factors if f is not factor]
    rest = sp.prod(others, start=factor.base.one)
    return _at_matrix((rest.invert(factor.base**factor.power) if others else rest) * rest, block)


def _exponential_on(factor: _Factor, block: sp.ImmutableMatrix, s: sp.Expr) -> sp.Matrix:
    """e^{sM} on the kernel of f(M)^k."""
    shifted = block - factor.center * sp.eye(block.rows)
    if factor.base.degree() == 1:
        series = (shifted**k * s**k / sp.factorial(k) for k in range(factor.power))
        return sp.exp(factor.center * s) * sum(series, sp.zeros(*block.shape))
    root = sp.sqrt(factor.split)
    return sp.exp(factor.center * s) * (sp.cosh(root * s) * sp.eye(block.rows) + sp.sinh(root * s) / root * shifted)


def _at_matrix(polynomial: sp.Poly, block: sp.ImmutableMatrix) -> sp.Matrix:
    total = sp.zeros(*block.shape)
    for coefficient in polynomial.all_coeffs():  # Horner
        total = total * block + coefficient * sp.eye(block.rows)
    return total.applyfunc(sp.cancel)


def _divides_by_symbols(entry: sp.Expr) -> bool:
    """Such a form fails where two eigenvalues meet; :class:`FlowEntry` does not."""
    return any(power.exp.could_extract_minus_sign() and power.base.free_symbols for power in entry.atoms(sp.Pow))
