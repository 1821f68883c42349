# ruff: noqa: E501  (a formula is easier to read on one line)
"""Claims, half of them right and half subtly wrong, each with what it is held against and where it comes from.

Of a wrong claim ``named`` is what the verdict's first difference has to say. The wrong ones change a sign, a factor or a power, leave
a term out, take the formula of another regime, swap η and λ, or start otherwise; two are slips of the paper's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy as sp

from derive import (
    discrete_law,
    epoch_loss,
    gradient_flow,
    heavy_ball,
    ito_law,
    law,
    modified_flow,
    modified_loss,
    modified_pde,
    relations,
    rescale,
    runge_kutta,
    scale,
    sgd,
    solve,
    stochastic_modified_equation,
    translation,
)  # fmt: skip
from derive.schemes import lax_wendroff, upwind

x, y, eta, lam = sp.symbols("x y eta lambda", positive=True)
_momentum = {"momentum": True, "dampening": True}

OBJECTS: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "translation": lambda: solve(law(translation(), sgd())),
    "scale": lambda: solve(law(scale(), sgd())),
    "rescale": lambda: solve(law(rescale(), sgd())),
    "scale, λ² kept": lambda: law(scale(), sgd(), keep_weight_decay_squared=True),
    "translation, momentum": lambda: solve(law(translation(), sgd(**_momentum))),
    "scale, momentum": lambda: solve(law(scale(), sgd(**_momentum))),
    "rescale, momentum": lambda: law(rescale(), sgd(**_momentum)),
    "translation, Nesterov": lambda: law(translation(), sgd(momentum=True, nesterov=True)),
    "translation, steps": lambda: discrete_law(translation(), sgd()),
    "scale, steps": lambda: discrete_law(scale(), sgd()),
    "rescale, steps": lambda: discrete_law(rescale(), sgd()),
    "translation, momentum steps": lambda: discrete_law(translation(), sgd(momentum=True)),
    "scale, momentum steps": lambda: discrete_law(scale(), sgd(momentum=True)),
    "flow": gradient_flow,
    "flow, weight decay": lambda: gradient_flow(weight_decay=True),
    "flow, momentum": lambda: gradient_flow(momentum=True),
    "plain SGD": sgd,
    "SGD, momentum": lambda: sgd(weight_decay=False, **_momentum),
    "modified loss": lambda: modified_loss(sgd(weight_decay=False)),
    "modified loss, weight decay": lambda: modified_loss(sgd()),
    "modified flow": lambda: modified_flow(sgd(weight_decay=False)),
    "modified flow, momentum": lambda: modified_flow(sgd(**_momentum)),
    "symmetry, translation": translation,
    "symmetry, scale": scale,
    "symmetry, rescale": rescale,
    "identity, scale": lambda: scale().hessian_identity,
    "relation, translation": lambda: relations(translation())[1],
    "Itô, scale": lambda: ito_law(scale(), sgd()),
    "Itô, rescale": lambda: ito_law(rescale(), sgd()),
    "SDE 1": lambda: stochastic_modified_equation(sgd(weight_decay=False), 1),
    "SDE 2": lambda: stochastic_modified_equation(sgd(weight_decay=False), 2),
    "epoch": epoch_loss,
    "epoch, independent": lambda: epoch_loss(sampling="independent"),
    "Euler": lambda: runge_kutta("euler").modified_equation(3),
    "heavy ball": lambda: heavy_ball(sp.Symbol("beta")).slow_flow(3),
    "upwind": lambda: modified_pde(upwind(), 3),
    "Lax–Wendroff": lambda: modified_pde(lax_wendroff(), 3),
    "rate": lambda: -sp.log(1 - eta * lam) / eta,
    "square": lambda: (x + 1) ** 2,
    "quotient": lambda: x / y,
    "bowl": lambda: x**2 / 2 + y**2,
    "growth": lambda: sp.Eq(sp.Function("u")(sp.Symbol("t")).diff(sp.Symbol("t")), 3 * sp.Function("u")(sp.Symbol("t"))),
}


@cache
def against(name: str) -> Any:
    """The object of a claim, made once."""
    return OBJECTS[name]()


@dataclass(frozen=True)
class Entry:
    """A claim; ``named`` is empty for a right one."""

    against: str
    claim: str
    source: str
    named: str = ""
    convention: str = ""


def _block(name: str, source: str, right: list[str], wrong: list[tuple[str, ...]]) -> list[Entry]:
    return [Entry(name, claim, source) for claim in right] + [Entry(name, item[0], source, *item[1:]) for item in wrong]


_R, _S = r"\sqrt{\gamma^2-\omega^2}", r"\sqrt{\omega^2-\gamma^2}"
_OVER = rf"e^{{-\gamma t}}\left(\cosh({_R}\,t) + \frac{{\gamma}}{{{_R}}}\sinh({_R}\,t)\right)"
_UNDER = rf"e^{{-\gamma t}}\left(\cos({_S}\,t) + \frac{{\gamma}}{{{_S}}}\sin({_S}\,t)\right)"
_CRITICAL, _SIGN, _SHORT = r"e^{-\gamma t}(1+\gamma t)", r"e^{-\gamma t}(1-\gamma t)", r"e^{-\gamma t}"
_START = r"\langle\theta(0), 1_A\rangle"


def _regimes(over: str, critical: str, under: str, start: str = _START) -> str:
    rows = [
        rf"{over}{start} & \gamma > \omega",
        rf"{critical}{start} & \gamma = \omega",
        rf"{under}{start} & \gamma < \omega",
    ]
    return rf"\begin{{cases}} {(chr(92) * 2).join(rows)} \end{{cases}}"


CORPUS = [
    *_block("translation", "eq. 18", [
        r"\langle\theta(t), 1_A\rangle = e^{-\lambda t}\langle\theta(0), 1_A\rangle",
        "Q(t) = Q(0)*exp(-lambda*t)",
        r"\dot Q = -\lambda Q",
        r"\frac{\mathrm{d}}{\mathrm{d}t}\left(e^{\lambda t}\langle\theta_{\mathcal A},\mathbf{1}\rangle\right) = 0",
    ], [
        (r"\langle\theta(t), 1_A\rangle = e^{-2\lambda t}\langle\theta(0), 1_A\rangle", "correct ⟨θ_A(0), 1⟩*exp(-lambda*t)", "λ"),
        (r"\langle\theta(t), 1_A\rangle = e^{-\eta\lambda t}\langle\theta(0), 1_A\rangle", "correct ⟨θ_A(0), 1⟩*exp(-lambda*t)", "time"),
        (r"\dot Q + \lambda Q = \eta q(t)", "eta*q(t) should not be there"),
        (r"Q' = \lambda Q", "correct -lambda*Q(t)"),
    ]),
    *_block("scale", "eq. 19, 21, 29", [
        r"|\theta_A(t)|^2 = e^{-2\lambda t}|\theta_A(0)|^2 + \eta\int_0^t e^{-2\lambda(t-\tau)}|g_A|^2\,d\tau",
        r"|\theta_A|^2 e^{-2\lambda t} + \eta\int_0^t e^{-2\lambda(t-\tau)}|g_A(\tau)|^2\,d\tau",
        r"\|\theta_{\mathcal A}(t)\|_2^2 = e^{-2\lambda t}\Bigl(\|\theta_{\mathcal A}(0)\|_2^2 + \eta\int_0^t e^{2\lambda s}\|g_{\mathcal A}(s)\|_2^2\,\mathrm ds\Bigr)",
        r"\lVert w(t)\rVert^2 = e^{-2\lambda t}\lVert w(0)\rVert^2 + \eta\int_0^t e^{-2\lambda s}\lVert\nabla L(t-s)\rVert^2 ds",
        r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 + \eta|g_A|^2",
        r"\left(\lambda + \frac12\frac{d}{dt}\right)|\theta_A|^2 - \frac{\eta}{2}|g_A|^2 = 0",
        r"\frac{d}{dt}\|\theta\| = -\lambda\|\theta\| + \frac{\eta}{2}\frac{\|g\|^2}{\|\theta\|}",
        "Q' + 2*lambda*Q = eta*q",
        "dQ/dt = eta q - 2 lambda Q",
        "∂_t |θ_A|² = −2λ|θ_A|² + η|g_A|²",
        r"Q(t) - Q(0) = \int_0^t\left(\eta q(s) - 2\lambda Q(s)\right)ds",
        r"\left\langle\frac{d\theta}{dt}, \theta_A\right\rangle = -\lambda|\theta_A|^2 + \frac{\eta}{2}|g_A|^2",
        r"\kappa = 2\lambda",
    ], [
        (r"|\theta_A(t)|^2 = e^{-\lambda t}|\theta_A(0)|^2 + \eta\int_0^t e^{-\lambda(t-\tau)}|g_A|^2\,d\tau", "correct |θ_A(0)|²*exp(-2*lambda*t)", "λ"),
        (r"|\theta_A(t)|^2 = e^{-2\lambda t}|\theta_A(0)|^2 - \eta\int_0^t e^{-2\lambda(t-\tau)}|g_A|^2\,d\tau", "correct Integral(eta*|g_A(tau)|²*exp(-2*lambda*(t - tau)), (tau, 0, t))"),
        (r"|\theta_A(t)|^2 = e^{-2\lambda t}|\theta_A(0)|^2 + \eta^2\int_0^t e^{-2\lambda(t-\tau)}|g_A|^2\,d\tau", "claimed Integral(eta**2*|g_A(tau)|²"),
        (r"|\theta_A(t)|^2 = e^{-2\lambda t}|\theta_A(0)|^2 + \eta\int_0^t e^{-2\lambda(t+\tau)}|g_A|^2\,d\tau", "correct Integral(eta*|g_A(tau)|²*exp(-2*lambda*(t - tau)), (tau, 0, t))"),
        (r"|\theta_A(t)|^2 = e^{-2\lambda t}|\theta_A(0)|^2 + \eta\int_0^t|g_A|^2\,d\tau", "correct Integral(eta*|g_A(tau)|²*exp(-2*lambda*(t - tau)), (tau, 0, t))"),
        (r"|\theta_A(t)|^2 = e^{-2\lambda t}|\theta_A(0)|^2", "missing Integral(eta*|g_A(tau)|²", "gradient flow"),
        (r"|\theta_A(t)|^2 = |\theta_A(0)|^2 + \eta\int_0^t e^{-2\lambda(t-\tau)}|g_A|^2\,d\tau", "correct |θ_A(0)|²*exp(-2*lambda*t)"),
        (r"|\theta_A(t)|^2 = e^{-2\eta t}|\theta_A(0)|^2 + \lambda\int_0^t e^{-2\eta(t-\tau)}|g_A|^2\,d\tau", "correct |θ_A(0)|²*exp(-2*lambda*t)", "η and λ"),
        (r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 - \eta|g_A|^2", "correct eta*|g_A|²"),
        (r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 + \frac{\eta}{2}|g_A|^2", "correct eta*|g_A|²"),
        (r"\frac{d}{dt}\|\theta\| = -\lambda\|\theta\| + \eta\frac{\|g\|^2}{\|\theta\|}", "correct eta*|g_A|²/2"),
        ("Q' + lambda*Q = eta*q", "correct 2*lambda*Q(t)"),
        (r"|\theta_A(t)| = e^{-2\lambda t}|\theta_A(0)| + \eta\int_0^t e^{-2\lambda(t-\tau)}|g_A|\,d\tau", "|θ_A(0)|²", "‖·‖"),
        (r"\kappa = \lambda", "correct 2*lambda"),
    ]),
    *_block("scale, λ² kept", "App. E", [
        r"\left(\lambda+\frac{\eta\lambda^2}{2}\right)|\theta_A|^2 + \frac12\frac{d}{dt}|\theta_A|^2 = \frac{\eta}{2}|g_A|^2",
        r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 + \eta|g_A|^2 + O(\eta\lambda^2)",
    ], [
        (r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 + \eta|g_A|^2", "correct -lambda*|θ_A|²*(eta*lambda + 2)", "drops"),
    ]),
    *_block("rescale", "eq. 20, 30", [
        r"|\theta_{A_1}(t)|^2 - |\theta_{A_2}(t)|^2 = e^{-2\lambda t}(|\theta_{A_1}(0)|^2-|\theta_{A_2}(0)|^2) + \eta\int_0^t e^{-2\lambda(t-\tau)}(|g_{A_1}|^2-|g_{A_2}|^2)\,d\tau",
        r"\frac{d}{dt}\left(\|W_1\|^2 - \|W_2\|^2\right) = -2\lambda\left(\|W_1\|^2 - \|W_2\|^2\right) + \eta\left(\|g_1\|^2 - \|g_2\|^2\right)",
        r"\left(\lambda+\frac12\frac{d}{dt}\right)\left(|\theta_{A_1}|^2-|\theta_{A_2}|^2\right) - \frac{\eta}{2}\left(|g_{A_1}|^2-|g_{A_2}|^2\right) = 0",
    ], [
        (r"|\theta_{A_1}(t)|^2 - |\theta_{A_2}(t)|^2 = e^{-2\lambda t}(|\theta_{A_1}(0)|^2-|\theta_{A_2}(0)|^2) + \eta\int_0^t e^{-2\lambda(t-\tau)}(|g_{A_1}|^2+|g_{A_2}|^2)\,d\tau", "claimed Integral(eta*|g_A2(tau)|²"),
        (r"|\theta_{A_1}(t)|^2 + |\theta_{A_2}(t)|^2 = e^{-2\lambda t}(|\theta_{A_1}(0)|^2+|\theta_{A_2}(0)|^2) + \eta\int_0^t e^{-2\lambda(t-\tau)}(|g_{A_1}|^2+|g_{A_2}|^2)\,d\tau", "θ_A2"),
        (r"\frac{d}{dt}\left(|\theta_{A_1}|^2-|\theta_{A_2}|^2\right) = \eta\left(|g_{A_1}|^2-|g_{A_2}|^2\right)", "|θ_A1|²"),
    ]),
    *_block("translation, momentum", "eq. 33, 34, App. H", [
        rf"\langle\theta(t), 1_A\rangle = {_regimes(_OVER, _CRITICAL, _UNDER)}",
        r"\left(\frac{\eta(1-\alpha)(1+\beta)}{2}\frac{d^2}{dt^2} + (1-\beta)\frac{d}{dt} + \lambda\right)\langle\theta, 1_A\rangle = 0",
        r"\gamma = \frac{1-\beta}{\eta(1-\alpha)(1+\beta)}",
        r"\omega = \sqrt{\frac{2\lambda}{\eta(1-\alpha)(1+\beta)}}",
        r"\ddot x + 2\gamma\dot x + \omega^2x = 0",
        r"\frac{d}{dt}\langle\theta(t), 1_A\rangle\Big|_{t=0} = 0",
        r"x(t) = e^{-\gamma t}\left(\frac{\gamma+\sqrt{\gamma^2-\omega^2}}{2\sqrt{\gamma^2-\omega^2}}e^{\sqrt{\gamma^2-\omega^2}t} + \frac{-\gamma+\sqrt{\gamma^2-\omega^2}}{2\sqrt{\gamma^2-\omega^2}}e^{-\sqrt{\gamma^2-\omega^2}t}\right)x(0)",
    ], [
        (rf"\langle\theta(t), 1_A\rangle = {_regimes(_OVER, _SIGN, _UNDER)}", "claimed"),
        (rf"\langle\theta(t), 1_A\rangle = {_regimes(_UNDER, _CRITICAL, _OVER)}", "omega**2", "regime"),
        (rf"\langle\theta(t), 1_A\rangle = {_regimes(_OVER, _SHORT, _UNDER)}", "gamma*t"),
        (rf"\langle\theta(t), 1_A\rangle = e^{{-\gamma t}}\left(\cosh({_R}t) - \frac{{\gamma}}{{{_R}}}\sinh({_R}t)\right)\langle\theta(0),1_A\rangle", "damped_sinhc(gamma*t, omega*t)"),
        (rf"\langle\theta(t), 1_A\rangle = e^{{-\gamma t}}\cosh({_R}t)\langle\theta(0),1_A\rangle", "missing gamma*t*⟨θ_A(0), 1⟩*damped_sinhc(gamma*t, omega*t)"),
        (r"\langle\theta(t), 1_A\rangle = e^{-\gamma t}(1+\gamma t)\langle\theta(0), 1_A\rangle", "damped_cosh", "critical"),
        (r"\left(\frac{\eta(1-\alpha)(1-\beta)}{2}\frac{d^2}{dt^2} + (1-\beta)\frac{d}{dt} + \lambda\right)\langle\theta, 1_A\rangle = 0", "d^2/dt^2 ⟨θ_A, 1⟩"),
        (r"\left(\frac{\eta(1+\beta)}{2}\frac{d^2}{dt^2} + (1-\beta)\frac{d}{dt} + \lambda\right)\langle\theta, 1_A\rangle = 0", "d^2/dt^2 ⟨θ_A, 1⟩", "dampening"),
        (r"\gamma = \frac{1+\beta}{\eta(1-\alpha)(1-\beta)}", "claimed"),
        (r"\omega = \sqrt{\frac{4\lambda}{\eta(1-\alpha)(1+\beta)}}", "claimed 2*sqrt(lambda)"),
    ]),
    *_block("scale, momentum", "eq. 35–37, App. G, H", [
        r"\left(\frac{\eta(1-\alpha)(1+\beta)}{4}\frac{d^2}{dt^2} + \frac{1-\beta}{2}\frac{d}{dt} + \lambda\right)|\theta_A|^2 = \frac{\eta(1-\alpha)(1+\beta)}{2}\left|\frac{d\theta_A}{dt}\right|^2",
        rf"|\theta_A(t)|^2 = {_OVER}|\theta_A(0)|^2 + \int_0^t e^{{-\gamma(t-\tau)}}\frac{{\sinh({_R}(t-\tau))}}{{{_R}}}2|\dot\theta_A(\tau)|^2\,d\tau",
        rf"x(t) = {_OVER}x(0) + \int_0^t e^{{-\gamma(t-\tau)}}\frac{{\sinh({_R}(t-\tau))}}{{{_R}}}f(\tau)\,d\tau",
        rf"G(t) = \Theta(t)e^{{-\gamma t}}\frac{{\sinh({_R}t)}}{{{_R}}}",
        r"\omega^2 = \frac{4\lambda}{\eta(1-\alpha)(1+\beta)}",
        r"f(t) = 2\left|\frac{d\theta_A}{dt}\right|^2",
        r"x(t) = x_h(t) + \int_0^t G(t-\tau)f(\tau)\,d\tau",
    ], [
        (r"\left(\frac{\eta(1-\alpha)(1+\beta)}{4}\frac{d^2}{dt^2} + \frac{1-\beta}{2}\frac{d}{dt} + \lambda\right)|\theta_A|^2 = \frac{\eta(1-\alpha)(1+\beta)}{4}\left|\frac{d\theta_A}{dt}\right|^2", "|θ'_A|²"),
        (r"\left(\frac{\eta(1-\alpha)(1+\beta)}{4}\frac{d^2}{dt^2} + (1-\beta)\frac{d}{dt} + \lambda\right)|\theta_A|^2 = \frac{\eta(1-\alpha)(1+\beta)}{2}\left|\frac{d\theta_A}{dt}\right|^2", "d/dt |θ_A|²"),
        (rf"|\theta_A(t)|^2 = {_OVER}|\theta_A(0)|^2 + \int_0^t e^{{-\gamma(t-\tau)}}\frac{{\sinh({_R}(t-\tau))}}{{{_R}}}|\dot\theta_A(\tau)|^2\,d\tau", "θ'_A(tau)"),
        (rf"x(t) = {_OVER}x(0) + \int_0^t e^{{-\gamma(t-\tau)}}\sinh({_R}(t-\tau))f(\tau)\,d\tau", "Integral("),
        (r"f(t) = \left|\frac{d\theta_A}{dt}\right|^2", "θ'_A"),
        (r"\omega^2 = \frac{2\lambda}{\eta(1-\alpha)(1+\beta)}", "claimed"),
    ]),
    *_block("rescale, momentum", "eq. 38", [
        r"\left(\frac{\eta(1-\alpha)(1+\beta)}{4}\frac{d^2}{dt^2}+\frac{(1-\beta)}{2}\frac{d}{dt}+\lambda\right)\left(|\theta_{A_1}|^2-|\theta_{A_2}|^2\right) = \frac{\eta(1-\alpha)(1+\beta)}{2}\left(\left|\frac{d\theta_{A_1}}{dt}\right|^2-\left|\frac{d\theta_{A_2}}{dt}\right|^2\right)",
    ], [
        (r"\left(\frac{\eta(1-\alpha)(1+\beta)}{4}\frac{d^2}{dt^2}+\frac{(1-\beta)}{2}\frac{d}{dt}+\lambda\right)\left(|\theta_{A_1}|^2-|\theta_{A_2}|^2\right) = \frac{\eta(1-\alpha)(1+\beta)}{2}\left(\left|\frac{d\theta_{A_1}}{dt}\right|^2+\left|\frac{d\theta_{A_2}}{dt}\right|^2\right)", "θ'_A2"),
    ]),
    *_block("translation, Nesterov", "tests/README.md", [
        r"\frac{\eta(1+\beta)}{2}\ddot Q + \left(1-\beta+\beta\eta\lambda\right)\dot Q + \lambda Q = 0",
    ], [
        (r"\frac{\eta(1+\beta)}{2}\ddot Q + (1-\beta)\dot Q + \lambda Q = 0", "Derivative(Q(t), t)"),
    ]),
    *_block("translation, steps", "eq. 39, App. I", [
        r"\left\langle\theta^{(n)}, 1_A\right\rangle = (1-\eta\lambda)^n\left\langle\theta^{(0)}, 1_A\right\rangle",
        "Q_{n+1} = (1 - eta*lambda) Q_n",
        r"\langle\theta^{(n+1)},1_A\rangle = (1-\eta\lambda)^{n+1}\langle\theta^{(0)},1_A\rangle - \eta\sum_{i=0}^n(1-\eta\lambda)^{n-i}\langle g(\theta^{(i)}),1_A\rangle",
    ], [
        (r"\left\langle\theta^{(n)}, 1_A\right\rangle = (1-\eta\lambda)^{2n}\left\langle\theta^{(0)}, 1_A\right\rangle", "correct ⟨θ_A(0), 1⟩*(-eta*lambda + 1)**n"),
        (r"\left\langle\theta^{(n)}, 1_A\right\rangle = (1+\eta\lambda)^n\left\langle\theta^{(0)}, 1_A\right\rangle", "correct ⟨θ_A(0), 1⟩*(-eta*lambda + 1)**n"),
        (r"\langle\theta^{(n+1)},1_A\rangle = (1-\eta\lambda)^{n+1}\langle\theta^{(0)},1_A\rangle + \eta\sum_{i=0}^n(1-\eta\lambda)^{n-i}\langle g(\theta^{(i)}),1_A\rangle", "correct Sum(-eta*⟨g_A(i), 1⟩", "ascends"),
    ]),
    *_block("scale, steps", "eq. 40, App. I", [
        r"|\theta_A^{(n)}|^2 = (1-\eta\lambda)^{2n}|\theta_A^{(0)}|^2 + \eta^2\sum_{i=0}^{n-1}(1-\eta\lambda)^{2(n-1-i)}|g_A^{(i)}|^2",
        r"\|\theta_{k+1}\|^2 = (1-\eta\lambda)^2\|\theta_k\|^2 + \eta^2\|g_k\|^2",
        r"|\theta_A^{(n)}|^2 = (1-\eta\lambda)^{2n}|\theta_A^{(0)}|^2 + \eta^2\sum_{i=1}^{n}(1-\eta\lambda)^{2(n-i)}|g_A^{(i-1)}|^2",
        r"|\theta^{(n+1)}|^2 = (1-\eta\lambda)^{2(n+1)}|\theta^{(0)}|^2 + \eta^2\sum_{i=0}^n(1-\eta\lambda)^{2(n-i)}|g(\theta^{(i)})|^2 - 2\eta\sum_{i=0}^n(1-\eta\lambda)^{2(n-i)+1}\langle g(\theta^{(i)}),\theta_A^{(i)}\rangle",
        r"|\theta_{n+1}|^2 - |\theta_n|^2 = -(2\eta\lambda - \eta^2\lambda^2)|\theta_n|^2 + \eta^2|\nabla L(\theta_n)|^2",
    ], [
        (r"|\theta_A^{(n)}|^2 = (1-\eta\lambda)^{n}|\theta_A^{(0)}|^2 + \eta^2\sum_{i=0}^{n-1}(1-\eta\lambda)^{2(n-1-i)}|g_A^{(i)}|^2", "correct |θ_A(0)|²*(-eta*lambda + 1)**(2*n)"),
        (r"|\theta_A^{(n)}|^2 = (1-\eta\lambda)^{2n}|\theta_A^{(0)}|^2 + \eta\sum_{i=0}^{n-1}(1-\eta\lambda)^{2(n-1-i)}|g_A^{(i)}|^2", "correct Sum(eta**2*|g_A(i)|²"),
        (r"|\theta_A^{(n)}|^2 = (1-\eta\lambda)^{2n}|\theta_A^{(0)}|^2 + \eta^2\sum_{i=0}^{n-1}(1-\eta\lambda)^{2(n-i)}|g_A^{(i)}|^2", "correct Sum(eta**2*|g_A(i)|²"),
        (r"\|\theta_{k+1}\|^2 = (1-\eta\lambda)\|\theta_k\|^2 + \eta^2\|g_k\|^2", "|θ_A|²"),
        (r"\|\theta_{k+1}\|^2 = (1-\eta\lambda)^2\|\theta_k\|^2 - \eta^2\|g_k\|^2", "correct eta**2*|g_A|²"),
    ]),
    *_block("rescale, steps", "eq. 41", [
        r"|\theta_{A_1}^{(n)}|^2-|\theta_{A_2}^{(n)}|^2 = (1-\eta\lambda)^{2n}\left(|\theta_{A_1}^{(0)}|^2-|\theta_{A_2}^{(0)}|^2\right)+\eta^2\sum_{i=0}^{n-1}(1-\eta\lambda)^{2(n-1-i)}\left(|g_{A_1}^{(i)}|^2-|g_{A_2}^{(i)}|^2\right)",
    ], [
        (r"|\theta_{A_1}^{(n)}|^2-|\theta_{A_2}^{(n)}|^2 = (1-\eta\lambda)^{2n}\left(|\theta_{A_1}^{(0)}|^2-|\theta_{A_2}^{(0)}|^2\right)+\eta^2\sum_{i=0}^{n-1}(1-\eta\lambda)^{2(n-1-i)}\left(|g_{A_1}^{(i)}|^2+|g_{A_2}^{(i)}|^2\right)", "|g_A2(i)|²"),
    ]),
    *_block("translation, momentum steps", "discrete laws", [
        r"\langle\theta_{n+1},1\rangle - (1+\beta-\eta\lambda)\langle\theta_n,1\rangle + \beta\langle\theta_{n-1},1\rangle = 0",
        "(E**2 - (1 + beta - eta*lambda)*E + beta) Q_n = 0",
    ], [
        (r"\langle\theta_{n+1},1\rangle - (1-\beta-\eta\lambda)\langle\theta_n,1\rangle + \beta\langle\theta_{n-1},1\rangle = 0", "⟨θ_A(n + 1), 1⟩"),
        (r"Q_{n+1} - (1+\beta-2\eta\lambda)Q_n + \beta Q_{n-1} = 0", "Q(n + 1)", "λ"),
    ]),
    *_block("scale, momentum steps", "discrete laws", [
        r"|\theta_{n+1}|^2-(1+\beta-2\eta\lambda)|\theta_n|^2+\beta|\theta_{n-1}|^2 = |\Delta\theta_n|^2+\beta|\Delta\theta_{n-1}|^2",
        r"Q_{n+1}-(1+\beta-2\eta\lambda)Q_n+\beta Q_{n-1} = \eta^2\left(|v_{n+1}|^2+\beta|v_n|^2\right)",
        r"|\theta_{n+1}|^2-(1+\beta-2\eta\lambda)|\theta_n|^2+\beta|\theta_{n-1}|^2 = |\theta_{n+1}-\theta_n|^2+\beta|\theta_n-\theta_{n-1}|^2",
    ], [
        (r"|\theta_{n+1}|^2-(1+\beta-2\eta\lambda)|\theta_n|^2+\beta|\theta_{n-1}|^2 = |\Delta\theta_n|^2-\beta|\Delta\theta_{n-1}|^2", "v_A"),
        (r"|\theta_{n+1}|^2-(1+\beta-\eta\lambda)|\theta_n|^2+\beta|\theta_{n-1}|^2 = |\Delta\theta_n|^2+\beta|\Delta\theta_{n-1}|^2", "|θ_A(n + 1)|²"),
    ]),
    *_block("flow", "eq. 9", [r"\frac{d\theta}{dt} = -g(\theta)", r"\dot\theta = -\nabla L(\theta)"],
            [(r"\dot\theta = \nabla L(\theta)", "correct -g", "ascends")]),
    *_block("flow, weight decay", "eq. 14", [r"\frac{d\theta}{dt} = -g(\theta)-\lambda\theta"],
            [(r"\frac{d\theta}{dt} = -g(\theta)+\lambda\theta", "correct -lambda*θ"), (r"\dot\theta = -g - 2\lambda\theta", "correct -lambda*θ", "λ")]),
    *_block("flow, momentum", "eq. 15", [r"(1-\beta)\frac{d\theta}{dt} = -g(\theta)", r"\dot\theta = -\frac{1}{1-\beta}\nabla L"],
            [(r"(1+\beta)\frac{d\theta}{dt} = -g(\theta)", "g")]),
    *_block("plain SGD", "App. I", [r"\theta^{(n+1)} = (1-\eta\lambda)\theta^{(n)} - \eta g(\theta^{(n)})", r"\theta_{t+1} = \theta_t - \eta(\nabla L(\theta_t)+\lambda\theta_t)"],
            [(r"\theta^{(n+1)} = (1-\lambda)\theta^{(n)} - \eta g(\theta^{(n)})", "θ"), (r"\theta_{t+1} = (1-\eta\lambda)\theta_t + \eta g_t", "correct -eta*g")]),
    *_block("SGD, momentum", "App. C.2", [
        r"v_{k+1} = \beta v_k + (1-\alpha)g(\theta_k)", r"\theta_{k+1} = \theta_k - \eta v_{k+1}",
        r"\theta_{k+1}-\theta_k = \beta(\theta_k-\theta_{k-1}) - \eta(1-\alpha)g(\theta_k)", "v_1 = g_0",
        r"\frac{\theta_{k+1}-\theta_k}{\eta(1-\alpha)} - \beta\frac{\theta_k-\theta_{k-1}}{\eta(1-\alpha)} = -g(\theta_k)",
    ], [
        (r"v_{k+1} = \beta v_k + (1-\beta)g(\theta_k)", "correct (1 - alpha)*g"),
        (r"\theta_{k+1}-\theta_k = \beta(\theta_k-\theta_{k-1}) - \eta g(\theta_k)", "g", "dampening"),
        (r"v_1 = (1-\alpha)g_0", "correct g[0]", "v_0"),
        (r"\theta_{k+1} = \theta_k + \eta v_{k+1}", "correct -eta*v"),
    ]),
    *_block("modified loss", "eq. 16", [
        r"\widetilde{\mathcal L} = \mathcal{L} + \frac{\eta}{4}|\nabla\mathcal L|^2", r"\frac{d\theta}{dt} = -g(\theta) - \frac{\eta}{2}H(\theta)g(\theta)",
        r"\dot\theta = -\nabla\left(L + \tfrac{\eta}{4}\|\nabla L\|^2\right)", r"\dot\theta = -\nabla L - \frac\eta2\nabla^2L\,\nabla L",
        r"\dot\theta = -\nabla L + O(\eta)",
    ], [
        (r"\tilde L = L + \frac{\eta}{2}|\nabla L|^2", "correct eta*|g|²/4"), (r"\tilde L = L - \frac{\eta}{4}|\nabla L|^2", "correct eta*|g|²/4"),
        (r"\dot\theta = -g + \frac{\eta}{2}Hg", "correct -eta*H g/2"), (r"\dot\theta = -g - \frac{\eta}{4}Hg", "correct -eta*H g/2"),
        (r"\dot\theta = -\nabla L + O(\eta^2)", "missing -eta*H g/2"),
    ]),
    *_block("modified loss, weight decay", "eq. 27, App. E", [
        r"\tilde L = L_\lambda + \frac{\eta}{4}|\nabla L_\lambda|^2",
        r"\frac{d\theta}{dt} = -\left(1+\frac{\eta\lambda}{2}\right)g - \left(\lambda+\frac{\eta\lambda^2}{2}\right)\theta - \frac{\eta}{2}(Hg+\lambda H\theta)",
    ], [
        (r"\frac{d\theta}{dt} = -\left(1-\frac{\eta\lambda}{2}\right)g - \left(\lambda+\frac{\eta\lambda^2}{2}\right)\theta - \frac{\eta}{2}(Hg+\lambda H\theta)", "g"),
        (r"\frac{d\theta}{dt} = -\left(1+\frac{\eta\lambda}{2}\right)g - \left(\lambda+\frac{\eta\lambda^2}{2}\right)\theta - \frac{\eta}{2}(Hg-\lambda H\theta)", "H θ"),
    ]),
    *_block("modified flow", "eq. 17", [r"\frac{d\theta}{dt} = -g(\theta) - \frac{\eta}{2}\frac{d^2\theta}{dt^2}"],
            [(r"\frac{d\theta}{dt} = -g(\theta) + \frac{\eta}{2}\frac{d^2\theta}{dt^2}", "θ''")]),
    *_block("modified flow, momentum", "App. G", [r"\frac{\eta(1-\alpha)(1+\beta)}{2}\frac{d^2\theta}{dt^2} + (1-\beta)\frac{d\theta}{dt} + \lambda\theta = -g(\theta)"],
            [(r"\frac{\eta(1-\alpha)(1-\beta)}{2}\ddot\theta + (1-\beta)\dot\theta + \lambda\theta = -g", "θ''")]),
    *_block("symmetry, translation", "eq. 3, 4, 11", [r"\langle g, 1_A\rangle = 0", r"H\mathbb{1}_{\mathcal A} = 0", r"\langle\theta_A(t),1\rangle = \langle\theta_A(0),1\rangle"],
            [(r"H 1_A = g_A", "g_A should not be there"), (r"|\theta_A(t)|^2 = |\theta_A(0)|^2", "|θ_A")]),
    *_block("symmetry, scale", "eq. 5, 6, 12, Table 3", [
        r"\langle g, \theta_A\rangle = 0", r"H\theta_A + g_A = 0", r"\theta_A^\intercal H\theta_A = 0", r"\nabla^2L\,\theta_A = -\nabla_{\theta_A}L", r"\frac{d}{dt}|\theta_A|^2 = 0", r"\theta^T\nabla L = 0",
    ], [
        (r"H\theta_A - g_A = 0", "correct g_A"), (r"H\theta_A = -2g_A", "correct -g_A"), (r"H\theta_A = 0", "missing"), (r"\langle g, \theta_A\rangle = 1", "1"),
    ]),
    *_block("symmetry, rescale", "eq. 7, 8, 13, Table 3", [
        r"\langle g, \theta_{A_1}-\theta_{A_2}\rangle = 0", r"H(\theta_{A_1}-\theta_{A_2}) + g_{A_1} - g_{A_2} = 0", r"\langle g_{A_1},\theta_{A_1}\rangle = \langle g_{A_2},\theta_{A_2}\rangle",
        r"0 = (\theta_{A_1}-\theta_{A_2})^\intercal H(\theta_{A_1}-\theta_{A_2}) + g_{A_1}^\intercal\theta_{A_1} + g_{A_2}^\intercal\theta_{A_2}",
    ], [
        (r"H(\theta_{A_1}-\theta_{A_2}) + g_{A_1} + g_{A_2} = 0", "correct -g_A2"), (r"\langle g, \theta_{A_1}+\theta_{A_2}\rangle = 0", "θ_A2"),
        (r"|\theta_{A_1}(t)|^2+|\theta_{A_2}(t)|^2 = |\theta_{A_1}(0)|^2+|\theta_{A_2}(0)|^2", "|θ_A2"),
    ]),
    *_block("identity, scale", "eq. 6", [r"H\theta_A = -g_A"], [(r"H\theta_A = g_A", "correct -g_A")]),
    *_block("relation, translation", "eq. 23", [r"\langle\nabla L, 1_A\rangle = 0"], [(r"\langle\nabla L, 1_A\rangle = \langle\theta, 1_A\rangle", "θ")]),
    *_block("Itô, scale", "App. F", [
        r"d|\theta_A|^2 = \left\{-2\lambda|\theta_A|^2 + \eta|g_A|^2 + \frac{\eta}{S}\mathrm{Tr}\left[G(\theta_A)^T G(\theta_A)\right]\right\}dt",
        r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 + \eta|g_A|^2 + \frac{\eta}{S}\operatorname{Tr}\Sigma_A",
    ], [
        (r"d|\theta_A|^2 = \left\{-2\lambda|\theta_A|^2 - \eta|g_A|^2 + \frac{\eta}{S}\mathrm{Tr}\left[G(\theta_A)^T G(\theta_A)\right]\right\}dt", "correct dt*eta*|g_A|²"),
        (r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 + \eta|g_A|^2 + \frac{\eta^2}{S}\operatorname{Tr}\Sigma_A", "Tr Σ_A"),
        (r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 + \eta|g_A|^2", "Tr Σ_A"),
    ]),
    *_block("Itô, rescale", "App. F", [
        r"\frac{d}{dt}(|\theta_{A_1}|^2-|\theta_{A_2}|^2) = -2\lambda(|\theta_{A_1}|^2-|\theta_{A_2}|^2) + \eta(|g_{A_1}|^2-|g_{A_2}|^2) + \frac{\eta}{S}(\mathrm{Tr}\Sigma_{A_1}-\mathrm{Tr}\Sigma_{A_2})",
    ], [
        (r"\frac{d}{dt}(|\theta_{A_1}|^2-|\theta_{A_2}|^2) = -2\lambda(|\theta_{A_1}|^2-|\theta_{A_2}|^2) + \eta(|g_{A_1}|^2-|g_{A_2}|^2) + \frac{\eta}{S}(\mathrm{Tr}\Sigma_{A_1}+\mathrm{Tr}\Sigma_{A_2})", "Tr Σ_A2"),
    ]),
    *_block("SDE 1", "eq. 31; Li, Tai & E 2017", [r"d\theta = -g(\theta)dt + \sqrt{\frac{\eta}{S}}G(\theta)dW_t", r"d\theta = -\nabla L\,dt + \sqrt{\frac{\eta}{S}}\,\Sigma^{1/2}dW_t"],
            [(r"d\theta = -g(\theta)dt + \frac{\eta}{\sqrt S}G(\theta)dW_t", "G dW"), (r"d\theta = g(\theta)dt + \sqrt{\frac{\eta}{S}}G(\theta)dW_t", "g")]),
    *_block("SDE 2", "Li, Tai & E 2017", [r"d\theta = -\nabla\left(L+\frac{\eta}{4}|\nabla L|^2\right)dt + \sqrt{\frac{\eta}{S}}G\,dW_t"],
            [(r"d\theta = -\nabla\left(L-\frac{\eta}{4}|\nabla L|^2\right)dt + \sqrt{\frac{\eta}{S}}G\,dW_t", "H g"), (r"d\theta = -\nabla L\,dt + \sqrt{\frac{\eta}{S}}G\,dW_t", "H g")]),
    *_block("epoch", "Smith, Dherin, Barrett & De 2021", [r"\tilde L = L + \frac{\eta}{4m}\sum_{k=1}^m|\nabla L_k|^2"],
            [(r"\tilde L = L + \frac{\eta}{2m}\sum_{k=1}^m|\nabla L_k|^2", "|∇L_k|²"), (r"\tilde L = L + \frac{\eta}{4}|\nabla L|^2", "|∇L_k|²", "independent")]),
    *_block("epoch, independent", "eq. 16", [r"\tilde L = L + \frac{\eta}{4}|\nabla L|^2"], [(r"\tilde L = L + \frac{\eta}{4m}\sum_{k=1}^m|\nabla L_k|^2", "g|²", "reshuffling")]),
    *_block("Euler", "Hairer, Lubich & Wanner 2006, IX", [
        r"\tilde f = f - \frac{h}{2}f'f + h^2\left(\frac13f'f'f + \frac1{12}f''(f,f)\right)", r"\dot\theta = -g - \frac{\eta}{2}Hg - \eta^2\left(\frac13H^2g + \frac1{12}\nabla^3L[g,g]\right)",
        r"\dot\theta = -\nabla L - \frac{\eta}{2}\nabla^2L\nabla L + O(\eta^2)",
    ], [
        (r"\tilde f = f - \frac{h}{2}f'f + h^2\left(\frac13f'f'f + \frac1{6}f''(f,f)\right)", "f'' (f, f)"), (r"\tilde f = f + \frac{h}{2}f'f + O(h^2)", "f' f"),
        (r"\dot\theta = -g - \frac{\eta}{2}Hg + \eta^2\left(\frac13H^2g + \frac1{12}T[g,g]\right)", "H H g"),
    ]),
    *_block("heavy ball", "Kovachki & Stuart 2019", [r"\dot\theta = -\frac{1}{1-\beta}\nabla L - \frac{\eta(1+\beta)}{2(1-\beta)^3}\nabla^2L\,\nabla L + O(\eta^2)"],
            [(r"\dot\theta = -\frac{1}{1-\beta}\nabla L - \frac{\eta}{2(1-\beta)^2}\nabla^2L\,\nabla L + O(\eta^2)", "H g"), (r"\dot\theta = -\frac{1}{1-\beta}\nabla L - \frac{\eta(1-\beta)}{2(1+\beta)^3}Hg + O(\eta^2)", "H g")]),
    *_block("upwind", "Warming & Hyett 1974", [r"u_t + au_x = \frac{a\,\Delta x}{2}(1-\nu)u_{xx} - \frac{a\,\Delta x^2}{6}(1-\nu)(1-2\nu)u_{xxx}", r"\frac{\partial u}{\partial t} + a\frac{\partial u}{\partial x} = \frac{a\Delta x}{2}(1-\nu)\frac{\partial^2u}{\partial x^2} + O(\Delta x^2)"],
            [(r"u_t + au_x = \frac{a\,\Delta x}{2}(1+\nu)u_{xx} + O(\Delta x^2)", "(x, 2)"), (r"u_t + au_x = -\frac{a\,\Delta x}{2}(1-\nu)u_{xx} + O(\Delta x^2)", "(x, 2)")]),
    *_block("Lax–Wendroff", "LeVeque 2002, section 8.6", [r"u_t + au_x = -\frac{a\,\Delta x^2}{6}(1-\nu^2)u_{xxx}"], [(r"u_t + au_x = \frac{a\,\Delta x^2}{6}(1-\nu^2)u_{xxx}", "(x, 3)")]),
    *_block("rate", "all orders of the law", [r"\kappa = \lambda + \frac{\eta\lambda^2}{2} + O(\eta^2)", r"-\frac{1}{\eta}\ln(1-\eta\lambda)"], [(r"\kappa = \lambda - \frac{\eta\lambda^2}{2} + O(\eta^2)", "claimed"), (r"\kappa = \lambda + \frac{\eta\lambda^2}{2}+\frac{\eta^2\lambda^3}{2} + O(\eta^3)", "claimed")]),
    *_block("square", "algebra", ["x^2 + 2x + 1", "y = (1 + x)(x + 1)"], [("x^2 + x + 1", "correct")]),
    *_block("quotient", "a loss with a scale symmetry", [r"\langle\nabla L, \theta\rangle = 0", r"H\theta + g = 0"], [(r"H\theta - g = 0", "component")]),
    *_block("bowl", "a quadratic loss", [r"\nabla L = H\theta", r"L = \frac12\theta^\top H\theta"], [(r"\langle\nabla L, \theta\rangle = L", "claimed")]),
    *_block("growth", "a differential equation", ["u' = 3u", r"\frac{du}{dt} - 3u = 0"], [("u' = -3u", "correct 3*u(t)")]),
    *_block("nothing", "textbook identities", [
        r"\cosh^2x - \sinh^2x = 1", r"e^{a}e^{-b} = e^{a-b}", r"\tanh x = \frac{e^{2x}-1}{e^{2x}+1}", r"\cosh(a+b) = \cosh a\cosh b + \sinh a\sinh b", r"\frac{d}{dt}\left(e^{\lambda t}x(t)\right) = e^{\lambda t}(\dot x + \lambda x)",
        r"1-\eta\lambda = e^{-\eta\lambda} + O(\eta^2)", r"\left(1-\frac{x}{2}\right)^2 = 1 - x + \frac{x^2}{4}", r"\ln(1-x) = -x - \frac{x^2}{2} + O(x^3)", r"\sqrt{a^2b} = a\sqrt b", r"\int_0^t e^{-a(t-s)}ds = \frac{1-e^{-at}}{a}",
    ], [
        (r"\cosh^2x + \sinh^2x = 1", "1"), (r"\sinh 2x = \sinh x\cosh x", "correct sinh(2*x)"), (r"\cosh(a+b) = \cosh a\cosh b - \sinh a\sinh b", "sinh"), (r"1-\eta\lambda = e^{-\eta\lambda} + O(\eta^3)", "exp(-eta*lambda)"),
        (r"\frac{d}{dt}\left(e^{\lambda t}x(t)\right) = e^{\lambda t}\dot x", "missing"), (r"(a+b)^3 = a^3+3a^2b+3ab^2-b^3", "b**3"), (r"\ln(1-x) = -x + \frac{x^2}{2} + O(x^3)", "x**2"), (r"\int_0^t e^{-a(t-s)}ds = \frac{1-e^{-at}}{t}", "claimed"),
    ]),
]  # fmt: skip
