# ruff: noqa: E501  (a formula is easier to read on one line)
"""Claims of section 5 and appendices C and D: continuous models of SGD, and how good they are."""

from __future__ import annotations

import sympy as sp

from derive.paper.claim import Compared, HeldAgainst, LineByLine, NotJudged, PaperClaim
from derive.paper.objects import a, derived, x, y
from derive.symbols import dampening, lr, momentum, shift

BATCH = NotJudged("definition", "a definition")
PLAIN, MOMENTUM = "sgd(weight_decay=False)", "sgd(momentum=True, dampening=True, weight_decay=False)"
LOSS, FLOW = "modified_loss(sgd(weight_decay=False))", "modified_flow(sgd(weight_decay=False))"
EIGENVECTOR = "modified_loss(sgd(weight_decay=False), loss=a * x**2 / 2, variables=(x,))"
CIRCLE = "modified_flow(runge_kutta('euler'), field={x: -y, y: x}, order=1)"
GROWTH = "modified_flow(runge_kutta('euler'), field={x: -y, y: x}, order=sp.oo).matrix[0]"


def _without_momentum() -> tuple[sp.Expr, sp.Expr]:
    rule = derived(MOMENTUM)
    return sp.expand(rule.shift_polynomials[0].subs(momentum, 0)), rule.step_size.subs(dampening, 0)


def _rate_of_an_eigenvector() -> sp.Expr:
    """θ'/θ of the modified flow along an eigenvector with curvature a."""
    (field,) = derived(EIGENVECTOR).field
    return sp.expand(field / x)


def _circle_beyond_f() -> tuple[sp.Expr, ...]:
    equation = derived(CIRCLE)
    step = {equation.step: lr}
    return tuple(sp.expand((f - f0).subs(step)) for f, f0 in zip(equation.field, equation.original, strict=True))


SECTION_5 = (
    PaperClaim("eq. 14", "5", "Gradient flow with weight decay.", HeldAgainst("gradient_flow(weight_decay=True)"), r"\frac{d\theta}{dt} = -g(\theta) - \lambda\theta"),
    PaperClaim("Sect. 5, momentum, step", "5", "The parameter update of momentum.", HeldAgainst(MOMENTUM), r"\theta^{(n+1)} = \theta^{(n)} - \eta v^{(n+1)}"),
    PaperClaim("Sect. 5, momentum, velocity", "5", "The velocity update of momentum.", HeldAgainst(MOMENTUM), r"v^{(n+1)} = \beta v^{(n)} + (1-\alpha)g(\theta^{(n)})"),
    PaperClaim("Sect. 5, α = β = 0", "5", "Without momentum and dampening this is gradient descent, with its step size.",
               Compared(lambda: (shift - 1, lr), _without_momentum, "sgd(momentum=True, dampening=True): its recurrence and step at α = β = 0"), r"\alpha = \beta = 0"),
    PaperClaim("eq. 15", "5", "Momentum flow.", HeldAgainst("gradient_flow(momentum=True)"), r"(1-\beta)\frac{d\theta}{dt} = -g(\theta)"),
    PaperClaim("Sect. 5, batch gradient", "5", "The gradient of a batch.", BATCH, r"\hat{g}_{\mathcal B}(\theta) = \frac1S\sum_{i\in\mathcal{B}}\nabla\ell(\theta, x_i)"),
    PaperClaim("Sect. 5, noise", "5", "Gradient noise has no component along the generator.", HeldAgainst("scale()", r"\Sigma\theta_A = 0"), r"\Sigma(\theta)\partial_\alpha\psi|_{\alpha=I} = 0"),
    PaperClaim("Sect. 5, modified loss", "5", "Gradient descent follows the modified loss.", HeldAgainst(LOSS), r"\widetilde{\mathcal L} = \mathcal{L} + \frac{\eta}{4}|\nabla\mathcal{L}|^2"),
    PaperClaim("eq. 16", "5", "Modified gradient flow.", HeldAgainst(LOSS), r"\frac{d\theta}{dt} = -g(\theta) - \frac{\eta}{2}H(\theta)g(\theta)",
               remark=r"To first order in η. At η² the modified flow is in general not the gradient of any loss."),
    PaperClaim("Sect. 5, difference quotient", "5", "Gradient descent as a difference quotient.", HeldAgainst(PLAIN, r"-g(\theta_n) = \frac{\theta_{n+1}-\theta_n}{\eta}"), r"-g(\theta_t) = \frac{\theta(t+\eta)-\theta(t)}{\eta}"),
    PaperClaim("Sect. 5, Taylor expansion", "5", "The quotient expanded in η.", HeldAgainst(FLOW), r"-g(\theta_t) = \frac{d\theta}{dt} + \frac{\eta}{2}\frac{d^2\theta}{dt^2} + O(\eta^2)"),
    PaperClaim("Sect. 5, limit η → 0", "5", "As η → 0 gradient flow is regained.", HeldAgainst(FLOW, r"\frac{d\theta}{dt} = -g(\theta) + O(\eta)", to_order=True)),
    PaperClaim("eq. 17", "5", "Modified flow, of second order in time.", HeldAgainst(FLOW), r"\frac{d\theta}{dt} = -g(\theta) - \frac{\eta}{2}\frac{d^2\theta}{dt^2}"),
)  # fmt: skip

APPENDIX_C = (
    PaperClaim("App. C.1, update", "C", "Gradient descent.", HeldAgainst(PLAIN), r"\theta_{k+1} = \theta_k - \eta g(\theta_k)"),
    PaperClaim("App. C.1, quotient", "C", "The same as a difference quotient.", HeldAgainst(PLAIN), r"\frac{\theta_{k+1}-\theta_k}{\eta} = -g(\theta_k)"),
    PaperClaim("App. C.1, gradient flow", "C", "Its limit.", HeldAgainst("gradient_flow()"), r"\frac{d}{dt}\theta = -g(\theta)"),
    PaperClaim("App. C.2, velocity", "C", "Classical momentum.", HeldAgainst(MOMENTUM), r"v_{k+1} = \beta v_k + (1-\alpha)g(\theta_k)"),
    PaperClaim("App. C.2, step", "C", "Classical momentum.", HeldAgainst(MOMENTUM), r"\theta_{k+1} = \theta_k - \eta v_{k+1}"),
    PaperClaim("App. C.2, start", "C", "It starts without velocity.", HeldAgainst("sgd(momentum=True, dampening=True, weight_decay=False, first_step='zero')", r"v_1 = (1-\alpha)g_0"), r"v_0 = 0",
               remark="So that the first step is damped. torch.optim.SGD takes it undamped, as footnote 5 says; without dampening the two are one."),
    PaperClaim("App. C.2, footnote 5", "C", "PyTorch does not dampen the first momentum buffer.", HeldAgainst(MOMENTUM, r"v_1 = g_0")),
    PaperClaim("App. C.2, difference", "C", "The velocity eliminated, line by line.",
               LineByLine(MOMENTUM, (r"\theta_{k+1}-\theta_k = -\eta v_{k+1}", r"= -\eta\beta v_k - \eta(1-\alpha)g(\theta_k)", r"= \beta(\theta_k-\theta_{k-1}) - \eta(1-\alpha)g(\theta_k)")),
               r"\begin{aligned}\theta_{k+1}-\theta_k &= -\eta v_{k+1} \\ &= -\eta\beta v_k - \eta(1-\alpha)g(\theta_k) \\ &= \beta(\theta_k-\theta_{k-1}) - \eta(1-\alpha)g(\theta_k)\end{aligned}"),
    PaperClaim("App. C.2, quotients", "C", "A forward and a backward difference quotient.", HeldAgainst(MOMENTUM), r"\frac{\theta_{k+1}-\theta_k}{\eta(1-\alpha)} - \beta\frac{\theta_k-\theta_{k-1}}{\eta(1-\alpha)} = -g(\theta_k)"),
    PaperClaim("App. C.2, momentum flow", "C", "Their limit.", HeldAgainst("gradient_flow(momentum=True)"), r"(1-\beta)\frac{d}{dt}\theta = -g(\theta)"),
)  # fmt: skip

APPENDIX_D = (
    PaperClaim("Fig. 4", "D", "Discrete and continuous trajectories on a quadratic loss.", NotJudged("undecided", "its numbers are needed"), scan="The matrix of the quadratic loss is unreadable."),
    PaperClaim("Fig. 7, circle", "D", "On circular motion the modified equation adds η/2 times x.",
               Compared(lambda: (lr / 2 * x, lr / 2 * y), _circle_beyond_f, CIRCLE, CIRCLE), r"\dot x = f(x) + \frac{\eta}{2}x",
               scan="The matrix of f is unreadable; circular motion, as the figure is called, and the modified equation both ask for [[0, −1], [1, 0]]."),
    PaperClaim("Fig. 7, growth", "D", "So the radius grows at the rate η/2.", HeldAgainst(GROWTH, r"\frac{h}{2}"), r"\frac{\eta}{2}", remark="The steps' own radius grows at the rate ln(1 + η²)/(2η)."),
    PaperClaim("App. D.1, modified field", "D", "A field with corrections in powers of η.", NotJudged("definition", "an ansatz"), r"\frac{d}{dt}\theta = -g(\theta) + \eta g_1(\theta) + \eta^2g_2(\theta) + \cdots"),
    PaperClaim("App. D.1, correction", "D", "The first correction.", HeldAgainst(LOSS, r"\frac{d\theta}{dt} = -g + \eta\left(-\frac12Hg\right) + O(\eta^2)"), r"g_1 = -\frac12Hg"),
    PaperClaim("App. D.1, gradient", "D", "It is the gradient of −|∇L|²/4.", HeldAgainst(LOSS, r"\dot\theta = -\nabla L + \eta\nabla\left(-\frac14|\nabla L|^2\right)"), r"-\frac14|\nabla\mathcal L|^2"),
    PaperClaim("App. D.1, descent", "D", "Gradient descent on a quadratic loss.", HeldAgainst(PLAIN, r"w_{t+1} = w_t - \eta g(w_t)"), r"w_{t+1} = w_t - \eta Aw_t"),
    PaperClaim("App. D.1, gradient flow", "D", "Gradient flow on it, along an eigenvector with eigenvalue Λ.",
               Compared(lambda: -a, lambda: _rate_of_an_eigenvector().subs(lr, 0), "the modified flow on ax²/2 as η → 0"), r"W(t) = S^{-1}e^{-\Lambda t}Sw_0"),
    PaperClaim("App. D.1, quadratic modified loss", "D", "The modified loss.", Compared(lambda: a * x**2 / 2 + lr / 4 * a**2 * x**2, lambda: derived(EIGENVECTOR).loss, EIGENVECTOR),
               r"\widetilde{\mathcal{L}}(W) = \frac12W^\intercal AW + \frac{\eta}{4}W^\intercal A^2W", scan="The two factors are lost: read as 1/2 and η/4."),
    PaperClaim("App. D.1, modified gradient flow", "D", "The modified gradient flow.", Compared(lambda: -a - lr / 2 * a**2, _rate_of_an_eigenvector, EIGENVECTOR), r"\frac{d}{dt}W = -AW - \frac{\eta}{2}A^2W"),
    PaperClaim("App. D.1, its solution", "D", "Its trajectory, along an eigenvector.", Compared(lambda: -(a + lr / 2 * a**2), _rate_of_an_eigenvector, EIGENVECTOR), r"\widetilde W(t) = S^{-1}e^{-(\Lambda + \frac{\eta}{2}\Lambda^2)t}Sw_0",
               scan="The exponent is garbled: read as −(Λ + ηΛ²/2)t."),
    PaperClaim("App. D.2, Taylor expansion", "D", "Modified flow, with the gradient of a batch.", HeldAgainst(FLOW), r"-g_{\mathcal B}(\theta_t) = \frac{d\theta}{dt} + \frac{\eta}{2}\frac{d^2\theta}{dt^2} + O(\eta^2)"),
    PaperClaim("App. D.2, momentum", "D", "Momentum on a quadratic loss.", HeldAgainst("sgd(momentum=True, weight_decay=False)", r"v_{t+1} = \beta v_t + g(w_t), \quad w_{t+1} = w_t - \eta v_{t+1}"),
               r"v_{t+1} = \beta v_t + Aw_t \text{ and } w_{t+1} = w_t - \eta v_{t+1}"),
    PaperClaim("App. D.2, momentum flow", "D", "Momentum flow on it.", HeldAgainst("gradient_flow(momentum=True)", r"(1-\beta)\frac{d}{dt}W = -g(W)"), r"(1-\beta)\frac{d}{dt}W = -AW"),
    PaperClaim("App. D.2, modified momentum flow", "D", "Modified momentum flow on it.", HeldAgainst("modified_flow(sgd(momentum=True, weight_decay=False))", r"\frac{\eta}{2}(1+\beta)\frac{d^2}{dt^2}W + (1-\beta)\frac{d}{dt}W = -g(W)"),
               r"\frac{\eta}{2}(1+\beta)\frac{d^2}{dt^2}W + (1-\beta)\frac{d}{dt}W = -AW", scan="The 2 below η is lost; App. G has it."),
    PaperClaim("App. D.2, at rest", "D", "The trajectory is assumed to start at rest.", NotJudged("definition", "an assumption about the start, which v₀ = 0 suggests"), r"\frac{d}{dt}W(0) = 0"),
)  # fmt: skip
