"""What a symmetry says about gradient and Hessian, whole: the five relations of Kunin et al. 2021, App. A, and all orders.

Each relation is a derivative of the one statement L(ψ(θ, s)) = L(θ), with L an undefined function of the representative
coordinates; Tables 2 and 3 of the paper are these relations for translation, scale and rescale. For θ ↦ e^{sM}θ they read
e^{sMᵀ}g(e^{sM}θ) = g(θ), g ⊥ Mθ, e^{sMᵀ}H(e^{sM}θ)e^{sM} = H(θ), HMθ + Mᵀg = 0 and θᵀMᵀHMθ + ⟨g, M²θ⟩ = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from derive.derivation import Derivation, Step
from derive.inner_product import Inner, generator, gradient, linear_part, theta, theta_dot
from derive.symbols import charge
from derive.symbols import group_parameter as s
from derive.symbols import time as t
from derive.symmetry import Symmetry


@dataclass(frozen=True)
class Relation:
    """Rows of an equation ``row = 0`` that holds at all θ, and at all s or at the identity.

    Parameters
    ----------
    name
        Which derivative of L(ψ(θ, s)) = L(θ) it is.
    rows
        One expression for each component, with L and its derivatives as undefined functions.
    at_identity
        Whether s was set to the identity element; otherwise the relation holds for every s.
    source
        The equation's number in the paper.
    derivation
        How it follows, if it was kept; :func:`relation_steps` has that of the five.
    """

    name: str
    rows: tuple[sp.Expr, ...]
    at_identity: bool
    source: str
    derivation: Derivation | None = None

    def _repr_latex_(self) -> str:
        return r"$\begin{aligned}" + r" \\ ".join(f"{sp.latex(row)} &= 0" for row in self.rows) + r"\end{aligned}$"


def relations(symmetry: Symmetry) -> tuple[Relation, ...]:
    """The five relations (22)–(26) of App. A, by differentiating L(ψ(θ, s)) − L(θ) = 0.

    The last one of a translation is 1ᵀH1 = 0, in its one representative coordinate (Table 3):

    >>> from derive import translation
    >>> relations(translation())[-1].rows
    (Derivative(L(theta_A), (theta_A, 2)),)
    """
    x, at = symmetry.coordinates, (s, symmetry.identity)
    difference = _loss(symmetry, symmetry.image) - _loss(symmetry)
    slope, curvature = sp.diff(difference, s), sp.diff(difference, s, 2)

    def relation(name: str, rows: Sequence[sp.Expr], source: str, *, at_identity: bool) -> Relation:
        values = (sp.expand(row.subs(*at)) if at_identity else row for row in rows)
        return Relation(name, tuple(_readable(symmetry, row) for row in values), at_identity, f"Kunin et al. 2021, {source}")

    moved = [sp.diff(difference, a) for a in x]
    return (
        relation("gradient, moved", moved, "eq. 22", at_identity=False),
        relation("gradient and generator", [slope], "eq. 23", at_identity=True),
        relation("Hessian, moved", [sp.diff(row, b) for row in moved for b in x], "eq. 24", at_identity=False),
        relation("Hessian and generator", [sp.diff(slope, a) for a in x], "eq. 25", at_identity=True),
        relation("second derivative along the orbit", [curvature], "eq. 26", at_identity=True),
    )


def identity_of_order(symmetry: Symmetry, k: int) -> Relation:
    """∇^{k+1}L[X, u_1, …, u_k] + Σ_i ∇^k L[Mu_i, u_1, …, û_i, …, u_k] = 0: ⟨g, X⟩ = 0 differentiated along u_1 … u_k.

    k = 0 is ⟨g, X⟩ = 0, k = 1 is HX + Mᵀg = 0 paired with u_1. The directions are symbols ``u1_A`` and so on.

    >>> from derive import scale
    >>> identity_of_order(scale(), 0).rows
    (theta_A*Derivative(L(theta_A), theta_A),)

    Raises
    ------
    ValueError
        For a negative k.
    """
    if k < 0:
        raise ValueError(f"k: expected 0 or more, got {k}")
    x, source = symmetry.coordinates, "Kunin et al. 2021, eq. 1"
    row = sp.Add(*(_loss(symmetry).diff(a) * v for a, v in zip(x, symmetry.generator, strict=True)))
    slope = sp.Subs(sp.Derivative(_loss(symmetry, symmetry.image), s), s, symmetry.identity)
    steps = [
        Step(slope, row, "invariance", r"$L(\psi_s(\theta)) = L(\theta)$ differentiated in $s$: it is 0", source=source)
    ]
    for j in range(1, k + 1):
        along = [sp.Symbol(f"u{j}_{label}", real=True) for label in symmetry.labels]
        before = sp.Add(*(u * sp.Derivative(row, a) for u, a in zip(along, x, strict=True)))
        row = sp.expand(before.doit())
        steps.append(Step(before, row, f"differentiate along u{j}", "what is 0 for every $\\theta$ has no slope"))
    lemmas = tuple(Derivation(step.rule, (step,)) for step in steps)
    derivation = Derivation(f"identity of order {k} of the {symmetry.name} symmetry", (), lemmas)
    rows = (_readable(symmetry, sp.expand(row)),)
    return Relation(f"identity of order {k}", rows, True, "eq. 1, differentiated", derivation)


def noether(symmetry: Symmetry) -> Derivation:
    """Why gradient flow conserves the charge: Q' = p⟨θ', X⟩ = −p⟨g, X⟩ = 0, for any symmetry whose M is symmetric.

    Theorem 1 of the paper (eq. 10) asks for ⟨θ, Mg⟩ = 0 besides. That is not needed for Q; it is what makes ⟨θ, X⟩ a
    multiple of Q (see :func:`theorem_1`).

    Raises
    ------
    SymmetryError
        If M is not symmetric (a rotation, say): ⟨g, X⟩ = 0 all the same, but X is not a gradient and there is no charge.
    """
    _ = symmetry.charge
    p, Q = symmetry.degree, charge(t)
    slope = rf"$\nabla Q = {p if p > 1 else ''} X$"
    moving, flowing, resting = Inner(theta_dot, generator), Inner(gradient, generator), sp.S.Zero
    steps = (
        Step(Q.diff(t), p * moving, "chain rule", slope, ((Q.diff(t), p * moving),)),
        Step(p * moving, -p * flowing, "gradient flow", r"$\dot\theta = -g$", ((moving, -flowing),), source="eq. 9"),
        Step(-p * flowing, resting, "use invariance", r"$\langle g, X\rangle = 0$", ((flowing, resting),), source="eq. 1"),
    )
    return Derivation(f"conservation of the {symmetry.name} charge under gradient flow", steps)


def theorem_1(symmetry: Symmetry) -> Derivation:
    """d⟨θ, X⟩/dt = 0 under gradient flow if ⟨θ, Mg⟩ = 0 (Kunin et al. 2021, Theorem 1 and App. B), step by step.

    For a translation, and for a linear X = Mθ with M symmetric or antisymmetric, the hypothesis follows from invariance
    and is derived, as a lemma. With an antisymmetric M the theorem is empty, ⟨θ, Mθ⟩ being 0 all along. Otherwise the
    hypothesis is one more condition on the loss; :func:`noether` needs none, but a symmetric M.

    >>> from derive import linear_symmetry
    >>> theorem_1(linear_symmetry([[0, 1], [1, 0]])).lemmas[0].steps[-1].after
    0
    >>> theorem_1(linear_symmetry([[0, 1], [0, 0]])).lemmas  # a shear: nothing but the hypothesis says so
    ()
    """
    pairing = sp.Function("P", real=True)(t)
    moving, turning = Inner(theta_dot, generator), Inner(theta, linear_part * theta_dot)
    flowing, hypothesis = Inner(gradient, generator), Inner(theta, linear_part * gradient)
    product = moving + turning
    steps = (
        Step(pairing.diff(t), product, "product rule", r"$P = \langle \theta, X\rangle$ and $\dot X = M\dot\theta$",
             ((pairing.diff(t), product),)),
        Step(product, -flowing - hypothesis, "gradient flow", r"$\dot\theta = -g$",
             ((moving, -flowing), (turning, -hypothesis))),
        Step(-flowing - hypothesis, sp.S.Zero, "use invariance and the hypothesis",
             r"$\langle g, X\rangle = 0$ and $\langle \theta, M g\rangle = 0$", ((flowing, 0), (hypothesis, 0))),
    )  # fmt: skip
    return Derivation(f"Theorem 1 for {symmetry.name}", steps, _hypothesis_of_theorem_1(symmetry))


def _hypothesis_of_theorem_1(symmetry: Symmetry) -> tuple[Derivation, ...]:
    """⟨θ, Mg⟩ = ±⟨Mθ, g⟩ = ±⟨X, g⟩ = 0, where it follows; else no derivation."""
    title, hypothesis = f"the hypothesis of Theorem 1 for {symmetry.name}", Inner(theta, linear_part * gradient)
    if symmetry.linear_word == 0:
        step = Step(hypothesis, sp.S.Zero, "no linear part", "$M = 0$ for a translation", ((hypothesis, sp.S.Zero),))
        return (Derivation(title, (step,)),)
    antisymmetric = bool(symmetry.linear_part.is_anti_symmetric())
    if not (symmetry.has_charge or antisymmetric) or not symmetry.constant_part.is_zero_matrix:
        return ()
    turned, along = Inner(gradient, linear_part * theta), Inner(gradient, generator)
    sign, transposed = (-1, "$M^T = -M$") if antisymmetric else (1, "$M^T = M$")
    return (
        Derivation(title, (
            Step(hypothesis, sign * turned, "move M", transposed, ((hypothesis, sign * turned),)),
            Step(sign * turned, sign * along, "name the generator", "$X = M \\theta$", ((turned, along),)),
            Step(sign * along, sp.S.Zero, "use invariance", r"$\langle g, X\rangle = 0$", ((along, sp.S.Zero),)),
        )),
    )  # fmt: skip


def relation_steps(symmetry: Symmetry) -> Derivation:
    r"""The five relations as steps: each derivative of L(ψ(θ, s)) − L(θ), carried out by the chain rule.

    ∂₁∂₂L is the derivative of L in its first and second coordinate.

    >>> from derive import scale
    >>> print(relation_steps(scale()).all_steps[1].after)
    theta_A*d1 L(theta_A)
    """
    x, at = symmetry.coordinates, (s, symmetry.identity)
    difference = _loss(symmetry, symmetry.image) - _loss(symmetry)
    chain, here = r"the chain rule, on $\psi_s(\theta)$", f", at $s = {symmetry.identity}$"
    wanted = [("gradient, moved", "22", [((a,), False) for a in x]),
              ("gradient and generator", "23", [((s,), True)]),
              ("Hessian, moved", "24", [((a, b), False) for k, a in enumerate(x) for b in x[k:]]),
              ("Hessian and generator", "25", [((s, a), True) for a in x]),
              ("second derivative along the orbit", "26", [((s, s), True)])]  # fmt: skip
    steps = []
    for name, number, rows in wanted:
        for variables, at_identity in rows:
            found = sp.diff(difference, *variables)
            before = sp.Derivative(difference, *variables)
            before, found = (sp.Subs(before, *at), found.subs(*at)) if at_identity else (before, found)
            reason = chain + (here if at_identity else "") + "; all of it is 0, as $L(\\psi_s(\\theta)) = L(\\theta)$"
            steps.append(Step(before, sp.expand(found), name, reason, source=f"Kunin et al. 2021, eq. {number}"))
    lemmas = tuple(Derivation(step.rule, (step,)) for step in steps)
    return Derivation(f"what the {symmetry.name} symmetry says about gradient and Hessian", (), lemmas)


class _Partial(sp.Function):
    """∂^m L at a point: arguments are the multi-index m, then the point. Differentiating raises the index (chain rule).

    SymPy's own derivative of an undefined function at a composite point loses its way on second differentiation.
    """

    def fdiff(self, argindex=1):
        size = len(self.args) // 2
        index = list(self.args)
        index[argindex - 1 - size] += 1
        return _Partial(*index)

    def _along(self) -> tuple[list[int], tuple[sp.Expr, ...]]:
        """The coordinates differentiated in, each as often, and the point."""
        size = len(self.args) // 2
        return [k + 1 for k in range(size) for _ in range(int(self.args[k]))], self.args[size:]

    def _sympystr(self, printer):
        along, point = self._along()
        slopes = " ".join(f"d{k}" for k in along)
        return f"{slopes} L({printer.stringify(point, ', ')})".strip()

    def _latex(self, printer, exp=None):
        along, point = self._along()
        slopes = "".join(rf"\partial_{{{k}}}" for k in along)
        text = rf"{slopes} L\left({', '.join(map(printer._print, point))}\right)"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


def _loss(symmetry: Symmetry, at: tuple[sp.Expr, ...] | None = None) -> sp.Expr:
    point = symmetry.coordinates if at is None else at
    return _Partial(*[0] * len(point), *point)


def _readable(symmetry: Symmetry, expr: sp.Expr) -> sp.Expr:
    """∂^m L as SymPy writes it: a Derivative at θ, a Subs of one at a moved point."""
    x = symmetry.coordinates
    slots = tuple(sp.Symbol(f"xi_{k}", real=True) for k in range(1, len(x) + 1))

    def written(*arguments: sp.Expr) -> sp.Expr:
        index, point = arguments[: len(x)], arguments[len(x) :]
        if point == x:
            return sp.Derivative(sp.Function("L")(*x), *zip(x, index, strict=True)).doit()
        partial = sp.Derivative(sp.Function("L")(*slots), *zip(slots, index, strict=True))
        return sp.Subs(partial, slots, point)

    return expr.replace(_Partial, written)
