"""What is read, what is refused and where, and that no text is ever run."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from derive import FormulaError
from derive.formula import parse
from derive.notation import tree as tree
from derive.notation.tokens import MAX_DEPTH, MAX_LENGTH, tokenize
from tests.derive.hostile_formulas import hostile
from tests.derive.paper_formulas import PAPER

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("label", PAPER)
def test_every_displayed_formula_of_the_paper_is_parsed(label):
    assert all(isinstance(node, tree.Node) for node in parse(PAPER[label]))


ALIKE = [
    (r"\lambda^2 t", "λ²t", "lambda^2 t", "lambda**2 t", r"{\lambda}^{2}\,t"),
    (r"\frac12", r"\frac{1}{2}", r"\tfrac{1}2", r"\dfrac12"),
    (r"|\theta_A|^2", r"\left|\theta_A\right|^2", r"\lvert\theta_{A}\rvert^2", r"\|\theta_{\mathcal A}\|^2", "‖θ_A‖²"),
    (r"\langle g, \theta_A\rangle = 0", "⟨g, θ_A⟩ = 0", "<g, theta_A> = 0", r"\langle g,\theta_{A}\rangle=0."),
    (r"e^{-\lambda t}", "e^{−λt}", r"\mathrm{e}^{-\lambda t}"),
    (r"\cosh\left(\omega t\right)", r"\cosh(\omega t)", r"\cosh \omega t", "cosh(omega t)"),
    (r"\dot Q", r"\dot{Q}", r"\dot{\mathcal{Q}}"),
    (r"\nabla^2 L", "∇²L", r"\nabla^{2}\mathcal{L}"),
    (r"a \cdot b", "a*b", r"a\times b", "a · b"),
    (r"Q'", r"Q^{\prime}", "Q′"),
    (r"\sqrt{x}", "sqrt(x)", r"\sqrt x", "√x"),
    (r"a = b \\ c = d", "a = b, c = d", "a = b; c = d", r"a = b \text{ and } c = d", "a = b and c = d"),
    (r"\begin{aligned} a &= b \\ &= c \end{aligned}", "a = b = c"),
]  # fmt: skip


@pytest.mark.parametrize("writings", ALIKE, ids=lambda writings: writings[0])
def test_one_thing_written_in_several_ways_is_one_tree(writings):
    first, *others = (_plain(parse(text)) for text in writings)
    assert all(other == first for other in others)


def _plain(nodes):
    """A tree without the braces that mean nothing and without the style of bars and dots."""

    def bare(node):
        if isinstance(node, tree.Group) and len(node.items) == 1 and node.bracket == "{":
            return bare(node.items[0])
        if isinstance(node, tree.Scripted) and node.sub is None and node.sup is None and not node.primes:
            return bare(node.base)
        fields = {
            name: tuple(bare(x) if isinstance(x, tree.Node) else x for x in value) if isinstance(value, tuple)
            else bare(value) if isinstance(value, tree.Node) else value
            for name, value in vars(node).items() if name != "at"
        }  # fmt: skip
        if isinstance(node, tree.Relation):
            fields["signs"] = tuple(sign if sign else "" for sign in node.signs)
        if isinstance(node, tree.Product):
            fields["signs"] = tuple("*" if sign in (" ", "*") else sign for sign in node.signs)
        return (type(node).__name__, tuple(sorted(fields.items(), key=lambda item: item[0])))

    return tuple(bare(node) for node in nodes)


DIFFERENT = [
    ("a/b c", "a/(b c)"), ("-x^2", "(-x)^2"), (r"\theta^{(n)}", r"\theta^{n}"), ("f'f", "ff'"), ("a-b", "b-a"),
    (r"a \pm b", r"a \mp b"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_two_things_are_two_trees(one, other):
    assert parse(one) != parse(other)


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        (r"x + \foo{y}", 4, "unknown macro"),
        ("x + import", 4, "unknown word 'import'"),
        ("(x + 1", 0, "closes"),
        ("x + 1)", 5, "closes nothing"),
        (r"\frac{1}", 8, "did not expect the end"),
        ("x_1_2", 4, "two subscripts"),
        (r"\begin{evil} x \end{evil}", 0, "unknown environment"),
        ("x + ?", 4, "unexpected character"),
        (r"\cosh = 1", 0, "applied to"),
    ],
)
def test_an_error_says_where_and_what(text, at, said):
    with pytest.raises(FormulaError, match=said) as caught:
        parse(text)
    assert caught.value.at == at
    assert f"character {at + 1}:" in str(caught.value)


def test_the_bounds_are_where_they_are_said_to_be():
    assert parse("(" * MAX_DEPTH + "x" + ")" * MAX_DEPTH)
    with pytest.raises(FormulaError, match="deep"):
        parse("(" * (MAX_DEPTH + 1) + "x" + ")" * (MAX_DEPTH + 1))
    with pytest.raises(FormulaError, match="at most"):
        parse("x" * (MAX_LENGTH + 1))
    with pytest.raises(FormulaError, match="text"):
        parse(7)


def test_a_bar_opens_closes_or_evaluates_by_what_stands_before_it():
    kinds = [token.kind for token in tokenize(r"|a| |b|_2 \psi|_{t=0}") if "BAR" in token.kind]
    assert kinds == ["LBAR", "RBAR", "LBAR", "RBAR", "EVALBAR"]


HARNESS = """
import json, resource, time
from itertools import islice
from tests.derive.hostile_formulas import hostile
import derive
derive.check("x = x")  # what is loaded once is no cost of an input
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
accepted, slowest = [], 0.0
for text in islice(hostile(), 500):
    start = time.perf_counter()
    try:
        verdict = derive.check(text)
        accepted.append((text[:60], verdict.kind))
    except ValueError:
        pass
    slowest = max(slowest, time.perf_counter() - start)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps({"accepted": accepted, "slowest": slowest, "grown": grown}))
"""


def test_five_hundred_hostile_inputs_are_refused_quickly_in_little_memory_and_run_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", HARNESS], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout)
    assert len(list(islice(hostile(), 500))) == 500
    assert found["accepted"] == []
    assert found["grown"] < 200
    assert found["slowest"] < 2 or pytest.fail(f"slowest input took {found['slowest']:.1f} s")
    assert not (ROOT / "pwned").exists()
