# ruff: noqa: E501  (a formula is easier to read on one line)
"""Claims of section 6 and appendices E, F and G: the laws of the charges, with weight decay, noise and momentum."""

from __future__ import annotations

from itertools import product

import sympy as sp
from sympy.core.function import AppliedUndef

from derive.paper.claim import Compared, HeldAgainst, NotJudged, PaperClaim
from derive.paper.objects import derived
from derive.stochastic import batch_size
from derive.symbols import dampening, damping_rate, frequency, initial_charge, lr, momentum, past, shift, time, weight_decay

T, S, R = (f"solve(law({family}(), sgd()))" for family in ("translation", "scale", "rescale"))
DRIVEN_T, DRIVEN_S, DRIVEN_R = (
    f"solve(law({family}(), sgd(momentum=True, dampening=True)))" for family in ("translation", "scale", "rescale")
)
KEPT_T, KEPT_S, KEPT_R = (
    f"law({family}(), sgd(), keep_weight_decay_squared=True)" for family in ("translation", "scale", "rescale")
)
LOSS, FLOW = "modified_loss(sgd())", "modified_flow(sgd(momentum=True, dampening=True))"
DIFFUSION, DIFFUSION_2, ITO = (
    "stochastic_modified_equation(sgd(weight_decay=False), 1)",
    "stochastic_modified_equation(sgd(), 2)",
    "ito_law(scale(), sgd())",
)
RATE = "law(translation(), sgd(), sp.oo).stiffness"

MOMENTA, DECAYS = (sp.S.Zero, sp.Rational(9, 10), sp.Rational(99, 100)), tuple(sp.Rational(k, 10000) for k in (0, 1, 5, 10))
"""β and λ of Table 4 with momentum, at η = 1/10."""
OUTER = sp.Symbol("GGᵀ")
STRONG = sp.Rational(5, 1000)
"""λ of Fig. 6."""


def _without_step() -> tuple[sp.Expr, ...]:
    """Solutions 18 to 20 at η = λ = 0."""
    return tuple(derived(call).expr.subs({lr: 0, weight_decay: 0}).doit() for call in (T, S, R))


def _speed_at_rest() -> sp.Expr:
    """|θ'|²/|θ|² = |g + λθ|²/|θ|² where the exact discrete law leaves |θ|² as it is; ⟨g, θ⟩ = 0."""
    equation = derived("discrete_law(scale(), sgd())").equation
    charge, drive = sp.symbols("Q_n q_n")
    by_name = {symbol.name: symbol for symbol in equation.free_symbols}
    resting = equation.subs(shift, 1).subs({by_name["Q_n"]: charge, by_name["q_n"]: drive})
    (balanced,) = sp.solve(resting, drive)
    return sp.cancel((balanced + weight_decay**2 * charge) / charge)


def _is_overdamped(call: str, beta: sp.Rational, decay: sp.Rational) -> bool:
    setting = {lr: sp.Rational(1, 10), dampening: sp.S.Zero, momentum: beta, weight_decay: decay}
    rates = {symbol: value.xreplace(setting) for symbol, value in derived(call).rates}
    return bool(rates[damping_rate] > rates[frequency])


def _share_overdamped() -> sp.Rational:
    settings = list(product((DRIVEN_T, DRIVEN_S), MOMENTA, DECAYS))
    return sp.Rational(sum(_is_overdamped(*setting) for setting in settings), len(settings))


def _slow_rate() -> sp.Expr:
    """ω²/(γ + √(γ²−ω²)), the slower exponent of an over-damped oscillator, as η → 0: ηγ and ηω² do not depend on η."""
    gamma, squared = sp.symbols("gamma squared", positive=True)
    limit = (squared / (gamma + sp.sqrt(gamma**2 - lr * squared))).subs(lr, 0)
    rates = dict(derived(DRIVEN_T).rates)
    return sp.cancel(limit.subs({gamma: rates[damping_rate] * lr, squared: rates[frequency] ** 2 * lr}))


def _green_is_positive() -> bool:
    """Whether the weight of |g|² in eq. 19 is positive."""
    solution = derived(S)
    (drive,) = solution.law.drive.atoms(AppliedUndef)
    return bool((solution.green.subs(time, time - past) * solution.law.drive.coeff(drive)).is_positive)


def _step_noise() -> sp.Expr:
    """Square of the noise amplitude of eq. 31, over a step of η."""
    factor, _ = derived(DIFFUSION).noise.args_cnc()
    return sp.Mul(*factor) ** 2 * lr


SECTION_6 = (
    PaperClaim("eq. 18", "6", "The sum decays exponentially.", HeldAgainst(T), r"\langle\theta(t), \mathbb{1}_{\mathcal A}\rangle = e^{-\lambda t}\langle\theta(0), \mathbb{1}_{\mathcal A}\rangle"),
    PaperClaim("Sect. 6, exactness", "6", "“Exact”, and independent of the learning rate: the rate of eq. 18.", HeldAgainst(RATE, r"\lambda + O(\eta)"), r"\lambda",
               remark="Of the modified loss, with ηλ² dropped as the paper does. The steps themselves decay at the rate −ln(1 − ηλ)/η = λ + ηλ²/2 + …; what is exact is eq. 39."),
    PaperClaim("eq. 19", "6", "The squared norm decays, and grows with the gradient.", HeldAgainst(S), r"|\theta_{\mathcal A}(t)|^2 = e^{-2\lambda t}|\theta_{\mathcal A}(0)|^2 + \eta\int_0^t e^{-2\lambda(t-\tau)}\left|g_{\mathcal A}\right|^2 d\tau"),
    PaperClaim("eq. 20", "6", "The difference of squared norms.", HeldAgainst(R), r"|\theta_{\mathcal A_1}(t)|^2 - |\theta_{\mathcal A_2}(t)|^2 = e^{-2\lambda t}\left(|\theta_{\mathcal A_1}(0)|^2 - |\theta_{\mathcal A_2}(0)|^2\right) + \eta\int_0^t e^{-2\lambda(t-\tau)}\left(\left|g_{\theta_{\mathcal A_1}}\right|^2 - \left|g_{\theta_{\mathcal A_2}}\right|^2\right)d\tau"),
    PaperClaim("Sect. 6, η = λ = 0", "6", "Without finite step and weight decay these are the conservation laws.", Compared(lambda: (initial_charge,) * 3, _without_step, "eqs. 18, 19 and 20 at η = λ = 0")),
    PaperClaim("Sect. 6, positive memory", "6", "The integral of eq. 19 is always positive.", Compared(lambda: True, _green_is_positive, "the sign of the Green's function times the drive's factor", S)),
    PaperClaim("eq. 21", "6", "Centripetal weight decay, centrifugal discretisation.", HeldAgainst(S), r"\frac{d}{dt}|\theta_{\mathcal A}|^2 = -2\lambda|\theta_{\mathcal A}|^2 + \eta|g_{\mathcal A}|^2"),
    PaperClaim("Sect. 6, stationary state", "6", "The angular speed at stationarity.", Compared(lambda: 2 * weight_decay / lr, _speed_at_rest, "its square, from the exact discrete law at rest", "discrete_law(scale(), sgd())"),
               r"\omega = \left|\frac{d\theta}{dt}\right|/|\theta| = \sqrt{\frac{2\lambda}{\eta}}", scan="The fraction under the root is unreadable: read as 2λ/η.",
               remark="Exact even for finite steps. A step turns θ by √(2ηλ)."),
    PaperClaim("Sect. 6, over-damped", "6", "For most standard hyper-parameters the solutions are over-damped.", Compared(lambda: True, lambda: bool(_share_overdamped() > sp.Rational(1, 2)), "γ > ω over Table 4's momenta and weight decays, p = 1 and 2", DRIVEN_T)),
    PaperClaim("Sect. 6, Fig. 6", "6", "At λ = 5·10⁻³, β = 0 and 0.9 are over-damped, β = 0.99 is under-damped.",
               Compared(lambda: (True, True, False), lambda: tuple(_is_overdamped(DRIVEN_T, beta, STRONG) for beta in MOMENTA), "γ > ω at η = 0.1", DRIVEN_T)),
    PaperClaim("Sect. 6, time rescaling", "6", "Over-damped, momentum is SGD up to a rescaling of time, by 1 − β.", Compared(lambda: weight_decay / (1 - momentum), _slow_rate, "the slower exponent as η → 0", DRIVEN_T)),
)  # fmt: skip

APPENDIX_E = (
    PaperClaim("App. E, modified loss", "E", "The modified loss with weight decay.", HeldAgainst(LOSS), r"\widetilde{\mathcal L} = \mathcal{L}_\lambda + \frac{\eta}{4}|\nabla\mathcal{L}_\lambda|^2"),
    PaperClaim("App. E, regularised loss", "E", "The loss with weight decay.", NotJudged("definition", "a definition"), r"\mathcal{L}_\lambda = \mathcal{L} + \frac{\lambda}{2}|\theta|^2"),
    PaperClaim("App. E, gradient", "E", "The gradient of the modified loss.", HeldAgainst(LOSS), r"\nabla\widetilde{\mathcal L} = \nabla\mathcal{L}_\lambda + \frac{\eta}{2}H_\lambda\nabla\mathcal{L}_\lambda = \left(1+\frac{\eta\lambda}{2}\right)g + \left(\lambda+\frac{\eta\lambda^2}{2}\right)\theta + \frac{\eta}{2}(Hg + \lambda H\theta)"),
    PaperClaim("eq. 27", "E", "The equation of learning.", HeldAgainst(LOSS), r"\frac{d\theta}{dt} = -\nabla\widetilde{\mathcal L}(\theta) = -\left(1+\frac{\eta\lambda}{2}\right)g - \left(\lambda+\frac{\eta\lambda^2}{2}\right)\theta - \frac{\eta}{2}(Hg+\lambda H\theta)"),
    PaperClaim("eq. 28", "E", "The law of the sum.", HeldAgainst(T), r"\left\langle\frac{d\theta}{dt} + \nabla\widetilde{\mathcal L}, \mathbb{1}_{\mathcal A}\right\rangle = \left(\frac{d}{dt} + \lambda\right)\langle\theta, \mathbb{1}_{\mathcal A}\rangle = 0"),
    PaperClaim("App. E, translation simplified", "E", "The projection of the gradient, less the terms that invariance makes 0.", HeldAgainst(KEPT_T), r"\langle\nabla\widetilde{\mathcal L}, \mathbb{1}_{\mathcal A}\rangle = \left(\lambda+\frac{\eta\lambda^2}{2}\right)\langle\theta, \mathbb{1}_{\mathcal A}\rangle"),
    PaperClaim("App. E, translation solved", "E", "Its solution.", HeldAgainst(T), r"\langle\theta(t), \mathbb{1}_{\mathcal A}\rangle = e^{-\lambda t}\langle\theta(0), \mathbb{1}_{\mathcal A}\rangle"),
    PaperClaim("eq. 29", "E", "The law of the squared norm.", HeldAgainst(S), r"\left\langle\frac{d\theta}{dt} + \nabla\widetilde{\mathcal L}, \theta_{\mathcal A}\right\rangle = \left(\lambda + \frac12\frac{d}{dt}\right)|\theta_{\mathcal A}|^2 - \frac{\eta}{2}|g_{\mathcal A}|^2 = 0"),
    PaperClaim("App. E, half the rate", "E", "The velocity along θ is half the rate of |θ|².", HeldAgainst(S), r"\left\langle\frac{d\theta}{dt}, \theta_{\mathcal A}\right\rangle = \frac12\frac{d}{dt}|\theta_{\mathcal A}|^2"),
    PaperClaim("App. E, scale simplified", "E", "The projection of the gradient.", HeldAgainst(KEPT_S), r"\langle\nabla\widetilde{\mathcal L}, \theta_{\mathcal A}\rangle = \left(\lambda + \frac{\eta\lambda^2}{2}\right)|\theta_{\mathcal A}|^2 - \frac{\eta}{2}|g_{\mathcal A}|^2"),
    PaperClaim("App. E, scale solved", "E", "Its solution.", HeldAgainst(S), r"|\theta_{\mathcal A}(t)|^2 = e^{-2\lambda t}|\theta_{\mathcal A}(0)|^2 + \eta\int_0^te^{-2\lambda(t-\tau)}|g_{\mathcal A}|^2d\tau"),
    PaperClaim("eq. 30", "E", "The law of the difference of squared norms.", HeldAgainst(R), r"\left\langle\frac{d\theta}{dt}+\nabla\widetilde{\mathcal L}, \theta_{\mathcal A_1}\right\rangle - \left\langle\frac{d\theta}{dt}+\nabla\widetilde{\mathcal L}, \theta_{\mathcal A_2}\right\rangle = \left(\lambda+\frac12\frac{d}{dt}\right)\left(|\theta_{\mathcal A_1}(t)|^2-|\theta_{\mathcal A_2}(t)|^2\right) - \frac{\eta}{2}\left(|g_{\mathcal A_1}|^2-|g_{\mathcal A_2}|^2\right) = 0"),
    PaperClaim("App. E, rescale simplified", "E", "The projection of the gradient.", HeldAgainst(KEPT_R), r"\langle\nabla\widetilde{\mathcal L}, \theta_{\mathcal A_1}\rangle - \langle\nabla\widetilde{\mathcal L}, \theta_{\mathcal A_2}\rangle = \left(\lambda+\frac{\eta\lambda^2}{2}\right)\left(|\theta_{\mathcal A_1}|^2-|\theta_{\mathcal A_2}|^2\right) - \frac{\eta}{2}\left(|g_{\mathcal A_1}|^2-|g_{\mathcal A_2}|^2\right)", scan="The end of the line is garbled."),
    PaperClaim("App. E, rescale solved", "E", "Its solution.", HeldAgainst(R), r"|\theta_{\mathcal A_1}(t)|^2 - |\theta_{\mathcal A_2}(t)|^2 = e^{-2\lambda t}\left(|\theta_{\mathcal A_1}(0)|^2 - |\theta_{\mathcal A_2}(0)|^2\right) + \eta\int_0^te^{-2\lambda(t-\tau)}\left(|g_{\mathcal A_1}|^2 - |g_{\mathcal A_2}|^2\right)d\tau", scan="Brackets in the integral are lost; eq. 20 has them."),
)  # fmt: skip

APPENDIX_F = (
    PaperClaim("App. F, batch gradient", "F", "The gradient of a batch.", NotJudged("definition", "a definition"), r"\hat g_{\mathcal B}(\theta) = \frac1S\sum_{i\in\mathcal B}\nabla\ell(\theta,x_i)"),
    PaperClaim("App. F, covariance", "F", "The covariance of a batch's gradient.", NotJudged("definition", "it defines G"), r"\Sigma(\theta) = \frac1SG(\theta)G(\theta)^\intercal", scan="The denominator is lost: read as S."),
    PaperClaim("App. F, step", "F", "The noise of a step is that of eq. 31 over the time η.", Compared(lambda: lr**2 / batch_size, _step_noise, "its variance: (η/√S)² beside the square of eq. 31's factor times η", DIFFUSION),
               r"\theta^{(n+1)} = \theta^{(n)} - \eta g(\theta^{(n)}) + \frac{\eta}{\sqrt S}G(\theta)\xi", scan="The factor of the noise is unreadable: read as η/√S."),
    PaperClaim("eq. 31", "F", "The stochastic differential equation of SGD.", HeldAgainst(DIFFUSION), r"d\theta = -g(\theta)dt + \sqrt{\frac{\eta}{S}}G(\theta)dW_t", scan="The noise is missing in the scan; Itô's process below has it."),
    PaperClaim("App. F, covariance of earlier work", "F", "The covariance matrix once more.", Compared(lambda: OUTER, lambda: _step_noise() / lr**2 * OUTER, "the variance of the gradient in the step's noise", DIFFUSION), r"\Sigma(\theta) = G(\theta)G(\theta)^\intercal", slip=True,
               remark="Above, Σ is GGᵀ/S: one letter for the covariance of a batch's gradient and of an example's. No result depends on it."),
    PaperClaim("App. F, orthogonal noise", "F", "Gradient noise has no component along the generator.", HeldAgainst("scale()", r"G^\intercal\theta_A = 0"), r"\left\langle -\frac{\eta}{\sqrt S}G(\theta)\xi, \partial_\alpha\psi|_{\alpha=I}\right\rangle = 0"),
    PaperClaim("App. F, drift", "F", "The drift of Itô's process.", HeldAgainst(DIFFUSION_2, r"d\theta = \left(-g - \lambda\theta - \frac{\eta}{2}(Hg+\lambda H\theta) + O(\eta\lambda)\right)dt + \sqrt{\frac{\eta}{S}}G(\theta)dW_t", to_order=True),
               r"\mu = -g - \lambda\theta - \frac{\eta}{2}(Hg+\lambda H\theta) + O(\eta^2) + O(\eta\lambda) + O(\lambda^2)", remark="It keeps one term of order ηλ and drops another, as it says."),
    PaperClaim("App. F, Itô's lemma, first line", "F", "Itô's lemma for the squared norm.", HeldAgainst(ITO), r"d|\theta_{\mathcal A}|^2 = \left\{2\theta_{\mathcal A}^\intercal\mu + \frac{\eta}{S}\mathrm{Tr}\left[G(\theta_{\mathcal A})^\intercal G(\theta_{\mathcal A})\right]\right\}dt + 2\sqrt{\frac{\eta}{S}}\theta_{\mathcal A}^\intercal G(\theta_{\mathcal A})dW_t"),
    PaperClaim("App. F, Itô's lemma, second line", "F", "The law of the squared norm under gradient noise.", HeldAgainst(ITO), r"d|\theta_{\mathcal A}|^2 = \left\{-2\lambda|\theta_{\mathcal A}|^2 - \eta|g_{\mathcal A}|^2 + \frac{\eta}{S}\mathrm{Tr}\left[G(\theta_{\mathcal A})^\intercal G(\theta_{\mathcal A})\right]\right\}dt",
               remark="The drift gives 2⟨θ_A, −(η/2)Hg⟩ = −η⟨Hθ_A, g⟩ = +η|g_A|², by eq. 6. The paper calls the line equivalent to eq. 21, which has the plus; so has the exact eq. 40."),
)  # fmt: skip

APPENDIX_G = (
    PaperClaim("App. G, artifacts", "G", "The second derivatives that the forward and the backward quotient bring add up.", HeldAgainst(FLOW, r"\left(\frac{\eta(1-\alpha)}{2} + \frac{\eta(1-\alpha)\beta}{2}\right)\frac{d^2\theta}{dt^2} + (1-\beta)\frac{d\theta}{dt} + \lambda\theta = -g(\theta)"),
               r"\frac{\eta(1-\alpha)}{2}\frac{d^2}{dt^2}\theta \text{ and } \frac{\eta(1-\alpha)\beta}{2}\frac{d^2}{dt^2}\theta", scan="The denominators are lost."),
    PaperClaim("App. G, equation of learning", "G", "Modified flow with momentum and weight decay.", HeldAgainst(FLOW), r"\frac{\eta(1-\alpha)(1+\beta)}{2}\frac{d^2}{dt^2}\theta + (1-\beta)\frac{d}{dt}\theta + \lambda\theta = -g(\theta)"),
    PaperClaim("eq. 32", "G", "The same as a Langevin equation.", HeldAgainst(FLOW, r"\frac{\eta(1-\alpha)}{2}(1+\beta)\frac{d^2\theta}{dt^2} = -(1-\beta)\frac{d\theta}{dt} - \lambda\theta - g(\theta)"),
               r"\frac{\eta(1-\alpha)}{2}(1+\beta)dv = -(1-\beta)v\,dt - \lambda\theta dt - g(\theta)dt + \dots dW_t, \quad d\theta = v\,dt", scan="The noise term is missing in the scan and is not judged.",
               remark="Judged without noise. A step that takes the time η(1 − α) asks for √(η(1 − α)/S) G dW."),
    PaperClaim("eq. 33", "G", "The law of the sum: an oscillator.", HeldAgainst(DRIVEN_T), r"\left(\frac{\eta(1-\alpha)}{2}(1+\beta)\frac{d^2}{dt^2} + (1-\beta)\frac{d}{dt} + \lambda\right)\langle\theta, \mathbb 1_{\mathcal A}\rangle = 0"),
    PaperClaim("App. G, γ and ω of the sum", "G", "Its damping and frequency.", HeldAgainst(DRIVEN_T), r"\gamma = \frac{1-\beta}{\eta(1-\alpha)(1+\beta)}, \quad \omega = \sqrt{\frac{2\lambda}{\eta(1-\alpha)(1+\beta)}}", scan="Garbled."),
    PaperClaim("App. G, the sum at rest", "G", "It is assumed to start at rest.", NotJudged("definition", "an assumption; the steps' own first rate is that of solve(…, start='first step')"), r"\frac{d}{dt}\langle\theta(t), \mathbb 1_{\mathcal A}\rangle\big|_{t=0} = 0"),
    PaperClaim("eq. 34", "G", "Its solution in the three regimes of damping.", HeldAgainst(DRIVEN_T), r"""\langle\theta(t), \mathbb 1_{\mathcal A}\rangle = \begin{cases}
        e^{-\gamma t}\left(\cosh\left(\sqrt{\gamma^2-\omega^2}t\right) + \frac{\gamma}{\sqrt{\gamma^2-\omega^2}}\sinh\left(\sqrt{\gamma^2-\omega^2}t\right)\right)\langle\theta(0),\mathbb 1_{\mathcal A}\rangle & \gamma > \omega \\
        e^{-\gamma t}(1+\gamma t)\langle\theta(0),\mathbb 1_{\mathcal A}\rangle & \gamma = \omega \\
        e^{-\gamma t}\left(\cos\left(\sqrt{\omega^2-\gamma^2}t\right) + \frac{\gamma}{\sqrt{\omega^2-\gamma^2}}\sin\left(\sqrt{\omega^2-\gamma^2}t\right)\right)\langle\theta(0),\mathbb 1_{\mathcal A}\rangle & \gamma < \omega \end{cases}"""),
    PaperClaim("eq. 35", "G", "The law of the squared norm: a driven oscillator.", HeldAgainst(DRIVEN_S), r"\left(\frac{\eta(1-\alpha)(1+\beta)}{4}\frac{d^2}{dt^2} + \frac{(1-\beta)}{2}\frac{d}{dt} + \lambda\right)|\theta_{\mathcal A}|^2 = \frac{\eta(1-\alpha)(1+\beta)}{2}\left|\frac{d\theta_{\mathcal A}}{dt}\right|^2", scan="The first two coefficients are garbled.",
               remark="The drive is the squared speed. Section 6 speaks of gradient norms, which it is only to lowest order and up to 1/(1 − β)²."),
    PaperClaim("App. G, ω and f of the norm", "G", "Its frequency and its drive.", HeldAgainst(DRIVEN_S), r"\omega = \sqrt{\frac{4\lambda}{\eta(1-\alpha)(1+\beta)}}, \quad f(t) = 2\left|\frac{d\theta_{\mathcal A}}{dt}\right|^2", scan="Garbled."),
    PaperClaim("App. G, footnote 7", "G", "The acceleration along θ.", HeldAgainst(DRIVEN_S), r"\left\langle\frac{d^2\theta_{\mathcal A}}{dt^2}, \theta_{\mathcal A}\right\rangle = \frac12\frac{d^2}{dt^2}|\theta_{\mathcal A}|^2 - \left|\frac{d\theta_{\mathcal A}}{dt}\right|^2"),
    PaperClaim("eq. 36", "G", "Its solution in the three regimes of damping.", HeldAgainst(DRIVEN_S), r"""|\theta_{\mathcal A}(t)|^2 = \begin{cases}
        |\theta_{\mathcal A}(t)|_h^2 + \int_0^t e^{-\gamma(t-\tau)}\left(\frac{\sinh\left(\sqrt{\gamma^2-\omega^2}(t-\tau)\right)}{\sqrt{\gamma^2-\omega^2}}\right)2\left|\frac{d\theta_{\mathcal A}}{dt}(\tau)\right|^2d\tau & \gamma > \omega \\
        |\theta_{\mathcal A}(t)|_h^2 + \int_0^t e^{-\gamma(t-\tau)}(t-\tau)2\left|\frac{d\theta_{\mathcal A}}{dt}(\tau)\right|^2d\tau & \gamma = \omega \\
        |\theta_{\mathcal A}(t)|_h^2 + \int_0^t e^{-\gamma(t-\tau)}\left(\frac{\sin\left(\sqrt{\omega^2-\gamma^2}(t-\tau)\right)}{\sqrt{\omega^2-\gamma^2}}\right)2\left|\frac{d\theta_{\mathcal A}}{dt}(\tau)\right|^2d\tau & \gamma < \omega\end{cases}""", scan="The kernels are garbled: read as those of App. H.3."),
    PaperClaim("eq. 37", "G", "Its homogeneous part.", HeldAgainst(DRIVEN_S), r"""|\theta_{\mathcal A}(t)|_h^2 = \begin{cases}
        e^{-\gamma t}\left(\cosh\left(\sqrt{\gamma^2-\omega^2}t\right)+\frac{\gamma}{\sqrt{\gamma^2-\omega^2}}\sinh\left(\sqrt{\gamma^2-\omega^2}t\right)\right)|\theta_{\mathcal A}(0)|^2 & \gamma>\omega \\
        e^{-\gamma t}(1+\gamma t)|\theta_{\mathcal A}(0)|^2 & \gamma=\omega \\
        e^{-\gamma t}\left(\cos\left(\sqrt{\omega^2-\gamma^2}t\right)+\frac{\gamma}{\sqrt{\omega^2-\gamma^2}}\sin\left(\sqrt{\omega^2-\gamma^2}t\right)\right)|\theta_{\mathcal A}(0)|^2 & \gamma<\omega\end{cases}"""),
    PaperClaim("eq. 38", "G", "The law of the difference of squared norms.", HeldAgainst(DRIVEN_R), r"""\left(\frac{\eta(1-\alpha)(1+\beta)}{4}\frac{d^2}{dt^2}+\frac{(1-\beta)}{2}\frac{d}{dt}+\lambda\right)\left(|\theta_{\mathcal A_1}|^2-|\theta_{\mathcal A_2}|^2\right)
        = \frac{\eta(1-\alpha)(1+\beta)}{2}\left(\left|\frac{d\theta_{\mathcal A_1}}{dt}\right|^2-\left|\frac{d\theta_{\mathcal A_2}}{dt}\right|^2\right)""", scan="The 2 below 1 − β is unreadable; eq. 35, of which the paper says that it is the same oscillator, has it."),
    PaperClaim("App. G, drive of the difference", "G", "The drive that takes the place of 2|dθ/dt|² in eq. 36.", HeldAgainst(DRIVEN_R), r"f(t) = 2\left(\left|\frac{d\theta_{\mathcal A_1}}{dt}\right|^2-\left|\frac{d\theta_{\mathcal A_2}}{dt}\right|^2\right)"),
)  # fmt: skip
