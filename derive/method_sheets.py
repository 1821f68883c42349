"""Sheets of what is derived of maps: modified equations, momentum's three objects, schemes for PDEs, gradient noise."""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from derive import symbols
from derive.bseries import BSeries
from derive.derivation import Derivation
from derive.inner_product import word_latex, words
from derive.law_sheets import bare
from derive.modified_equation import ModifiedEquation
from derive.momentum_manifold import DiscreteManifold, MemorylessIteration, ModifiedField, slow_flow
from derive.multistep import LinearMultistep, multistep_of
from derive.pde_scheme import ModifiedPDE
from derive.runge_kutta import RungeKutta
from derive.sheet import Formula, Letter, Note, Sheet, Table, note
from derive.shuffling import EpochLoss
from derive.stochastic import StochasticModifiedEquation
from derive.tree_derivation import SHOWN, field_of_map, field_of_multistep, manifold_of_field, map_of_field, weight
from derive.trees import RootedTree
from derive.update_rule import UpdateRule

FIELD = Formula(
    "Modified equation",
    ("theta' = sum over trees tau of h^(|tau|-1) b(tau)/sigma(tau) F(tau)",),
    (r"\dot\theta = \widetilde f = \sum_{\tau} h^{|\tau|-1}\, \frac{b(\tau)}{\sigma(\tau)}\, F(\tau)",),
)
TREES = (
    Letter(
        "tau",
        r"\tau",
        r"rooted tree: $\bullet$ is a single vertex, $[\bullet, \bullet]$ has two on its root",
    ),
    Letter(
        "F(tau)",
        r"F(\tau)",
        r"elementary differential: $f$ of $\bullet$, $f'f$ of $[\bullet]$, $f''(f, f)$ of $[\bullet, \bullet]$",
    ),
    Letter("|tau|", r"|\tau|", "number of vertices; a tree of $n$ of them comes with $h^{n-1}$ in a field"),
    Letter("sigma(tau)", r"\sigma(\tau)", "number of automorphisms"),
    Letter("gamma(tau)", r"\gamma(\tau)", r"density: the exact flow has $a(\tau) = 1/\gamma(\tau)$"),
)


# Series


def _tree_table(series: Mapping[str, Mapping[RootedTree, sp.Expr]]) -> Table:
    """tree, σ, γ, and the coefficients of each series, by its letter."""
    first = next(iter(series.values()))
    head = (("tree", r"\tau"), ("sigma", r"\sigma"), ("gamma", r"\gamma"), *((name, name) for name in series))
    rows = tuple(
        ((str(tree), tree.latex), *((str(n), str(n)) for n in (tree.symmetry, tree.density)),
         *((str(values[tree]), sp.latex(values[tree])) for values in series.values()))
        for tree in first
    )  # fmt: skip
    return Table("Coefficients by tree", head, rows)


def _by_text(series: BSeries) -> dict[str, sp.Expr]:
    return {str(tree): value for tree, value in series.items()}


def _sum_text(series: BSeries) -> str:
    """The first terms, in text: those with trees of up to three vertices."""
    shift = 0 if series.is_map else 1
    terms = []
    for tree, value in series.truncated(min(series.order, 3)).items():
        if value != 0:
            power = tree.order - shift
            h = "" if power == 0 else "h*" if power == 1 else f"h^{power}*"
            terms.append(f"({value / tree.symmetry})*{h}F({tree})")
    return " + ".join(terms) + " + ..."


def of_series(series: BSeries) -> Sheet:
    """A B-series by itself: its coefficients. How it came about, it does not know."""
    letter, kind = ("a", "map") if series.is_map else ("b", "vector field")
    start = "y + " if series.is_map else ""
    formula = Formula(f"B-series of a {kind}", (start + _sum_text(series),), (bare(series._repr_latex_()),))
    parts = (formula, _tree_table({letter: series}))
    return Sheet(f"B-series of a {kind} to order {series.order}", (), parts, TREES, ((letter, _by_text(series)),))


def _name(rule: UpdateRule | RungeKutta | LinearMultistep) -> str:
    if isinstance(rule, UpdateRule):
        kind = "Nesterov momentum" if rule.nesterov else "momentum" if rule.momentum != 0 else ""
        return "SGD" + (f" with {kind}" if kind else "")
    return rule.name.replace("_", " ") or "the method"


def _method(rule: UpdateRule | RungeKutta | LinearMultistep) -> Formula:
    """The map itself."""
    if isinstance(rule, RungeKutta):
        rows = [f"{c} | {' '.join(map(str, row))}" for c, row in zip(rule.c, rule.A, strict=True)]
        lines = (*rows, f"  | {' '.join(map(str, rule.b))}")
        return Formula("Tableau of the method", lines, (bare(rule._repr_latex_()),))
    shown = multistep_of(rule) if isinstance(rule, UpdateRule) else rule
    left = sp.Add(*(c * _iterate(s) for s, c in shown.positions))
    right = [(c, [(k, _iterate(s)) for s, k in place]) for c, place in shown.gradients]
    text = " + ".join(f"({c}) f({sp.Add(*(k * y for k, y in place))})" for c, place in right)
    latex = " + ".join(
        rf"\left({sp.latex(c)}\right) f\left({sp.latex(sp.Add(*(k * y for k, y in place)))}\right)" for c, place in right
    )
    return Formula("The rule", (f"{left} = h*[{text}]",), (rf"{sp.latex(left)} = h \left[{latex}\right]",))


def _iterate(shift: int) -> sp.Symbol:
    return sp.Symbol(f"y_{{n{shift:+d}}}" if shift else "y_n")


def field_derivation(rule: UpdateRule | RungeKutta | LinearMultistep, b: BSeries) -> Derivation:
    """The coefficients of the first trees, from the equation that each solves."""
    title = f"modified equation of {_name(rule)}"
    if isinstance(rule, RungeKutta):
        return field_of_map(title, rule.series(min(b.order, SHOWN)), b)
    return field_of_multistep(title, multistep_of(rule) if isinstance(rule, UpdateRule) else rule, b)


def of_field(found: ModifiedField) -> Sheet:
    """Method, coefficients by tree, and the modified loss as far as there is one."""
    b, rule = found.coefficients, found.rule
    series = {"a": rule.series(b.order), "b": b} if isinstance(rule, RungeKutta) else {"b": b}
    start = Formula("Its first terms", (f"theta' = {_sum_text(b)}",), (rf"\dot\theta = {bare(b._repr_latex_())}",))
    parts = (_method(rule), FIELD, start, _tree_table(series), _modified_loss(found))
    title = f"modified equation of {_name(rule)}, to $h^{found.order}$"
    legend = (*_step_letters(rule), *TREES)
    if isinstance(rule, RungeKutta):
        legend += (Letter("a(tau)", r"a(\tau)", "coefficient of the method's own step, its elementary weight"),)
    return Sheet(title, (field_derivation(rule, b),), parts, legend, (("b", _by_text(b)),), _field_notes(found))


def _step_letters(rule: UpdateRule | RungeKutta | LinearMultistep) -> tuple[Letter, ...]:
    f = r"$-\nabla L - \lambda\theta$" if isinstance(rule, UpdateRule) else r"the field; $-\nabla L$ for descent"
    size = (
        r"$\eta(1-\alpha)$, the time of a step" if isinstance(rule, UpdateRule) else "the step; the learning rate of descent"
    )
    variable = multistep_of(rule).variable if isinstance(rule, UpdateRule) else getattr(rule, "variable", "the parameters")
    return (Letter("f", "f", f), Letter("h", "h", size), Letter("theta", r"\theta", _prose(variable)))


def _prose(words: str) -> str:
    """Words with Greek letters, as prose."""
    for letter, latex in (("θ₋₁", r"\theta_{-1}"), ("θ", r"\theta"), ("β", r"\beta"), ("−", "-")):
        words = words.replace(letter, f"${latex}$")
    return words


def _modified_loss(found: ModifiedField) -> Formula:
    split = found.split
    latex = bare(split._repr_latex_()).replace(r"\tilde L", r"\widetilde L")
    terms = [f"({c})*h^{free.order - 1}*L({free.rootings[-1]})" for free, c in split.loss.items() if c != 0]
    return Formula(r"The loss that descent with f = -grad L follows, with a rest", (f"L~ = {' + '.join(terms)}",), (latex,))


def _field_notes(found: ModifiedField) -> tuple[Note, ...]:
    notes = [
        note(r"$L(\tau)$ contracts derivatives of the loss along the tree: $L(\bullet) = L$, $L([\bullet]) = |\nabla L|^2$.")
    ]
    if found.is_gradient:
        notes.append(note("To this order descent follows the gradient of that loss, with no rest."))
    else:
        tree, rest = next((tree, c) for tree, c in found.split.rest.items() if c != 0)
        notes.append(note("There is a rest that no loss gives: it starts with <c> of <b>.", c=rest, b=weight("b", tree)))
    limit = found.validity
    if limit.limit != sp.oo:
        notes.append(note("The series converges on the linearized problem for <limit>.", limit=limit.condition))
    return tuple(notes)


def of_manifold(found: DiscreteManifold) -> Sheet:
    """The velocity as a function of the parameters, from the slow flow."""
    c, rule, flow = found.coefficients, found.rule, slow_flow(found.rule, found.order).coefficients
    formula = Formula(
        "The velocity on the manifold",
        ("v(theta) = -(1 - alpha) sum over trees tau of h^(|tau|-1) c(tau)/sigma(tau) F(tau)",
         f"         = -({rule.gradient_gain})*[{_sum_text(c)}]"),
        (bare(found._repr_latex_()),),
    )  # fmt: skip
    momentum = rule.momentum if rule.nesterov else None
    derivations = (
        field_derivation(rule, flow),
        manifold_of_field("the velocity as a function of the parameters", flow, c, momentum),
    )
    parts = (_method(rule), formula, _tree_table({"b": flow, "c": c}))
    title = f"discrete manifold of {_name(rule)}, to $h^{found.order}$"
    return Sheet(title, derivations, parts, (*_step_letters(rule), *TREES, *_three(c="c")), (("c", _by_text(c)),))


def of_iteration(found: MemorylessIteration) -> Sheet:
    """The map without a velocity, from the slow flow."""
    a, rule, flow = found.coefficients, found.rule, slow_flow(found.rule, found.order).coefficients
    formula = Formula(
        "The iteration without a velocity",
        (f"theta_(n+1) = theta_n + {_sum_text(a)}",),
        (bare(found._repr_latex_()).replace("$", ""),),
    )
    derivations = (field_derivation(rule, flow), map_of_field("the iteration without a velocity", flow, a))
    parts = (_method(rule), formula, _tree_table({"b": flow, "a": a}))
    title = f"memoryless iteration of {_name(rule)}, to $h^{found.order + 1}$"
    return Sheet(title, derivations, parts, (*_step_letters(rule), *TREES, *_three(c="a")), (("a", _by_text(a)),))


def _three(c: str) -> tuple[Letter, ...]:
    letter = Letter(f"{c}(tau)", rf"{c}(\tau)", "coefficient of this object")
    return (Letter("b(tau)", r"b(\tau)", r"coefficient of the slow flow $\theta_n = \varphi_{nh}(\theta_0)$"), letter)


# Equations in words


def of_equation(found: ModifiedEquation) -> Sheet:
    """The equation of learning: time derivatives on the left, the corrected gradient on the right."""
    left = " + ".join(f"({c})*theta{chr(39) * k}" for k, c in enumerate(found.time_coefficients, start=1) if c != 0)
    formula = Formula("Equation of learning", (f"{left} = {found.field}",), (bare(found._repr_latex_()),))
    title = f"equation of learning of {_name(found.rule)}, {found.form}, order {found.order}"
    return Sheet(title, (found.derivation,), (formula,), _word_legend(found), (("residual", found.residual),))


def _word_legend(found: ModifiedEquation) -> tuple[Letter, ...]:
    rows = [
        Letter("g, H", "g, H", "gradient and Hessian of the loss"),
        Letter(
            "theta', theta''",
            r"\dot\theta, \ddot\theta",
            r"slopes in training time, $\sum h$ with $h = \eta(1-\alpha)$",
        ),
    ]
    names = {letter.name for letter in found.residual.free_symbols}
    if any("L[" in name for name in names):
        rows.append(Letter("D3L[g, g]", r"\nabla^{3}L[g, g]", "third derivative of the loss, along $g$ twice; and so on"))
    if any(name.startswith("g'") for name in names):
        rows.append(Letter("g''", r"\ddot{g}", "second derivative in time of the gradient along training; and so on"))
    return tuple(rows)


def of_stochastic(found: StochasticModifiedEquation) -> Sheet:
    """Drift, noise, and how their moments match those of a step."""
    text = f"d theta = ({found.drift}) dt + {found.noise},   G G^T = Sigma"
    formula = Formula("Stochastic modified equation", (text,), (bare(found._repr_latex_()),))
    legend = (
        Letter("g, H", "g, H", "gradient and Hessian of the loss"),
        Letter("S", "S", "examples in a batch"),
        Letter("Sigma", r"\Sigma", "covariance of the gradient of one example"),
        Letter("dW", "dW", "increment of a Wiener process"),
    )
    source = (("drift", found.drift), ("noise", found.noise))
    weak = note("Expectations after a fixed time are those of SGD up to <small>.", small=sp.Order(symbols.lr**found.order))
    return Sheet(found.derivation.title, (found.derivation,), (formula,), legend, source, (weak,))


def of_epoch_loss(found: EpochLoss) -> Sheet:
    """The loss that an epoch follows on average."""
    eta, m = symbols.lr, found.batches
    full = "" if found.full == 0 else f" + {eta * found.full} |grad L|^2"
    single = "" if found.single == 0 else f" + {eta * found.single / m} sum_(k=1)^({m}) |grad L_k|^2"
    loss = Formula("Modified loss", (f"L~ = L{full}{single}",), (bare(found._repr_latex_()),))
    field = " + ".join(rf"\left({sp.latex(c)}\right) {word_latex(word)}" for word, c in words(found.field).items())
    descent = Formula("Its descent", (f"theta' = {found.field}",), (rf"\dot\theta = {field}",))
    legend = (
        Letter("g, H", "g, H", "gradient and Hessian of the mean loss $L$ of the batches"),
        Letter("K", "K", r"$(1/m) \sum_k H_k g_k$, with gradient and Hessian of single batches"),
        Letter("m", "m", "number of batches in an epoch"),
    )
    source = (("field", found.field), ("full", found.full), ("single", found.single))
    return Sheet(found.derivation.title, (found.derivation,), (loss, descent), legend, source)


# Schemes


def of_pde(found: ModifiedPDE) -> Sheet:
    """The equation that a scheme really solves, and its error."""
    scheme = found.scheme
    terms = [(k, c) for k, c in enumerate(found.coefficients, start=1) if c != 0]
    text = " + ".join(f"({c}) d_x{'' if k == 1 else f'^{k}'} u" for k, c in terms)
    stencil = " + ".join(f"({c}) u(x{_shift(j, 'dx')}, t{_shift(n, 'dt')})" for (n, j), c in reversed(scheme.stencil))
    wanted, step = dict(scheme.equation), scheme.time_step
    rows = tuple(
        tuple((str(x), sp.latex(x)) for x in (sp.Integer(k), wanted.get(k, sp.S.Zero), c, found.errors.get(k, sp.S.Zero)))
        for k, c in enumerate(found.coefficients, start=1)
    )
    head = (("k", "k"), ("a_k", "a_k"), ("c_k", "c_k"), ("c_k - a_k", "c_k - a_k"))
    parts = (
        Formula("Scheme", (f"{stencil} = 0", f"dt = {step}"), (bare(scheme._repr_latex_()), rf"dt = {sp.latex(step)}")),
        Formula("Modified equation", (f"d_t u = {text} + ...",), (bare(found._repr_latex_()),)),
        Table("Coefficients of the derivatives: of the equation to be solved, and of the one that is", head, rows),
    )  # fmt: skip
    legend = (
        Letter("dx, dt", "dx, dt", "mesh width and time step"),
        Letter("c_k", "c_k", r"coefficient of $\partial_x^k u$; $a_k$ in the equation that the scheme is for"),
        Letter(
            "ell",
            r"\ell",
            r"$\sum_k \ell_k z^k = dt\,\partial_t$ with $z = dx\,\partial_x$: logarithm of the amplification",
        ),
    )
    return Sheet(
        found.derivation.title, (found.derivation,), parts, legend, (("equation", found.equation),), _pde_notes(found)
    )


def _shift(count: int, step: str) -> str:
    if count == 0:
        return ""
    return f" {'+' if count > 0 else '-'} {'' if abs(count) == 1 else f'{abs(count)} '}{step}"


def _pde_notes(found: ModifiedPDE) -> tuple[Note, ...]:
    if found.leading_error is None:
        return (note("The scheme is exact as far as derivatives are kept here."),)
    k, error = found.leading_error
    kind = "dissipates, or amplifies" if k % 2 == 0 else "disperses"
    sentence = f"The leading error is <error>, times the derivative of order {k}: it is of order <p> in $dx$ and {kind}."
    return (note(sentence, error=error, p=sp.Integer(found.accuracy)),)
