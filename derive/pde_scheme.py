"""The partial differential equation that a finite-difference scheme really solves (Warming & Hyett 1974).

A step in time is e^{dt ∂_t}, a shift in space e^{dx ∂_x}: the idea of :mod:`derive.modified_equation`, with the logarithm
of a map on grid functions. A linear scheme with constant coefficients acts on e^{zx/dx} by its amplification symbol g(z),
and its modified equation is u_t = (1/dt) log g(dx ∂_x) u. The series is exact to any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp
from sympy.polys.fields import FracElement, FracField
from sympy.polys.polyerrors import CoercionFailed

from derive.derivation import Derivation, Step
from derive.formal_series import Series, add, divide, exponential, multiply
from derive.linear_combination import linear_combination

dx = sp.Symbol("dx", positive=True)
dt = sp.Symbol("dt", positive=True)
x, t = sp.symbols("x t", real=True)
u = sp.Function("u")(x, t)


class SchemeError(ValueError):
    """A stencil that is no scheme, or no scheme for the equation stated."""


@dataclass(frozen=True)
class Scheme:
    """Σ A_{n,j} u(x + j dx, t + n dt) = 0, solved for the level n = 1: a scheme for u_t = Σ_k a_k ∂_x^k u.

    Several levels (leapfrog) and an implicit level 1 (Crank–Nicolson) are covered. Build it with :func:`finite_difference`.

    Parameters
    ----------
    name
        How to call it.
    stencil
        Pairs of (time level n, space offset j) and A_{n,j} ≠ 0, a rational function of symbols. Level 1 is the new one.
    time_step
        dt, written with a mesh number that is held when dx → 0, such as ``nu*dx/a``; or the symbol ``dt`` itself, which is
        then taken to shrink as dx^p, p the highest derivative in ``equation``.
    equation
        The equation to be solved, as pairs of k ≥ 1 and a_k ≠ 0.

    Raises
    ------
    SchemeError
        If the stencil has no new level, a constant is not a solution (g(0) ≠ 1), the equation's root g = 1 is not simple,
        or the limit dx → 0 is another equation.
    """

    name: str
    stencil: tuple[tuple[tuple[int, int], sp.Expr], ...]
    time_step: sp.Expr
    equation: tuple[tuple[int, sp.Expr], ...]

    def __post_init__(self) -> None:
        self._check_form()
        self._check_root()
        self._check_limit()

    def _check_form(self) -> None:
        if not self.levels or max(self.levels) != 1 or len(self.levels) < 2:
            raise SchemeError(f"stencil of {self.name!r}: expected a new time level 1 and a known level below it, "
                              f"got levels {self.levels}; shift the levels so that the newest is 1")  # fmt: skip
        if not self.equation or any(k < 1 for k, _ in self.equation):
            raise SchemeError(
                f"equation of {self.name!r}: expected k -> a_k with derivatives k >= 1, got {dict(self.equation)}"
            )
        if self.time_step == 0:
            raise SchemeError(f"time_step of {self.name!r}: expected a positive step, got 0")

    def _check_root(self) -> None:
        total, slope = sum(c for _, c in self.stencil), sum(n * c for (n, _), c in self.stencil)
        if self.field.from_expr(total) != 0:
            raise SchemeError(f"stencil of {self.name!r}: expected coefficients with sum 0, so that a constant is kept "
                              f"(g(0) = 1), got {sp.factor(total)}")  # fmt: skip
        if self.field.from_expr(slope) == 0:
            raise SchemeError(f"stencil of {self.name!r}: expected g = 1 to be a simple root at wavenumber 0, got a "
                              "multiple one; the equation is not of first order in time")  # fmt: skip

    def _check_limit(self) -> None:
        wanted = dict(self.equation)
        for k, got in enumerate(_coefficients(self, self.equation_order), start=1):
            error = got - self.field.from_expr(wanted.get(k, sp.S.Zero))
            if error != 0 and self._power(error) <= 0:
                raise SchemeError(f"equation of {self.name!r}: expected coefficient {wanted.get(k, 0)} of the derivative of "
                                  f"order {k}, the stencil gives {sp.factor(got.as_expr())}; correct the stencil, "
                                  "time_step or equation")  # fmt: skip

    def _power(self, element: FracElement) -> int:
        """The power of dx that ``element`` is of, when dx → 0 along the refinement path."""
        weights = [{dx: 1, dt: self.equation_order}.get(symbol, 0) for symbol in self.field.symbols]

        def lowest(polynomial):
            return min(sum(w * e for w, e in zip(weights, powers, strict=True)) for powers in polynomial.monoms())

        return lowest(element.numer) - lowest(element.denom)

    @property
    def levels(self) -> tuple[int, ...]:
        """The time levels that occur, ascending."""
        return tuple(sorted({n for (n, _), c in self.stencil if c != 0}))

    @property
    def equation_order(self) -> int:
        """The highest space derivative of the equation to be solved."""
        return max(k for k, _ in self.equation)

    @cached_property
    def field(self) -> FracField:
        """Rational functions over ℚ in all symbols of the scheme: where its series are computed."""
        parts = [c for _, c in (*self.stencil, *self.equation)] + [self.time_step, dx]
        return FracField(sorted(set().union(*(part.free_symbols for part in parts)), key=str), sp.QQ)

    def symbol(self, growth: sp.Expr, phase: sp.Expr) -> sp.Expr:
        """Σ A_{n,j} gⁿ e^{ijξ}, whose roots g are the amplification factors of e^{ikx}, ξ = k dx.

        >>> from derive.schemes import leapfrog
        >>> g, xi = sp.symbols("g xi")
        >>> leapfrog().symbol(g, xi).subs(xi, 0).factor()
        (g - 1)*(g + 1)/g
        """
        return sp.Add(*(c * growth**n * sp.exp(sp.I * j * phase) for (n, j), c in self.stencil))

    def _repr_latex_(self) -> str:
        terms = ((c, f"u^{{{_index('n', n)}}}_{{{_index('i', j)}}}") for (n, j), c in reversed(self.stencil))
        return f"${linear_combination(terms)} = 0$"


def finite_difference(
    name: str, stencil: Mapping[tuple[int, int], Any], time_step: Any, equation: Mapping[int, Any]
) -> Scheme:
    """The scheme with Σ A_{n,j} u(x + j dx, t + n dt) = 0, from mappings (n, j) -> A_{n,j} and k -> a_k.

    Raises
    ------
    SchemeError
        As :class:`Scheme`; also for keys that are no integers and for coefficients that are not exact rational functions.

    Examples
    --------
    >>> a, nu = sp.symbols("a nu")
    >>> finite_difference("central", {(1, 0): 1, (0, 0): -1, (0, 1): nu / 2, (0, -1): -nu / 2}, nu * dx / a, {1: -a}).levels
    (0, 1)
    >>> finite_difference("forgetful", {(1, 0): 1, (0, 0): -nu}, nu * dx / a, {1: -a})
    Traceback (most recent call last):
    derive.pde_scheme.SchemeError: stencil of 'forgetful': expected coefficients with sum 0, so that a constant is kept
    (g(0) = 1), got 1 - nu
    """
    return Scheme(name, _frozen("stencil", stencil), _exact("time_step", time_step), _frozen("equation", equation))


def _index(letter: str, shift: int) -> str:
    return f"{letter}{shift:+d}" if shift else letter


def _exact(name: str, value: Any) -> sp.Expr:
    expr = sp.sympify(value, strict=True)
    try:
        FracField(sorted(expr.free_symbols, key=str) or [dx], sp.QQ).from_expr(expr)
    except (ValueError, CoercionFailed) as error:
        raise SchemeError(
            f"{name}: expected a rational function with rational numbers, got {expr}; use symbols for the rest"
        ) from error
    if expr.has(sp.Float):
        raise SchemeError(f"{name}: expected exact numbers, got {expr}; write Rational('0.1')")
    return expr


def _frozen(name: str, items: Mapping) -> tuple:
    try:
        pairs = dict(items)
    except (TypeError, ValueError) as error:
        raise SchemeError(f"{name}: expected a mapping of integers to coefficients, got {items!r}") from error
    for key in pairs:
        if not all(isinstance(i, int) for i in (key if isinstance(key, tuple) else (key,))):
            raise SchemeError(f"{name}: expected integers as levels, offsets and derivatives, got {key!r}")
    return tuple(sorted((key, _exact(name, value)) for key, value in pairs.items() if value != 0))


@dataclass(frozen=True)
class ModifiedPDE:
    """u_t = Σ_{k=1}^{K} c_k ∂_x^k u: the equation that the smooth solutions of ``scheme`` obey, up to the derivative K.

    Parameters
    ----------
    scheme
        What it is the equation of.
    coefficients
        c_1 … c_K, exact.

    Examples
    --------
    Numerical diffusion of the upwind scheme (Warming & Hyett 1974; LeVeque 2002, section 8.6):

    >>> from derive.schemes import upwind
    >>> modified_pde(upwind(), 2).coefficients
    (-a, -a*dx*(nu - 1)/2)
    """

    scheme: Scheme
    coefficients: tuple[sp.Expr, ...]

    @property
    def order(self) -> int:
        """K, the highest derivative kept."""
        return len(self.coefficients)

    @property
    def errors(self) -> dict[int, sp.Expr]:
        """k -> c_k − a_k, where it is not 0."""
        wanted = dict(self.scheme.equation)
        differences = {k: sp.factor(c - wanted.get(k, 0)) for k, c in enumerate(self.coefficients, start=1)}
        return {k: error for k, error in differences.items() if error != 0}

    @property
    def leading_error(self) -> tuple[int, sp.Expr] | None:
        """(k, c_k − a_k) of the lowest power of dx; None if the scheme is exact as far as derivatives are kept.

        An even k dissipates (or amplifies), an odd k disperses.

        >>> from derive.schemes import lax_wendroff, upwind
        >>> modified_pde(lax_wendroff(), 4).leading_error
        (3, a*dx**2*(nu - 1)*(nu + 1)/6)
        >>> modified_pde(upwind(courant=1), 12).leading_error is None
        True
        """
        powers = {k: self._power(error) for k, error in self.errors.items()}
        first = min(powers, key=lambda k: (powers[k], k), default=None)
        return None if first is None else (first, self.errors[first])

    @property
    def accuracy(self) -> int | None:
        """The order of accuracy: the power of dx in :attr:`leading_error`; None if that is None.

        >>> from derive.schemes import ftcs, lax_wendroff, upwind
        >>> [modified_pde(scheme(), 6).accuracy for scheme in (upwind, lax_wendroff, ftcs)]
        [1, 2, 2]
        >>> modified_pde(ftcs(diffusion_number=sp.Rational(1, 6)), 6).accuracy
        4
        """
        leading = self.leading_error
        return None if leading is None else self._power(leading[1])

    def _power(self, error: sp.Expr) -> int:
        return self.scheme._power(self.scheme.field.from_expr(error))

    def rate(self, wavenumber: sp.Expr) -> sp.Expr:
        """s of the solution e^{ikx + st}: Σ c_k (ik)^k. Its real part grows or decays, its imaginary part moves the wave.

        >>> from derive.schemes import upwind
        >>> k = sp.Symbol("k", real=True)
        >>> modified_pde(upwind(), 2).rate(k)
        a*dx*k**2*(nu - 1)/2 - I*a*k
        """
        return sp.Add(*(c * (sp.I * wavenumber) ** k for k, c in enumerate(self.coefficients, start=1)))

    def in_steps(self) -> tuple[sp.Expr, ...]:
        """The coefficients in dx and dt, the mesh number eliminated.

        >>> from derive.schemes import lax_friedrichs
        >>> modified_pde(lax_friedrichs(), 2).in_steps()
        (-a, -(a*dt - dx)*(a*dt + dx)/(2*dt))
        """
        step = self.scheme.time_step
        of_equation = set().union(*(c.free_symbols for _, c in self.scheme.equation))
        numbers = step.free_symbols - of_equation - {dx, dt}
        if len(numbers) != 1:
            return self.coefficients
        (number,) = numbers
        (value,) = sp.solve(step - dt, number)
        return tuple(sp.factor(c.subs(number, value)) for c in self.coefficients)

    @property
    def equation(self) -> sp.Eq:
        """The same, written with u(x, t)."""
        right = sp.Add(*(c * sp.Derivative(u, (x, k)) for k, c in enumerate(self.coefficients, start=1)), evaluate=False)
        return sp.Eq(sp.Derivative(u, t), right, evaluate=False)

    @cached_property
    def derivation(self) -> Derivation:
        """A lemma for each derivative: the coefficient of z^k in Σ A e^{nℓ(z) + jz}, ℓ = dt Σ c_k (z/dx)^k, is 0."""
        unknowns = sp.symbols(f"ell_1:{self.order + 1}")
        values = [c * self.scheme.time_step / dx**k for k, c in enumerate(self.coefficients, start=1)]
        matched = (_matching_step(self.scheme, unknowns[:k], values[:k]) for k in range(1, self.order + 1))
        lemmas = tuple(Derivation(step.rule, (step,)) for step in matched)
        step = _reading_step(self, tuple(zip(unknowns, values, strict=True)))
        return Derivation(f"modified equation of the {self.scheme.name} scheme", (step,), lemmas)

    def _repr_latex_(self) -> str:
        upright = {dx: sp.Symbol(r"{\Delta x}", positive=True)}
        terms = (
            (c.xreplace(upright), r"\partial_x u" if k == 1 else rf"\partial_x^{{{k}}} u")
            for k, c in enumerate(self.coefficients, start=1)
        )
        return rf"$\partial_t u = {linear_combination(terms)} + \cdots$"


def modified_pde(scheme: Scheme, order: int) -> ModifiedPDE:
    """The modified equation of ``scheme``, with the derivatives ∂_x … ∂_x^order, exact.

    With several time levels it is that of the physical solution, whose amplification factor tends to 1; the computational
    modes have none.

    Raises
    ------
    SchemeError
        If ``order`` does not reach the highest derivative of the equation that the scheme is for.

    Examples
    --------
    Leapfrog only disperses, and is exact at ν = 1:

    >>> from derive.schemes import leapfrog
    >>> [c for c in modified_pde(leapfrog(), 5).coefficients if c != 0][1:]
    [a*dx**2*(nu - 1)*(nu + 1)/6, -a*dx**4*(nu - 1)*(nu + 1)*(3*nu - 1)*(3*nu + 1)/120]
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < scheme.equation_order:
        raise SchemeError(f"order: expected an integer >= {scheme.equation_order}, the highest derivative in the "
                          f"equation of {scheme.name!r}, got {order!r}")  # fmt: skip
    return ModifiedPDE(scheme, tuple(sp.factor(c.as_expr()) for c in _coefficients(scheme, order)))


def _coefficients(scheme: Scheme, order: int) -> list[FracElement]:
    """c_1 … c_order, from ℓ(z) = log g(z) = dt Σ c_k (z/dx)^k."""
    step, width = scheme.field.from_expr(scheme.time_step), scheme.field.from_expr(dx)
    return [value * width**k / step for k, value in enumerate(_log_symbol(scheme, order)[1:], start=1)]


def _log_symbol(scheme: Scheme, order: int) -> Series:
    """ℓ = log g of the branch g(0) = 1: Newton's iteration for Σ_n s_n(z) e^{nℓ(z)} = 0, twice as many powers a round."""
    symbols = _space_symbols(scheme, order)
    log = [scheme.field.zero] * (order + 1)
    known = 0
    while known < order:
        known = min(2 * known + 1, order)
        powers = {n: multiply(s[: known + 1], exponential([n * c for c in log[: known + 1]])) for n, s in symbols.items()}
        residual = add(list(powers.values()))
        slope = add([[n * c for c in series] for n, series in powers.items()])
        log = [a - b for a, b in zip(log, divide(residual, slope), strict=False)] + log[known + 1 :]
    return log


def _space_symbols(scheme: Scheme, order: int) -> dict[int, Series]:
    """Level n -> s_n(z) = Σ_j A_{n,j} e^{jz}."""
    symbols = {n: [scheme.field.zero] * (order + 1) for n in scheme.levels}
    for (n, j), coefficient in scheme.stencil:
        value = scheme.field.from_expr(coefficient)
        for k in range(order + 1):
            symbols[n][k] += value * sp.QQ(j**k, int(sp.factorial(k)))
    return symbols


def _matching_step(scheme: Scheme, unknowns: Sequence[sp.Symbol], values: Sequence[sp.Expr]) -> Step:
    k = len(unknowns)
    exponent = sum(c * _z**i for i, c in enumerate(unknowns, start=1))
    condition = sum(c * _taylor(n * exponent + j * _z, k) for (n, j), c in scheme.stencil)
    return Step(
        condition,
        sp.S.Zero,
        f"match the derivative of order {k}",
        r"$e^{n dt \partial_t} e^{j dx \partial_x}$ summed over the stencil is 0; with $dt \partial_t = \ell(z)$, "
        rf"$z = dx \partial_x$, this is the power {k} of $z$ in it, and gives $\ell_{{{k}}}$",
        tuple(zip(unknowns, values, strict=True)),
        source="Warming, Hyett 1974",
    )


def _reading_step(found: ModifiedPDE, values: tuple[tuple[sp.Symbol, sp.Expr], ...]) -> Step:
    moved = (ell * dx**k / found.scheme.time_step * sp.Derivative(u, (x, k)) for k, (ell, _) in enumerate(values, start=1))
    reason = r"$\partial_t u = \ell(dx \partial_x) u / dt$, term by term"
    return Step(sp.Add(*moved), found.equation.rhs, "read off the equation", reason, values, source="Warming, Hyett 1974")


_z = sp.Symbol("z")


def _taylor(exponent: sp.Expr, k: int) -> sp.Expr:
    """The coefficient of z^k in e^exponent, exponent(0) = 0."""
    a = [sp.S.Zero, *(sp.expand(exponent).coeff(_z, i) for i in range(1, k + 1))]
    found = [sp.S.One]
    for m in range(1, k + 1):
        found.append(sp.expand(sum(i * a[i] * found[m - i] for i in range(1, m + 1)) / m))
    return found[k]
