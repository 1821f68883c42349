# ruff: noqa: E501  (a formula is easier to read on one line)
"""Claims of section 4 and appendix B: gradient flow conserves a charge for every symmetry. Theorem 1."""

from __future__ import annotations

import sympy as sp

from derive.paper.claim import Compared, HeldAgainst, LineByLine, NotJudged, PaperClaim
from derive.paper.objects import derived

FAMILIES = ("translation", "scale", "rescale")


def _conclusions() -> tuple[sp.Expr, ...]:
    """d⟨θ, X⟩/dt at the end of Theorem 1's derivation for the three families."""
    return tuple(derived(f"theorem_1({name}())").steps[-1].after for name in FAMILIES)


def _hypotheses() -> tuple[sp.Expr, ...]:
    """⟨θ, Mg⟩ at the end of the lemma, which is derived for the three families."""
    return tuple(derived(f"theorem_1({name}())").lemmas[0].steps[-1].after for name in FAMILIES)


def _turnings() -> tuple[sp.Matrix, ...]:
    """∂_α∂_θψ of the three families on the blocks that they move."""
    return tuple(sp.Matrix(derived(f"{name}()").linear_part) for name in FAMILIES)


def _zeros() -> tuple[sp.Expr, ...]:
    return (sp.S.Zero,) * len(FAMILIES)


SECTION_4 = (
    PaperClaim("Sect. 4, loss", "4", "The training loss.", NotJudged("definition", "a definition"), r"\mathcal{L}(\theta) = \frac1N\sum_{i=1}^N \ell(\theta, x_i)"),
    PaperClaim("Sect. 4, gradient descent", "4", "The update of gradient descent.", HeldAgainst("sgd(weight_decay=False)"), r"\theta^{(n+1)} = \theta^{(n)} - \eta g(\theta^{(n)})"),
    PaperClaim("eq. 9", "4", "Gradient flow, of which gradient descent is the Euler discretisation.", HeldAgainst("gradient_flow()"), r"\frac{d\theta}{dt} = -g(\theta)"),
    PaperClaim("eq. 10", "4", "Theorem 1: a symmetry with ⟨θ, [∂_α∂_θψ]g⟩ = 0 has a conservation law under gradient flow.",
               Compared(_zeros, _conclusions, "theorem_1(symmetry) for the three families", "theorem_1(rescale())"), r"\frac{d}{dt}\langle\theta, \partial_\alpha\psi|_{\alpha=I}\rangle = 0",
               remark="The hypothesis follows from invariance where the generator is X = Mθ with a symmetric M, and a charge is conserved without it (noether). Where M is antisymmetric, ⟨θ, X⟩ is 0 all along."),
    PaperClaim("eq. 11", "4", "Gradient flow conserves the sum.", HeldAgainst("translation()"), r"\langle\theta_{\mathcal A}(t), \mathbb{1}\rangle = \langle\theta_{\mathcal A}(0), \mathbb{1}\rangle"),
    PaperClaim("eq. 12", "4", "Gradient flow conserves the squared norm.", HeldAgainst("scale()"), r"|\theta_{\mathcal A}(t)|^2 = |\theta_{\mathcal A}(0)|^2"),
    PaperClaim("eq. 13", "4", "Gradient flow conserves the difference of squared norms.", HeldAgainst("rescale()"), r"|\theta_{\mathcal A_1}(t)|^2 - |\theta_{\mathcal A_2}(t)|^2 = |\theta_{\mathcal A_1}(0)|^2 - |\theta_{\mathcal A_2}(0)|^2"),
)  # fmt: skip

APPENDIX_B = (
    PaperClaim("App. B, projection", "B", "Gradient flow projected on the generator.",
               LineByLine("scale()", (r"\langle g, \theta_A\rangle = 0", r"\langle -g, \theta_A\rangle = 0")), r"\left\langle\frac{d\theta}{dt}, \partial_\alpha\psi|_{\alpha=I}\right\rangle = \langle -g(\theta), \partial_\alpha\psi|_{\alpha=I}\rangle = 0"),
    PaperClaim("App. B, product rule", "B", "The projection is a total derivative and a term that the hypothesis takes away.",
               Compared(_zeros, _conclusions, "theorem_1(symmetry): the same three lines as checked steps", "theorem_1(scale())"),
               r"\left\langle\frac{d\theta}{dt}, \partial_\alpha\psi|_{\alpha=I}\right\rangle = \frac{d}{dt}\langle\theta, \partial_\alpha\psi|_{\alpha=I}\rangle + \langle\theta, \partial_\alpha\partial_\theta\psi|_{\alpha=I}g(\theta)\rangle",
               remark="Here ∂_α∂_θψ is laid out by the component of ψ, in eqs. 2 and 25 by the variable: the same for the three families, whose matrix is symmetric."),
    PaperClaim("App. B, hypothesis", "B", "The hypothesis of Theorem 1 holds for translation, scale and rescale.",
               Compared(_zeros, _hypotheses, "the lemma of theorem_1(symmetry)", "theorem_1(rescale())"), r"\langle\theta, [\partial_\alpha\partial_\theta\psi|_{\alpha=I}]g(\theta)\rangle = 0"),
    PaperClaim("App. B, mixed derivatives", "B", "The mixed derivative is 0 for translation, 1 for scale and diag(1, −1) for rescale.",
               Compared(lambda: (sp.zeros(1), sp.eye(1), sp.diag(1, -1)), _turnings, "symmetry.linear_part, on the blocks that are moved", "rescale()"),
               r"\partial_\alpha\partial_\theta\psi|_{\alpha=I} = \begin{bmatrix}I & 0 \\ 0 & -I\end{bmatrix}"),
)  # fmt: skip
