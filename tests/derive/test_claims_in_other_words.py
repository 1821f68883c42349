"""Verdicts on the second corpus, derivations with one wrong line, and what may not be read as something else."""

import pytest
import sympy as sp

from derive import (
    ClaimError,
    FormulaError,
    check,
    check_derivation,
    discrete_law,
    law,
    scale,
    sgd,
    slow_flow,
    solve,
    translation,
)
from tests.derive.claims_in_other_words import OBJECTS, RIGHT, WRONG, against

t = sp.Symbol("t")
X = sp.Function("x")
OSCILLATOR = (sp.Eq(X(t).diff(t, 2) + 4 * X(t), 0), sp.Eq(X(0), 1), sp.Eq(X(t).diff(t).subs(t, 0), 0))


def _label(entry):
    return f"{entry[0]}: {entry[1][:60]}"


def test_the_second_corpus_is_even_and_uses_every_object():
    assert len(RIGHT) >= 80
    assert len(WRONG) >= 80
    assert {entry[0] for entry in (*RIGHT, *WRONG)} == set(OBJECTS)


@pytest.mark.parametrize("entry", RIGHT, ids=_label)
def test_a_right_claim_is_found_right_in_other_words(entry):
    name, claim = entry
    verdict = check(claim, against(name))
    assert verdict.ok, str(verdict)


@pytest.mark.parametrize("entry", WRONG, ids=_label)
def test_a_wrong_claim_is_found_wrong_in_other_words(entry):
    name, claim, named = entry
    verdict = check(claim, against(name))
    assert not verdict.ok
    assert str(verdict.first_difference) == named


# --- what may not be read as something else ---


@pytest.mark.parametrize("text", [r"L(\lambda\theta) = \lambda^2L(\theta)", "f(2x) = 2f(x)", "a(b) = ab"])
def test_a_function_at_another_point_is_no_product(text):
    with pytest.raises(FormulaError):
        check(text)


def test_a_time_in_brackets_is_where_a_charge_is_taken():
    known = law(translation(), sgd())
    assert check(r"Q(1/\lambda) = Q_0/e", known).ok
    assert check(r"Q(\ln 2/\lambda) = Q_0/2", known).ok
    assert not check(r"Q(2/\lambda) = Q_0/e", known).ok
    assert check(r"\dot Q(1-\beta) = -\lambda Q(1-\beta)", known).ok  # a product: 1 − β is no time


def test_an_argument_behind_letters_belongs_to_the_function():
    right = r"\cos\omega(t-\tau) = \cos\omega t\cos\omega\tau + \sin\omega t\sin\omega\tau"
    assert check(right).ok
    with pytest.raises(FormulaError, match="argument of cos"):
        check(r"\cos x(1+y) = 0")


def test_i_is_the_imaginary_unit_unless_it_is_summed_over():
    assert check(r"e^{ix} = \cos x + i\sin x").ok
    assert not check(r"e^{ix} = \cos x - i\sin x").ok
    assert check(r"\sum_{i=1}^{n} i = \frac{n(n+1)}{2}").ok
    assert check(r"\left|e^{i\phi}\right| = 1").ok


def test_pi_is_a_number_and_what_is_not_known_to_enough_digits_is_undecided():
    assert check(r"\int_0^1\frac{1}{1+x^2}\,dx = \frac{\pi}{4}").ok
    assert not check(r"\int_0^1\frac{1}{1+x^2}\,dx = \frac{\pi}{3}").ok
    assert check(r"\int_0^t\frac{1}{\sqrt s}\,ds = 2\sqrt t").kind == "undecided"
    assert check(r"\lim_{n\to\infty}\left(1+\frac{x}{n}\right)^n = e^x").ok
    with pytest.raises(FormulaError, match="inside a sum"):
        check(r"\sum_{i=1}^{n}\sum_{j=1}^{n} ij = x")


def test_what_a_letter_without_meaning_is_called_is_no_claim():
    oscillator = law(translation(), sgd(momentum=True))
    assert check(r"\zeta = \frac{\gamma}{\omega} = \frac{1-\beta}{\sqrt{2\eta\lambda(1+\beta)}}", oscillator).ok
    assert not check(r"\zeta = \frac{\gamma}{\omega} = \frac{1-\beta}{\sqrt{\eta\lambda(1+\beta)}}", oscillator).ok


def test_what_has_no_reading_is_refused_rather_than_judged():
    known = law(scale(), sgd())
    for text in (r"\omega = \frac{|\dot\theta|}{|\theta|}", r"\log Q(t) = -2\lambda t + \log Q_0"):
        with pytest.raises(ClaimError):
            check(text, known)
    with pytest.raises(FormulaError, match="number here"):
        check(r"\dot Q = -2\lambda(t)Q + \eta q", known)


# --- equations between numbers ---


def test_an_equation_between_numbers_follows_only_where_it_does():
    known = sp.Eq(sp.Symbol("x") ** 2, 4)
    assert check("2x^2 = 8", known).ok
    assert check("x = 2", known).ok
    verdict = check("2x^2 = 7", known)
    assert not verdict.ok
    assert str(verdict.first_difference) == "claimed 2*x**2, correct 7*x**2/4"


# --- solutions by residual and start ---


def test_a_solution_satisfies_its_equation_and_starts_as_it_should():
    assert check(r"x(t) = \cos 2t", OSCILLATOR).ok
    assert not check(r"x(t) = \sin 2t", OSCILLATOR).ok
    assert not check(r"x(t) = \cos 4t", OSCILLATOR).ok
    assert check(r"x(t) = A\cos 2t + B\sin 2t", OSCILLATOR[0]).ok
    with pytest.raises(ClaimError, match="one differential equation"):
        check("x = 1", [OSCILLATOR[1]])


# --- momentum's three descriptions ---


def test_the_slow_flow_is_told_from_its_twins():
    flow = slow_flow(sgd(momentum=True, weight_decay=False))
    claim = r"\dot\theta = -\frac{g}{1-\beta} - \frac{{c}\eta}{{d}(1-\beta)^{p}}Hg"
    own = claim.replace("{c}", r"(1+\beta)").replace("{d}", "2").replace("{p}", "3")
    memoryless = claim.replace("{c}", "").replace("{d}", "2").replace("{p}", "2")
    manifold = claim.replace("{c}", "").replace("{d}", "").replace("{p}", "3")
    assert check(own, flow).ok
    for other, name in ((memoryless, "memoryless iteration"), (manifold, "discrete manifold")):
        verdict = check(other, flow)
        assert not verdict.ok
        assert name in (verdict.convention or "")


# --- verdicts as LaTeX ---


@pytest.mark.parametrize("entry", WRONG[::8], ids=_label)
def test_a_verdict_as_latex_has_its_braces_and_dollars_paired(entry):
    text = check(entry[1], against(entry[0]))._repr_latex_()
    assert text.startswith("$")
    assert text.endswith("$")
    assert text.count("$") == 2
    assert text.count("{") == text.count("}")


# --- derivations ---

RELAXATION, STEPS = solve(law(scale(), sgd())), discrete_law(scale(), sgd())
DERIVATIONS = (
    (RELAXATION, None, (r"\dot Q=-2\lambda Q+\eta q", r"e^{2\lambda t}(\dot Q+2\lambda Q)=\eta e^{2\lambda t}q",
                        r"\frac{d}{dt}(e^{2\lambda t}Q)=\eta e^{2\lambda t}q",
                        r"e^{2\lambda t}Q(t)-Q(0)=\eta\int_0^te^{2\lambda\tau}q(\tau)d\tau",
                        r"Q(t)=e^{-2\lambda t}Q(0)+\eta\int_0^te^{-2\lambda(t-\tau)}q(\tau)d\tau")),
    (RELAXATION, 2, (r"\dot Q=-2\lambda Q+\eta q", r"\dot Q+2\lambda Q=\eta q",
                     r"\frac{d}{dt}(e^{\lambda t}Q)=\eta e^{\lambda t}q")),
    (RELAXATION, 1, (r"0=-2\lambda|\theta_A|^2+\eta|g_A|^2", r"\frac{|g_A|}{|\theta_A|}=\frac{2\lambda}{\eta}")),
    (STEPS, 1, (r"Q_{n+1}=(1-\eta\lambda)^2Q_n+\eta^2q_n", r"Q_{n+1}=(1-2\eta\lambda-\eta^2\lambda^2)Q_n+\eta^2q_n")),
    (STEPS, 2, (r"Q_{n+1}=(1-\eta\lambda)^2Q_n+\eta^2q_n", r"Q_{n+1}-Q_n=-(2\eta\lambda-\eta^2\lambda^2)Q_n+\eta^2q_n",
                r"\frac{Q_{n+1}-Q_n}{\eta}=-(2\lambda-\eta\lambda^2)Q_n+\eta^2q_n")),
    (None, 3, (r"x^2+2\gamma x+\omega^2=0", r"(x+\gamma)^2=\gamma^2-\omega^2", r"x^2+2\gamma x+\gamma^2=\gamma^2-\omega^2",
               r"x^2+2\gamma x=\omega^2")),
    (None, 2, (r"\dot x+\lambda x=f(t)", r"\frac{d}{dt}(e^{\lambda t}x)=e^{\lambda t}f(t)",
               r"\frac{d}{dt}(e^{\lambda t}x)=e^{-\lambda t}f(t)")),
    (None, 2, (r"\sinh^2 x", r"=\frac{(e^x-e^{-x})^2}{4}", r"=\frac{e^{2x}+2+e^{-2x}}{4}")),
)  # fmt: skip


@pytest.mark.parametrize("known", DERIVATIONS, ids=lambda entry: entry[2][-1][:40])
def test_the_first_line_that_does_not_follow_is_found(known):
    of, first_wrong, lines = known
    assert check_derivation(lines, of).first_wrong == first_wrong
