# ruff: noqa: E501  (a formula is easier to read on one line)
"""Claims of section 3 and appendix A: what a symmetry says about gradient and Hessian. Tables 1, 2 and 3."""

from __future__ import annotations

import sympy as sp

from derive.families import general_linear
from derive.paper.claim import Compared, HeldAgainst, NotJudged, OnActions, PaperClaim
from derive.paper.letters import letters_of
from derive.paper.objects import a, derived
from derive.relations import relations
from derive.symmetry import rescale, scale, translation

SCALED_BLOCK = "symmetry_from_action((A, rest), (a * A, rest), a)"
FAMILIES = ("translation()", SCALED_BLOCK, "rescale()")
ACTIONS = (*FAMILIES, "power_rescale(1, 2)", "linear_symmetry([[0, 1], [0, 0]])")
"""A translation, scaling of a part of θ, the rescalings, and a shear, whose Jacobian is not symmetric."""
SANDWICH = "right if it stands for Hf between two Jacobians, (∂_θψ) Hf (∂_θψ)ᵀ, and on the blocks of the diagonal"

DEFINED = NotJudged("definition", "a definition")

z1, z2, z3 = sp.symbols("z1:4", real=True)
c = sp.Symbol("c", real=True, nonzero=True)
shift = sp.Symbol("alpha", real=True)


def _softmax(z: sp.Matrix) -> sp.Matrix:
    return z.applyfunc(sp.exp) / sum(map(sp.exp, z))


def _normalised(z: sp.Matrix) -> sp.Matrix:
    """Batch normalisation over a batch of three."""
    mean = sum(z) / 3
    return (z - sp.ones(3, 1) * mean) / sp.sqrt(sum((v - mean) ** 2 for v in z) / 3)


def _through_relu(factor: sp.Expr) -> sp.Expr:
    """w_2 φ(w_1 x + b) = φ(z) with w_1 and b times ``factor`` and w_2 = 1 divided by it."""
    return sp.Max(0, factor * z1) / factor


def _effective_rate() -> sp.Expr:
    """Power of |θ| in the step of θ/|θ|: that of g(sθ) in s, by eq. 22, less one for the unit of length."""
    (row,) = relations(scale())[0].rows
    (moved,) = row.atoms(sp.Subs)
    power = sp.degree(row.coeff(moved))
    return -power - 1


SECTION_3 = (
    PaperClaim("eq. 1", "3", "The gradient is perpendicular to the generator of any symmetry.",
               OnActions(23, lambda on: on.slope.T * on.generator, ACTIONS), r"\langle \nabla f, \partial_\alpha\psi|_{\alpha=I}\rangle = 0"),
    PaperClaim("eq. 2", "3", "What any symmetry says about the Hessian.",
               OnActions(25, lambda on: on.curvature * on.generator + on.turning * on.slope, ACTIONS),
               r"\mathbf{H}f\,[\partial_\theta\psi|_{\alpha=I}]\,\partial_\alpha\psi|_{\alpha=I} + [\partial_\theta\partial_\alpha\psi|_{\alpha=I}]\nabla f = 0",
               remark="∂_θψ is 1 at the identity; ∂_θ∂_αψ is laid out by the variable that is differentiated in."),
    PaperClaim("eq. 3", "3", "Translation: gradient and indicator vector are orthogonal.", HeldAgainst("translation()"), r"\langle g, \mathbb{1}_{\mathcal{A}}\rangle = 0"),
    PaperClaim("eq. 4", "3", "Translation: the indicator vector is in the kernel of the Hessian.", HeldAgainst("translation()"), r"H \mathbb{1}_{\mathcal{A}} = 0"),
    PaperClaim("Sect. 3, softmax", "3", "A number added to all logits leaves the softmax as it is.",
               Compared(lambda: _softmax(sp.Matrix([z1, z2, z3])), lambda: _softmax(sp.Matrix([z1, z2, z3]) + shift * sp.ones(3, 1)),
                        "softmax of three logits, each moved by α"), r"\sigma(z)_i = \frac{e^{z_i}}{\sum_j e^{z_j}}"),
    PaperClaim("Sect. 3, columns", "3", "Every column of the last weight and its bias have a translation symmetry.", HeldAgainst("translation()", r"\langle\frac{\partial L}{\partial\theta_A}, 1\rangle = 0"),
               r"\left\langle \frac{\partial\mathcal{L}}{\partial W_i}, \mathbf 1\right\rangle = \left\langle \frac{\partial\mathcal{L}}{\partial b}, \mathbf 1\right\rangle = 0",
               remark="Columns, one for each input of the layer: App. J counts rows instead."),
    PaperClaim("eq. 5", "3", "Scale: gradient and parameters are orthogonal.", HeldAgainst("scale()"), r"\langle g, \theta_{\mathcal{A}}\rangle = 0"),
    PaperClaim("eq. 6", "3", "Scale: the Hessian takes the parameters to minus the gradient.", HeldAgainst("scale()"), r"H\theta_{\mathcal{A}} + g_{\mathcal{A}} = 0"),
    PaperClaim("Sect. 3, batch norm", "3", "Scaling w and b by “a non-zero real constant” has no effect on the output of batch normalisation.",
               Compared(lambda: sp.S.One, lambda: sp.simplify(_normalised(c * sp.Matrix([z1, z2, z3]))[0] / _normalised(sp.Matrix([z1, z2, z3]))[0]),
                        "BN(cz)/BN(z) for a batch of three and a real c ≠ 0", convention="right for c > 0: the group of the symmetry is that of the positive numbers, as the paper says above"),
               r"\mathrm{BN}(z) = \frac{z - \mathbb{E}[z]}{\sqrt{\mathrm{Var}(z)}}", slip=True, remark="A negative constant turns the output's sign. The symmetry's group, GL₁⁺(ℝ), is right."),
    PaperClaim("Sect. 3, batch norm, gradient", "3", "The gradient of a neuron before batch norm is orthogonal to its weights and bias.", HeldAgainst("scale()", r"\langle\nabla L, \theta_A\rangle = 0"),
               r"\left\langle\frac{\partial\mathcal L}{\partial w}, w\right\rangle + \left\langle\frac{\partial\mathcal L}{\partial b}, b\right\rangle = 0",
               remark="For batch norm as the paper writes it, without eps. Both terms vanish by themselves: the mean takes b out."),
    PaperClaim("Sect. 3, translation", "3", "Translation symmetry.", DEFINED, r"\mathcal{L}(\theta) = \mathcal{L}(\theta + \alpha \mathbf{1}_{\mathcal A})"),
    PaperClaim("Sect. 3, scale", "3", "Scale symmetry.", DEFINED, r"\mathcal{L}(\theta) = \mathcal{L}(\alpha_{\mathcal{A}} \odot \theta)"),
    PaperClaim("Sect. 3, scale, mixed derivative", "3", "What makes eq. 6 of eq. 2.", Compared(lambda: sp.diag(1, 0), lambda: letters_of(derived(SCALED_BLOCK)).turning, "∂_α∂_θψ for a block A and the rest", SCALED_BLOCK),
               r"[\partial_\alpha\partial_\theta\psi|_{\alpha=I}]\partial_\theta\mathcal{L} = \mathrm{diag}(\mathbb{1}_{\mathcal A})g = g_{\mathcal{A}}"),
    PaperClaim("Sect. 3, rescale", "3", "Rescale symmetry.", DEFINED, r"\mathcal{L}(\theta) = \mathcal{L}(\alpha_{\mathcal{A}_1}\odot\alpha^{-1}_{\mathcal{A}_2}\odot\theta)"),
    PaperClaim("Sect. 3, rescale, mixed derivative", "3", "What makes eq. 8 of eq. 2.", Compared(lambda: sp.diag(1, -1), lambda: letters_of(rescale()).turning, "∂_α∂_θψ for the blocks A1 and A2", "rescale()"),
               r"[\partial_\alpha\partial_\theta\psi|_{\alpha=I}]\partial_\theta\mathcal{L} = \mathrm{diag}(\mathbb{1}_{\mathcal A_1} - \mathbb{1}_{\mathcal A_2})g = g_{\mathcal{A}_1} - g_{\mathcal{A}_2}"),
    PaperClaim("eq. 7", "3", "Rescale: gradient and generator are orthogonal.", HeldAgainst("rescale()"), r"\langle g, \theta_{\mathcal{A}_1} - \theta_{\mathcal{A}_2}\rangle = 0"),
    PaperClaim("eq. 8", "3", "Rescale: what the Hessian does to the generator.", HeldAgainst("rescale()"), r"H(\theta_{\mathcal{A}_1} - \theta_{\mathcal{A}_2}) + g_{\mathcal{A}_1} - g_{\mathcal{A}_2} = 0"),
    PaperClaim("Sect. 3, rescale, generator", "3", "The generator of the rescale symmetry.",
               Compared(lambda: sp.Matrix([rescale().coordinates[0], -rescale().coordinates[1]]), lambda: sp.Matrix(rescale().generator), "rescale().generator", "rescale()"),
               r"\partial_\alpha\psi|_{\alpha=I} = \theta_{\mathcal{A}_1} - \theta_{\mathcal{A}_2}"),
    PaperClaim("Sect. 3, homogeneous activations", "3", "ReLU, Leaky ReLU and linear activations are homogeneous.",
               Compared(lambda: (a * z1, z1, sp.S.Zero), lambda: tuple(sp.diff(side, z1) * z1 for side in (a * z1, z1, sp.S.Zero)), "φ'(z)z on each side of 0: slopes a, 1 and 0"),
               r"\phi(z) = \phi'(z)z"),
    PaperClaim("Sect. 3, ReLU", "3", "Scaling w₁ and b by “a real constant” and w₂ by its inverse has no effect on the path through a ReLU.",
               Compared(lambda: sp.Max(0, z1), lambda: _through_relu(sp.Integer(-1)), "the path with the constant −1, which is not the path with 1",
                        convention="right for c > 0: the group of the symmetry is that of the positive numbers, as the paper says above"),
               r"\phi(z) = \max\{0, z\}", slip=True, remark="A ReLU is homogeneous for positive constants only."),
    PaperClaim("Sect. 3, homogeneous, gradient", "3", "Gradients of what comes into and goes out of a homogeneous neuron balance.", HeldAgainst("rescale()", r"\langle g_{A_1}, \theta_{A_1}\rangle - \langle g_{A_2}, \theta_{A_2}\rangle = 0"),
               r"\left\langle\frac{\partial\mathcal L}{\partial w_1}, w_1\right\rangle + \left\langle\frac{\partial\mathcal L}{\partial b}, b\right\rangle - \left\langle\frac{\partial\mathcal L}{\partial w_2}, w_2\right\rangle = 0"),
)  # fmt: skip

APPENDIX_A = (
    PaperClaim("Table 1", "A", "Which earlier work found which of the fifteen properties.",
               NotJudged("undecided", "who found what first follows from no equation"),
               scan="Columns of the table cannot be told apart with certainty: work 5, on rescaling, appears to stand under scale."),
    PaperClaim("App. A, five by three", "A", "Five constraints on gradient and Hessian make fifteen equations for three symmetries.",
               Compared(lambda: (5, 15), lambda: (len(relations(scale())), sum(len(relations(f())) for f in (translation, scale, rescale))), "relations(symmetry)")),
    PaperClaim("App. A.1, gradient of F", "A", "The gradient of the composition F(θ, α) = f(ψ(θ, α)): its upper row; the lower one is eq. 23.", OnActions(22, lambda on: on.moved * on.moved_slope - on.slope, ACTIONS),
               r"\nabla F = \begin{pmatrix}\partial_\theta F \\ \partial_\alpha F\end{pmatrix} = \begin{pmatrix}\partial_\psi F\,\partial_\theta\psi \\ \partial_\psi F\,\partial_\alpha\psi\end{pmatrix} = \begin{pmatrix}\nabla f \\ 0\end{pmatrix}"),
    PaperClaim("eq. 22", "A", "How the symmetry transforms the gradient.", OnActions(22, lambda on: on.moved * on.moved_slope - on.slope, ACTIONS), r"\partial_\theta\psi\,\nabla f\big|_{\psi(\theta,\alpha)} = \nabla f\big|_\theta"),
    PaperClaim("eq. 23", "A", "The gradient is perpendicular to the generator.", OnActions(23, lambda on: on.slope.T * on.generator, ACTIONS), r"\langle\nabla f, \partial_\alpha\psi|_{\alpha=I}\rangle = 0"),
    PaperClaim("Table 2, row 1, translation", "A", "A translation leaves the gradient as it is.", OnActions(22, lambda on: on.moved_slope - on.slope, FAMILIES[:1]), r"g(\theta) = g(\psi(\theta,\alpha))"),
    PaperClaim("Table 2, row 1, scale", "A", "How the gradient scales.", OnActions(22, lambda on: on.moved * on.moved_slope - on.slope, FAMILIES[1:2]), r"g(\theta) = \mathrm{diag}(\alpha_{\mathcal A})\,g(\psi(\theta,\alpha))"),
    PaperClaim("Table 2, row 1, rescale", "A", "How the gradient rescales.", OnActions(22, lambda on: on.moved * on.moved_slope - on.slope, FAMILIES[2:]), r"g(\theta) = \mathrm{diag}(\alpha_{\mathcal A_1}\odot\alpha_{\mathcal A_2}^{-1})\,g(\psi(\theta,\alpha))"),
    PaperClaim("Table 2, row 2, translation", "A", "The gradient is orthogonal to this.", HeldAgainst("translation()", r"\langle g, 1_A\rangle = 0"), r"g(\theta) \perp \mathbb{1}_{\mathcal A}"),
    PaperClaim("Table 2, row 2, scale", "A", "The gradient is orthogonal to this.", HeldAgainst("scale()", r"\langle g, \theta_A\rangle = 0"), r"g(\theta) \perp \theta_{\mathcal A}"),
    PaperClaim("Table 2, row 2, rescale", "A", "The gradient is orthogonal to this.", HeldAgainst("rescale()", r"\langle g, \theta_{A_1} - \theta_{A_2}\rangle = 0"), r"g(\theta) \perp \theta_{\mathcal A_1} - \theta_{\mathcal A_2}"),
    PaperClaim("App. A.1, effective learning rate", "A", "The effective learning rate before batch norm is inversely proportional to the norm of the parameters: the power of |θ|.",
               Compared(lambda: sp.Integer(-1), _effective_rate, "Table 2: g(sθ) = g(θ)/s, and the direction θ/|θ| turns by ηg/|θ|", "scale()"),
               slip=True, remark="To its square: the gradient shrinks with the norm, and so does the angle of a step. This is also what Van Laarhoven (2017), who is cited here, has."),
    PaperClaim("App. A.2, Hessian of F", "A", "Second derivatives of the composition F(θ, α) = f(ψ(θ, α)).", NotJudged("definition", "the chain rule in index notation; the order of its factors is judged where they are used, eqs. 24, 25 and 26"),
               r"\mathbf{H}F = \begin{pmatrix}\partial_\theta^2F & \partial_\theta\partial_\alpha F \\ \partial_\alpha\partial_\theta F & \partial_\alpha^2F\end{pmatrix} = \begin{pmatrix}\mathbf{H}f & 0 \\ 0 & 0\end{pmatrix}"),
    PaperClaim("eq. 24", "A", "How the symmetry transforms the Hessian.",
               OnActions(24, lambda on: on.moved**2 * on.moved_curvature - on.curvature, ACTIONS, SANDWICH),
               r"\partial_\theta^2\psi\,\nabla f\big|_{\psi(\theta,\alpha)} + (\partial_\theta\psi)^2\,\mathbf{H}f\big|_{\psi(\theta,\alpha)} = \mathbf{H}f\big|_\theta",
               remark="∂²_θψ is 0 for these linear actions. A matrix transforms on both sides; Table 3 uses the formula as it is printed. Eqs. 25 and 26 do not need it."),
    PaperClaim("eq. 25", "A", "How Hessian and gradient are connected.", OnActions(25, lambda on: on.curvature * on.generator + on.turning * on.slope, ACTIONS),
               r"\mathbf{H}f\,[\partial_\theta\psi|_{\alpha=I}]\partial_\alpha\psi|_{\alpha=I} + [\partial_\theta\partial_\alpha\psi|_{\alpha=I}]\nabla f = 0", scan="The last ψ is missing in the scan; eq. 2 has it."),
    PaperClaim("eq. 26", "A", "The second derivative along the orbit.", OnActions(26, lambda on: on.generator.T * on.curvature * on.generator + on.slope.T * on.bending, ACTIONS),
               r"(\partial_\alpha\psi|_{\alpha=I})^\intercal\,\mathbf{H}f\,(\partial_\alpha\psi|_{\alpha=I}) + \langle\nabla f, \partial_\alpha^2\psi|_{\alpha=I}\rangle = 0"),
    PaperClaim("App. A.2, below eq. 26", "A", "The number of the table in which the properties of the Hessian are summarised.",
               Compared(lambda: sp.Integer(2), lambda: sp.Integer(next(int(k.place[6]) for k in APPENDIX_A if k.place.startswith("Table") and k.latex.startswith("H"))), "the table that has H in it"),
               slip=True, remark="A misprint: Table 2 has those of the gradient."),
    PaperClaim("Table 3, row 1, translation", "A", "A translation leaves the Hessian as it is.", OnActions(24, lambda on: on.moved_curvature - on.curvature, FAMILIES[:1]), r"H(\theta) = H(\psi(\theta,\alpha))"),
    PaperClaim("Table 3, row 1, scale", "A", "How the Hessian scales.", OnActions(24, lambda on: on.moved**2 * on.moved_curvature - on.curvature, FAMILIES[1:2], SANDWICH),
               r"H(\theta) = \mathrm{diag}(\alpha_{\mathcal A}^2)H(\psi(\theta,\alpha))",
               remark="Right where the symmetry moves all of θ. Second derivatives with one parameter in A and one outside scale by α, not α²; the printed product is not even symmetric. It should be diag(α_A) H diag(α_A)."),
    PaperClaim("Table 3, row 1, rescale", "A", "How the Hessian rescales.", OnActions(24, lambda on: on.moved**2 * on.moved_curvature - on.curvature, FAMILIES[2:], SANDWICH),
               r"H(\theta) = \mathrm{diag}(\alpha_{\mathcal A_1}^2\odot\alpha_{\mathcal A_2}^{-2})H(\psi(\theta,\alpha))", scan="The exponents are unreadable. No diagonal matrix on one side of H can be right, whatever they are.",
               remark="Second derivatives with one parameter in each block do not change at all. It should be D H D with D = diag(α_A1 ⊙ 1/α_A2)."),
    PaperClaim("Table 3, row 2, translation", "A", "What vanishes by eq. 25.", HeldAgainst("translation()"), r"0 = H\mathbb{1}_{\mathcal A}"),
    PaperClaim("Table 3, row 2, scale", "A", "What vanishes by eq. 25.", HeldAgainst("scale()"), r"0 = H\theta_{\mathcal A} + g_{\mathcal A}"),
    PaperClaim("Table 3, row 2, rescale", "A", "What vanishes by eq. 25.", HeldAgainst("rescale()"), r"0 = H(\theta_{\mathcal A_1} - \theta_{\mathcal A_2}) + g_{\mathcal A_1} - g_{\mathcal A_2}"),
    PaperClaim("Table 3, row 3, translation", "A", "What vanishes by eq. 26.", HeldAgainst("translation()"), r"0 = \mathbb{1}_{\mathcal A}^\intercal H\mathbb{1}_{\mathcal A}"),
    PaperClaim("Table 3, row 3, scale", "A", "What vanishes by eq. 26.", HeldAgainst("scale()"), r"0 = \theta_{\mathcal A}^\intercal H\theta_{\mathcal A}"),
    PaperClaim("Table 3, row 3, rescale", "A", "What vanishes by eq. 26.", HeldAgainst("rescale()"),
               r"0 = (\theta_{\mathcal A_1}-\theta_{\mathcal A_2})^\intercal H(\theta_{\mathcal A_1}-\theta_{\mathcal A_2}) + g_{\mathcal A_1}^\intercal\theta_{\mathcal A_1} + g_{\mathcal A_2}^\intercal\theta_{\mathcal A_2}",
               remark="Eq. 26 gives 2⟨g, θ_A2⟩; by eq. 7 this is the symmetric sum."),
    PaperClaim("App. A, quadratic activations", "A", "Networks with quadratic activations have the rescale symmetry with powers k₁ and k₂.",
               Compared(lambda: sp.Matrix([1, -2]), lambda: sp.Matrix([g.coeff(v) for g, v in zip(_squared().generator, _squared().coordinates, strict=True)]),
                        "θ ↦ (aθ₁, θ₂/a²), under which θ₂(θ₁x)² stays", "symmetry_from_action((x, y), (a * x, y / a**2), a)"), r"\theta \mapsto \alpha_{\mathcal A_1}^{k_1}\odot\alpha_{\mathcal A_2}^{-k_2}\odot\theta"),
    PaperClaim("App. A, linear networks", "A", "Linear networks have the symmetries of all invertible k × k matrices.",
               Compared(lambda: sp.Integer(2**2), lambda: sp.Integer(len([*general_linear(2).symmetric, *general_linear(2).antisymmetric])), "general_linear(2): its generators, k² for k = 2"), r"GL_k^+(\mathbb{R})",
               remark="Of k² generators k(k + 1)/2 have a charge."),
    PaperClaim("App. A, Euler’s theorem", "A", "Properties of the scale symmetry are consequences of Euler's theorem for homogeneous functions of degree k = 0.",
               HeldAgainst("x / y", r"\langle\nabla L, \theta\rangle = 0")),
)  # fmt: skip


def _squared():
    return derived("symmetry_from_action((x, y), (a * x, y / a**2), a)")
