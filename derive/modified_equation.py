"""The equation of learning: a differential equation that the iterates of an update rule follow, to a stated order.

Two forms, as in Kunin et al. 2021, section 5: *modified loss* corrects the vector field in powers of η (eq. 16), *modified
flow* adds time derivatives (eq. 17). Both hold for any loss: vectors are words of :mod:`derive.inner_product`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sympy as sp

from derive import inner_product as ip
from derive.derivation import Derivation, Step
from derive.linear_combination import linear_combination
from derive.symbols import derivative as D
from derive.symbols import shift as E
from derive.update_rule import UpdateRule

Form = Literal["gradient flow", "modified loss", "modified flow"]

h = sp.Symbol("h", positive=True)
"""The step size η(1−α) while a series in it is taken."""


class UnsupportedError(ValueError):
    """A combination that the theory, or this version, does not cover."""


@dataclass(frozen=True)
class ModifiedEquation:
    """Σ_k c_k θ^{(k)} = f(θ): the equation of learning of ``rule`` to ``order`` in the step size.

    Parameters
    ----------
    rule, order, form
        What it is the equation of, the highest power of h kept, and which of the three forms it has.
    time_coefficients
        c_1, c_2, …: scalars in front of θ', θ'', ….
    field
        f as words: ``g`` = ∇L, ``H`` = ∇²L, ``theta``, ``theta'``.
    derivation
        How it follows from the map.
    """

    rule: UpdateRule
    order: int
    form: Form
    time_coefficients: tuple[sp.Expr, ...]
    field: sp.Expr
    derivation: Derivation

    @property
    def residual(self) -> sp.Expr:
        """Σ_k c_k θ^{(k)} − f as words: 0 along training."""
        return _residual(self.time_coefficients, self.field)

    def _repr_latex_(self) -> str:
        dots = [r"\dot\theta", r"\ddot\theta", r"\dddot\theta"]
        left = linear_combination(zip(self.time_coefficients, dots, strict=False))
        right = linear_combination((c, ip.word_latex(word)) for word, c in ip.words(self.field).items())
        return rf"${left} = {right}$"


def _residual(time_coefficients: tuple[sp.Expr, ...], field: sp.Expr) -> sp.Expr:
    derivatives = (ip.theta_dot, ip.theta_ddot)
    return sp.expand(sp.Add(*(c * d for c, d in zip(time_coefficients, derivatives, strict=False))) - field)


def regularized_gradient(rule: UpdateRule) -> sp.Expr:
    """G = g + λθ, the gradient of L + λ|θ|²/2, as a vector."""
    return ip.gradient + rule.weight_decay * ip.theta


def directional_derivative(field: sp.Expr, along: sp.Expr) -> sp.Expr:
    """Derivative of a vector made of ``g`` and ``theta`` in the direction ``along``: g ↦ H·along, θ ↦ along.

    >>> directional_derivative(ip.gradient, ip.theta)
    H*theta
    """
    slopes = {ip.gradient: ip.hessian * along, ip.theta: along}
    unknown = set(ip.words(field)) - set(slopes)
    if unknown:
        raise UnsupportedError(f"field: expected words {set(slopes)}, got {unknown}")
    return sp.expand(sum(scalar * slopes[word] for word, scalar in ip.words(field).items()))


def flow_limit(rule: UpdateRule) -> ModifiedEquation:
    """Order 0: (1−β)θ' = −g − λθ (Kunin et al. 2021, eq. 9, 14, 15), the limit E → 1 of the map."""
    left, right = rule.shift_polynomials
    speed = sp.diff(left, E).subs(E, 1)
    limit = Step(
        left.subs(E, sp.exp(h * D)) / h,
        speed * D,
        "limit of small steps",
        r"$E = e^{hD}$, one step advances time by $h$, and only the lowest power of $h$ is kept: $A(E)/h \to A'(1) D$",
        dropped=sp.Order(h),
        source="Kunin et al. 2021, App. C",
    )
    total = sp.expand(right.subs(E, 1) * regularized_gradient(rule))
    learning = _equation_step(speed * ip.theta_dot + total, (speed,), -total)
    derivation = Derivation("gradient flow", (learning,), (Derivation("limit", (limit,)),))
    return ModifiedEquation(rule, 0, "gradient flow", (speed,), -total, derivation)


def _equation_step(read: sp.Expr, time_coefficients: tuple[sp.Expr, ...], field: sp.Expr) -> Step:
    """The equation of learning as a step: what the expansion says, read off, is Σ c_k θ^(k) − f."""
    reason = r"read $D\theta$ as $\dot\theta$ and $h$ as the time of a step; this expression is 0 along training"
    return Step(read, _residual(time_coefficients, field), "equation of learning", reason)


def modified_loss(rule: UpdateRule, order: int = 1) -> ModifiedEquation:
    """Gradient flow on a modified loss: θ' = −∇(L_λ + η|∇L_λ|²/4), L_λ = L + λ|θ|²/2, for plain SGD.

    Backward error analysis: the field f0 + ηf1 is chosen so that its flow for the time η is the map, to O(η³)
    (Kunin et al. 2021, eq. 16, 27).

    >>> from derive.update_rule import sgd
    >>> modified_loss(sgd(weight_decay=False)).field
    -eta*H*g/2 - g

    Raises
    ------
    UnsupportedError
        For a rule with momentum (use :func:`modified_flow`), or an order other than 1.
    """
    if rule.momentum != 0:
        raise UnsupportedError("rule: modified_loss covers plain SGD, got momentum; use modified_flow(rule)")
    if order != 1:
        raise UnsupportedError(f"order: modified_loss is derived to order 1, got {order}")
    eta, first = rule.lr, -regularized_gradient(rule)
    curvature = directional_derivative(first, first)
    correction = -curvature / 2
    field = sp.expand(first + eta * correction)
    flow = ip.theta + eta * field + eta**2 / 2 * curvature
    step = Step(
        ip.theta + eta * first,
        flow,
        "backward error analysis",
        r"the step equals the flow of $f = f_0 + \eta f_1$ for the time $\eta$, "
        r"$\theta + \eta f + \eta^2 f_0'f_0/2 + O(\eta^3)$, if $f_1 = -f_0'f_0/2$; here $f_0 = "
        + (r"-g$" if rule.weight_decay == 0 else r"-g - \lambda\theta$"),
        source="Kunin et al. 2021, eq. 16, 27",
    )
    learning = _equation_step(ip.theta_dot - first - eta * correction, (sp.S.One,), field)
    derivation = Derivation("modified loss", (learning,), (Derivation("backward error", (step,)),))
    return ModifiedEquation(rule, 1, "modified loss", (sp.S.One,), field, derivation)


def modified_flow(rule: UpdateRule, order: int = 1) -> ModifiedEquation:
    """Time derivatives instead of a corrected field: put E = e^{hD} in A(E)θ = −hB(E)G and keep powers of h up to ``order``.

    Order 1 of the heavy ball is (h(1+β)/2)θ'' + (1−β)θ' = −g − λθ (Kunin et al. 2021, eq. 17, 32):

    >>> from derive.update_rule import sgd
    >>> modified_flow(sgd(momentum=True, weight_decay=False)).time_coefficients
    (1 - beta, eta*(beta + 1)/2)

    Raises
    ------
    UnsupportedError
        For an order other than 1.
    """
    if order != 1:
        raise UnsupportedError(f"order: modified_flow is derived to order 1, got {order}")
    left, right = (polynomial.subs(E, sp.exp(h * D)) for polynomial in rule.shift_polynomials)
    ladder = sp.expand(sp.series(left / h, h, 0, order + 1).removeO())
    gain = sp.expand(sp.series(right, h, 0, order + 1).removeO())
    small = sp.Order(h ** (order + 1))
    steps = [
        _expansion(left / h, ladder, "A", r"$E = e^{hD}$ shifts $\theta(t)$ by one step", small),
        _expansion(right, gain, "B", "the same shift acts on the gradients that the rule looks at", small),
    ]
    told = tuple(Derivation("expansion", (step,)) for step in steps if step.after != step.before)
    coefficients = tuple(sp.factor(ladder.coeff(D, k)).subs(h, rule.step_size) for k in range(1, order + 2))
    total = regularized_gradient(rule)
    change = directional_derivative(total, ip.theta_dot)
    pulled = gain.coeff(D, 0) * total + gain.coeff(D, 1).subs(h, rule.step_size) * change
    field = -sp.expand(pulled)
    read = sum(ladder.coeff(D, k).subs(h, rule.step_size) * d for k, d in ((1, ip.theta_dot), (2, ip.theta_ddot)))
    learning = _equation_step(read + pulled, coefficients, field)
    derivation = Derivation("modified flow", (learning,), told)
    return ModifiedEquation(rule, order, "modified flow", coefficients, field, derivation)


def _expansion(before: sp.Expr, after: sp.Expr, side: str, reason: str, small: sp.Order) -> Step:
    rule = rf"$A(E)\,\theta = -h B(E)\,(g + \lambda\theta)$; {reason}"
    return Step(before, after, f"Taylor expansion of {side}", rule, (), small, "Kunin et al. 2021, App. D.2, G")
