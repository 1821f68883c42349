"""The modified equation of a linear field to all orders: θ' = (1/h) log(Z) θ, Z the slow part of one step.

On y' = Ay the method multiplies each eigenvector of A by z(−h·eigenvalue), the root near 1 of its characteristic polynomial:
I − ηA for gradient descent, the companion matrix's slow root for momentum. The logarithm is the principal one. An affine
field Ay + c is linear in (y, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.concrete_equation import (
    Expressions,
    Method,
    aligned,
    expect_method,
    expect_no_clash,
    force_of,
    read_field,
    step_of,
)
from derive.update_rule import UnsupportedError
from derive.validity import Validity, slow_multiplier, stiffness, validity

_eigenvalue = sp.Dummy("a")


@dataclass(frozen=True)
class LinearEquation:
    """θ' = Sθ + s, exact: its flow, looked at every h, is the sequence of iterates on the slow subspace.

    Parameters
    ----------
    rule, variables, original, step
        As in :class:`derive.concrete_equation.ConcreteEquation`.
    matrix, constant
        S = (1/h) log Z and s.
    multipliers
        The eigenvalues of Z: by what a step multiplies each eigenvector. See :attr:`conditions` where they hold symbols.

    Examples
    --------
    Euler on a rotation spirals out at the rate ln(1 + h²)/(2h), which begins with h/2 (Kunin et al. 2021, Fig. 7):

    >>> from derive import modified_flow, runge_kutta
    >>> x, y = sp.symbols("x y")
    >>> exact = modified_flow(runge_kutta("euler"), field={x: -y, y: x}, order=sp.oo)
    >>> exact.matrix
    Matrix([
    [log(h**2 + 1)/(2*h),          -atan(h)/h],
    [          atan(h)/h, log(h**2 + 1)/(2*h)]])
    """

    rule: Method
    variables: tuple[sp.Symbol, ...]
    original: Expressions
    step: sp.Expr
    matrix: sp.ImmutableMatrix
    constant: sp.ImmutableMatrix
    multipliers: Expressions

    @property
    def order(self) -> sp.Expr:
        """All of them."""
        return sp.oo

    @property
    def field(self) -> Expressions:
        """Sθ + s."""
        return tuple(self.matrix * sp.Matrix(self.variables) + self.constant)

    @property
    def conditions(self) -> tuple[sp.Expr, ...]:
        """z real, then z > 0, for each multiplier that holds symbols: where one fails, there is no real equation."""
        real = list(dict.fromkeys(z for z in self.multipliers if z.free_symbols and not z.has(sp.I)))
        roots = dict.fromkeys(power.base for z in real for power in z.atoms(sp.Pow) if power.exp == sp.S.Half)
        return (*(base >= 0 for base in roots if base.free_symbols), *(z > 0 for z in real))

    @property
    def validity(self) -> Validity:
        """How far the series of this equation in h converges, which may be less far than the equation goes."""
        return validity(self.rule)

    @property
    def is_gradient(self) -> bool:
        """Whether it is −∇ of a loss: S is symmetric."""
        return all(sp.simplify(entry) == 0 for entry in self.matrix - self.matrix.T)

    @property
    def loss(self) -> sp.Expr | None:
        """−θᵀSθ/2 − sᵀθ, or None if S is not symmetric."""
        theta = sp.Matrix(self.variables)
        quadratic = -(theta.T * self.matrix * theta)[0] / 2 - (self.constant.T * theta)[0]
        return sp.expand(quadratic) if self.is_gradient else None

    @property
    def reason(self) -> str:
        """Why there is no loss, or ""."""
        return "" if self.is_gradient else f"θ' is no gradient: its matrix is not symmetric, {self.matrix.tolist()}"

    def _repr_latex_(self) -> str:
        return aligned(self.variables, self.field)


def linear_equation(rule: Method, field: Any, variables: Any = None) -> LinearEquation:
    """The modified equation of ``rule`` on an affine field, to all orders: :func:`derive.modified_flow` with ``order=oo``.

    Raises
    ------
    UnsupportedError
        If the field is not affine, or a step multiplies an eigenvector of a real eigenvalue by a z that is not positive: 0,
        negative, or, outside the range of the slow flow, complex. No real first-order equation does that.
    """
    expect_method(rule)
    names, components = read_field(field, variables)
    expect_no_clash(rule, components, names)
    force = force_of(rule, components, names)
    bordered = _bordered(_jacobian(force, names), force, names)
    step = step_of(rule)
    z = slow_multiplier(rule).subs(stiffness, -step * _eigenvalue)
    multipliers, whole = _by_projectors(z, bordered) if _has_long_roots(bordered) else _by_jordan_form(z, bordered)
    logarithm = whole.applyfunc(lambda entry: _collected(entry / step))
    if logarithm.has(sp.nan, sp.oo, sp.zoo):
        raise UnsupportedError(f"field: expected a logarithm that exists, got a defective {force} just where the "
                               "roots of the rule meet; take a smaller step")  # fmt: skip
    n = len(names)
    constant = logarithm[:n, n:] if bordered.shape[0] > n else sp.zeros(n, 1)
    return LinearEquation(
        rule, names, force, step, sp.ImmutableMatrix(logarithm[:n, :n]), sp.ImmutableMatrix(constant), multipliers
    )


def _jacobian(force: Expressions, names: Sequence[sp.Symbol]) -> sp.Matrix:
    matrix = sp.Matrix(force).jacobian(sp.Matrix(names)).applyfunc(sp.expand)
    if matrix.free_symbols & set(names):
        raise UnsupportedError(f"order: expected a linear field (quadratic loss) for order=oo, got {force}; "
                               "a nonlinear one has its series, order=n")  # fmt: skip
    return matrix


def _bordered(matrix: sp.Matrix, force: Expressions, names: Sequence[sp.Symbol]) -> sp.Matrix:
    """A, or [[A, c], [0, 0]] for Ay + c."""
    constant = sp.Matrix(force).subs(dict.fromkeys(names, 0))
    if constant.is_zero_matrix:
        return matrix
    return matrix.row_join(constant).col_join(sp.zeros(1, len(names) + 1))


def _expect_flow(z: sp.Expr, eigenvalue: sp.Expr) -> sp.Expr:
    """z, unless it is known that no real flow multiplies an eigenvector of this eigenvalue by it."""
    turned = eigenvalue.is_real and z.is_number and not z.is_real
    if z.is_zero or z.is_negative or turned:
        raise UnsupportedError(f"field: expected a step that multiplies the eigenvector of {eigenvalue} by a positive "
                               f"number, got {z}, which no real flow does; take a smaller step")  # fmt: skip
    return z


def _has_long_roots(matrix: sp.Matrix) -> bool:
    """Whether an eigenvalue is no rational function or square root: then radicals are avoided."""
    _, factors = _characteristic(matrix).factor_list()
    return any(factor.degree() > 2 for factor, _ in factors)


def _characteristic(matrix: sp.Matrix) -> sp.Poly:
    """det(aI − A); ``charpoly`` would rename the symbol where the matrix holds one of that name."""
    return sp.Poly(matrix.charpoly().all_coeffs(), _eigenvalue)


def _by_projectors(z: sp.Expr, matrix: sp.Matrix) -> tuple[Expressions, sp.Matrix]:
    """log z(A) = Σ_a log z(a) adj(aI − A)/χ'(a) over the simple eigenvalues a of a matrix of numbers (Higham 2008, 1.2)."""
    characteristic = _characteristic(matrix)
    if matrix.free_symbols or not characteristic.is_sqf or characteristic.domain not in (sp.ZZ, sp.QQ):
        raise UnsupportedError("field: expected rational numbers and simple eigenvalues where an eigenvalue is the root of "
                               f"an irreducible polynomial of degree 3 or more, got {characteristic.as_expr()}; "
                               "put in numbers, or take order=n")  # fmt: skip
    adjugate = (_eigenvalue * sp.eye(matrix.shape[0]) - matrix).adjugate() / characteristic.diff().as_expr()
    multipliers, total = [], sp.zeros(*matrix.shape)
    for root in characteristic.all_roots():
        multipliers.append(_expect_flow(z.subs(_eigenvalue, root), root))
        total += sp.log(multipliers[-1]) * adjugate.subs(_eigenvalue, root)
    return tuple(multipliers), total


def _by_jordan_form(z: sp.Expr, matrix: sp.Matrix) -> tuple[Expressions, sp.Matrix]:
    """log z(A) = P log z(J) P⁻¹."""
    P, J = matrix.jordan_form()
    multipliers = tuple(_expect_flow(sp.cancel(z.subs(_eigenvalue, a)), a) for a in J.diagonal())
    return multipliers, P * _logarithm(z, J) * P.inv()


def _logarithm(z: sp.Expr, J: sp.Matrix) -> sp.Matrix:
    """log z of a Jordan matrix: the Taylor coefficients at each eigenvalue along the superdiagonals of its block."""
    image, start = sp.zeros(*J.shape), 0
    while start < J.shape[0]:
        size = 1
        while start + size < J.shape[0] and J[start + size - 1, start + size] == 1:
            size += 1
        for k in range(size):
            slope = sp.diff(sp.log(z), _eigenvalue, k).subs(_eigenvalue, J[start, start]) / sp.factorial(k)
            value = _principal_logarithm(sp.cancel(slope.args[0])) if isinstance(slope, sp.log) else sp.cancel(slope)
            for i in range(size - k):
                image[start + i, start + i + k] = value
        start += size
    return image


def _collected(entry: sp.Expr) -> sp.Expr:
    """A sum of logarithms and angles, each with one coefficient."""
    if entry.has(sp.CRootOf):
        return entry
    entry = sp.expand(entry)
    parts = sorted(entry.atoms(sp.log, sp.atan, sp.atan2), key=sp.default_sort_key)
    return sp.collect(entry, parts, lambda c: sp.radsimp(sp.together(c)))


def _principal_logarithm(z: sp.Expr) -> sp.Expr:
    """log |z| + i arg z where z is a fraction with i in it, else log z."""
    if not z.has(sp.I) or any(power.exp.is_Rational and not power.exp.is_Integer for power in z.atoms(sp.Pow)):
        return sp.log(z)
    real, imaginary = (sp.cancel(sp.together(part)) for part in sp.expand_complex(z).as_real_imag())
    modulus = sp.factor(sp.cancel(real**2 + imaginary**2))
    return sp.log(modulus) / 2 + sp.I * _angle(real, imaginary)


def _angle(real: sp.Expr, imaginary: sp.Expr) -> sp.Expr:
    """atan2 without a common positive denominator, and odd in its first argument, so that conjugates cancel."""
    if imaginary.could_extract_minus_sign():
        return -_angle(real, -imaginary)
    below = sp.lcm(sp.denom(real), sp.denom(imaginary))
    scale = below if below.is_positive else sp.S.One
    return sp.atan2(sp.cancel(imaginary * scale), sp.cancel(real * scale))
