"""Parts of pages that the code writes: notation, tables of laws and of coefficients, and the page with sliders.

Nothing of the theory is typed here. The formulas in the sliders' JavaScript are printed from the laws.
"""

from pathlib import Path

import jinja2
import sympy as sp

from derive import (
    discrete_law,
    gradient_flow,
    heavy_ball,
    law,
    nesterov,
    rescale,
    runge_kutta,
    scale,
    sgd,
    solve,
    symbols,
    translation,
)
from derive.paper import writing as paper
from derive.paper.claims import CLAIMS
from derive.paper.judging import judge
from derive.paper.report import Report

STEP = sp.Symbol("h", positive=True)
SQUARED = sp.Symbol("squared_omega", nonnegative=True)


def write(docs: Path) -> None:
    """Write every generated page below ``docs/_build``."""
    extra, parts = docs / "_build" / "extra", docs / "_build" / "parts"
    for folder in (extra, parts):
        folder.mkdir(parents=True, exist_ok=True)
    template = jinja2.Template((docs / "sliders.html.jinja").read_text(encoding="utf-8"), undefined=jinja2.StrictUndefined)
    (extra / "sliders_app.html").write_text(template.render(mathematics=mathematics()), encoding="utf-8")
    for name, page in (("notation", notation), ("laws", laws), ("discrete_laws", discrete_laws), ("trees", trees)):
        (parts / f"{name}.md").write_text(page(), encoding="utf-8")


def write_paper(docs: Path, report: Report | None = None) -> None:
    """Write what is found about the paper, counts included."""
    if report is None:
        from torch_bridge.paper_counts import MEASUREMENTS  # torch: only where the site is built

        report = Report(tuple(judge(CLAIMS, MEASUREMENTS)))
    (docs / "_build" / "extra" / "paper_report.html").write_text(paper.write(report, "html"), encoding="utf-8")
    (docs / "_build" / "parts" / "paper.md").write_text(paper.markdown_body(report, steps=False), encoding="utf-8")


def mathematics() -> str:
    """JavaScript of the closed forms: each body is SymPy's print of what ``derive`` found."""
    momentum_law = law(translation(), sgd(momentum=True))
    gamma, omega_squared, _ = momentum_law.normal_form
    flow_law = law(translation(), sgd(momentum=True), 0)
    loss_law = law(translation(), sgd(), keep_weight_decay_squared=True)
    push = -STEP * runge_kutta("euler").modified_equation(2)["[t]"]
    oscillation = solve(momentum_law).homogeneous_form.subs({symbols.initial_charge: 1, symbols.frequency: sp.sqrt(SQUARED)})
    functions = [
        ("growth", (STEP,), push, "of Euler's steps around a circle: [t] of the modified equation, as f'f = -x"),
        ("dampingRate", (symbols.lr, symbols.momentum), gamma, "gamma of the law with momentum"),
        ("squaredFrequency", (symbols.lr, symbols.momentum, symbols.weight_decay), omega_squared, "omega squared of it"),
        ("mass", (symbols.lr, symbols.momentum), momentum_law.mass, "its mass"),
        ("flowRate", (symbols.momentum, symbols.weight_decay), flow_law.stiffness / flow_law.damping, "of momentum flow"),
        ("lossRate", (symbols.lr, symbols.weight_decay), loss_law.stiffness / loss_law.damping, "of the modified loss"),
        ("oscillation", (symbols.time, symbols.damping_rate, SQUARED), oscillation, "from 1 at rest, any regime"),
    ]
    return "\n".join([ENTIRE_FUNCTIONS, *(_function(*parts) for parts in functions)])


ENTIRE_FUNCTIONS = """\
// exp(-a) cosh(sqrt(a^2 - b^2)) and exp(-a) sinh(sqrt(a^2 - b^2))/sqrt(a^2 - b^2); the second argument is b
function dampedCosh(a, b) {
  const z = (a - b) * (a + b), r = Math.sqrt(Math.abs(z));
  return z < 0 ? Math.exp(-a) * Math.cos(r) : (Math.exp(r - a) + Math.exp(-r - a)) / 2;
}
function dampedSinhc(a, b) {
  const z = (a - b) * (a + b), r = Math.sqrt(Math.abs(z));
  if (r < 1e-3) return Math.exp(-a) * (1 + z / 6 + z * z / 120);
  return z < 0 ? Math.exp(-a) * Math.sin(r) / r : (Math.exp(r - a) - Math.exp(-r - a)) / (2 * r);
}"""


def _function(name: str, arguments: tuple[sp.Symbol, ...], body: sp.Expr, comment: str) -> str:
    names = {symbol: sp.Symbol(_script_name(symbol)) for symbol in arguments}
    calls = {"damped_cosh": "dampedCosh", "damped_sinhc": "dampedSinhc"}
    source = sp.jscode(body.xreplace(names), user_functions=calls)
    return f"// {comment}\nfunction {name}({', '.join(map(str, names.values()))}) {{ return {source}; }}"


def _script_name(symbol: sp.Symbol) -> str:
    return {"lambda": "decay"}.get(symbol.name, symbol.name)


def laws() -> str:
    """The continuous laws of the three families under four rules, as Markdown."""
    rules = {
        "gradient flow": (gradient_flow(), 0),
        "gradient flow with weight decay": (sgd(), 0),
        "SGD, first order in η": (sgd(), 1),
        "momentum, first order": (sgd(momentum=True), 1),
    }
    lines = ["| rule | charge | law |", "| --- | --- | --- |"]
    for name, (rule, order) in rules.items():
        for symmetry in (translation(), scale(), rescale()):
            equation = law(symmetry, rule, order)._repr_latex_().strip("$").split(r", \qquad")[0]
            lines.append(f"| {name} | ${_bars(symmetry.form_latex(chr(92) + 'theta'))}$ | ${_bars(equation)}$ |")
    return "\n".join(lines) + "\n"


def discrete_laws() -> str:
    """The exact recurrences, as Markdown; E shifts by one step."""
    lines = ["| rule | charge | law |", "| --- | --- | --- |"]
    for name, rule in (("SGD", sgd()), ("with momentum", sgd(momentum=True))):
        for symmetry in (translation(), scale(), rescale()):
            equation = discrete_law(symmetry, rule)._repr_latex_().strip("$")
            lines.append(f"| {name} | ${_bars(symmetry.form_latex(chr(92) + 'theta'))}$ | ${_bars(equation)}$ |")
    return "\n".join(lines) + "\n"


def trees() -> str:
    """b(τ) of the modified equation of gradient descent and of momentum's slow flow, as Markdown."""
    beta = sp.Symbol("beta")
    columns = {
        "gradient descent": runge_kutta("euler").modified_equation(3),
        "heavy ball": heavy_ball(beta).slow_flow(3),
        "Nesterov, as torch has it": nesterov(beta).slow_flow(3),
    }
    lines = ["| tree | σ | " + " | ".join(columns) + " |", "| --- | --- |" + " --- |" * len(columns)]
    for tree in columns["gradient descent"]:
        cells = [f"${sp.latex(sp.factor(series[tree]))}$" for series in columns.values()]
        lines.append(f"| ${tree.latex}$ | {tree.symmetry} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _bars(latex: str) -> str:
    """LaTeX without the letter that ends a cell of a table."""
    return latex.replace("|", r"\vert ")


def notation() -> str:
    """The table of :mod:`derive.symbols`' docstring as Markdown, its symbols as they are printed by SymPy."""
    rows = [line for line in (symbols.__doc__ or "").splitlines() if line.startswith("``")]
    table = [[cell.strip() for cell in _cells(row)] for row in rows]
    lines = ["| symbol | argument | meaning | unit |", "| --- | --- | --- | --- |"]
    for row in table:
        cells = (cell.replace("``", "`").replace("|", r"\|").replace("e^{hD}", "$e^{hD}$") for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cells(row: str) -> list[str]:
    """The four columns of a row of the docstring's table, by the positions of its rules of ``=``."""
    rule = next(line for line in (symbols.__doc__ or "").splitlines() if line.startswith("==="))
    starts = [k for k, letter in enumerate(rule) if letter == "=" and (k == 0 or rule[k - 1] == " ")]
    return [row[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
