"""Two entire functions that hold every damping regime: no formula of nmech asks which one it is in.

The linear oscillator x'' + 2γx' + ω²x = 0 has the solutions e^{−γt} cosh√z and e^{−γt} t sinh√z/√z with
z = (γ² − ω²)t². Both are entire in z: over-damped (z > 0), critical (z = 0) and under-damped (z < 0) are one formula.
The decaying factor belongs to the function, so that nothing overflows (:mod:`numerics.special` evaluates them).
"""

from __future__ import annotations

import mpmath
import sympy as sp


def _mpmath_value(expr: sp.Function, prec: int, function) -> sp.Expr | None:
    a, b = (arg._to_mpmath(prec) if arg.is_number else None for arg in expr.args)
    if a is None or b is None:
        return None
    with mpmath.workprec(2 * prec + 30):
        value = function(a, mpmath.sqrt(mpmath.mpmathify(a) ** 2 - mpmath.mpmathify(b) ** 2))
    real, imaginary = (sp.Float(part, precision=prec) for part in (mpmath.re(value), mpmath.im(value)))
    return real if all(arg.is_real for arg in expr.args) else real + sp.I * imaginary


def _latex_parts(printer, a: sp.Expr, b: sp.Expr) -> tuple[str, str]:
    """(e^{-a}, x√(c² − d²)) with x the common factor of a = cx and b = dx."""
    common = sp.gcd(a, b)
    root = sp.sqrt(sp.cancel(a / common) ** 2 - sp.cancel(b / common) ** 2)
    return printer._print(sp.exp(-a)), printer._print(sp.Mul(common, root, evaluate=False))


class _Damped(sp.Function):
    """What C and S share: even in b, e^{−a} at critical damping, real on real arguments."""

    nargs = 2

    @classmethod
    def eval(cls, a, b):
        if b.could_extract_minus_sign():
            return cls(a, -b)
        if a == b or a == -b:
            return sp.exp(-a)
        return cls.undamped(b) if a.is_zero else None

    def _eval_is_real(self):
        return all(arg.is_real for arg in self.args) or None


class damped_cosh(_Damped):
    """C(a, b) = e^{−a} cosh √(a² − b²), with a = γt (damping) and b = ωt (stiffness).

    ∂C/∂a = −C + aS and ∂C/∂b = −bS, with S = :class:`damped_sinhc`. At critical damping C(a, a) = e^{−a}.

    >>> a = sp.Symbol("a", positive=True)
    >>> damped_cosh(a, a), damped_cosh(0, a), damped_cosh(a, 0).rewrite(sp.exp).expand()
    (exp(-a), cos(a), 1/2 + exp(-2*a)/2)
    """

    @staticmethod
    def undamped(b):
        return sp.cos(b)

    def fdiff(self, argindex=1):
        a, b = self.args
        s = damped_sinhc(a, b)
        return a * s - self if argindex == 1 else -b * s

    def _eval_rewrite_as_exp(self, a, b, **hints):
        root = sp.sqrt(a**2 - b**2)
        return (sp.exp(root - a) + sp.exp(-root - a)) / 2

    def _eval_evalf(self, prec):
        return _mpmath_value(self, prec, lambda a, root: mpmath.exp(-a) * mpmath.cosh(root))

    def _latex(self, printer, exp=None):
        decay, angle = _latex_parts(printer, *self.args)
        text = rf"{decay} \cosh\left({angle}\right)"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


class damped_sinhc(_Damped):
    """S(a, b) = e^{−a} sinh √(a² − b²) / √(a² − b²), with a = γt and b = ωt. t·S(γt, ωt) is the Green's function.

    ∂S/∂a = −S + a(C − S)/(a² − b²) and ∂S/∂b = −b(C − S)/(a² − b²), with C = :class:`damped_cosh`; the quotient is
    removable at a = b. At critical damping S(a, a) = e^{−a}.

    >>> a = sp.Symbol("a", positive=True)
    >>> damped_sinhc(a, a), damped_sinhc(0, a)
    (exp(-a), sin(a)/a)
    """

    @staticmethod
    def undamped(b):
        return sp.sin(b) / b

    def fdiff(self, argindex=1):
        a, b = self.args
        quotient = (damped_cosh(a, b) - self) / (a**2 - b**2)
        return a * quotient - self if argindex == 1 else -b * quotient

    def _eval_rewrite_as_exp(self, a, b, **hints):
        root = sp.sqrt(a**2 - b**2)
        return (sp.exp(root - a) - sp.exp(-root - a)) / (2 * root)

    def _eval_evalf(self, prec):
        return _mpmath_value(
            self, prec, lambda a, root: mpmath.exp(-a) * (mpmath.sinh(root) / root if root else mpmath.mpf(1))
        )

    def _latex(self, printer, exp=None):
        decay, angle = _latex_parts(printer, *self.args)
        text = rf"{decay} \frac{{\sinh\left({angle}\right)}}{{{angle}}}"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


class squared_arccosh1p(sp.Function):
    """arccosh(1 + x)² = 4 arcsinh(√(x/2))², analytic for x > −2: −arccos(1 + x)² where it is below 0, and 0 at x = 0.

    (μ/h)² = γ² − ω² of a linear recurrence with the roots e^{−γh ± μ}: positive over-, negative under-damped.

    >>> squared_arccosh1p(0), squared_arccosh1p(-1), squared_arccosh1p(1).evalf(8)
    (0, -pi**2/4, 1.7343781)
    """

    nargs = 1

    @classmethod
    def eval(cls, x):
        if x == 0:
            return sp.S.Zero
        return -(sp.acos(1 + x) ** 2) if x == -1 else None

    def fdiff(self, argindex=1):
        (x,) = self.args
        return 2 * sp.asinh(sp.sqrt(x / 2)) / sp.sqrt(x / 2) / sp.sqrt(1 + x / 2)

    def _eval_is_real(self):
        (x,) = self.args
        return (x + 2).is_positive

    def _eval_rewrite_as_acosh(self, x, **hints):
        return sp.acosh(1 + x) ** 2

    def _eval_evalf(self, prec):
        if not self.args[0].is_number:
            return None
        with mpmath.workprec(2 * prec + 30):
            value = mpmath.acosh(1 + mpmath.mpmathify(self.args[0]._to_mpmath(2 * prec + 30))) ** 2
        return sp.Float(mpmath.re(value), precision=prec)

    def _latex(self, printer, exp=None):
        text = rf"\operatorname{{arccosh}}^2\left({printer._print(1 + self.args[0])}\right)"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


def elementary(expr: sp.Basic) -> sp.Basic:
    """``expr`` by exponentials, square roots and arccosh: exact, but 0/0 at critical damping.

    >>> a = sp.Symbol("a", positive=True)
    >>> elementary(damped_cosh(a, 0)), elementary(squared_arccosh1p(a))
    (1/2 + exp(-2*a)/2, acosh(a + 1)**2)
    """
    return expr.rewrite((damped_cosh, damped_sinhc), sp.exp).rewrite(squared_arccosh1p, sp.acosh)
