"""Itô laws and stochastic modified equations, against exact expectations over every batch that can be drawn."""

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
import sympy as sp

from derive import Symmetry, SymmetryError, UnsupportedError, gradient_flow, law, rescale, scale, sgd, translation
from derive import inner_product as ip
from derive.derivation import DerivationError, Step
from derive.law import Q
from derive.stochastic import NOISE, batch_size, ito_law, noise_form, stochastic_modified_equation
from derive.symbols import gradient_form, group_parameter
from derive.symbols import lr as eta
from derive.symbols import momentum as beta
from derive.symbols import time as t
from derive.symbols import weight_decay as lam
from tests.derive.known_systems import CURVED_LOSS, INVARIANT_LOSSES

q, T, S = gradient_form(t), noise_form(t), batch_size
x, y, z, w = sp.symbols("x y z w", real=True)
s = group_parameter

# Known answers

KNOWN = {
    "scale": (scale, -2 * lam * Q + eta * q + eta / S * T),  # Kunin et al. 2021, App. F, with the sign of η|g|² put right
    "rescale": (rescale, -2 * lam * Q + eta * q + eta / S * T),
    "translation": (translation, -lam * Q),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_law_is_appendix_f_with_the_drive_outwards(name):
    symmetry, expected = KNOWN[name]
    found = ito_law(symmetry(), sgd())
    assert sp.expand(found.drift - expected) == 0
    assert found.martingale == 0
    assert found.equation == sp.Eq(Q.diff(t), found.drift)


def test_the_sign_printed_in_appendix_f_is_not_derived():
    printed = -2 * lam * Q - eta * q + eta / S * T
    assert sp.expand(ito_law(scale(), sgd()).drift - printed) == 2 * eta * q


TRACES = {scale: r"\operatorname{Tr}\Sigma_{A}", rescale: r"\operatorname{Tr}\Sigma_{A1} - \operatorname{Tr}\Sigma_{A2}"}


@pytest.mark.parametrize(("symmetry", "trace"), TRACES.items())
def test_the_law_says_which_traces_it_means(symmetry, trace):
    assert f"T(t) = {trace}$" in ito_law(symmetry(), sgd())._repr_latex_()
    assert "T(t)" not in ito_law(translation(), sgd())._repr_latex_()


def test_without_noise_it_is_the_law_of_full_batch_descent():
    found = ito_law(rescale(), sgd())
    assert found.law.equation == law(rescale(), sgd()).equation
    assert found.drift.subs(T, 0) == sp.expand(found.law.drive - found.law.stiffness * Q)


def test_the_gradients_of_the_batches_used_drive_it_without_any_covariance():
    measured = sp.Symbol("measured")  # E<ĝ, ĝ>_M = q + T/S
    assert sp.expand(ito_law(scale(), sgd()).drift.subs(q, measured - T / S)) == sp.expand(-2 * lam * Q + eta * measured)


# On losses with a symmetry, example by example

r2 = x**2 + y**2 + z**2
EXAMPLES = {
    "scale": (INVARIANT_LOSSES["scale"].loss, y * z / r2 + 3 * w, x**2 * w / r2),
    "rescale": (INVARIANT_LOSSES["rescale"].loss, x * z * w, (y * z) ** 2 - x * z),
    "translation": (INVARIANT_LOSSES["translation"].loss, (x - y) * w, (y - z) ** 2 * (x - z)),
}
POINT = {x: sp.Rational(3, 5), y: sp.Rational(-2, 7), z: sp.Rational(4, 3), w: sp.Rational(5, 4)}
COORDINATES = (x, y, z, w)


@cache
def case(name):
    """(symmetry in full coordinates, losses of the examples, coordinates, point)."""
    if name == "boost":  # M = [[0, 1], [1, 0]]: not diagonal
        moved = (x * (s + 1 / s) / 2 + y * (s - 1 / s) / 2, x * (s - 1 / s) / 2 + y * (s + 1 / s) / 2)
        losses = (x**2 - y**2, (x**2 - y**2) ** 2, -((x**2 - y**2) ** 3))
        return Symmetry("boost", (x, y), moved, sp.S.One), losses, (x, y), POINT
    if name == "power rescale":  # Kunin et al. 2021, App. A
        losses = (x * y**2, (x * y**2 - 1) ** 2, -2 * x**2 * y**4)
        return Symmetry(name, (x, y), (x * s**2, y / s), sp.S.One), losses, (x, y), POINT
    return INVARIANT_LOSSES[name].symmetry, EXAMPLES[name], COORDINATES, POINT


CASES = [*EXAMPLES, "boost", "power rescale"]


def gradients(losses, variables):
    return [sp.Matrix([loss.diff(v) for v in variables]) for loss in losses]


def covariance_of(all_gradients):
    mean = sum(all_gradients, sp.zeros(*all_gradients[0].shape)) / len(all_gradients)
    return sum(((g - mean) * (g - mean).T for g in all_gradients), sp.zeros(mean.rows)) / len(all_gradients)


def law_on(name, drift):
    """A drift in Q, q, T evaluated at the point; η, λ, S are left."""
    symmetry, losses, variables, point = case(name)
    found = [g.subs(point) for g in gradients(losses, variables)]
    mean = sum(found, sp.zeros(len(variables), 1)) / len(found)
    M = symmetry.linear_part
    numbers = {Q: symmetry.charge.subs(point), q: (mean.T * M * mean)[0], T: (M * covariance_of(found)).trace()}
    return sp.expand(drift.subs(numbers))


@pytest.mark.parametrize("name", CASES)
def test_the_law_is_the_generator_of_the_diffusion_applied_to_the_charge(name):
    symmetry, losses, variables, point = case(name)
    loss, theta = sp.Add(*losses) / len(losses), sp.Matrix(variables)
    g, H = sp.Matrix([loss.diff(v) for v in variables]), sp.hessian(loss, variables)
    unit = sp.eye(len(variables))
    mu = (-(unit + eta / 2 * (H + lam * unit)) * (g + lam * theta)).subs(point)
    slope = sp.Matrix([symmetry.charge.diff(v) for v in variables]).subs(point)
    bend = sp.hessian(symmetry.charge, variables)
    sigma = covariance_of([grad.subs(point) for grad in gradients(losses, variables)])
    generated = (mu.T * slope)[0] + eta / (2 * S) * (sigma * bend).trace()
    kept = ito_law(symmetry, sgd(), keep_weight_decay_squared=True).drift
    assert sp.expand(generated - law_on(name, kept)) == 0
    assert sp.expand((slope.T * sigma * slope)[0]) == 0  # the variance of the martingale part


def test_noise_that_breaks_the_symmetry_has_a_martingale_part():
    found = [g.subs(POINT) for g in gradients((*EXAMPLES["scale"], x), COORDINATES)]
    slope = sp.Matrix([2 * x, 2 * y, 2 * z, 0]).subs(POINT)
    assert (slope.T * covariance_of(found) * slope)[0] > 0


BATCH = 2
DECAY = sp.Rational(1, 3)


def mean_charge_after_a_step(name, step):
    """E Q(θ − η(ĝ + λθ)), over every batch of two examples drawn with replacement: no theory in it."""
    symmetry, losses, variables, point = case(name)
    found = [g.subs(point) for g in gradients(losses, variables)]
    theta = sp.Matrix(variables).subs(point)
    total = sp.S.Zero
    for batch in product(found, repeat=BATCH):
        moved = theta - step * (sum(batch, sp.zeros(len(variables), 1)) / BATCH + DECAY * theta)
        total += symmetry.charge.subs(dict(zip(variables, moved, strict=True)), simultaneous=True)
    return total / len(found) ** BATCH


@cache
def drive_rate(name):
    """d/dt of q + T/S along θ' = −g − λθ, exact."""
    symmetry, losses, variables, point = case(name)
    here, M, small = sp.Matrix(variables).subs(point), symmetry.linear_part, sp.Symbol("epsilon")
    mean = sum((g.subs(point) for g in gradients(losses, variables)), sp.zeros(len(variables), 1)) / len(losses)
    path = dict(zip(variables, here - small * (mean + DECAY * here), strict=True))
    along = [g.subs(path) for g in gradients(losses, variables)]
    batch = sum(along, sp.zeros(len(variables), 1)) / len(along)
    form = (batch.T * M * batch)[0] + (M * covariance_of(along)).trace() / BATCH
    return form.diff(small).subs(small, 0)


def step_difference(name, drift):
    """The lowest power of η in E Q_1 − (Q + η𝓛Q + η²𝓛²Q/2 + η³𝓛³Q/6); 𝓛³Q = −p³λ³Q + O(η)."""
    symmetry, _, _, point = case(name)
    charge, known = symmetry.charge.subs(point), {lam: DECAY, S: BATCH}
    first = law_on(name, drift).subs(known)
    second = drift.coeff(Q).subs(known) * first + eta * drive_rate(name)
    third = -((symmetry.degree * DECAY) ** 3) * charge
    flow = charge + eta * first + eta**2 / 2 * second + eta**3 / 6 * third
    difference = sp.Poly(sp.expand(mean_charge_after_a_step(name, eta) - flow), eta)
    return min(power for (power,) in difference.monoms())


@pytest.mark.parametrize("name", CASES)
def test_a_stochastic_step_moves_the_expected_charge_as_the_law_says_to_second_order_and_no_further(name):
    assert step_difference(name, ito_law(case(name)[0], sgd(), keep_weight_decay_squared=True).drift) == 3


def test_without_the_square_of_weight_decay_the_law_is_followed_to_first_order_only():
    assert step_difference("scale", ito_law(case("scale")[0], sgd()).drift) == 2


@pytest.mark.parametrize("name", ["scale", "rescale", "boost", "power rescale"])
@pytest.mark.parametrize("wrong", [-eta / S * T, -2 * eta * q, eta / S * T, -lam * Q * eta])
def test_another_drift_would_be_seen(name, wrong):
    drift = ito_law(case(name)[0], sgd(), keep_weight_decay_squared=True).drift
    assert step_difference(name, sp.expand(drift + wrong)) == 2


# Stochastic modified equations


def test_the_drifts_and_the_noise_are_those_of_li_tai_and_e():
    rule = sgd(weight_decay=False)
    first, second = (stochastic_modified_equation(rule, order) for order in (1, 2))
    assert first.drift == -ip.gradient
    assert sp.expand(second.drift + ip.gradient + eta / 2 * ip.hessian * ip.gradient) == 0
    assert first.noise == second.noise == sp.sqrt(eta / S) * NOISE
    assert "Sigma" in second._repr_latex_()
    assert all(isinstance(step, Step) for step in second.derivation.all_steps)


NOISY = (CURVED_LOSS + x * y**2, CURVED_LOSS - x * y**2 + x, CURVED_LOSS - x)
OBSERVABLE = x**2 * y + 3 * x - y**2


def on_loss(field, loss):
    """A field of words, spelled out: ``H*g`` becomes ∇²L ∇L."""
    letters = {ip.gradient: sp.Matrix([loss.diff(x), loss.diff(y)]), ip.hessian: sp.hessian(loss, (x, y)),
               ip.theta: sp.Matrix([x, y])}  # fmt: skip
    total = sp.zeros(2, 1)
    for word, scalar in ip.words(field).items():
        vector = scalar * sp.eye(2)
        for letter in ip.word_letters(word):
            vector = vector * letters[letter]
        total += vector
    return total.subs(lam, DECAY)


@cache
def first_difference(drift, noise_scale=1):
    """The lowest power of η in E f(θ_1) − e^{η𝓛} f, f an observable, 𝓛 the generator of the diffusion; exact."""
    mean = sp.Add(*NOISY) / len(NOISY)
    mu, sigma = on_loss(drift, mean), covariance_of(gradients(NOISY, (x, y)))

    def generator(f):
        bend = sp.hessian(f, (x, y))
        return sp.expand(mu[0] * f.diff(x) + mu[1] * f.diff(y) + noise_scale * eta / 2 * (sigma * bend).trace())

    terms = [OBSERVABLE]
    for k in range(1, 4):
        terms.append(generator(terms[-1]) / k)
    here = {x: sp.Rational(3, 5), y: sp.Rational(-2, 7)}
    flow = sum(eta**k * term.subs(here) for k, term in enumerate(terms))
    steps = [sp.Matrix([x, y]) - eta * (g + DECAY * sp.Matrix([x, y])) for g in gradients(NOISY, (x, y))]
    after = sum(OBSERVABLE.subs({x: a[0], y: a[1]}, simultaneous=True).subs(here) for a in steps) / len(steps)
    return min(power for (power,) in sp.Poly(sp.expand(after - flow), eta).monoms())


@pytest.mark.parametrize("order", [1, 2])
def test_the_diffusion_has_the_expectations_of_a_step_up_to_its_weak_order_and_no_further(order):
    assert first_difference(stochastic_modified_equation(sgd(), order).drift) == order + 1


def test_twice_the_noise_or_the_opposite_correction_would_be_seen():
    first, second = (stochastic_modified_equation(sgd(), order).drift for order in (1, 2))
    assert first_difference(second, noise_scale=2) == 2
    assert first_difference(sp.expand(2 * first - second)) == 2


def test_numbers_may_stand_for_symbols():
    rule = sgd(lr=sp.Rational(1, 10), weight_decay=0)
    assert ito_law(scale(), rule).drift == q / 10 + T / (10 * S)
    assert stochastic_modified_equation(rule).drift == -ip.gradient - ip.hessian * ip.gradient / 20


# The steps and refusals


@pytest.mark.parametrize("symmetry", [scale, rescale, translation])
def test_every_step_is_checked_and_starts_where_the_one_before_ends(symmetry):
    derivation = ito_law(symmetry(), sgd()).derivation
    assert all(isinstance(step, Step) for step in derivation.all_steps)
    assert [b.before for b in derivation.steps[1:]] == [a.after for a in derivation.steps[:-1]]
    assert derivation.lemmas == (law(symmetry(), sgd()).derivation,)


@pytest.mark.parametrize("rule", ["Itô's lemma", "noise keeps the symmetry", "name the charge"])
def test_a_step_with_another_outcome_is_refused(rule):
    (step,) = (step for step in ito_law(scale(), sgd()).derivation.steps if step.rule == rule)
    with pytest.raises(DerivationError, match=rule):
        replace(step, after=step.after + eta * q)


def test_a_law_with_a_martingale_part_or_another_drive_is_refused():
    found = ito_law(scale(), sgd())
    with pytest.raises(ValueError, match=r"martingale: expected 0, .* got eta"):
        replace(found, martingale=eta)
    with pytest.raises(ValueError, match=r"noise_drive: expected a multiple of T\(t\), got q\(t\)"):
        replace(found, noise_drive=q)


@pytest.mark.parametrize("derive", [lambda rule: ito_law(scale(), rule), stochastic_modified_equation])
@pytest.mark.parametrize(("rule", "got"), [(sgd(momentum=True), "momentum beta"), (gradient_flow(), "gradient flow")])
def test_momentum_and_flows_are_refused(derive, rule, got):
    with pytest.raises(UnsupportedError, match=rf"rule: .* covers plain SGD with steps, got {got}; use sgd"):
        derive(rule)


@pytest.mark.parametrize("order", [0, 3, "2"])
def test_another_weak_order_is_refused(order):
    with pytest.raises(UnsupportedError, match=f"order: expected weak order 1 or 2, got {order!r}"):
        stochastic_modified_equation(sgd(), order)


def test_symmetries_without_a_charge_or_with_a_centre_elsewhere_are_refused():
    with pytest.raises(SymmetryError, match="no charge exists"):
        ito_law(Symmetry("shear", (x, y), (x + s * y, y), sp.S.Zero), sgd())
    with pytest.raises(UnsupportedError, match="scales and translates at once"):
        ito_law(Symmetry("about 1", (x,), (s * (x - 1) + 1,), sp.S.One), sgd())


def test_momentum_zero_is_plain_sgd():
    assert ito_law(scale(), sgd(momentum=0)).drift == ito_law(scale(), sgd()).drift
    assert beta not in ito_law(scale(), sgd()).drift.free_symbols
