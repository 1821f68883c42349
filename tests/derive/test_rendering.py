"""What is written can be read: SymPy source is run and solves the law, every other format holds the whole derivation."""

import re

import pytest
import sympy as sp
from sympy.core.function import AppliedUndef

from derive import discrete_law, render, sgd
from derive.derivation import written
from derive.equality import refutes
from derive.symbols import initial_charge
from derive.symbols import time as t
from tests.derive.known_systems import RULES, SYMMETRIES, derived, solved


def written_source(result):
    """The names that the SymPy source of ``result`` defines."""
    scope = {}
    exec(render(result, "python"), scope)
    return scope


@pytest.mark.parametrize("rule", ["plain", "momentum"])
def test_the_source_defines_the_law_and_a_solution_of_it(rule):
    scope = written_source(solved("translation", rule))
    assert str(scope["law"]) == str(derived("translation", rule).equation)
    (unknown,) = scope["law"].atoms(AppliedUndef)
    residual = scope["law"].lhs.subs(unknown, scope["solution"]).doit().subs(initial_charge, 1)
    assert refutes(residual, points=2) is None
    assert refutes(residual + scope["solution"].subs(initial_charge, 1), points=2) is not None


@pytest.mark.parametrize("rule", RULES)
def test_the_source_of_a_discrete_law_is_its_recurrence(rule):
    found = discrete_law(SYMMETRIES["scale"](), sgd(**RULES[rule]))
    assert written_source(found)["law"] == found.equation


def test_the_source_needs_nothing_but_sympy():
    assert "damped" not in render(solved("scale", "momentum"), "python")
    assert render(solved("scale", "momentum"), "python").count("import") == 1


@pytest.mark.parametrize(
    "result", [solved("scale", "plain"), discrete_law(SYMMETRIES["scale"](), sgd())], ids=["law", "discrete"]
)
def test_every_format_holds_every_step(result):
    steps = (result.law if hasattr(result, "law") else result).derivation.steps
    assert all(step.rule in render(result, form) for form in ("text", "latex", "markdown") for step in steps)
    assert all(written(step.after) in render(result, form) for form in ("latex", "markdown") for step in steps)


def test_text_has_the_law_its_solution_and_what_their_letters_mean():
    text = render(solved("scale", "plain"))
    assert "kappa = 2*lambda" in text
    assert re.search(r"\n +Q +charge \|theta", text)
    assert "Q' + (2*lambda)*Q = eta*q(t)" in text
    assert str(sp.exp(-sp.Symbol("kappa") * t)) in text


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match=r"format: expected one of .*'latex'.*, got 'html'"):
        render(solved("scale", "plain"), "html")
