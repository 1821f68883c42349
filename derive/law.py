"""The law of a charge: the equation of learning, projected on the generator of a symmetry.

Invariance removes the loss from the projection: ⟨g, X⟩ = 0 and HX = −Mᵀg leave a linear equation for the charge,

    m Q'' + c Q' + k Q = f(t),

with mass m, damping c, stiffness k and a drive f that is a quadratic form of the gradient or of the velocity.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from derive import inner_product as ip
from derive import symbols
from derive.derivation import Derivation, DerivationError, Step
from derive.modified_equation import Form, ModifiedEquation, UnsupportedError, flow_limit, modified_flow, modified_loss
from derive.symbols import time as t
from derive.symmetry import Symmetry
from derive.update_rule import UpdateRule

Q = symbols.charge(t)


@dataclass(frozen=True)
class Law:
    """m Q'' + c Q' + k Q = f(t) for the charge Q of ``symmetry`` under ``rule``, in training time t = Σ h, h = η(1−α).

    Parameters
    ----------
    symmetry, rule, order, form
        What was projected: order 0 is gradient flow, 1 the paper's laws.
    mass, damping, stiffness
        m, c, k. The mass is 0 for a first-order law; c is then 1, or 1−β for momentum flow.
    drive
        f(t), linear in ``q(t)`` = ⟨g, g⟩_M or ``k(t)`` = ⟨θ', θ'⟩_M; 0 for a translation.
    derivation
        Every step from the map to this equation, machine-checked.

    Examples
    --------
    Kunin et al. 2021, eq. 21: weight decay pulls inwards, discretization pushes outwards.

    >>> from derive import scale, sgd, law
    >>> law(scale(), sgd()).equation
    Eq(2*lambda*Q(t) + Derivative(Q(t), t), eta*q(t))
    """

    symmetry: Symmetry
    rule: UpdateRule
    order: int
    form: Form
    mass: sp.Expr
    damping: sp.Expr
    stiffness: sp.Expr
    drive: sp.Expr
    derivation: Derivation

    def __post_init__(self) -> None:
        forms = {symbols.gradient_form(t), symbols.velocity_form(t)}
        if self.drive.atoms(sp.core.function.AppliedUndef) - forms:
            raise ValueError(f"drive: expected a multiple of one of {forms}, got {self.drive}")
        if self.damping == 0:
            raise ValueError("damping: expected a law with damping, got 0")
        derived = self.derivation.steps[-1].after
        if sp.expand(self.equation.lhs - self.drive - derived) != 0:
            raise DerivationError(f"law: its derivation ends with {derived} = 0, which is not {self.equation}")

    @property
    def equation(self) -> sp.Eq:
        """The law as a SymPy equation for ``Q(t)``."""
        return sp.Eq(self.mass * Q.diff(t, 2) + self.damping * Q.diff(t) + self.stiffness * Q, self.drive)

    @property
    def hyper_parameters(self) -> tuple[str, ...]:
        """Names of the hyper-parameters that occur: of ``lr``, ``weight_decay``, ``momentum``, ``dampening``."""
        return symbols.argument_names(self.mass + self.damping + self.stiffness + self.drive)

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
    def drive_form(self) -> str | None:
        """Name of the form whose samples drive the law: ``"gradient"``, ``"velocity"`` or None."""
        names = [symbols.FORM_NAMES[f.func] for f in self.drive.atoms(sp.core.function.AppliedUndef)]
        return names[0] if names else None

    def __str__(self) -> str:
        terms = [(self.mass, "*Q''"), (self.damping, "*Q'"), (self.stiffness, "*Q")]
        left = " + ".join(_factor_text(value) + name if value != 1 else name[1:] for value, name in terms if value != 0)
        return f"{left} = {self.drive}"

    def _repr_latex_(self) -> str:
        dots = [(self.mass, r"\ddot Q"), (self.damping, r"\dot Q"), (self.stiffness, "Q")]
        left = " + ".join(_factor_latex(value) + dot for value, dot in dots if value != 0)
        where = rf"Q = {self.symmetry.form_latex(chr(92) + 'theta')}"
        if self.drive_form:
            letter, name = ("g", "q(t)") if self.drive_form == "gradient" else (r"\dot\theta", "k(t)")
            where += rf",\; {name} = {self.symmetry.form_latex(letter)}"
        return rf"${left} = {sp.latex(self.drive)}, \qquad {where}$"


def _factor_text(value: sp.Expr) -> str:
    return f"({value})" if value.is_Add or value.is_Mul else str(value)


def _factor_latex(value: sp.Expr) -> str:
    if value == 1:
        return ""
    text = sp.latex(value)
    return rf"\left({text}\right) " if value.is_Add else text + r"\, "


def law(
    symmetry: Symmetry,
    rule: UpdateRule,
    order: int = 1,
    *,
    form: Form | None = None,
    keep_weight_decay_squared: bool = False,
) -> Law:
    """Derive the law of the charge of ``symmetry`` under ``rule``, a :class:`Symmetry` and an :class:`UpdateRule`.

    Parameters
    ----------
    order
        0: gradient flow (eq. 10–15). 1: the paper's laws – modified loss for plain SGD (eq. 18–21, 27–30), modified flow
        with momentum (eq. 32–38).
    form
        ``"modified loss"`` or ``"modified flow"`` to override that choice at order 1.
        With Nesterov the drive is closed by the equation of learning at order 0, which holds for the full gradient: under
        minibatch noise that law is far off, where the exact :func:`discrete_law` is not.
    keep_weight_decay_squared
        Keep the ηλ² term of the modified loss, which the paper drops because it sets λ ~ η.

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
    """
    if not isinstance(symmetry, Symmetry) or not isinstance(rule, UpdateRule):
        raise UnsupportedError(f"symmetry, rule: expected law(scale(), sgd()) or the like, got {symmetry!r}, {rule!r}")
    equation = _equation_of_learning(rule, order, form)
    projected, steps = _project(equation, symmetry)
    if not keep_weight_decay_squared:
        projected, steps = _drop_weight_decay_squared(projected, steps, equation, symmetry)
    title = f"law of the {symmetry.name} charge, {equation.form}, order {order}"
    derivation = Derivation(title, steps, (equation.derivation,))
    return Law(symmetry, rule, equation.order, equation.form, *_coefficients(projected), derivation)


def _equation_of_learning(rule: UpdateRule, order: int, form: Form | None) -> ModifiedEquation:
    if order not in (0, 1):
        raise UnsupportedError(f"order: expected 0 (gradient flow) or 1 (modified loss or flow), got {order}; "
                               "what holds to every order is discrete_law(symmetry, rule)")  # fmt: skip
    if rule.is_flow or order == 0:
        if form not in (None, "gradient flow"):
            raise UnsupportedError(f"form: gradient flow has no {form}; leave form out")
        return flow_limit(rule)
    chosen = form or ("modified loss" if rule.momentum == 0 else "modified flow")
    passes = {"modified loss": modified_loss, "modified flow": modified_flow}
    if chosen not in passes:
        raise UnsupportedError(f"form: expected one of {sorted(passes)} at order {order}, got {chosen!r}")
    return passes[chosen](rule, order)


def _project(equation: ModifiedEquation, symmetry: Symmetry) -> tuple[sp.Expr, tuple[Step, ...]]:
    """The passes: project, move H onto X, use invariance, close, name the charge. Each is a checked step."""
    first = _projection(equation, symmetry)
    steps, expr = [first], first.after
    for one_pass in (_move_hessian, _use_invariance, _close, _name_charge):
        step = one_pass(expr, symmetry, equation)
        expr = step.after
        if step.after != step.before:
            steps.append(step)
    return expr, tuple(steps)


def _projection(equation: ModifiedEquation, symmetry: Symmetry) -> Step:
    """⟨Σ c_k θ^(k) − f, X⟩, times p in an equation of first order, so that it starts with Q' = ⟨pX, θ'⟩."""
    factor = symmetry.degree if len(equation.time_coefficients) == 1 else 1
    times = "the generator $X$" if factor == 1 else rf"$\nabla Q = {factor} X$, $X$ the generator"
    vector = equation.residual
    whole = ip.Inner(ip.generator, vector)
    expanded = ip.inner(vector, ip.generator)
    return Step(
        factor * whole,
        sp.expand(factor * expanded),
        "project on the generator",
        f"the equation of learning times {times} of the symmetry, term by term; from here on the expressions are 0",
        ((whole, expanded),),
        source="Kunin et al. 2021, section 6 (ii)",
    )


def _move_hessian(expr: sp.Expr, symmetry: Symmetry, equation: ModifiedEquation) -> Step:
    atoms = expr.atoms(ip.Inner)
    facts = tuple((atom, ip.move_operators(atom, onto=ip.generator)) for atom in atoms)
    return Step(
        expr,
        ip.move_operators(expr, onto=ip.generator),
        "move the Hessian onto the generator",
        r"the Hessian is symmetric, $\langle H u, X\rangle = \langle u, H X\rangle$",
        facts,
    )


def _use_invariance(expr: sp.Expr, symmetry: Symmetry, equation: ModifiedEquation) -> Step:
    """⟨g, X⟩ = 0 and HX = −Mᵀg, then Mθ = X − c: what is left of the loss is quadratic in g or pairs g with θ'."""
    first, second = symmetry.gradient_identity, symmetry.hessian_identity
    linear_on_theta = ip.generator - (0 if symmetry.constant_part.is_zero_matrix else ip.constant_part)
    facts = [(first.word, first.value)]
    for atom in expr.atoms(ip.Inner):
        value = ip.substitute_words(atom, {second.word: second.value})
        value = value.replace(ip.Inner(ip.theta, ip.linear_part * ip.gradient), ip.inner(ip.gradient, linear_on_theta))
        facts.append((atom, value.subs({first.word: first.value})))
    return Step(
        expr,
        sp.expand(expr.subs(dict(facts))),
        "use invariance",
        r"the loss does not change along $X$: $\langle g, X\rangle = 0$ and, differentiated once more, "
        + (r"$H X = 0$" if symmetry.linear_word == 0 else r"$H X = -M g$, $M$ being the linear part of $X$"),
        tuple(facts),
        source="Kunin et al. 2021, eq. 1–8",
    )


def _close(expr: sp.Expr, symmetry: Symmetry, equation: ModifiedEquation) -> Step:
    """A gradient that meets a velocity is replaced by the equation of learning at leading order: g = −c_1θ' − λθ + O(h)."""
    speed = equation.time_coefficients[0]
    mixed = ip.Inner(ip.theta_dot, ip.linear_part * ip.gradient)
    value = -speed * ip.Inner(ip.theta_dot, ip.linear_part * ip.theta_dot)
    value -= equation.rule.weight_decay * ip.inner(ip.theta_dot, ip.generator)
    return Step(
        expr,
        sp.expand(expr.subs(mixed, value)),
        "close at leading order",
        "this term is already $O(h)$, so the gradient in it may be taken from the equation of learning at order 0",
        ((mixed, value),),
    )


def _name_charge(expr: sp.Expr, symmetry: Symmetry, equation: ModifiedEquation) -> Step:
    """∇Q = pX gives ⟨θ', X⟩ = Q'/p; the product rule ⟨θ'', X⟩ = (Q'/p)' − ⟨θ', Mθ'⟩."""
    p, form = symmetry.degree, symbols.velocity_form(t)
    _check_gradient_of_charge(symmetry)
    facts = (
        (ip.Inner(ip.theta, ip.generator), Q),
        (ip.Inner(ip.theta_dot, ip.generator), Q.diff(t) / p),
        (ip.Inner(ip.theta_ddot, ip.generator), Q.diff(t, 2) / p - (form if symmetry.linear_word != 0 else 0)),
        (ip.Inner(ip.gradient, ip.linear_part * ip.gradient), symbols.gradient_form(t)),
        (ip.Inner(ip.theta_dot, ip.linear_part * ip.theta_dot), form),
    )
    named = sp.expand(expr.subs(dict(facts)))
    if named.atoms(ip.Inner):
        raise UnsupportedError(
            f"symmetry: the law of {symmetry.name!r} does not close in its charge, {named.atoms(ip.Inner)} remain"
        )
    reason = rf"$\nabla Q = {p} X$, so $\langle \dot\theta, X\rangle = Q'/{p}$, and the product rule for $Q''$"
    if p == 1:
        reason = r"$\nabla Q = X$, so $\langle \dot\theta, X\rangle = Q'$"
    return Step(expr, named, "name the charge", reason, facts)


def _check_gradient_of_charge(symmetry: Symmetry) -> None:
    expected = tuple(sp.expand(symmetry.degree * x) for x in symmetry.generator)
    got = tuple(sp.diff(symmetry.charge, x) for x in symmetry.coordinates)
    both = not symmetry.linear_part.is_zero_matrix and not symmetry.constant_part.is_zero_matrix
    if got != expected:
        raise DerivationError(f"charge: expected its gradient to be {expected}, got {got}")
    if both:
        raise UnsupportedError(
            f"symmetry: {symmetry.name!r} scales and translates at once, so <theta, X> is not its charge; shift the origin"
        )


def _drop_weight_decay_squared(
    expr: sp.Expr, steps: tuple[Step, ...], equation: ModifiedEquation, symmetry: Symmetry
) -> tuple[sp.Expr, tuple[Step, ...]]:
    """Drop what the equation of learning adds to −λθ along θ: −(ηλ²/2)θ, whether λ is a symbol or a number."""
    added = -ip.words(equation.field).get(ip.theta, sp.S.Zero) - equation.rule.weight_decay
    dropped = sp.expand(symmetry.degree * added * Q) if equation.form == "modified loss" else sp.S.Zero
    if dropped == 0:
        return expr, steps
    after = sp.expand(expr - dropped)
    reason = r"the paper takes $\lambda$ to be as small as $\eta$"
    step = Step(expr, after, "drop the square of weight decay", reason, (), dropped, "Kunin et al. 2021, App. E")
    return after, (*steps, step)


def _coefficients(expr: sp.Expr) -> tuple[sp.Expr, sp.Expr, sp.Expr, sp.Expr]:
    """(mass, damping, stiffness, drive) of ``expr = 0``."""
    mass, damping = expr.coeff(Q.diff(t, 2)), expr.coeff(Q.diff(t))
    stiffness = expr.subs(Q.diff(t), 0).subs(Q.diff(t, 2), 0).coeff(Q)
    rest = sp.expand(expr - mass * Q.diff(t, 2) - damping * Q.diff(t) - stiffness * Q)
    if rest.has(Q):
        raise DerivationError(f"law: expected a linear equation in Q, got {expr} = 0")
    return _factored(mass), sp.together(damping), sp.expand(stiffness), _factored(-rest)


def _factored(expr: sp.Expr) -> sp.Expr:
    """Factored, with 1−α (not −(α−1)) as a factor, as h = η(1−α) is written."""
    gain = sp.Symbol("a", positive=True)
    return sp.factor(expr.subs(symbols.dampening, 1 - gain)).subs(gain, 1 - symbols.dampening)
