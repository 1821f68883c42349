"""Steps that follow, steps that do not, and derivations re-checked step by step."""

from dataclasses import replace
from functools import cache

import pytest
import sympy as sp

from derive import Derivation, DerivationError, Step, discrete_law, gradient_flow, law, modified_loss, sgd
from derive import inner_product as ip
from derive.derivation import written
from derive.law import Q
from derive.symbols import time as t
from tests.derive.known_systems import RULES, SYMMETRIES, derived

x, a = sp.symbols("x a")
h = sp.Symbol("h", positive=True)


# One step

FOLLOWS = {
    "identity": {"before": (x + 1) ** 2, "after": x**2 + 2 * x + 1},
    "with a fact": {"before": a * x, "after": 3 * x, "given": ((a, sp.Integer(3)),)},
    "truncation with its remainder": {"before": (x + h) ** 2, "after": x**2 + 2 * x * h, "dropped": h**2},
    "truncation to an order": {"before": sp.exp(h * x), "after": 1 + h * x, "dropped": sp.Order(h**2)},
    "words": {"before": ip.hessian * (ip.gradient + ip.theta), "after": ip.hessian * ip.gradient + ip.hessian * ip.theta},
    "by differentiating": {"before": sp.Derivative(x**2, x), "after": 2 * x},
}
DOES_NOT_FOLLOW = {
    "slip": {"before": (x + 1) ** 2, "after": x**2 + 1},
    "without the fact": {"before": a * x, "after": 3 * x},
    "with another fact": {"before": a * x, "after": 3 * x, "given": ((a, sp.Integer(2)),)},
    "truncation with another remainder": {"before": (x + h) ** 2, "after": x**2 + 2 * x * h, "dropped": 2 * h**2},
    "truncation that drops more": {"before": sp.exp(h * x), "after": sp.Integer(1), "dropped": sp.Order(h**2)},
    "truncation with a wrong coefficient": {"before": sp.exp(h * x), "after": 1 + 2 * h * x, "dropped": sp.Order(h**2)},
    "words in another order": {"before": ip.hessian * ip.linear_part, "after": ip.linear_part * ip.hessian},
    "a remainder where nothing is dropped": {"before": x, "after": x, "dropped": h},
}


@pytest.mark.parametrize("step", FOLLOWS.values(), ids=FOLLOWS)
def test_a_step_that_follows_is_accepted(step):
    assert Step(**step, rule="a rule", reason="a reason").after == step["after"]


@pytest.mark.parametrize("step", DOES_NOT_FOLLOW.values(), ids=DOES_NOT_FOLLOW)
def test_a_step_that_does_not_follow_is_refused(step):
    with pytest.raises(DerivationError, match="step 'a rule': before - after = "):
        Step(**step, rule="a rule", reason="a reason")


def test_the_refusal_says_what_is_left_over():
    with pytest.raises(DerivationError, match=r"before - after = 2\*x, expected 0"):
        Step((x + 1) ** 2, x**2 + 1, "expand", "a slip")


# Every derivation of the toolkit


@cache
def derivations():
    laws = {f"{s}, {r}": derived(s, r) for s in SYMMETRIES for r in RULES}
    laws |= {f"{s}, flow": law(SYMMETRIES[s](), gradient_flow(weight_decay=True, momentum=True)) for s in SYMMETRIES}
    laws["scale, plain, modified flow"] = derived("scale", "plain", form="modified flow")
    laws["scale, plain, with squares"] = derived("scale", "plain", keep_weight_decay_squared=True)
    exact = {f"{s}, {r}, discrete": discrete_law(SYMMETRIES[s](), sgd(**RULES[r])) for s in SYMMETRIES for r in RULES}
    return laws, exact


def all_steps():
    laws, exact = derivations()
    return [step for found in (*laws.values(), *exact.values()) for step in found.derivation.all_steps]


def test_every_law_comes_with_steps():
    laws, exact = derivations()
    assert all(len(found.derivation.all_steps) >= 3 for found in laws.values())
    assert all(len(found.derivation.all_steps) == len(found.transition.tolist()) for found in exact.values())


def test_every_step_holds_when_checked_again():
    for step in all_steps():
        assert replace(step) == step


def test_no_step_holds_after_a_change_to_either_side():
    for step in all_steps():
        change = ip.Inner(ip.theta, ip.velocity) if step.before.is_commutative else ip.velocity
        for side in ("before", "after"):
            with pytest.raises(DerivationError):
                replace(step, **{side: getattr(step, side) + change})


def test_every_step_does_something():
    said = "equation of learning"  # shown for the reader even where nothing has to be expanded
    assert all(step.before != step.after for step in all_steps() if step.rule != said)


def test_the_last_step_ends_at_the_law():
    for name, found in derivations()[0].items():
        left = found.mass * Q.diff(t, 2) + found.damping * Q.diff(t) + found.stiffness * Q - found.drive
        assert sp.expand(found.derivation.all_steps[-1].after - left) == 0, name


def test_from_the_projection_on_each_step_starts_where_the_one_before_ended():
    for found in derivations()[0].values():
        names = [step.rule for step in found.derivation.all_steps]
        projected = found.derivation.all_steps[names.index("project on the generator") :]
        assert [step.before for step in projected[1:]] == [step.after for step in projected[:-1]]


def test_the_rows_of_a_discrete_law_are_its_steps():
    for found in derivations()[1].values():
        assert [sp.expand(step.after).coeff(sp.Symbol("Q_n", real=True)) for step in found.derivation.all_steps] == [
            sp.expand(entry) for entry in found.transition[:, 0]
        ]


# Writing


@pytest.mark.parametrize("family", SYMMETRIES)
@pytest.mark.parametrize("rule", ["plain", "nesterov"])
def test_every_writing_holds_every_step(family, rule):
    derivation = derived(family, rule).derivation
    text, markdown, latex = derivation.to_text(), derivation.to_markdown(), derivation.to_latex()
    for number, step in enumerate(derivation.all_steps, start=1):
        assert f"{number}. {step.rule}: " in text
        assert f"     {step.before}\n   = {step.after}" in text
        assert f"{number}. **{step.rule}** – {step.reason}" in markdown
        assert rf"\item \textbf{{{step.rule}}}: {step.reason}" in latex
        for whole in (markdown, latex, derivation._repr_latex_()):
            assert f"{written(step.before)} \\;=\\; {written(step.after)}" in whole
    assert all(whole.count(derivation.title) == 1 for whole in (text, markdown, latex))


def test_what_is_dropped_and_the_source_are_written():
    derivation = derived("scale", "plain").derivation
    dropped = derivation.all_steps[-1].dropped
    assert f"dropped: {dropped}" in derivation.to_text()
    assert rf"\left[{sp.latex(dropped)}\right]" in derivation.to_latex()
    assert all("(Kunin et al. 2021, App. E)" in text for text in (derivation.to_text(), derivation.to_markdown()))


def test_plain_text_is_plain():
    texts = [found.derivation.to_text() for group in derivations() for found in group.values()]
    assert not any(sign in text for text in texts for sign in ("$", "\\"))


def test_a_chain_whose_links_do_not_meet_is_refused():
    steps = derived("scale", "plain").derivation.steps
    with pytest.raises(DerivationError, match="starts from"):
        Derivation("reversed", steps[::-1])
    assert Derivation("in order", steps).steps == steps


def test_a_law_that_its_derivation_does_not_end_with_is_refused():
    with pytest.raises(DerivationError, match="its derivation ends with"):
        replace(derived("scale", "plain"), stiffness=sp.Integer(77))


def test_the_lemmas_of_a_law_are_the_derivation_of_its_equation_of_learning():
    assert derived("scale", "plain").derivation.lemmas == (modified_loss(sgd()).derivation,)
