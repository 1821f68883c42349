"""The equation of learning projected on the generator: passes, each a checked step, that leave an equation for Q."""

from __future__ import annotations

import sympy as sp

from derive import inner_product as ip
from derive import symbols
from derive.derivation import DerivationError, Step
from derive.modified_equation import ModifiedEquation
from derive.symbols import Q
from derive.symbols import time as t
from derive.symmetry import Symmetry
from derive.update_rule import UnsupportedError


def project(equation: ModifiedEquation, symmetry: Symmetry) -> tuple[sp.Expr, tuple[Step, ...]]:
    """The passes: project, move H onto X, use invariance, name the charge. Each is a checked step."""
    first = _projection(equation, symmetry)
    steps, expr = [first], first.after
    for one_pass in (_move_hessian, _use_invariance, _name_charge):
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


def drop_weight_decay_squared(
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
