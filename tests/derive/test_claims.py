"""Verdicts: the corpus, what a verdict says besides, derivations, and that the checker rejects what is wrong."""

import mpmath
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive import (
    ClaimError,
    FormulaError,
    check,
    check_derivation,
    discrete_law,
    law,
    modified_flow,
    modified_loss,
    rescale,
    scale,
    sgd,
    solve,
    translation,
)
from derive.comparison import Fact, close, compare, proved, vanishing_order
from derive.evaluation import Sampler, ValueMissing, value
from derive.notation.terms import terms_of
from derive.references.reference import Reference, reference
from derive.symbols import lr, weight_decay
from derive.symbols import time as t
from tests.derive.claims_corpus import CORPUS, OBJECTS, against

RIGHT = [entry for entry in CORPUS if not entry.named]
WRONG = [entry for entry in CORPUS if entry.named]


def _label(entry):
    return f"{entry.against}: {entry.claim[:60]}"


# --- the corpus ---


def test_the_corpus_is_as_large_and_as_even_as_asked_for():
    assert len(CORPUS) >= 120
    assert 0.45 < len(WRONG) / len(CORPUS) < 0.55
    assert {entry.against for entry in CORPUS} == set(OBJECTS)


@pytest.mark.parametrize("entry", RIGHT, ids=_label)
def test_a_right_claim_is_found_right(entry):
    verdict = check(entry.claim, against(entry.against))
    assert verdict.ok, str(verdict)
    assert verdict.evidence != "undecided"


@pytest.mark.parametrize("entry", WRONG, ids=_label)
def test_a_wrong_claim_is_found_wrong_and_the_term_is_named(entry):
    verdict = check(entry.claim, against(entry.against))
    assert not verdict.ok
    assert entry.named in str(verdict.first_difference), str(verdict)
    assert entry.convention in (verdict.convention or "")


@pytest.mark.parametrize("entry", WRONG[::4], ids=_label)
def test_the_counterexample_is_one(entry):
    verdict = check(entry.claim, against(entry.against))
    found = verdict.counterexample
    assert found is not None
    assert all(number.is_Rational for number in found.point.values())
    assert abs(sp.N(found.claimed) - sp.N(found.correct)) > 0


# --- what a verdict says besides ---

SCALE = solve(law(scale(), sgd()))


def test_assumptions_are_told():
    verdict = check(r"|w|^2 e^{-2\lambda t} + \eta\int_0^t e^{-2\lambda(t-\tau)}|g|^2\,d\tau", against=SCALE)
    assert verdict.ok
    assert "w read as the parameters θ" in verdict.assumptions
    assert any("initial value" in note for note in verdict.assumptions)


def test_evidence_is_labelled():
    assert check("Q' = -2 lambda Q + eta q", against=SCALE).evidence == "symbolic proof"
    oscillator = law(translation(), sgd(momentum=True))
    root = r"\sqrt{\omega^2-\gamma^2}"
    solved = rf"Q(t) = Q_0 e^{{-\gamma t}}\left(\cos({root}t) + \frac{{\gamma\sin({root}t)}}{{{root}}}\right)"
    assert check(solved, against=oscillator).evidence in ("numeric evidence", "symbolic proof")


def test_a_truncation_is_right_up_to_its_order_and_says_so():
    exact = -sp.log(1 - lr * weight_decay) / lr
    verdict = check(r"\lambda + \frac{\eta\lambda^2}{2}", against=exact)
    assert (verdict.kind, verdict.order, verdict.ok) == ("right up to order", 1, False)
    assert check(r"\lambda + \frac{\eta\lambda^2}{2} + O(\eta^2)", against=exact).ok
    assert check(r"\lambda + \frac{\eta\lambda^2}{2} + \cdots", against=exact).ok
    assert not check(r"\lambda + \frac{\eta\lambda^2}{3} + O(\eta^2)", against=exact).ok


@pytest.mark.parametrize(
    ("regime", "ok"), [(r"\gamma = \omega", True), (r"\gamma > \omega", False), (r"\gamma < \omega", False)]
)
def test_a_claim_for_one_regime_is_judged_in_that_regime(regime, ok):
    oscillator = law(translation(), sgd(momentum=True))
    assert check(rf"Q(t) = e^{{-\gamma t}}(1+\gamma t)Q_0, \quad {regime}", against=oscillator).ok is ok


def test_a_solution_with_another_start_is_wrong_though_its_residual_is_0():
    oscillator = law(translation(), sgd(momentum=True))
    root = r"\sqrt{\gamma^2-\omega^2}"
    assert not check(rf"Q(t) = Q_0 e^{{-\gamma t}}\cosh({root}t)", against=oscillator).ok
    general = rf"Q(t) = e^{{-\gamma t}}\left(Q_0\cosh({root}t) + (Q'(0)+\gamma Q_0)\frac{{\sinh({root}t)}}{{{root}}}\right)"
    assert check(general, against=oscillator).ok


def test_several_statements_are_all_judged():
    rule = sgd(momentum=True)
    both = r"v_{n+1} = \beta v_n + g_n + \lambda\theta_n, \quad \theta_{n+1} = \theta_n - \eta v_{n+1}"
    assert check(both, against=rule).ok
    assert not check(both.replace(r"- \eta", r"+ \eta"), against=rule).ok


def test_a_letter_may_be_defined_beside_the_claim():
    oscillator = law(translation(), sgd(momentum=True))
    solved = r"Q(t) = e^{-\gamma t}\left(\cosh\mu t + \frac{\gamma}{\mu}\sinh\mu t\right)Q_0"
    text = solved + r", \quad \mu = \sqrt{\gamma^2-\omega^2}"
    assert check(text, against=oscillator).ok
    assert not check(text.replace(r"\gamma^2-\omega^2", r"\gamma^2+\omega^2"), against=oscillator).ok
    solved = r"Q(t) = \frac{\mu_+e^{\mu_-t} - \mu_-e^{\mu_+t}}{\mu_+-\mu_-}Q_0"
    roots = solved + r" \text{ where } \mu_\pm = -\gamma\pm\sqrt{\gamma^2-\omega^2}"
    assert check(roots, against=oscillator).ok
    assert not check(roots.replace(r"-\gamma\pm", r"\gamma\pm"), against=oscillator).ok


def test_the_law_differentiated_once_more_still_holds():
    text = r"\frac{d^2}{dt^2}|\theta_A|^2 + 2\lambda\frac{d}{dt}|\theta_A|^2 = \eta\frac{d}{dt}|g_A|^2"
    assert check(text, against=SCALE).ok
    assert not check(text.replace("2\\lambda", "\\lambda"), against=SCALE).ok


def test_what_no_reading_covers_is_refused_with_its_place():
    with pytest.raises(FormulaError, match="unknown letter 'zeta'"):
        check(r"\frac{d}{dt}Q = -\zeta Q", against=SCALE)
    with pytest.raises(FormulaError, match="another point"):
        check(r"L(\alpha\theta) = L(\theta)", against=scale())
    with pytest.raises(ClaimError, match="against: expected one of"):
        check("x = 1", against=object())
    with pytest.raises(ClaimError, match="compared with nothing"):
        check("x + 1")


def test_a_remainder_of_one_letter_is_a_remainder_and_not_a_name():
    rate = law(translation(), sgd(), sp.oo).stiffness
    assert check(r"\lambda + O(\eta)", rate).order == 0
    assert check(r"\lambda + O(\eta)", rate).ok
    assert not check(r"2\lambda + O(\eta)", rate).ok


def test_a_modified_flow_without_acceleration_is_held_against_the_slow_flow():
    flow = modified_flow(sgd(momentum=True, weight_decay=False))
    right = check(r"\dot\theta = -\frac{1}{1-\beta} g - \frac{\eta(1+\beta)}{2(1-\beta)^3} H g + O(\eta^2)", against=flow)
    assert right.ok
    assert "slow flow" in right.assumptions[-1]
    assert not check(r"\dot\theta = -\frac{1}{1-\beta} g - \frac{\eta(1+\beta)}{2(1-\beta)^2} H g", against=flow).ok


def test_a_column_times_a_row_is_a_matrix_and_no_inner_product():
    assert check(r"\theta^\top g = 0", against=scale()).ok
    for claim in (r"\theta g^\top = 0", r"\frac{d}{dt}\theta\theta^T = -2\lambda\theta\theta^T + \eta g g^T"):
        with pytest.raises(FormulaError, match="a column times a row"):
            check(claim, against=scale() if "frac" not in claim else SCALE)


@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        (r"\lim_{n\to\infty}\frac1n = 0", "right"),
        (r"\lim_{n\to\infty}\frac{\log n}{n} = 0", "right"),
        (r"\lim_{x\to0}\frac{\sin x}{x} = 1", "right"),
        (r"\lim_{n\to\infty}(1+\frac1n)^n = 3", "wrong"),
        (r"\lim_{x\to0}\frac1x = 10^{30}", "undecided"),
        (r"\frac{x}{10^{40}} = 0", "undecided"),
        (r"\cos x \approx 1", "right up to order"),
        (r"\frac1{1-\eta\lambda} \approx e^{\eta\lambda}", "right up to order"),
        (r"\frac1{1-\eta\lambda} \approx e^{2\eta\lambda}", "wrong"),
        (r"x \approx \sin(2x)", "wrong"),
        (r"\tanh(100x) = 1", "wrong"),
    ],
)
def test_limits_approximations_and_tiny_gaps_are_told_apart(claim, kind):
    verdict = check(claim)
    assert verdict.kind == kind
    assert verdict.ok == kind.startswith("right")


def test_a_remainder_that_allows_any_value_decides_nothing():
    assert check(r"\dot Q = 5\lambda Q + O(1)", against=law(translation(), sgd())).kind == "undecided"


def test_what_a_remainder_covers_is_not_named_as_wrong():
    verdict = check(r"\frac{d}{dt}|\theta|^2 = O(\eta)", against=law(scale(), sgd()))
    assert str(verdict.first_difference) == "missing 2*lambda*|θ_A|²"


def test_a_condition_on_the_charge_is_said_to_be_unused():
    verdict = check(r"\dot Q = -\lambda Q, Q > 0", against=law(translation(), sgd()))
    assert verdict.ok
    assert "not used" in verdict.assumptions[-1]


def test_letters_under_a_root_are_said_to_be_positive():
    assert check(r"\sqrt{x^2} = x").assumptions == ("letters read as positive numbers",)


def test_a_verdict_prints_and_typesets():
    verdict = check(r"\frac{d}{dt}|\theta_A|^2 = -\lambda|\theta_A|^2 + \eta|g_A|^2", against=SCALE)
    assert "first difference: claimed -lambda*|θ_A|², correct -2*lambda*|θ_A|²" in str(verdict)
    assert r"- \lambda |\theta _{A}|^{2},\quad \text{correct } - 2 \lambda |\theta _{A}|^{2}" in verdict._repr_latex_()
    assert hash(verdict) == hash(verdict)


def test_numbers_as_hyper_parameters_are_held_against_their_values():
    L = law(scale(), sgd(lr=0.1, weight_decay=0.05))
    assert check("Q' = -Q/10 + q/10", against=L).ok
    assert not check("Q' = -Q/20 + q/10", against=L).ok


def test_a_further_type_is_covered_by_registering_its_reading():
    class Doubled:
        """What a user may bring."""

    base = reference(sp.Symbol("x") * 2)
    reference.register(Doubled, lambda against: base)
    assert check("x + x", against=Doubled()).ok
    assert isinstance(reference(Doubled()), Reference)


# --- derivations ---


def test_the_first_line_that_does_not_follow_is_found():
    S = solve(law(scale(), sgd()))
    lines = [
        r"\frac{1}{2}\frac{d}{dt}|\theta_A|^2 = \left\langle\frac{d\theta}{dt}, \theta_A\right\rangle",
        r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 + \eta|g_A|^2",
        r"\frac{d}{dt}\left(e^{2\lambda t}|\theta_A|^2\right) = \eta e^{2\lambda t}|g_A|^2",
        r"|\theta_A(t)|^2 = e^{-2\lambda t}|\theta_A(0)|^2 + \eta\int_0^t e^{-2\lambda(t-\tau)}|g_A(\tau)|^2\,d\tau",
    ]
    assert check_derivation(lines, against=S).ok
    slip = lines[2].replace(r"\eta e^{2\lambda t}", r"\eta e^{-2\lambda t}")
    assert check_derivation([*lines[:2], slip, lines[3]], against=S).first_wrong == 2


def test_a_chain_of_expressions_needs_nothing_to_be_held_against():
    lines = [r"\cosh^2 x - \sinh^2 x", r"= \frac{(e^x+e^{-x})^2 - (e^x-e^{-x})^2}{4}", r"= \frac{2 + 2}{4}", "= 1"]
    assert check_derivation(lines).ok
    assert check_derivation([*lines[:2], r"= \frac{2-2}{4}", "= 0"]).first_wrong == 2


def test_equations_follow_up_to_a_factor():
    lines = [r"\dot x + \lambda x = f(t)", r"e^{\lambda t}\dot x + \lambda e^{\lambda t}x = e^{\lambda t}f(t)",
             r"\frac{d}{dt}\left(e^{\lambda t}x(t)\right) = e^{\lambda t}f(t)"]  # fmt: skip
    assert check_derivation(lines).ok
    assert check_derivation([*lines[:2], r"\frac{d}{dt}\left(e^{\lambda t}x(t)\right) = f(t)"]).first_wrong == 2
    with pytest.raises(ClaimError, match="sequence"):
        check_derivation("x = 1")


def test_the_discrete_momentum_of_appendix_c_follows_line_by_line():
    lines = [r"\theta_{k+1}-\theta_k = -\eta v_{k+1}", r"= -\eta\beta v_k - \eta(1-\alpha)g(\theta_k)",
             r"= \beta(\theta_k-\theta_{k-1}) - \eta(1-\alpha)g(\theta_k)"]  # fmt: skip
    rule = sgd(momentum=True, dampening=True, weight_decay=False)
    assert check_derivation(lines, against=rule).ok
    assert check_derivation([*lines[:2], lines[2].replace(r"\eta(1-\alpha)", r"\eta ")], against=rule).first_wrong == 2


# --- the checkers are checked ---


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 2), st.integers(1, 2))
def test_a_factor_other_than_the_right_one_is_never_accepted(a, b, c):
    ok = check(rf"{c}\frac{{d}}{{dt}}|\theta_A|^2 = -{a}\lambda|\theta_A|^2 + {b}\eta|g_A|^2", against=SCALE).ok
    assert ok is (a == 2 * c and b == c)


@given(st.sampled_from(["+", "-"]), st.sampled_from(["+", "-"]), st.integers(1, 4))
def test_signs_and_exponents_of_an_unrolled_law_are_told_apart(sign, inner, power):
    text = rf"Q_n = (1{inner}\eta\lambda)^{{{power}n}}Q_0 {sign} \eta^2\sum_{{i=0}}^{{n-1}}(1-\eta\lambda)^{{2(n-1-i)}}q_i"
    assert check(text, against=discrete_law(scale(), sgd())).ok is (sign == "+" and inner == "-" and power == 2)


def test_swapped_blocks_are_seen():
    charge = r"(|\theta_{A_1}|^2-|\theta_{A_2}|^2)"
    right = rf"\frac{{d}}{{dt}}{charge} = -2\lambda{charge}+\eta(|g_{{A_1}}|^2-|g_{{A_2}}|^2)"
    L = law(rescale(), sgd())
    assert check(right, against=L).ok
    assert not check(right.replace("|g_{A_1}|^2-|g_{A_2}|^2", "|g_{A_2}|^2-|g_{A_1}|^2"), against=L).ok


def test_two_numbers_that_agree_to_twenty_digits_are_not_close():
    with mpmath.workdps(40):
        assert close(mpmath.mpf(1), mpmath.mpf(1) + mpmath.mpf(10) ** -35)
        assert not close(mpmath.mpf(1), mpmath.mpf(1) + mpmath.mpf(10) ** -20)


def test_a_comparison_rejects_what_differs_at_one_term():
    Q = sp.Function("Q", real=True)
    fact = Fact("law", terms_of(Q(t).diff(t) + 2 * Q(t)))
    for coefficient, count in ((6, 0), (5, 1)):
        found = compare(terms_of(3 * Q(t).diff(t) + coefficient * Q(t)), fact, Sampler())
        assert found is not None
        assert len(found.wrong) == count


def test_a_proof_is_not_found_for_what_is_false():
    x = sp.Symbol("x", positive=True)
    assert proved(sp.sinh(2 * x) - 2 * sp.sinh(x) * sp.cosh(x))
    assert not proved(sp.sinh(2 * x) - sp.sinh(x) * sp.cosh(x))


def test_the_order_of_vanishing_is_two_sided():
    expr = sp.exp(lr) - 1 - lr - lr**2 / 2
    assert vanishing_order(expr, [lr], Sampler()) == 3
    assert vanishing_order(expr + lr**2 / 1000, [lr], Sampler()) == 2


def test_what_has_no_value_is_not_given_one():
    x = sp.Symbol("x", positive=True)
    for expr in (1 / (x - x.subs(x, sp.Rational(1, 2))), sp.Function("f")(x), sp.exp(sp.exp(sp.exp(100 * x)))):
        with pytest.raises(ValueMissing):
            value(expr, {x: sp.Rational(1, 2)})


def test_the_modified_loss_of_full_gradients_is_kept_from_that_of_another_sign():
    L = modified_loss(sgd(weight_decay=False))
    assert check(r"\tilde L = L + \frac{\eta}{4}\|\nabla L\|^2", against=L).ok
    assert not check(r"\tilde L = L - \frac{\eta}{4}\|\nabla L\|^2", against=L).ok
