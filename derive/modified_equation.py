"""The equation of learning: a differential equation that the iterates of an update rule follow, to a stated order.

Two forms, as in Kunin et al. 2021, section 5: *modified loss* corrects the vector field in powers of η (eq. 16), *modified
flow* adds time derivatives (eq. 17). Both hold for any loss: vectors are words of :mod:`derive.inner_product`. On a concrete
loss or field they become :mod:`derive.concrete_loss`, :mod:`derive.concrete_equation` and :mod:`derive.linear_equation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Any, Literal, overload

import sympy as sp

from derive import inner_product as ip
from derive.bseries import BSeries, b_series
from derive.concrete_equation import ConcreteEquation, Method, concrete_equation, expect_method, expect_order, read_loss
from derive.concrete_loss import ConcreteLoss, concrete_loss, field_series
from derive.derivation import Derivation, Step
from derive.linear_combination import linear_combination
from derive.linear_equation import LinearEquation, linear_equation
from derive.momentum_manifold import ModifiedField, slow_flow
from derive.multistep import LinearMultistep, multistep_of
from derive.runge_kutta import RungeKutta
from derive.symbols import derivative as D
from derive.symbols import shift as E
from derive.symbols import step_size as h
from derive.tree_words import field_in_words, flow_in_words
from derive.update_rule import UnsupportedError, UpdateRule
from derive.validity import Validity, validity

Form = Literal["gradient flow", "modified loss", "modified flow"]


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

    @property
    def coefficients(self) -> BSeries:
        """b(τ) of the same equation solved for θ': the slow flow Σ h^{|τ|−1} b(τ)/σ(τ) F(τ) of f = −g − λθ, to h^order.

        >>> from derive.update_rule import sgd
        >>> modified_flow(sgd(momentum=True), order=2).coefficients["[t,t]"]
        -(beta**2 + 10*beta + 1)/(6*(beta - 1)**5)
        """
        if self.rule.is_flow:
            return b_series({"t": 1 / (1 - self.rule.momentum)}, self.order + 1, is_map=False)
        return field_series(self.rule, self.order)

    @property
    def validity(self) -> Validity:
        """How large h times a curvature may be for the slow flow to exist; past it, the time derivatives stay."""
        return validity(self.rule)

    def _repr_latex_(self) -> str:
        dots = (ip.word_latex(ip.time_derivative(ip.theta, k)) for k in range(1, len(self.time_coefficients) + 1))
        left = linear_combination(zip(self.time_coefficients, dots, strict=True))
        right = linear_combination((c, ip.word_latex(word)) for word, c in ip.words(self.field).items())
        return rf"${left} = {right}$"


def _residual(time_coefficients: tuple[sp.Expr, ...], field: sp.Expr) -> sp.Expr:
    terms = (c * ip.time_derivative(ip.theta, k) for k, c in enumerate(time_coefficients, start=1))
    return sp.expand(sp.Add(*terms) - field)


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


Given = Any
"""A loss, a field or variables, as the user writes them."""


@overload
def modified_loss(rule: UpdateRule, order: int = 1) -> ModifiedEquation: ...
@overload
def modified_loss(rule: Method, order: int = 1, *, loss: Given, variables: Given = None) -> ConcreteLoss: ...
@overload
def modified_loss(rule: Method, order: sp.Expr, *, loss: Given, variables: Given = None) -> LinearEquation: ...
def modified_loss(rule: Any, order: Any = 1, *, loss: Given = None, variables: Given = None) -> Any:
    """Gradient flow on a modified loss: θ' = −∇(L_λ + h|∇L_λ|²/4 + …), L_λ = L + λ|θ|²/2, as far as one exists.

    Backward error analysis: the field f_0 + hf_1 + … is chosen so that its flow for the time h is the map, to O(h^{p+2})
    (Kunin et al. 2021, eq. 16, 27; Hairer, Lubich, Wanner 2006, IX.1). ``order`` is p, the highest power of h kept.

    Without ``loss``, for any loss, as words: beyond order 1 ``D3L[g, g]`` is ∇³L[g, g].

    >>> from derive.update_rule import sgd
    >>> modified_loss(sgd(weight_decay=False)).field
    -eta*H*g/2 - g

    On a ``loss``, an expression in ``variables`` (by default all its symbols), it says whether there is a modified loss.
    With momentum it is that of the slow flow. ``order=sympy.oo`` is exact for a quadratic loss:

    >>> x = sp.Symbol("x", positive=True)
    >>> modified_loss(sgd(weight_decay=False), loss=x**2 / 2, order=sp.oo).loss
    -x**2*log(1 - eta)/(2*eta)

    Parameters
    ----------
    rule
        An :class:`UpdateRule`; with ``loss`` also a Runge–Kutta method or a multistep rule.
    order
        The highest power of h kept, 1 or more, or ``sympy.oo``.

    Returns
    -------
    ModifiedEquation, or with ``loss`` ConcreteLoss, at order oo LinearEquation

    Raises
    ------
    UnsupportedError
        Without ``loss`` for a rule with momentum; for an order below 1; for a loss that is not smooth or holds floats.
    """
    if loss is not None:
        return _exact_loss(rule, loss, variables) if order is sp.oo else concrete_loss(rule, loss, order, variables)
    _expect_abstract(rule, order, variables, lowest=1)
    if not isinstance(rule, UpdateRule):
        raise UnsupportedError("loss: expected a loss for a method other than sgd(...); without one, use modified_flow")
    if rule.momentum != 0:
        raise UnsupportedError("rule: modified_loss covers plain SGD, got momentum; use modified_flow(rule), "
                               "slow_flow(rule) or give the loss")  # fmt: skip
    return _descent(rule, int(order))


def _exact_loss(rule: Any, loss: Given, variables: Given) -> LinearEquation:
    names, expr = read_loss(loss, variables)
    return linear_equation(rule, {x: -sp.diff(expr, x) for x in names})


def _expect_abstract(rule: Any, order: Any, variables: Given, lowest: int) -> None:
    expect_method(rule)
    if order is sp.oo:
        raise UnsupportedError("order: expected a number of powers of h, got oo; all orders are for a quadratic loss= or a "
                               "linear field=")  # fmt: skip
    expect_order(order, lowest)
    if variables is not None:
        raise UnsupportedError(f"variables: expected a loss= or field= in them, got {variables} alone")


def _descent(rule: UpdateRule, order: int) -> ModifiedEquation:
    """Plain SGD, in words."""
    series, h_, decay = field_series(rule, order), rule.step_size, rule.weight_decay
    first = -regularized_gradient(rule)
    field = field_in_words(series, decay, h_)
    step = Step(
        ip.theta + h_ * first,
        sp.Add(*flow_in_words(series, decay, h_), evaluate=False),
        "backward error analysis",
        r"the step equals the flow of $f = f_0 + \eta f_1 + \dots$ for the time $\eta$, "
        rf"$\theta + \eta f + \eta^2 f'f/2 + \dots$, to $O(\eta^{order + 2})$, with $f_0 = "
        + (r"-g$" if decay == 0 else r"-g - \lambda\theta$"),
        source="Kunin et al. 2021, eq. 16, 27; Hairer, Lubich, Wanner 2006, IX.1",
    )
    learning = _equation_step(ip.theta_dot - sp.collect(field, h_), (sp.S.One,), field)
    derivation = Derivation("modified loss", (learning,), (Derivation("backward error", (step,)),))
    return ModifiedEquation(rule, order, "modified loss", (sp.S.One,), field, derivation)


@overload
def modified_flow(rule: UpdateRule, order: int = 1) -> ModifiedEquation: ...
@overload
def modified_flow(rule: RungeKutta | LinearMultistep, order: int = 1) -> ModifiedField: ...
@overload
def modified_flow(
    rule: Method, order: int = 1, *, field: Given = None, loss: Given = None, variables: Given = None
) -> ConcreteEquation: ...
@overload
def modified_flow(
    rule: Method, order: sp.Expr, *, field: Given = None, loss: Given = None, variables: Given = None
) -> LinearEquation: ...
def modified_flow(rule: Any, order: Any = 1, *, field: Given = None, loss: Given = None, variables: Given = None) -> Any:
    """What the iterates of ``rule`` follow. ``order`` is the highest power of h kept: 0 is the limit of small steps.

    * An update rule alone: time derivatives instead of a corrected field. Put E = e^{hD} in A(E)θ = −hB(E)G; the
      coefficient of D^k is h^{k−1}(1 + (−1)^k β)/k!. Order 1 of the heavy ball is (h(1+β)/2)θ'' + (1−β)θ' = −g − λθ
      (Kunin et al. 2021, eq. 17, 32). Its ``coefficients`` are those of the slow flow below.
    * A Runge–Kutta or multistep method alone: the field Σ h^{|τ|−1} b(τ)/σ(τ) F(τ) over rooted trees, for any f. Here, and
      only here, ``order`` is that of a B-series: the largest number of vertices of a tree, which comes with h^{order−1}, as
      in ``method.modified_equation(order)``, ``method.slow_flow(order)`` and BSeries.jl.
    * With ``field={x: …, y: …}`` (or a list with ``variables``) or ``loss``, where f = −∇L: the field, of first order in
      time. For an update rule f stands in the place of −g, and weight decay takes λθ off it. For momentum it is the slow
      flow. ``order=sympy.oo`` is exact for a linear field.

    >>> from derive.update_rule import sgd
    >>> modified_flow(sgd(momentum=True, weight_decay=False)).time_coefficients
    (1 - beta, eta*(beta + 1)/2)
    >>> from derive.runge_kutta import runge_kutta
    >>> sum(modified_flow(runge_kutta("midpoint"), order=9).coefficients.values())
    19063/26880
    >>> p, q = sp.symbols("p q")
    >>> predator = modified_flow(runge_kutta("euler"), field={q: q * (p - 1), p: p * (2 - q)})
    >>> [sp.factor(c) for c in predator.terms[1]]  # Hairer, Lubich, Wanner 2006, IX.1, example 1.2
    [-q*(p**2 - p*q + 1)/2, p*(p*q - q**2 + 3*q - 4)/2]

    Returns
    -------
    ModifiedEquation, ModifiedField, ConcreteEquation or LinearEquation, in the order of this list

    Raises
    ------
    UnsupportedError
        For an order or a rule that is not covered, a field that is not smooth or holds floats, oo for what is not linear.
    """
    if field is not None and loss is not None:
        raise UnsupportedError("loss: expected a field or a loss, got both")
    if loss is not None:
        names, expr = read_loss(loss, variables)
        field, variables = {x: -sp.diff(expr, x) for x in names}, None
    if field is not None:
        return (
            linear_equation(rule, field, variables) if order is sp.oo else concrete_equation(rule, field, order, variables)
        )
    is_method = not isinstance(rule, UpdateRule)
    _expect_abstract(rule, order, variables, lowest=1 if is_method else 0)
    if is_method:
        return slow_flow(rule, order - 1)
    return flow_limit(rule) if order == 0 else _time_ladder(rule, int(order))


def _time_ladder(rule: UpdateRule, order: int) -> ModifiedEquation:
    """Σ_k h^{k−1} (Σ_j α_j s_j^k/k!) D^k θ = −Σ_k h^k (Σ_j β_j s_j^k/k!) D^k G."""
    shifts = multistep_of(rule)
    alphas, betas = dict(shifts.positions), {place[0][0]: weight for weight, place in shifts.gradients}
    left, right = (polynomial.subs(E, sp.exp(h * D)) for polynomial in rule.shift_polynomials)
    masses, gains = _moments(alphas, order + 1), _moments(betas, order)
    ladder = sum(h ** (k - 1) * c * D**k for k, c in enumerate(masses) if k)
    gain = sp.expand(sum(h**k * c * D**k for k, c in enumerate(gains)))
    small = sp.Order(h ** (order + 1))
    steps = [
        _expansion(left / h, sp.expand(ladder), "A", r"$E = e^{hD}$ shifts $\theta(t)$ by one step", small),
        _expansion(right, gain, "B", "the same shift acts on the gradients that the rule looks at", small),
    ]
    told = tuple(Derivation("expansion", (step,)) for step in steps if step.after != step.before)
    size = rule.step_size
    coefficients = tuple(sp.factor(size ** (k - 1) * c) for k, c in enumerate(masses) if k)
    pulled = sp.expand(sum(size**k * c * _gradient_derivative(rule, k) for k, c in enumerate(gains)))
    read = sum(sp.expand(size ** (k - 1) * c) * ip.time_derivative(ip.theta, k) for k, c in enumerate(masses) if k)
    learning = _equation_step(read + pulled, coefficients, sp.expand(-pulled))
    derivation = Derivation("modified flow", (learning,), told)
    return ModifiedEquation(rule, order, "modified flow", coefficients, sp.expand(-pulled), derivation)


def _moments(weights: dict[int, sp.Expr], order: int) -> list[sp.Expr]:
    """Σ_j w_j s_j^k/k!: the coefficient of (hD)^k in Σ_j w_j e^{s_j hD}."""
    return [sp.factor(sum(w * s**k for s, w in weights.items()) / factorial(k)) for k in range(order + 1)]


def _gradient_derivative(rule: UpdateRule, order: int) -> sp.Expr:
    """d^k/dt^k of G = g + λθ along training: H θ' + λθ' at first, then letters with k primes."""
    total = regularized_gradient(rule)
    if order == 0:
        return total
    if order == 1:
        return directional_derivative(total, ip.theta_dot)
    return ip.time_derivative(ip.gradient, order) + rule.weight_decay * ip.time_derivative(ip.theta, order)


def _expansion(before: sp.Expr, after: sp.Expr, side: str, reason: str, small: sp.Order) -> Step:
    rule = rf"$A(E)\,\theta = -h B(E)\,(g + \lambda\theta)$; {reason}"
    return Step(before, after, f"Taylor expansion of {side}", rule, (), small, "Kunin et al. 2021, App. D.2, G")
