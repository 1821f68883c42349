"""Every step of every derivation of a law, evaluated on vectors of numbers that know nothing of the derivation.

The model is a random point of a loss with the symmetry: rational vectors and matrices with ⟨g, X⟩ = 0 and HX = −Mᵀg, and
a velocity that obeys the equation of learning at leading order. A step that only restates its own conclusion fails here.
"""

import random
from dataclasses import dataclass

import pytest
import sympy as sp

from derive import general_linear, linear_symmetry, power_rescale, rescale, scale, theorem_1, translation
from derive import inner_product as ip
from derive.law import Q, law
from derive.symbols import dampening, gradient_form, lr, momentum, velocity_form, weight_decay
from derive.symbols import time as t
from derive.update_rule import sgd

NUMBERS = {lr: sp.Rational(3, 7), weight_decay: sp.Rational(2, 5), momentum: sp.Rational(5, 8), dampening: sp.Rational(1, 3)}
DENSE = sp.Matrix([[2, 1, 0, 3], [1, -1, 5, 0], [0, 5, 1, -2], [3, 0, -2, 4]])
FAMILIES = {
    "translation": (translation(), sp.zeros(4), sp.ones(4, 1)),
    "scale": (scale(), sp.eye(4), sp.zeros(4, 1)),
    "rescale": (rescale(), sp.diag(1, 1, -1, -1), sp.zeros(4, 1)),
    "power rescale": (power_rescale(2, 3), sp.diag(2, 2, -3, -3), sp.zeros(4, 1)),
    "linear": (linear_symmetry(DENSE), DENSE, sp.zeros(4, 1)),
    "general linear": (
        general_linear(2).along([[1, 3], [3, 0]]),
        sp.diag(sp.Matrix([[1, 3], [3, 0]]), -sp.Matrix([[1, 3], [3, 0]])),
        sp.zeros(4, 1),
    ),
}
TURN = sp.Matrix([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -3], [0, 0, 3, 0]])
SHEARS = sp.Matrix([[1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, -1]])
WITHOUT_A_CHARGE = {
    "rotation": (linear_symmetry(TURN), TURN, sp.zeros(4, 1)),
    "any other matrix": (linear_symmetry(SHEARS), SHEARS, sp.zeros(4, 1)),
}
RULES = {
    "plain": sgd(),
    "momentum": sgd(momentum=True),
    "dampening": sgd(momentum=True, dampening=True),
}
"""Those whose law is a projection; Nesterov's comes from the recurrence (test_law_series)."""


@dataclass(frozen=True)
class Model:
    """Numbers for every letter of a word."""

    values: dict[sp.Symbol, sp.Matrix]

    def vector(self, word):
        total = sp.zeros(4, 1)
        for letters, scalar in ip.words(word).items():
            product = sp.eye(4)
            for letter in ip.word_letters(letters):
                product = product * self.values[letter]
            total += scalar.subs(NUMBERS) * product
        return total

    def scalar(self, expr):
        charge, slope, curvature = self.charges()
        forms = {Q.diff(t, 2): curvature, Q.diff(t): slope, Q: charge,
                 gradient_form(t): self.form(ip.gradient), velocity_form(t): self.form(ip.theta_dot)}  # fmt: skip
        numbers = expr.replace(
            lambda e: isinstance(e, ip.Inner), lambda e: (self.vector(e.args[0]).T * self.vector(e.args[1]))[0]
        )
        return numbers.subs(forms).subs(NUMBERS)

    def form(self, letter):
        x = self.values[letter]
        return (x.T * self.values[ip.linear_part] * x)[0]

    def charges(self):
        """Q, Q' and Q'' along a path with the model's θ, θ', θ'', from Q = θᵀMθ or cᵀθ alone."""
        x, v, a = (self.values[k] for k in (ip.theta, ip.theta_dot, ip.theta_ddot))
        M, c = self.values[ip.linear_part], self.values[ip.constant_part]
        if M.is_zero_matrix:
            return tuple((c.T * y)[0] for y in (x, v, a))
        return (x.T * M * x)[0], 2 * (v.T * M * x)[0], 2 * (a.T * M * x)[0] + 2 * (v.T * M * v)[0]


def model_of(family, rule, seed=0):
    draw = random.Random(seed)

    def vector():
        return sp.Matrix([sp.Rational(draw.randint(-9, 9) or 1, 7) for _ in range(4)])

    _, M, c = (FAMILIES | WITHOUT_A_CHARGE)[family]
    theta, acceleration = vector(), vector()
    X = M * theta + c
    g = vector()
    g = g - X * (g.T * X)[0] / (X.T * X)[0]
    H = _hessian(X, -M.T * g, vector)
    speed = 1 - rule.momentum.subs(NUMBERS)
    velocity = -(g + rule.weight_decay.subs(NUMBERS) * theta) / speed
    return Model({ip.theta: theta, ip.gradient: g, ip.hessian: H, ip.theta_dot: velocity, ip.theta_ddot: acceleration,
                  ip.generator: X, ip.linear_part: M, ip.linear_part_transposed: M.T, ip.constant_part: c})  # fmt: skip


def _hessian(X, image, vector):
    """A symmetric H with HX = image (⟨image, X⟩ = −⟨Mg, X⟩ may be anything), random across X."""
    norm = (X.T * X)[0]
    along = image * X.T / norm + X * image.T / norm - X * X.T * (X.T * image)[0] / norm**2
    across = sp.eye(4) - X * X.T / norm
    u, w = vector(), vector()
    return along + across * (u * u.T - 2 * w * w.T) * across


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_step_of_a_law_holds_on_numbers(family, rule):
    derivation = law(FAMILIES[family][0], RULES[rule], keep_weight_decay_squared=True).derivation
    model = model_of(family, RULES[rule])
    values = [model.scalar(derivation.steps[0].before), *(model.scalar(step.after) for step in derivation.steps)]
    assert values[0] != 0
    assert len(set(values)) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_is_a_point_of_a_loss_with_the_symmetry(family):
    model = model_of(family, sgd())
    X, g, H, M = (model.values[k] for k in (ip.generator, ip.gradient, ip.hessian, ip.linear_part))
    assert (g.T * X)[0] == 0
    assert -M * g == H * X
    assert H == H.T


@pytest.mark.parametrize("family", [*FAMILIES, *WITHOUT_A_CHARGE])
def test_the_identities_hold_on_numbers_with_the_transpose_where_it_matters(family):
    """⟨g, X⟩ = 0 and HX = −Mᵀg, for any M; −Mg in its place is wrong where M is not symmetric."""
    symmetry, model = (FAMILIES | WITHOUT_A_CHARGE)[family][0], model_of(family, sgd())
    identity = symmetry.hessian_identity
    assert model.scalar(symmetry.gradient_identity.word) == 0
    assert model.vector(identity.word) == model.vector(identity.value)
    assert model.vector(identity.word) != -model.vector(identity.value) or family == "translation"
    if family in WITHOUT_A_CHARGE:
        assert model.vector(identity.word) != model.vector(-ip.linear_part * ip.gradient)


@pytest.mark.parametrize("family", ["scale", "rescale", "power rescale", "linear", "general linear", "rotation"])
def test_the_hypothesis_of_theorem_1_holds_on_numbers_where_it_is_derived(family):
    (lemma,) = theorem_1((FAMILIES | WITHOUT_A_CHARGE)[family][0]).lemmas
    model = model_of(family, sgd())
    assert {model.scalar(step.before) for step in lemma.steps} == {model.scalar(lemma.steps[-1].after)} == {0}
    turned = model.values[ip.theta]
    model.values[ip.theta] = turned + sp.ones(4, 1)
    assert model.scalar(lemma.steps[0].before) != 0


def test_a_wrong_fact_shows_on_numbers():
    derivation = law(scale(), sgd()).derivation
    model = model_of("scale", sgd())
    named = next(step for step in derivation.steps if step.rule == "use invariance")
    assert model.scalar(named.before) != model.scalar(-3 * named.after)
    model.values[ip.hessian] *= 2
    assert model.scalar(named.before) != model.scalar(named.after)
