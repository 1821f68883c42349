# ruff: noqa: E501  (a formula is easier to read on one line)
"""Claims of appendix I: the discrete laws, exact."""

from __future__ import annotations

from derive.paper.claim import HeldAgainst, PaperClaim

T, S, R = (f"discrete_law({family}(), sgd())" for family in ("translation", "scale", "rescale"))

APPENDIX_I = (
    PaperClaim("App. I, update", "I", "Gradient descent with weight decay.", HeldAgainst("sgd()"), r"\theta^{(n+1)} = (1-\eta\lambda)\theta^{(n)} - \eta g(\theta^{(n)})"),
    PaperClaim("App. I, sum unrolled", "I", "The sum after n + 1 steps, before invariance is used.", HeldAgainst(T), r"\langle\theta^{(n+1)}, \mathbb 1_{\mathcal A}\rangle = (1-\eta\lambda)^{n+1}\langle\theta^{(0)}, \mathbb 1_{\mathcal A}\rangle + \eta\sum_{i=0}^n(1-\eta\lambda)^{n-i}\langle g(\theta^{(i)}), \mathbb 1_{\mathcal A}\rangle",
               slip=True, remark="Each step takes −ηg. Eq. 39 is right all the same: by invariance the sum is 0."),
    PaperClaim("App. I, norm unrolled", "I", "The squared norm after n + 1 steps, before invariance is used.", HeldAgainst(S), r"|\theta^{(n+1)}|^2 = (1-\eta\lambda)^{2(n+1)}|\theta^{(0)}|^2 + \eta^2\sum_{i=0}^n(1-\eta\lambda)^{2(n-i)}|g(\theta^{(i)})|^2 - 2\eta\sum_{i=0}^n(1-\eta\lambda)^{2(n-i)+1}\langle g(\theta^{(i)}), \theta_{\mathcal A}^{(i)}\rangle"),
    PaperClaim("eq. 39", "I", "The sum at step n.", HeldAgainst(T), r"\left\langle\theta^{(n)}, \mathbb 1_{\mathcal A}\right\rangle = (1-\eta\lambda)^n\left\langle\theta^{(0)}, \mathbb 1_{\mathcal A}\right\rangle"),
    PaperClaim("eq. 40", "I", "The squared norm at step n.", HeldAgainst(S), r"\left|\theta_{\mathcal A}^{(n)}\right|^2 = (1-\eta\lambda)^{2n}\left|\theta_{\mathcal A}^{(0)}\right|^2 + \eta^2\sum_{i=0}^{n-1}(1-\eta\lambda)^{2(n-1-i)}\left|g_{\mathcal A}^{(i)}\right|^2"),
    PaperClaim("eq. 41", "I", "The difference of squared norms at step n.", HeldAgainst(R), r"\left|\theta_{\mathcal A_1}^{(n)}\right|^2-\left|\theta_{\mathcal A_2}^{(n)}\right|^2 = (1-\eta\lambda)^{2n}\left(\left|\theta_{\mathcal A_1}^{(0)}\right|^2-\left|\theta_{\mathcal A_2}^{(0)}\right|^2\right) + \eta^2\sum_{i=0}^{n-1}(1-\eta\lambda)^{2(n-1-i)}\left(\left|g_{\mathcal A_1}^{(i)}\right|^2-\left|g_{\mathcal A_2}^{(i)}\right|^2\right)"),
    PaperClaim("App. I, exponential and power", "I", "A power of 1 − ηλ takes the place of the exponential.", HeldAgainst("", r"1-\eta\lambda = e^{-\eta\lambda} + O(\eta^2)")),
)  # fmt: skip
