"""Stochastic gradients in continuous time: stochastic modified equations, and the Itô law of a charge.

A batch of S examples gives the gradient g plus a noise of mean 0 and covariance Σ/S, Σ = GGᵀ. Vectors are words of
:mod:`derive.inner_product`; the Wiener increment enters as the word ``G*dW``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import sympy as sp

from derive import inner_product as ip
from derive import symbols
from derive.derivation import Derivation, DerivationError, Step
from derive.inner_product import bilinear
from derive.law import Law, Q, law
from derive.linear_combination import linear_combination
from derive.modified_equation import ModifiedEquation, UnsupportedError, flow_limit, modified_loss
from derive.symbols import time as t
from derive.symmetry import Symmetry
from derive.update_rule import UpdateRule

batch_size = sp.Symbol("S", positive=True)
"""S, the number of examples in a batch; Σ is the covariance of the gradient of one example."""
noise_form = sp.Function("T", real=True)
"""T(t) = Tr(MΣ), the part of the drive that noise gives: Tr Σ_A (scale), Tr Σ_A1 − Tr Σ_A2 (rescale), 0 (translation)."""

noise_factor = sp.Symbol("G", commutative=False)
wiener = sp.Symbol("dW", commutative=False)
covariance = sp.Symbol("Sigma", commutative=False)
drift = sp.Symbol("mu", commutative=False)
probe = sp.Symbol("u", commutative=False)
instant = sp.Symbol("dt", real=True)

NOISE = noise_factor * wiener


@dataclass(frozen=True)
class StochasticModifiedEquation:
    """dθ = μ dt + √(η/S) G dW, Σ = GGᵀ: a diffusion whose expectations follow those of ``rule`` to weak order 1 or 2.

    Both orders have the same noise; order 2 corrects the drift (Li, Tai & E 2017).

    Parameters
    ----------
    rule, order
        What it is the equation of, and the weak order: the error of an expectation after a fixed time is O(η^order).
    drift
        μ in words: −∇L at order 1, −∇(L + η|∇L|²/4) at order 2, L with its weight decay.
    noise
        √(η/S) G dW in words.
    derivation
        The mean of a step and its second moment along any direction u, matched to the order.

    Examples
    --------
    >>> from derive import sgd
    >>> stochastic_modified_equation(sgd(weight_decay=False), order=2).drift
    -eta*H*g/2 - g
    """

    rule: UpdateRule
    order: int
    drift: sp.Expr
    noise: sp.Expr
    derivation: Derivation

    def _repr_latex_(self) -> str:
        drift = linear_combination((c, ip.word_latex(word)) for word, c in ip.words(self.drift).items())
        ((word, scalar),) = ip.words(self.noise).items()
        noise = rf"{sp.latex(scalar)}\, {ip.word_latex(word)}"
        return rf"$d\theta = \left[{drift}\right] dt + {noise},\quad G G^T = \Sigma$"


def stochastic_modified_equation(rule: UpdateRule, order: int = 2) -> StochasticModifiedEquation:
    """The stochastic modified equation of plain SGD, of weak order 1 or 2.

    Raises
    ------
    UnsupportedError
        For a rule with momentum, for gradient flow, and for other orders.

    Examples
    --------
    >>> from derive import sgd
    >>> stochastic_modified_equation(sgd(weight_decay=False), order=1).drift
    -g
    """
    _check_plain("stochastic_modified_equation", rule)
    if order not in (1, 2):
        raise UnsupportedError(f"order: expected weak order 1 or 2, got {order!r}")
    mean = _mean(rule, order)
    noise = sp.sqrt(rule.lr / batch_size) * NOISE
    steps = (_second_moment(rule, order),)
    title = f"stochastic modified equation of weak order {order}"
    return StochasticModifiedEquation(rule, order, mean.field, noise, Derivation(title, steps, (mean.derivation,)))


def _check_plain(name: str, rule: UpdateRule) -> None:
    if rule.is_flow or rule.momentum != 0:
        got = "gradient flow" if rule.is_flow else f"momentum {rule.momentum}"
        raise UnsupportedError(f"rule: {name} covers plain SGD with steps, got {got}; use sgd(momentum=False)")


def _mean(rule: UpdateRule, order: int) -> ModifiedEquation:
    return flow_limit(rule) if order == 1 else modified_loss(rule)


def _second_moment(rule: UpdateRule, order: int) -> Step:
    """E⟨u, Δθ⟩² of a step η, and of the diffusion for the time η: equal up to O(η³), η a symbol for this."""
    general = replace(rule, lr=symbols.lr)
    eta, spread = general.lr, ip.Inner(probe, covariance * probe) / batch_size
    step = eta**2 * (ip.inner(probe, _mean(general, 1).field) ** 2 + spread)
    flow = eta**2 * ip.inner(probe, _mean(general, order).field) ** 2 + eta * eta * spread
    reason = (
        r"for any vector $u$, a step of SGD has $E\langle u, \Delta\theta\rangle^2 = "
        r"\eta^2 (\langle u, g + \lambda\theta\rangle^2 + \langle u, \Sigma u\rangle / S)$; "
        r"the diffusion has, in the time $\eta$, $\eta^2 \langle u, \mu\rangle^2$ and $\eta$ times the square "
        r"of its noise $\sqrt{\eta / S} G$"
    )
    return Step(step, flow, "match the second moment", reason, dropped=sp.Order(eta**3), source="Li, Tai, E 2017")


@dataclass(frozen=True)
class ItoLaw:
    """dQ = {−kQ + f + (η/S) Tr(MΣ)} dt for the charge Q of ``symmetry`` under SGD with stochastic gradients.

    The martingale part is 0: every batch has the symmetry, so Gᵀ X = 0 and the noise is orthogonal to ∇Q = pX. The charge
    moves deterministically given θ, although θ does not.

    With the gradient ĝ of the batch in place of g, E⟨ĝ, ĝ⟩_M = q + Tr(MΣ)/S, and the law is :func:`derive.law` again: a run
    that logs the gradients it used needs no Σ.

    Parameters
    ----------
    symmetry, rule
        What it is the law of.
    law
        The law of full-batch descent: Q' = −kQ + f.
    noise_drive
        (η/S) T(t), T = Tr(MΣ): what Itô's lemma adds.
    martingale
        The coefficient of dW in dQ: 0.
    derivation
        From the projected drift through Itô's lemma to this law, machine-checked.

    Examples
    --------
    Kunin et al. 2021, appendix F, for scale; the paper prints −η|g_A|², which is a slip, since a step along −g ⊥ θ
    lengthens θ whether or not there is noise:

    >>> from derive import scale, sgd
    >>> ito_law(scale(), sgd()).drift
    eta*q(t) - 2*lambda*Q(t) + eta*T(t)/S
    """

    symmetry: Symmetry
    rule: UpdateRule
    law: Law
    noise_drive: sp.Expr
    martingale: sp.Expr
    derivation: Derivation

    def __post_init__(self) -> None:
        if self.martingale != 0:
            raise ValueError(f"martingale: expected 0, as the noise is orthogonal to the generator, got {self.martingale}")
        left = self.noise_drive.atoms(sp.core.function.AppliedUndef) - {noise_form(t)}
        if left:
            raise ValueError(f"noise_drive: expected a multiple of {noise_form(t)}, got {self.noise_drive}")

    @cached_property
    def drift(self) -> sp.Expr:
        """The coefficient of dt in dQ."""
        return sp.expand(self.law.drive - self.law.stiffness * Q + self.noise_drive)

    @property
    def equation(self) -> sp.Eq:
        """The law as an ordinary equation, which it is, the martingale part being 0."""
        return sp.Eq(Q.diff(t), self.drift)

    def __str__(self) -> str:
        return f"dQ = ({self.drift}) dt"

    def _repr_latex_(self) -> str:
        theta, gradient = self.symmetry.form_latex(r"\theta"), self.symmetry.form_latex("g")
        where = rf"Q = {theta}" + (rf",\; q(t) = {gradient}" if self.law.drive != 0 else "")
        where += rf",\; T(t) = {trace_latex(self.symmetry)}" if self.noise_drive != 0 else ""
        return rf"$dQ = \left\{{{sp.latex(self.drift)}\right\}} dt, \qquad {where}$"


def trace_latex(symmetry: Symmetry) -> str:
    r"""Tr(MΣ), block by block for a diagonal M.

    >>> from derive import rescale
    >>> print(trace_latex(rescale()))
    \operatorname{Tr}\Sigma_{A1} - \operatorname{Tr}\Sigma_{A2}
    """
    if not symmetry.linear_part.is_diagonal():
        return r"\operatorname{Tr}(M\Sigma)"
    blocks = [sp.Symbol(rf"\operatorname{{Tr}}\Sigma_{{{label}}}") for label in symmetry.labels]
    return sp.latex(sp.Add(*(weight * block for weight, block in zip(symmetry.linear_part.diagonal(), blocks, strict=True))))


def ito_law(symmetry: Symmetry, rule: UpdateRule, *, keep_weight_decay_squared: bool = False) -> ItoLaw:
    """Derive the Itô law of the charge of ``symmetry`` under plain SGD with stochastic gradients.

    θ is the diffusion of :func:`stochastic_modified_equation` of order 2. The charge is quadratic, so Itô's lemma is its
    exact increment with the products dt² = dt dW = 0 and dW dWᵀ = I dt.

    Parameters
    ----------
    keep_weight_decay_squared
        Keep ηλ² in the rate, as in :func:`derive.law`.

    Raises
    ------
    UnsupportedError
        For momentum or gradient flow, and for a generator that both scales and translates.
    SymmetryError
        If the symmetry has no charge.

    Examples
    --------
    Noise does not move the charge of a translation:

    >>> from derive import rescale, sgd, translation
    >>> ito_law(translation(), sgd()).drift
    -lambda*Q(t)
    >>> ito_law(rescale(), sgd()).noise_drive
    eta*T(t)/S
    """
    _check_plain("ito_law", rule)
    plain = law(symmetry, rule, form="modified loss", keep_weight_decay_squared=keep_weight_decay_squared)
    # the law of full-batch descent is Q' = p⟨θ', X⟩ with θ' = μ, so p⟨μ, X⟩ is what it puts in the place of Q'
    steps = _ito_steps(symmetry, rule, plain.drive - plain.stiffness * Q)
    found = sp.expand(steps[-1].after)
    noise_drive = found.coeff(noise_form(t)) * noise_form(t) / instant
    martingale = found.coeff(instant, 0)
    _check_result(found, martingale + instant * (plain.drive - plain.stiffness * Q + noise_drive))
    derivation = Derivation(f"Itô law of the {symmetry.name} charge", steps, (plain.derivation,))
    return ItoLaw(symmetry, rule, plain, noise_drive, martingale, derivation)


def _check_result(got: sp.Expr, expected: sp.Expr) -> None:
    if sp.expand(got - expected) != 0:
        raise DerivationError(f"law: expected {expected} from the last step, got {got}")


def _increment(symmetry: Symmetry) -> Step:
    """Q(θ + dθ) − Q(θ) for dθ = μ dt + εG dW, by bilinearity."""
    increment = drift * instant + _noise_scale * NOISE
    moved, here = ip.theta + increment, bilinear(ip.theta, ip.theta)
    if symmetry.degree == 1:
        atom, before, value = ip.Inner(increment, ip.constant_part), sp.S.Zero, ip.inner(increment, ip.constant_part)
    else:
        atom, before, value = ip.Inner(moved, ip.linear_part * moved), here, bilinear(moved, moved)
    reason = (
        r"$d\theta = \mu dt + \epsilon G dW$ with $\epsilon = \sqrt{\eta / S}$; this is exact, the charge being quadratic"
    )
    return Step(atom - before, value - before, "increment of the charge", reason, ((atom, value),))


_noise_scale = sp.Symbol("epsilon", positive=True)
"""√(η/S), as one symbol while products are taken."""


def _ito_steps(symmetry: Symmetry, rule: UpdateRule, projected: sp.Expr) -> tuple[Step, ...]:
    """Expand the increment, use the multiplication table of Itô, use that noise keeps the symmetry, name the charge."""
    scale = {_noise_scale: sp.sqrt(rule.lr / batch_size)}
    steps = [_increment(symmetry)]
    for name, reason, facts in _ito_passes(symmetry, projected):
        before = steps[-1].after
        after = sp.expand(before.subs(facts))
        if name == "name the charge":
            after, facts = sp.expand(after.subs(scale)), facts | scale
        if after != before:
            steps.append(Step(before, after, name, reason, tuple(facts.items()), source="Kunin et al. 2021, App. F"))
    return tuple(steps)


def _ito_passes(symmetry: Symmetry, projected: sp.Expr) -> list[tuple[str, str, dict[sp.Expr, sp.Expr]]]:
    at = {2: lambda word: bilinear(word, ip.theta), 1: lambda word: ip.inner(word, ip.constant_part)}[symmetry.degree]
    square = bilinear(NOISE, NOISE)
    return [
        (
            "Itô's lemma",
            r"$dt^2 = 0$, $dt dW = 0$ and $dW dW^T = I dt$, so "
            r"$\langle G dW, M G dW\rangle = Tr(M\Sigma) dt$, $\Sigma = G G^T$",
            {instant**2: sp.S.Zero, instant * bilinear(drift, NOISE): sp.S.Zero, square: noise_form(t) * instant},
        ),
        (
            "noise keeps the symmetry",
            r"every batch is invariant, so its gradient, and with it the noise, is orthogonal to $X$: $G^T X = 0$",
            {at(NOISE): sp.S.Zero},
        ),
        (
            "name the charge",
            r"$\mu$ is the drift of full-batch descent, whose projection is the law above; $\epsilon^2 = \eta / S$",
            {at(drift): projected / symmetry.degree},
        ),
    ]
