"""Sheets of what is derived of charges: symmetries and their identities, laws, solutions, discrete laws, Itô laws."""

from __future__ import annotations

import sympy as sp

from derive.derivation import Derivation, Step
from derive.discrete_law import DRIVES, DiscreteLaw
from derive.law import Law
from derive.operator_calculus import operator_on
from derive.relations import Relation, noether, relation_steps, relations, theorem_1
from derive.sheet import Formula, Letter, Note, Sheet, note
from derive.solution import Solution
from derive.stochastic import ItoLaw, trace_latex
from derive.symbols import time as t
from derive.symmetry import Symmetry

THETA = r"\theta"
CRITICAL = "the solution is 0/0 at critical damping; nmech's own functions are not"


def bare(latex: str) -> str:
    """LaTeX without the dollars of ``_repr_latex_``."""
    return latex.strip("$")


# Legends


def _common(symmetry: Symmetry) -> tuple[Letter, ...]:
    return (
        Letter("g, H", "g, H", "gradient and Hessian of the loss"),
        Letter("X, M, c", "X, M, c", r"generator of the symmetry, $X(\theta) = M \theta + c$"),
    )


def _law_legend(law: Law) -> tuple[Letter, ...]:
    rows = [
        *_common(law.symmetry),
        Letter("Q", "Q", f"charge ${law.symmetry.form_latex(THETA)}$"),
        Letter("t", "t", r"training time, $\sum h$ with $h = \eta(1-\alpha)$"),
        Letter("D, E", "D, E", r"time derivative and shift by one step, $E = e^{hD}$"),
    ]
    rows += [letter for name, letter in _drive_letters(law).items() if name in law.drive_operators]
    if law.equation.atoms(operator_on):
        meaning = r"$F(D)$ acts on $f$, as its Taylor series in $D$: $D f = \dot f$, $D^2 f = \ddot f$, and so on"
        rows.append(Letter("operator_on(F, f)", "[F(D)] f", meaning))
    return tuple(rows)


def _drive_letters(law: Law) -> dict[str, Letter]:
    """Name of a form -> its letter. Beyond order 1 the drives are those of the recurrence."""
    mean = r", $\dot\theta$ the mean velocity $\Delta\theta / h$ of a step" if law.order not in (0, 1) else ""
    velocity = law.symmetry.form_latex(r"\dot\theta")
    return {
        "gradient": Letter("q(t)", "q(t)", f"${law.symmetry.form_latex('g')}$"),
        "velocity": Letter("k(t)", "k(t)", f"${velocity}$" + mean),
        "overlap": Letter("o(t)", "o(t)", r"$\langle d, v\rangle_M$, the same form of a step's direction and velocity"),
    }


def _discrete_legend(law: DiscreteLaw) -> tuple[Letter, ...]:
    form = law.symmetry.form_latex
    meanings = {
        "breaking": r"$\langle g_n, X(\theta_n)\rangle$, which is 0 for an exact symmetry",
        "gradient": f"${form('g')}$ at step $n$",
        "direction": f"${form('d')}$ of the step $\\theta_{{n+1}} = \\theta_n - \\eta d_n$",
        "overlap": r"$\langle d_n, v_{n+1}\rangle$, the same form of $d_n$ and $v_{n+1}$",
    }
    rows = [
        *_common(law.symmetry),
        Letter("Q_n", "Q_n", f"charge ${form(THETA)}$ at step $n$"),
        Letter("E", "E", "shift by one step, $E x_n = x_{n+1}$"),
    ]
    rows += [Letter("C_n", "C_n", r"$\langle v_n, X(\theta_n)\rangle$")] if law.transition.shape[0] == 2 else []
    return (*rows, *(Letter(str(DRIVES[name]), str(DRIVES[name]), meanings[name]) for name in law.drives))


# Laws


def _law_notes(law: Law) -> tuple[Note, ...]:
    notes = () if law.validity == sp.true else (note("It holds for <here>.", here=law.validity),)
    if law.higher:
        remedy = (
            "It is not solved: the fast roots of a truncated law are artefacts of the truncation. "
            'Order oo has both exponents and a solution, and so has the form "slow flow".'
        )
        return (*notes, note(remedy))
    return notes


def of_law(law: Law) -> Sheet:
    """The derivation and the law; why there is no solution, where there is none."""
    formula = Formula("Law", (str(law),), (bare(law._repr_latex_()),))
    legend, notes = _law_legend(law), _law_notes(law)
    return Sheet(law.derivation.title, (law.derivation,), (formula,), legend, (("law", law.equation),), notes)


def of_solution(solution: Solution) -> Sheet:
    """The same with the solution in every damping regime, and steps that put it into the law."""
    law = solution.law
    base = of_law(law)
    rates = tuple(f"{symbol} = {value}" for symbol, value in solution.rates)
    lines = (f"Q(t) = {solution.formula}", *(f"  with {rate}" for rate in rates), *_definitions(law))
    solved = Formula("Solution, in every damping regime", lines, _solution_latex(solution))
    derivations = (*base.derivations, solution_steps(solution))
    source = (*base.source, ("solution", solution.expr))
    remarks = (CRITICAL,) if law.is_oscillator else ()
    return Sheet(base.title, derivations, (*base.parts, solved), base.legend, source, base.notes, remarks)


def _definitions(law: Law) -> tuple[str, ...]:
    if not law.is_oscillator:
        return ()
    return (
        "  damped_cosh(a, b) = exp(-a) cosh(sqrt(a^2 - b^2))",
        "  damped_sinhc(a, b) = exp(-a) sinh(sqrt(a^2 - b^2))/sqrt(a^2 - b^2)",
    )


def _solution_latex(solution: Solution) -> tuple[str, ...]:
    rates = (f"{sp.latex(symbol)} = {sp.latex(value)}" for symbol, value in solution.rates)
    return (f"Q(t) = {sp.latex(solution.formula)}", *rates)


def solution_steps(solution: Solution) -> Derivation:
    """Homogeneous part and Green's function put into the law, written in the rates κ, or γ and ω: both leave 0."""
    rates = [symbol for symbol, _ in solution.rates]
    if solution.law.is_oscillator:
        gamma, omega = rates
        reason = r"$\ddot Q + 2\gamma \dot Q + \omega^2 Q$ is the law without drive, over its mass"
        size = solution.law.mass
    else:
        (kappa,) = rates
        reason = r"$\dot Q + \kappa Q$ is the law without drive, over its damping"
        size = solution.law.damping
    parts = {"homogeneous part": solution.homogeneous_form, "Green's function": solution.green_form * size}

    def operator(x: sp.Expr) -> sp.Expr:
        if len(rates) == 1:
            return sp.Derivative(x, t) + kappa * x
        return sp.Derivative(x, (t, 2)) + 2 * gamma * sp.Derivative(x, t) + omega**2 * x

    steps = (Step(operator(x), sp.S.Zero, f"{name} put in", reason) for name, x in parts.items())
    return Derivation("check of the solution", (), tuple(Derivation(step.rule, (step,)) for step in steps))


def of_discrete_law(law: DiscreteLaw) -> Sheet:
    """The derivation, the matrices and the scalar recurrence."""
    state = sp.Matrix(sp.symbols("Q_n C_n")[: law.transition.shape[0]])
    drives = sp.Matrix([DRIVES[name] for name in law.drives])
    lines = [
        f"x_(n+1) = A x_n + B f_n   with x_n = ({', '.join(map(str, state))}), f_n = ({', '.join(map(str, drives))})",
        f"A = {law.transition.tolist()}",
        f"B = {law.drive_matrix.tolist()}",
    ]
    A, B = sp.latex(law.transition), sp.latex(law.drive_matrix)
    latex = [rf"x_{{n+1}} = {A}\, x_n + {B}\, f_n, \qquad x_n = {sp.latex(state)},\; f_n = {sp.latex(drives)}"]
    if law.first_transition != law.transition or law.first_drive_matrix != law.drive_matrix:
        lines.append(f"first step: A = {law.first_transition.tolist()}, B = {law.first_drive_matrix.tolist()}")
        A, B = sp.latex(law.first_transition), sp.latex(law.first_drive_matrix)
        latex.append(rf"x_{{1}} = {A}\, x_0 + {B}\, f_0")
    equation = law.equation
    parts = (
        Formula("Law", tuple(lines), tuple(latex)),
        Formula("For constant hyper-parameters and an exact symmetry", (f"{equation.lhs} = {equation.rhs}",),
                (bare(law._repr_latex_()),)),
    )  # fmt: skip
    return Sheet(law.derivation.title, (law.derivation,), parts, _discrete_legend(law), (("law", equation),))


def of_ito_law(law: ItoLaw) -> Sheet:
    """Itô's lemma step by step, and the law."""
    formula = Formula("Law", (str(law),), (bare(law._repr_latex_()),))
    legend = (
        *_law_legend(law.law),
        Letter("S", "S", "examples in a batch"),
        Letter("Sigma", r"\Sigma", r"covariance of the gradient of one example, $\Sigma = G G^T$"),
    )
    if law.noise_drive != 0:
        legend += (Letter("T(t)", "T(t)", f"$Tr(M\\Sigma)$, here ${trace_latex(law.symmetry)}$"),)
    return Sheet(law.derivation.title, (law.derivation,), (formula,), legend, (("law", law.equation),))


# Symmetries


def of_symmetry(symmetry: Symmetry) -> Sheet:
    """Its action, generator and charge, the five relations, Noether's theorem and Theorem 1 of the paper."""
    found = relations(symmetry)
    named = zip(symmetry.coordinates, symmetry.image, symmetry.generator, strict=True)
    lines = [f"{x} -> {y},   X = {v}" for x, y, v in named]
    latex = [bare(symmetry._repr_latex_()), rf"X = {sp.latex(sp.Matrix(symmetry.generator))}"]
    parts = [Formula("Action and generator", tuple(lines), tuple(latex))]
    derivations, notes = [relation_steps(symmetry), theorem_1(symmetry)], ()
    if symmetry.has_charge:
        parts.append(Formula("Charge", (f"Q = {symmetry.charge}",), (f"Q = {sp.latex(symmetry.charge)}",)))
        derivations.insert(1, noether(symmetry))
    else:
        none = r"It has no charge: $M$ is not symmetric, so $X$ is no gradient. $\langle g, X\rangle = 0$ all the same."
        notes = (note(none),)
    parts += [_relation_formula(relation) for relation in found]
    source = tuple((relation.name.replace(" ", "_").replace(",", ""), relation.rows) for relation in found)
    legend = (
        *_common(symmetry),
        Letter("d1, d2, ...", r"\partial_1, \partial_2, \dots", "slopes in the coordinates, in order"),
    )
    return Sheet(f"the {symmetry.name} symmetry", tuple(derivations), tuple(parts), legend, source, notes)


def _relation_formula(relation: Relation) -> Formula:
    lines, latex = (tuple(write(row) for row in relation.rows) for write in (str, sp.latex))
    heading = f"{relation.name[0].upper()}{relation.name[1:]}, {relation.source.removeprefix('Kunin et al. 2021, ')}"
    return Formula(heading, tuple(f"0 = {line}" for line in lines), tuple(f"{line} = 0" for line in latex))


def of_relation(relation: Relation) -> Sheet:
    """One relation, with its derivation where it was kept."""
    derivations = () if relation.derivation is None else (relation.derivation,)
    legend = (Letter("L", "L", "the loss, as a function of the representative coordinates"),)
    return Sheet(relation.name, derivations, (_relation_formula(relation),), legend, (("rows", relation.rows),))


def of_derivation(derivation: Derivation) -> Sheet:
    """Steps alone, such as those of :func:`derive.noether`; their SymPy source is the expressions they pass."""
    last = derivation.all_steps[-1].after
    formula = Formula("Conclusion", (str(last),), (sp.latex(last),))
    return Sheet(derivation.title, (derivation,), (formula,), (), (("conclusion", last),))
