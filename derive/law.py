"""The law of a charge: a linear differential equation, driven by what the run does.

    m Q'' + c Q' + k Q = f(t),

with mass m, damping c, stiffness k and a drive f that is a quadratic form of the gradient or of the velocity. To first
order it is the equation of learning projected on the generator, where invariance, ⟨g, X⟩ = 0 and HX = −Mᵀg, removes the
loss (:mod:`derive.projection`). Beyond, it is the exact recurrence with E = e^{hD} (:mod:`derive.law_series`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sympy as sp

from derive import symbols
from derive.derivation import Derivation, DerivationError
from derive.equality import vanishes
from derive.law_series import law_of_all_orders, law_of_order, recurrence
from derive.linear_combination import linear_combination
from derive.modified_equation import ModifiedEquation, flow_limit, modified_flow, modified_loss
from derive.operator_calculus import coefficients, factored, operator_on, read_operators
from derive.projection import drop_weight_decay_squared, project
from derive.symbols import Q
from derive.symbols import derivative as D
from derive.symbols import shift as E
from derive.symbols import time as t
from derive.symmetry import Symmetry
from derive.update_rule import UnsupportedError, UpdateRule

Form = Literal["gradient flow", "modified loss", "modified flow", "slow flow", "all orders"]


@dataclass(frozen=True)
class Law:
    """m Q'' + c Q' + k Q = f(t) for the charge Q of ``symmetry`` under ``rule``, in training time t = Σ h, h = η(1−α).

    Parameters
    ----------
    symmetry, rule, order, form
        What it is the law of: order 0 is gradient flow, 1 the paper's laws, ``sympy.oo`` exact in the step size. ``form``
        is "gradient flow", "modified loss", "modified flow", "slow flow" or "all orders".
    mass, damping, stiffness
        m, c, k. The mass is 0 for a first-order law; c is then 1, or 1−β for momentum flow.
    drive
        f(t), linear in ``q(t)`` = ⟨g, g⟩_M, ``k(t)`` = ⟨θ', θ'⟩_M and ``o(t)`` = ⟨d, v⟩_M; 0 for a translation. Beyond
        first order it holds their derivatives, or a :class:`derive.operator_calculus.operator_on` them, and k is the form
        of a step's mean velocity Δθ/h.
    derivation
        Every step from the map to this equation, machine-checked.
    higher
        Coefficients of the third derivative of Q and higher ones: only the modified flow beyond order 1 has any.

    Examples
    --------
    Kunin et al. 2021, eq. 21: weight decay pulls inwards, discretization pushes outwards.

    >>> from derive import scale, sgd, law
    >>> law(scale(), sgd()).equation
    Eq(2*lambda*Q(t) + Derivative(Q(t), t), eta*q(t))
    """

    symmetry: Symmetry
    rule: UpdateRule
    order: int | sp.Expr
    form: Form
    mass: sp.Expr
    damping: sp.Expr
    stiffness: sp.Expr
    drive: sp.Expr
    derivation: Derivation
    higher: tuple[sp.Expr, ...] = ()

    def __post_init__(self) -> None:
        forms = {form(t) for form in symbols.FORM_NAMES}
        if self.drive.atoms(sp.core.function.AppliedUndef) - forms:
            raise ValueError(f"drive: expected a multiple of one of {forms}, got {self.drive}")
        if self.damping == 0:
            raise ValueError("damping: expected a law with damping, got 0")
        derived = self.derivation.steps[-1].after
        if not vanishes(self.equation.lhs - self.drive - derived):
            raise DerivationError(f"law: its derivation ends with {derived} = 0, which is not {self.equation}")

    @property
    def equation(self) -> sp.Eq:
        """The law as a SymPy equation for ``Q(t)``."""
        by_power = (self.stiffness, self.damping, self.mass, *self.higher)
        return sp.Eq(sp.Add(*(c * Q.diff(t, k) for k, c in enumerate(by_power))), self.drive)

    @property
    def validity(self) -> sp.Basic:
        """Where the law's exponents exist: a relation between the hyper-parameters, or ``true`` up to order 1.

        ``slow flow`` and ``modified loss``: the series in h converges up to the branch point z₊ = z₋ of the recurrence. All
        orders: no root of it may be a negative real number, which alternates from step to step as no flow does.

        >>> from derive import law, sgd, translation
        >>> law(translation(), sgd(momentum=True), sp.oo).validity
        eta*lambda < (sqrt(beta) + 1)**2
        >>> law(translation(), sgd(momentum=True), 2, form="slow flow").validity
        eta*lambda < (1 - sqrt(beta))**2
        """
        if self.order in (0, 1) or self.form == "modified flow":
            return sp.true
        exact = recurrence(self.symmetry, self.rule)
        values = dict(exact.values)
        if sp.degree(exact.charge, E) == 1:
            return sp.Lt((self.rule.lr * self.rule.weight_decay), 1)
        root = sp.sqrt(sp.factor(exact.constant.xreplace(values)))
        side = 1 + root if self.form == "all orders" else 1 - root
        return sp.Lt(sp.factor(exact.static.xreplace(values)), side**2)

    @property
    def hyper_parameters(self) -> tuple[str, ...]:
        """Names of the hyper-parameters that occur: of ``lr``, ``weight_decay``, ``momentum``, ``dampening``."""
        return symbols.argument_names(sp.Add(self.mass, self.damping, self.stiffness, self.drive, *self.higher))

    @property
    def is_oscillator(self) -> bool:
        """Whether the law is of second order in time."""
        return self.mass != 0

    @property
    def normal_form(self) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
        """(γ, ω², f) of Q'' + 2γQ' + ω²Q = f; the damping ratio is γ/ω. Kunin et al. 2021, eq. 34: γ = (1−β)/(h(1+β)).

        >>> from derive import sgd, translation, law
        >>> law(translation(), sgd(momentum=True)).normal_form[:2]
        ((1 - beta)/(eta*(beta + 1)), 2*lambda/(eta*(beta + 1)))
        """
        if not self.is_oscillator:
            raise ValueError("law: expected a second-order law, got a first-order one, whose rate is stiffness/damping")
        m = self.mass
        return self.damping / (2 * m), self.stiffness / m, self.drive / m

    @property
    def drive_operators(self) -> dict[str, sp.Expr]:
        """Name of a form -> F(D) with drive = Σ F(D) form: a number to first order, a polynomial or more beyond.

        >>> from derive import law, scale, sgd
        >>> law(scale(), sgd(), 2).drive_operators
        {'gradient': -D*eta**2/2 + eta}
        """
        operators = {name: read_operators(self.drive, form(t)) for form, name in symbols.FORM_NAMES.items()}
        return {name: operator for name, operator in operators.items() if operator != 0}

    @property
    def drive_forms(self) -> tuple[str, ...]:
        """Names of the forms whose samples drive the law: ``"gradient"``, ``"velocity"``, ``"overlap"``, or none.

        >>> from derive import law, scale, sgd
        >>> law(scale(), sgd(momentum=True)).drive_forms
        ('velocity',)

        Raises
        ------
        ValueError
            If their derivatives drive it as well, see :attr:`drive_operators`.
        """
        operators = self.drive_operators
        if any(operator.has(D) for operator in operators.values()):
            raise ValueError(
                f"law: expected a drive without derivatives, got {self.drive}; samples drive laws of order 0 and 1, and the "
                "law of all orders by its steps, discrete_law(symmetry, rule)"
            )
        return tuple(operators)

    def __str__(self) -> str:
        primes = ["", "'", "''", *(f"^({k})" for k in range(3, 3 + len(self.higher)))]
        by_power = (self.stiffness, self.damping, self.mass, *self.higher)
        terms = [(value, f"*Q{prime}") for value, prime in reversed(list(zip(by_power, primes, strict=True)))]
        left = " + ".join(_factor_text(value) + name if value != 1 else name[1:] for value, name in terms if value != 0)
        return f"{left} = {self.drive}"

    def _repr_latex_(self) -> str:
        dots = [*((value, f"Q^{{({k})}}") for k, value in reversed(list(enumerate(self.higher, start=3)))),
                (self.mass, r"\ddot Q"), (self.damping, r"\dot Q"), (self.stiffness, "Q")]  # fmt: skip
        left = linear_combination(dots)
        where = rf"Q = {self.symmetry.form_latex(chr(92) + 'theta')}"
        letters = {"gradient": ("g", "q(t)"), "velocity": (r"\dot\theta", "k(t)")}
        for letter, name in (letters[form] for form in self.drive_operators if form in letters):
            where += rf",\; {name} = {self.symmetry.form_latex(letter)}"
        if "overlap" in self.drive_operators:
            where += r",\; o(t) = \langle d, v\rangle_M"
        return rf"${left} = {sp.latex(self.drive)}, \qquad {where}$"


def _factor_text(value: sp.Expr) -> str:
    return f"({value})" if value.is_Add or value.is_Mul else str(value)


def law(
    symmetry: Symmetry,
    rule: UpdateRule,
    order: int | sp.Expr = 1,
    *,
    form: Form | None = None,
    keep_weight_decay_squared: bool = False,
) -> Law:
    """Derive the law of the charge of ``symmetry`` under ``rule``, a :class:`Symmetry` and an :class:`UpdateRule`.

    Parameters
    ----------
    order
        0: gradient flow (eq. 10–15). 1: the paper's laws – modified loss for plain SGD (eq. 18–21, 27–30), modified flow
        with momentum (eq. 32–38). k: to h^k, from the exact recurrence. ``sympy.oo``: all orders, nothing dropped.
    form
        ``"modified loss"`` or ``"modified flow"`` to override that choice at order 1; with momentum ``"slow flow"`` is the
        equation of first order that the charge follows once the velocity has forgotten its start.
        With Nesterov order 1 comes from the exact recurrence too: what the projection leaves, ⟨θ', g⟩_M, is not a form of
        the velocity alone under minibatch noise.
    keep_weight_decay_squared
        Keep the ηλ² term of the modified loss, which the paper drops because it sets λ ~ η. In general: count λ as a
        number, not as a power of η. Laws of all orders and modified flows drop nothing of the kind.

    Raises
    ------
    UnsupportedError
        If the projection does not close in the charge, or the order or form is not covered.
    SymmetryError
        If the symmetry has no charge.

    Examples
    --------
    >>> from derive import law, rescale, sgd, translation
    >>> law(translation(), sgd(), keep_weight_decay_squared=True).stiffness
    eta*lambda**2/2 + lambda
    >>> L = law(rescale(), sgd(momentum=True))
    >>> L.mass, L.damping, L.stiffness
    (eta*(beta + 1)/4, (1 - beta)/2, lambda)
    >>> law(rescale(), sgd(), sp.oo).stiffness  # (1 − ηλ)^(2t/η) is the exact decay (eq. 41)
    -2*log(-eta*lambda + 1)/eta
    """
    if not isinstance(symmetry, Symmetry) or not isinstance(rule, UpdateRule):
        raise UnsupportedError(f"symmetry, rule: expected law(scale(), sgd()) or the like, got {symmetry!r}, {rule!r}")
    chosen = _form(rule, order, form)
    if order == sp.oo:
        expr, derivation = law_of_all_orders(symmetry, rule)
    elif order > 1 or chosen == "slow flow" or (order == 1 and rule.nesterov):
        expr, derivation = law_of_order(symmetry, rule, int(order), chosen, keep_weight_decay_squared)
    else:
        expr, derivation = _projected(symmetry, _equation_of_learning(rule, chosen), keep_weight_decay_squared)
    mass, damping, stiffness, drive, higher = _coefficients(expr)
    return Law(symmetry, rule, 0 if rule.is_flow else order, chosen, mass, damping, stiffness, drive, derivation, higher)


def _form(rule: UpdateRule, order: int | sp.Expr, form: Form | None) -> Form:
    """The form asked for, or the default of the rule and order."""
    if isinstance(order, bool) or not (order == sp.oo or (isinstance(order, (int, sp.Integer)) and order >= 0)):
        raise UnsupportedError(f"order: expected 0, 1, 2, … or sympy.oo, got {order!r}")
    if rule.is_flow or order == 0:
        allowed: tuple[Form, ...] = ("gradient flow",)
    elif order == sp.oo:
        allowed = ("all orders",)
    elif rule.momentum == 0:
        allowed = ("modified loss", "modified flow") if order == 1 else ("modified loss",)
    else:
        allowed = ("modified flow", "slow flow")
    if form not in (None, *allowed):
        kind = "momentum" if rule.momentum != 0 else "no momentum"
        raise UnsupportedError(f"form: expected one of {list(allowed)} at order {order} with {kind}, got {form!r}")
    return form or allowed[0]


def _equation_of_learning(rule: UpdateRule, form: Form) -> ModifiedEquation:
    if form == "gradient flow":
        return flow_limit(rule)
    return modified_loss(rule, 1) if form == "modified loss" else modified_flow(rule, 1)


def _projected(symmetry: Symmetry, equation: ModifiedEquation, keep: bool) -> tuple[sp.Expr, Derivation]:
    expr, steps = project(equation, symmetry)
    if not keep:
        expr, steps = drop_weight_decay_squared(expr, steps, equation, symmetry)
    title = f"law of the {symmetry.name} charge, {equation.form}, order {equation.order}"
    return expr, Derivation(title, steps, (equation.derivation,))


def _coefficients(expr: sp.Expr) -> tuple[sp.Expr, sp.Expr, sp.Expr, sp.Expr, tuple[sp.Expr, ...]]:
    """(mass, damping, stiffness, drive, higher) of ``expr = 0``."""
    charge = coefficients(read_operators(expr, Q))
    stiffness, damping, mass, *higher = (*charge, *[sp.S.Zero] * (3 - len(charge)))
    drive = sp.Add(*(_driven(read_operators(expr, form(t)), form(t)) for form in symbols.FORM_NAMES))
    return _factored(mass), sp.together(damping), _spread(stiffness), drive, tuple(map(_factored, higher))


def _spread(stiffness: sp.Expr) -> sp.Expr:
    return stiffness if stiffness.atoms(sp.Function) else sp.expand(stiffness)


def _driven(operator: sp.Expr, form: sp.Expr) -> sp.Expr:
    """−F(D) form: whole if F is a quotient, carried out and with factored coefficients if it is a polynomial."""
    if not operator.is_polynomial(D):
        return operator_on(-operator, form)
    return sp.Add(*(_factored(-c) * form.diff(t, k) for k, c in enumerate(coefficients(operator))))


def _factored(expr: sp.Expr) -> sp.Expr:
    """Factored, with 1−α (not −(α−1)) as a factor, as h = η(1−α) is written."""
    gain = sp.Symbol("a", positive=True)
    return factored(expr.subs(symbols.dampening, 1 - gain)).subs(gain, 1 - symbols.dampening)
