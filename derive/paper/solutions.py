# ruff: noqa: E501  (a formula is easier to read on one line)
"""Claims of appendix H: the general solutions of the differential equations.

The equations are general, and judged on laws: x is a charge, f its drive over the leading coefficient. Section H.1 calls
the rate of a driven relaxation λ, which is read as κ: that of the squared norm is 2λ.
"""

from __future__ import annotations

import sympy as sp

from derive.paper.claim import Compared, HeldAgainst, PaperClaim
from derive.paper.objects import derived
from derive.symbols import damping_rate as gamma
from derive.symbols import frequency as omega
from derive.symbols import weight_decay

T, S = "solve(law(translation(), sgd()))", "solve(law(scale(), sgd()))"
OSCILLATOR, DRIVEN = (f"solve(law({family}(), sgd(momentum=True, dampening=True)))" for family in ("translation", "scale"))
OVER, UNDER = r"\sqrt{\gamma^2-\omega^2}", r"\sqrt{\omega^2-\gamma^2}"
C_1, C_2 = rf"C_1 = \frac{{\gamma+{OVER}}}{{2{OVER}}}x(0)", rf"C_2 = \frac{{-\gamma+{OVER}}}{{2{OVER}}}x(0)"
GENERAL = rf"x(t) = e^{{-\gamma t}}\left(C_1e^{{{OVER}t}}+C_2e^{{-{OVER}t}}\right)"
BELOW = rf"x(t) = e^{{-\gamma t}}\left(C_1\cos\left({UNDER}t\right)+C_2\sin\left({UNDER}t\right)\right)"
root, tau = sp.Symbol("alpha"), sp.Symbol("tau", real=True)


def _characteristic(value: sp.Expr) -> sp.Expr:
    """What the law of the squared norm, divided by its mass, makes of e^{αt}, at α = ``value``."""
    law = derived(DRIVEN).law
    return sp.expand(value**2 + law.damping / law.mass * value + law.stiffness / law.mass)


def _in_hyper_parameters(expr: sp.Expr) -> sp.Expr:
    return sp.expand(expr.subs(dict(derived(DRIVEN).rates)))


def _from_roots() -> sp.Expr:
    half = sp.sqrt(gamma**2 - omega**2)
    return _in_hyper_parameters(sp.expand((root + gamma - half) * (root + gamma + half)))


APPENDIX_H = (
    PaperClaim("App. H.1, equation", "H", "A relaxation.", HeldAgainst(T), r"\left(\frac{d}{dt}+\lambda\right)x(t) = 0"),
    PaperClaim("App. H.1, auxiliary equation", "H", "Its exponent.", Compared(lambda: root + weight_decay, lambda: root + derived(T).law.stiffness / derived(T).law.damping, "what the law of the sum makes of exp(αt)", T), r"\alpha + \lambda = 0"),
    PaperClaim("App. H.1, solution", "H", "Its solution.", HeldAgainst(T), r"x(t) = e^{-\lambda t}x(0)"),
    PaperClaim("App. H.1, driven", "H", "A driven relaxation.", HeldAgainst(S, r"\left(\frac{d}{dt}+\kappa\right)x(t) = f(t)"), r"\left(\frac{d}{dt}+\lambda\right)x(t) = f(t)"),
    PaperClaim("App. H.1, integrating factor", "H", "The same with the integrating factor.", HeldAgainst(S, r"\frac{d}{dt}\left(e^{\kappa t}x(t)\right) = e^{\kappa t}f(t)"), r"\frac{d}{dt}\left(e^{\lambda t}x(t)\right) = e^{\lambda t}f(t)"),
    PaperClaim("App. H.1, driven solution", "H", "Its solution.", HeldAgainst(S, r"x(t) = e^{-\kappa t}x(0) + \int_0^te^{-\kappa(t-\tau)}f(\tau)d\tau"), r"x(t) = e^{-\lambda t}x(0) + \int_0^te^{-\lambda(t-\tau)}f(\tau)d\tau"),
    PaperClaim("App. H.2, equation", "H", "A damped oscillator.", HeldAgainst(OSCILLATOR), r"\left(\frac{d^2}{dt^2}+2\gamma\frac{d}{dt}+\omega^2\right)x(t) = 0"),
    PaperClaim("App. H.2, auxiliary equation", "H", "Its exponents.",
               Compared(lambda: (_in_hyper_parameters(root**2 + 2 * gamma * root + omega**2), _from_roots()), lambda: (_characteristic(root),) * 2, "what the law of the squared norm makes of exp(αt)", DRIVEN), r"\alpha^2+2\gamma\alpha+\omega^2 = 0, \quad \alpha_\pm = -\gamma\pm\sqrt{\gamma^2-\omega^2}"),
    PaperClaim("App. H.2, general solution", "H", "Its solution at rest, over-damped, with its constants.", HeldAgainst(OSCILLATOR, rf"{GENERAL}, \quad {C_1}, \quad {C_2}"), rf"{GENERAL}, \quad {C_1}, \quad {C_2}"),
    PaperClaim("App. H.2, hyperbolic functions", "H", "The same with hyperbolic functions.", HeldAgainst(OSCILLATOR), rf"x(t) = e^{{-\gamma t}}\left(\cosh\left({OVER}t\right)+\frac{{\gamma}}{{{OVER}}}\sinh\left({OVER}t\right)\right)x(0)"),
    PaperClaim("App. H.2, critical", "H", "Critically damped.", HeldAgainst(OSCILLATOR, r"x(t) = e^{-\gamma t}(C_1+C_2t), \quad C_1 = x(0), \quad C_2 = \gamma x(0), \quad \gamma = \omega"), r"x(t) = e^{-\gamma t}(C_1+C_2t), \quad C_1 = x(0), \quad C_2 = \gamma x(0)"),
    PaperClaim("App. H.2, under-damped", "H", "Under-damped.", HeldAgainst(OSCILLATOR, rf"{BELOW}, \quad C_1 = x(0), \quad C_2 = \frac{{\gamma}}{{{UNDER}}}x(0), \quad \gamma < \omega"), rf"{BELOW}, \quad C_1 = x(0), \quad C_2 = \frac{{\gamma}}{{{UNDER}}}x(0)",
               scan="The formula and the value of C₂ are lost: read as the last row of eq. 34."),
    PaperClaim("App. H.3, equation", "H", "A driven oscillator.", HeldAgainst(DRIVEN), r"\left(\frac{d^2}{dt^2}+2\gamma\frac{d}{dt}+\omega^2\right)x(t) = f(t)"),
    PaperClaim("App. H.3, superposition", "H", "Its solution is a homogeneous and a driven part.", HeldAgainst(DRIVEN, r"x(t) = x_h(t) + \int_0^tG(t-\tau)f(\tau)d\tau"), r"x(t) = x_h(t) + x_d(t), \quad x_d(t) = (G*f)(t)"),
    PaperClaim("App. H.3, Fourier transform", "H", "The driven part, transformed.", Compared(lambda: 1 / _in_hyper_parameters(-(tau**2) + 2 * sp.I * gamma * tau + omega**2), lambda: 1 / _characteristic(sp.I * tau), "what the law of the squared norm makes of exp(iτt)", DRIVEN),
               r"\hat x_d(\tau) = (-\tau^2+2\gamma i\tau+\omega^2)^{-1}\hat f(\tau)", remark="With the convention exp(−iτt) in the transform."),
    PaperClaim("App. H.3, Green’s function", "H", "Green's function.", HeldAgainst(DRIVEN), rf"G(t) = \Theta(t)\frac{{e^{{-\gamma t}}}}{{2{OVER}}}\left(e^{{{OVER}t}}-e^{{-{OVER}t}}\right)"),
    PaperClaim("App. H.3, over-damped", "H", "The same with hyperbolic functions.", HeldAgainst(DRIVEN), rf"G(t) = \Theta(t)e^{{-\gamma t}}\frac{{\sinh\left({OVER}t\right)}}{{{OVER}}}", scan="The argument of sinh is lost."),
    PaperClaim("App. H.3, critical", "H", "Critically damped.", HeldAgainst(DRIVEN, r"G(t) = \Theta(t)e^{-\gamma t}t, \quad \gamma = \omega"), r"G(t) = \Theta(t)e^{-\gamma t}t"),
    PaperClaim("App. H.3, under-damped", "H", "Under-damped.", HeldAgainst(DRIVEN, rf"G(t) = \Theta(t)e^{{-\gamma t}}\frac{{\sin\left({UNDER}t\right)}}{{{UNDER}}}, \quad \gamma < \omega"), rf"G(t) = \Theta(t)e^{{-\gamma t}}\frac{{\sin\left({UNDER}t\right)}}{{{UNDER}}}", scan="The sine is lost: only the denominator is readable."),
    PaperClaim("App. H.3, solution", "H", "The general solution.", HeldAgainst(DRIVEN), r"x(t) = x_h(t) + \int_0^tG(t-\tau)f(\tau)d\tau"),
)  # fmt: skip
