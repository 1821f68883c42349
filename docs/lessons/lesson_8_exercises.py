r"""
8. Exercises, and a judge
=========================

Work these out on paper. Then type your answer, in LaTeX or in plain text, and let the checker
judge it. It reads the formula, holds it term by term against what nmech derived, and says *which*
term is wrong, what it should be, and at which numbers one sees it. Our answers stand below each
exercise; the notebook at the end of the page is the place for yours.
"""

# %%
# Meet the judge
# --------------
#
# The law of a translation charge under plain SGD, once right and once with a factor too many:

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

from derive import (
    check,
    check_derivation,
    discrete_law,
    heavy_ball,
    ito_law,
    law,
    modified_loss,
    rescale,
    runge_kutta,
    scale,
    sgd,
    solve,
    translation,
)

decay = law(translation(), sgd())
print(check(r"\dot{Q} + \lambda Q = 0", against=decay))
print(check(r"\dot{Q} + 2\lambda Q = 0", against=decay))

# %%
# Read the second verdict slowly, for you will meet it again. It names the first term that differs
# and its correct form. It gives rational values at which both can be computed by hand. And it has
# looked whether some common convention would make the claim right: here, a weight decay written as
# :math:`\lambda|\theta|^2` where nmech, as PyTorch does, has :math:`\tfrac{\lambda}{2}|\theta|^2`.
#
# Right verdicts come with their evidence: *symbolic proof*, or *numeric evidence* (forty digits, at
# random points). If neither decides, the verdict is *undecided*; it is never a guess. From here on
# we print the verdict and insist that it is a good one:


def judge(answer, against):
    """Print the verdict, which is to be a good one."""
    verdict = check(answer, against)
    print(verdict)
    assert verdict.ok


# %%
# Conserved, and broken
# ---------------------
#
# **1.** A loss does not change when the same number is added to all the weights
# :math:`\theta_A`. Gradient flow conserves their sum. What does invariance say about the Hessian?
# (Lesson 4: differentiate the first identity once more.)

judge(r"H \mathbf{1}_A = 0", translation())

# %%
# **2.** The same for a loss that does not change when :math:`\theta_A` is scaled.

judge(r"H \theta_A + g_A = 0", scale())

# %%
# **3.** How does the sum of a softmax layer's column decay under plain SGD, in training time?

judge(r"Q(t) = Q_0 e^{-\lambda t}", solve(decay))

# %%
# **4.** A scale charge is the *square* of a length. What does weight decay do to a square? And what
# does a step of length :math:`\eta|g|` at right angles add to it, per unit of time? (Pythagoras.)

judge(
    r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 + \eta|g_A|^2", law(scale(), sgd())
)

# %%
# **5.** No approximation now: what is the charge across a ReLU after *one step* of plain SGD?

judge(r"Q_{n+1} = (1-\eta\lambda)^2 Q_n + \eta^2 q_n", discrete_law(rescale(), sgd()))

# %%
# **6.** The decay of exercise 3 forgets the step. Put :math:`E = e^{hD}` into :math:`Q_{n+1} =
# (1-\eta\lambda) Q_n` (lesson 5). At which rate does the charge really decay?

judge(r"\kappa = -\frac{1}{\eta}\ln(1-\eta\lambda)", law(translation(), sgd(), sp.oo))

# %%
# Modified equations
# ------------------
#
# **7.** Which loss does gradient descent descend, to first order in the step? (Lesson 1.)

modified = modified_loss(sgd(weight_decay=False))
judge(r"\tilde{L} = L + \frac{\eta}{4}|\nabla L|^2 + O(\eta^2)", modified)

# %%
# **8.** Euler's method for :math:`\dot y = f(y)`, two corrections (lesson 2). Mind the symmetry of
# the bushy tree.

euler = runge_kutta("euler").modified_equation(3)
judge(
    r"\dot{y} = f - \frac{h}{2} f'f + \frac{h^2}{3} f'f'f + \frac{h^2}{12} f''(f,f)", euler
)

# %%
# **9.** And with momentum? The slow flow of the heavy ball, and its first correction.

flow = heavy_ball(sp.Symbol("beta")).slow_flow(2)
judge(r"\dot\theta = -\frac{1}{1-\beta} g - \frac{h(1+\beta)}{2(1-\beta)^3} H g", flow)

# %%
# Oscillators
# -----------
#
# **10.** Write down the oscillator of a translation charge under momentum: mass, brake, spring
# (lesson 3).

oscillator = law(translation(), sgd(momentum=True))
judge(r"\frac{\eta(1+\beta)}{2}\ddot{Q} + (1-\beta)\dot{Q} + \lambda Q = 0", oscillator)

# %%
# **11.** Its damping rate and its frequency?

judge(r"\gamma = \frac{1-\beta}{\eta(1+\beta)}", oscillator)
judge(r"\omega = \sqrt{\frac{2\lambda}{\eta(1+\beta)}}", oscillator)

# %%
# **12.** Where it is under-damped it swings. Give the solution that starts at rest, and do not
# forget the sine.

swing = r"""Q(t) = Q_0 e^{-\gamma t} \left( \cos(\sqrt{\omega^2-\gamma^2}\,t)
    + \frac{\gamma}{\sqrt{\omega^2-\gamma^2}} \sin(\sqrt{\omega^2-\gamma^2}\,t) \right)"""
judge(swing, solve(oscillator))

# %%
# Many people do forget it. The answer then satisfies the equation and even starts at
# :math:`Q_0`, but not at rest:

forgetful = check(
    r"Q(t) = Q_0 e^{-\gamma t}\cos(\sqrt{\omega^2-\gamma^2}\,t)", solve(oscillator)
)
assert not forgetful.ok
print(forgetful)

# %%
# (``damped_sinhc`` is the sine divided by its argument, under the damping, in a form that needs no
# cases: over-damped, critical and under-damped are one function.)
#
# How much is that, on a real sequence of steps? At :math:`\beta = 0.99` the steps (dots) swing
# through zero. The right answer runs through them; without its sine it starts off downhill, and is
# too early for ever.

beta, eta, decay_rate = 0.99, 0.1, 5e-3
gamma, omega = (1 - beta) / (eta * (1 + beta)), np.sqrt(2 * decay_rate / (eta * (1 + beta)))
nu = np.sqrt(omega**2 - gamma**2)
steps = np.arange(600)
charge = np.ones(len(steps))
for n in range(1, len(steps)):
    before = charge[n - 2] if n > 1 else charge[0]
    charge[n] = (1 + beta - eta * decay_rate) * charge[n - 1] - beta * before
time = eta * steps
right = np.exp(-gamma * time) * (np.cos(nu * time) + gamma / nu * np.sin(nu * time))
wrong = np.exp(-gamma * time) * np.cos(nu * time)
assert np.abs(right - charge).max() < 0.01 < 0.1 < np.abs(wrong - charge).max()

figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
axes.plot(time[::10], charge[::10], "k.", label="the steps themselves")
axes.plot(time, right, label="with the sine: starts at rest")
axes.plot(time, wrong, "--", label="without it")
axes.axhline(0, color="0.7", linewidth=0.8)
axes.set(
    xlabel="training time t = steps · η",
    ylabel="charge Q / Q₀",
    title="β = 0.99, η = 0.1, λ = 0.005",
)
axes.legend()

# %%
# *What to see: the dashed answer solves the same equation with the wrong initial slope. Early on it
# is below the dots, and it crosses zero too soon.*
#
# Where does it go wrong?
# -----------------------
#
# **13.** A derivation has many lines, and a wrong result does not tell which one is to blame.
# Here is one with a slip. Find it before you look.

lines = [
    r"\dot{Q} = -2\lambda Q + \eta q",
    r"\frac{d}{dt}\left(e^{2\lambda t} Q\right) = \eta q",
    r"Q(t) = Q_0 + \eta\int_0^t q(\tau)\,d\tau",
]
found = check_derivation(lines, against=law(scale(), sgd()))
assert found.first_wrong == 1
print(found)

# %%
# The integrating factor went missing on the right. With it, every line follows:

lines[1] = r"\frac{d}{dt}\left(e^{2\lambda t} Q\right) = \eta e^{2\lambda t} q"
lines[2] = r"Q(t) = e^{-2\lambda t} Q_0 + \eta\int_0^t e^{-2\lambda(t-\tau)} q(\tau)\,d\tau"
found = check_derivation(lines, against=solve(law(scale(), sgd())))
assert found.ok
print(found)

# %%
# **14.** Referees miss things too. Appendix F of the paper has the law of a scale charge under
# gradient noise as below. Which sign is wrong, and why? (Itô's formula; or exercise 4.)

printed = r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 - \eta|g_A|^2 + \frac{\eta}{S}\mathrm{Tr}\,\Sigma_A"
verdict = check(printed, ito_law(scale(), sgd()))
assert not verdict.ok
print(verdict)
