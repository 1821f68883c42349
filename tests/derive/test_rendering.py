"""What is written can be read: SymPy source is run and solves the law, every other format holds the whole derivation."""

import re
from functools import cache
from xml.etree import ElementTree

import pytest
import sympy as sp
from sympy.core.function import AppliedUndef

from derive import charge_rate, discrete_law, heavy_ball, law, noether, render, scale, sgd, theorem_1, translation
from derive.derivation import plain
from derive.equality import refutes, vanishes
from derive.operator_calculus import operator_on
from derive.sheet import Table
from derive.sheets import sheet
from derive.special_functions import elementary
from derive.subjects import METHODS, SUBJECTS, derive_subject
from derive.symbols import initial_charge
from derive.symbols import time as t
from tests.derive.known_systems import RULES, SYMMETRIES, derived, solved


def written(result):
    """The names that the SymPy source of ``result`` defines."""
    scope = {}
    exec(render(result, "python"), scope)
    return scope


@pytest.mark.parametrize("rule", ["plain", "momentum"])
def test_the_source_defines_the_law_and_a_solution_of_it(rule):
    scope = written(solved("translation", rule))
    assert str(scope["law"]) == str(derived("translation", rule).equation)
    (unknown,) = scope["law"].atoms(AppliedUndef)
    residual = scope["law"].lhs.subs(unknown, scope["solution"]).doit().subs(initial_charge, 1)
    assert refutes(residual, points=2) is None
    assert refutes(residual + scope["solution"].subs(initial_charge, 1), points=2) is not None


@pytest.mark.parametrize("rule", RULES)
def test_the_source_of_a_discrete_law_is_its_recurrence(rule):
    found = discrete_law(SYMMETRIES["scale"](), sgd(**RULES[rule]))
    assert written(found)["law"] == found.equation


def test_the_source_needs_nothing_but_sympy():
    assert "damped" not in render(solved("scale", "momentum"), "python")
    assert render(solved("scale", "momentum"), "python").count("import") == 1


@pytest.mark.parametrize(
    "result", [solved("scale", "plain"), discrete_law(SYMMETRIES["scale"](), sgd())], ids=["law", "discrete"]
)
def test_every_format_holds_every_step(result):
    steps = (result.law if hasattr(result, "law") else result).derivation.steps
    assert all(step.rule in render(result, form) for form in ("text", "latex", "markdown") for step in steps)
    assert all(sp.latex(step.after) in render(result, form) for form in ("latex", "markdown") for step in steps)


def test_text_has_the_law_its_solution_and_what_their_letters_mean():
    text = render(solved("scale", "plain"))
    assert "kappa = 2*lambda" in text
    assert re.search(r"\n +Q +charge \|theta", text)
    assert "Q' + (2*lambda)*Q = eta*q(t)" in text
    assert str(sp.exp(-sp.Symbol("kappa") * t)) in text


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match=r"format: expected one of .*'latex'.*, got 'pdf'"):
        render(solved("scale", "plain"), "pdf")


# --- every kind of result ---

VARIANTS = {
    "order 0": ("scale", {"momentum": True, "order": 0}),
    "ladder": ("scale", {"momentum": True, "order": 2}),
    "slow flow": ("translation", {"momentum": True, "order": 3, "form": "slow flow"}),
    "all orders": ("scale", {"order": sp.oo}),
    "all orders, Nesterov": ("scale", {"momentum": True, "nesterov": True, "order": sp.oo}),
    "first step": ("translation", {"momentum": True, "order": sp.oo, "start": "first step"}),
    "discrete": ("rescale", {"discrete": True, "momentum": True, "dampening": True}),
    "Itô": ("rescale", {"ito": True}),
    "symmetry": ("rescale", {"identities": True}),
    "symmetry without charge": ("linear", {"identities": True, "matrix": [[0, -1], [1, 0]]}),
    "identity": ("scale", {"identities": True, "order": 2}),
    "loss to second order": ("modified-loss", {"order": 2}),
    "flow to second order": ("modified-flow", {"momentum": True, "nesterov": True, "order": 2}),
    "one epoch": ("epoch-loss", {"batches": 3, "sampling": "independent"}),
}
NEEDED = {"power-rescale": {"powers": (2, 3)}, "linear": {"matrix": [[0, 1], [1, 0]]},
          "discrete-manifold": {"momentum": True}, "memoryless-iteration": {"momentum": True}}  # fmt: skip
TREES = {subject.name: {"order": 3} for subject in METHODS}
ASKED = {name: (name, NEEDED.get(name, {}) | TREES.get(name, {})) for name in SUBJECTS} | VARIANTS


@cache
def result(name):
    """What is rendered, derived once."""
    if name in ASKED:
        return derive_subject(*ASKED[name])
    others = {
        "Noether": lambda: noether(scale()),
        "Theorem 1": lambda: theorem_1(translation()),
        "series": lambda: heavy_ball(sp.Rational(1, 2)).slow_flow(3),
        "law": lambda: law(scale(), sgd(), 2),
    }
    return others[name]()


@cache
def read(name):
    """Its sheet, made once."""
    return sheet(result(name))


def steps(paper):
    return [step for derivation in paper.derivations for step in derivation.all_steps]


KINDS = (*ASKED, "Noether", "Theorem 1", "series", "law")


@pytest.mark.parametrize("name", KINDS)
def test_every_result_is_written_in_every_format(name):
    paper = read(name)
    text, latex, markdown, html = (render(paper, form) for form in ("text", "latex", "markdown", "html"))
    assert latex.count("{") == latex.count("}") > 0
    assert sorted(re.findall(r"\\begin{(\w+)}", latex)) == sorted(re.findall(r"\\end{(\w+)}", latex))
    assert latex.count("$") % 2 == 0
    assert not re.search(r"[^\x00-\x7F–ôé]", latex)
    prose = [words for step in steps(paper) for words in (step.source + step.reason).split("$")[::2]]
    assert not any(re.search(r"[&%#_^]", words) for words in prose)
    assert markdown.count("$$") % 2 == 0 < markdown.count("$$")
    assert not re.search(r"[$\\]", text)
    assert "theta'" not in latex + markdown
    page = ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>"))
    assert len(page.findall(".//ol/li")) == len(steps(paper))
    for step in steps(paper):
        assert all(step.rule in form for form in (text, latex, markdown))


@pytest.mark.parametrize("name", KINDS)
def test_the_source_of_every_result_runs_with_sympy_alone_and_is_the_result(name):
    scope = written(read(name))
    for part, value in read(name).source:
        assert same(scope[part], value)
        assert not same(scope[part], doubled(value))


def same(found, value):
    if isinstance(value, dict):
        return found.keys() == value.keys() and all(same(found[key], value[key]) for key in value)
    if isinstance(value, tuple):
        return len(found) == len(value) and all(map(same, found, value))
    read = (sp.sympify(expr, strict=True) for expr in (found, value))
    found, value = (expr.lhs - expr.rhs if expr.is_Relational else expr for expr in read)
    plain = elementary(value).replace(operator_on, sp.Function("operator_on"))
    return found == plain or vanishes(found - plain)


def doubled(value):
    """Something else; its zeros too."""
    if isinstance(value, dict):
        return {key: doubled(x) for key, x in value.items()}
    if isinstance(value, tuple):
        return tuple(map(doubled, value))
    expr = value.lhs - value.rhs if value.is_Relational else value
    return 2 * expr if expr != 0 else sp.S.One


@pytest.mark.parametrize("name", ["all orders, Nesterov", "midpoint", "symmetry"])
def test_a_page_needs_nothing_from_outside_and_runs_nothing(name):
    html = render(read(name), "html")
    assert not re.search(r"<script|<link|<img|<iframe|url\(|@import|https?:|\bon\w+=", html)
    assert '<meta name="viewport"' in html


def test_a_page_escapes_what_is_not_markup():
    from derive.page import page
    from derive.sheet import Formula, Letter, Sheet

    paper = Sheet("a < b & <b>", (), (Formula("<i>", ("x",), ("x < y",)),), (Letter("x", "x", "5 > 3"),), (("x", sp.S.One),))
    html = page(paper)
    assert "a &lt; b &amp; &lt;b&gt;" in html
    assert "<i>" not in html
    assert "<mo>&lt;</mo>" in html


# --- known answers ---


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("midpoint", ["[[t]]  1      6      0    -1/6", "[t,t]  2      3      1/4  -1/12"]),
        (
            "gradient-descent",
            [
                "L~ = (1)*h^0*L(t) + (1/4)*h^1*L([t]) + (1/12)*h^2*L([t,t])",
                "h*lambda_max < 1",
                "starts with 1/6 of b([[t]])",
            ],
        ),
        ("heavy-ball", ["[[t]]  1      6      -(beta**2 + 4*beta + 1)/(3*(beta - 1)**5)"]),
        ("upwind", ["2  0    -a*dx*(nu - 1)/2", "of order 1 in dx and dissipates"]),
        ("lax-wendroff", ["of order 2 in dx and disperses"]),
        ("sme", ["d theta = ("]),
        ("epoch-loss", ["L~ = L + eta/(4*m) sum_(k=1)^(m) |grad L_k|^2"]),
        ("one epoch", ["L~ = L + eta/4 |grad L|^2"]),
        ("Itô", ["dQ = (eta*q(t) - 2*lambda*Q(t) + eta*T(t)/S) dt"]),
        ("symmetry", ["Q = theta_A1**2 - theta_A2**2", "= theta_A1*d1 L(theta_A1, theta_A2) - theta_A2*d2 L(theta_A1"]),
        ("symmetry without charge", ["It has no charge"]),
        ("memoryless-iteration", ["-beta", "slow flow"]),
        ("all orders, Nesterov", ["<d, v>_M", "operator_on(F, f)", "mean velocity"]),
        ("order 0", ["(1 - beta)*Q' + (2*lambda)*Q = 0"]),
    ],
)
def test_the_text_has_the_known_answer(name, lines):
    text = render(read(name))
    assert [line for line in lines if line not in text] == []


def test_a_law_says_where_it_holds_where_that_is_not_everywhere():
    assert "It holds for eta*lambda < 1." in render(law(translation(), sgd(), sp.oo))
    assert "It holds" not in render(law(translation(), sgd()))


def test_a_truncated_law_is_written_without_a_solution_and_with_the_remedy():
    text = render(read("ladder"))
    assert "solution" not in text.split("law\n")[0]
    assert 'Order oo has both exponents and a solution, and so has the form "slow flow".' in text
    assert "Q^(3)" in text


def test_a_solution_is_put_into_its_law_step_by_step():
    checks = sheet(solved("scale", "momentum")).derivations[-1]
    assert [step.after for step in checks.all_steps] == [0, 0]


def test_a_table_has_a_cell_for_every_column():
    with pytest.raises(ValueError, match="rows: expected 2 cells"):
        Table("wrong", (("a", "a"), ("b", "b")), ((("1", "1"),),))


def test_what_is_no_result_is_refused_by_name():
    with pytest.raises(TypeError, match=r"result: expected one of .*'Solution'.*, got int"):
        render(3)


def test_the_series_of_a_charge_has_latex():
    assert r"F(\bullet)" in charge_rate(scale(), sgd(weight_decay=False), 1)._repr_latex_()


@pytest.mark.parametrize(
    ("prose", "expected"),
    [
        (r"$b(\tau) + p_2(\tau) + \dots$ of $[\bullet, \bullet]$", "b(tau) + p_2(tau) + ... of [t, t]"),
        (r"$\ddot Q + 2\gamma \dot Q$", "Q'' + 2gamma Q'"),
        (r"$\langle \dot\theta, X\rangle = |\theta_{A}|^2$", "<theta', X> = |theta_A|^2"),
        (r"$\widetilde f$ of $e^{hD}$", "f~ of e^(hD)"),
    ],
)
def test_prose_is_read_without_its_latex(prose, expected):
    assert plain(prose) == expected
