r"""
3. Momentum is an oscillator
============================

Push a child on a swing with the brakes on, and it creeps back to the middle. Release the
brakes, and it swings through. Momentum in SGD is the brake released. In this lesson the
sentence becomes an equation whose solution you can plot.
"""

# %%
# A sum that knows nothing of the data
# ------------------------------------
#
# In the last layer of a classifier, add the same number to all logits: the softmax does not
# change, so the loss does not. The gradient cannot have a component in that direction. Let
# :math:`Q` be the sum of the weights that leave one hidden unit, over all classes. Its gradient
# sum is zero; only weight decay λ acts on it. With momentum β and learning rate η:
#
# .. math:: v_{n+1} = \beta v_n + \lambda Q_n, \qquad Q_{n+1} = Q_n - \eta\, v_{n+1}.
#
# Two lines, no data, no network. Remove :math:`v`: since :math:`\eta v_{n+1} = Q_n - Q_{n+1}`,
#
# .. math:: Q_{n+1} - (1 + \beta - \eta\lambda)\, Q_n + \beta\, Q_{n-1} = 0.
#
# The code derives the same from the symmetry and the update rule. ``E`` is the shift by one
# step, :math:`E Q_n = Q_{n+1}`:

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

from derive import discrete_law, law, sgd, solve, symbols, translation
from numerics import compile_kernel, propagate

rule = sgd(momentum=True)
steps_law = discrete_law(translation(), rule)
steps_law

# %%
# From steps to a differential equation
# -------------------------------------
#
# Say a smooth :math:`Q(t)` passes through the steps, with :math:`t = \eta n`. By Taylor,
# :math:`Q_{n\pm1} = Q \pm \eta \dot Q + \frac{\eta^2}{2}\ddot Q`. Put it in and divide by η:
#
# .. math:: \frac{\eta(1+\beta)}{2}\,\ddot Q + (1-\beta)\,\dot Q + \lambda Q = 0 .
#
# A mass, a brake, a spring! The mass is proportional to the learning rate: with infinitely
# small steps there would be none. The brake is :math:`1-\beta`, and the spring is weight decay.
# The code agrees:

oscillator = law(translation(), rule)
oscillator

# %%
# Two numbers rule it
# -------------------
#
# Divide by the mass, and write it as every physics book does, :math:`\ddot Q + 2\gamma \dot Q +
# \omega^2 Q = 0`:

gamma, omega_squared, _ = oscillator.normal_form
sp.Eq(symbols.damping_rate, gamma), sp.Eq(symbols.frequency**2, omega_squared)

# %%
# If :math:`\gamma > \omega` the brake wins: over-damped, a slow creep. If :math:`\gamma <
# \omega` it swings: under-damped. Between them, :math:`\gamma = \omega`, is critical damping.
# Where is that? Solve for λ:

critical = sp.solve(sp.Eq(gamma**2, omega_squared), symbols.weight_decay)[0]
sp.Eq(symbols.weight_decay, critical)

# %%
# For η = 0.1 and β = 0.9:

print(float(critical.subs({symbols.lr: 0.1, symbols.momentum: 0.9})))

# %%
# The solution
# ------------
#
# Books give three formulas, one for each regime. But :math:`\cosh\sqrt z` and
# :math:`\sinh(\sqrt z)/\sqrt z` are power series in :math:`z = \gamma^2 - \omega^2`, with no
# root left in them: where z is negative they *are* the cosine and the sine. One formula holds
# everywhere, and nothing special happens at critical damping:

solution = solve(oscillator)
assert solution.residual() == 0
solution

# %%
# We print it as a fast function and hold it against the steps themselves.

kernel = compile_kernel(solution)
n = np.arange(0, 601)
figure, axes = plt.subplots()
cases = [(0.5, "tab:blue"), (0.9, "tab:green"), (0.98, "tab:red")]
for beta, colour in cases:
    hyper = {"lr": 0.1, "momentum": beta, "weight_decay": 0.03}
    measured = propagate(steps_law, np.array([1.0]), {}, steps=600, **hyper)[:, 0]
    predicted = kernel(0.1 * n, initial_charge=1.0, **hyper)
    values = {symbols.lr: 0.1, symbols.momentum: beta, symbols.weight_decay: 0.03}
    ratio = float(gamma.subs(values)) / float(omega_squared.subs(values)) ** 0.5
    axes.plot(
        n[::12] * 0.1,
        measured[::12],
        "o",
        color=colour,
        markersize=3.5,
        label=rf"β = {beta}, γ/ω = {ratio:.2f}",
    )
    axes.plot(n * 0.1, predicted, "k--", linewidth=1)
    assert abs(measured - predicted).max() < 0.025
axes.set(xlabel=r"training time $t = \eta n$", ylabel="$Q / Q_0$")
axes.legend(title="steps (dots), formula (dashed)")

# %%
# *What to see: more momentum means faster decay at first, since the slow rate is about λ/(1−β).
# At β = 0.98 the sum swings through zero. The dashed curves know four numbers and nothing of a
# network.*
#
# A map of the regimes
# --------------------

betas, lambdas = np.meshgrid(np.linspace(0, 0.995, 300), np.geomspace(1e-5, 1, 300))
letters = [symbols.lr, symbols.momentum, symbols.weight_decay]
ratio = sp.lambdify(letters, gamma / sp.sqrt(omega_squared))
logarithm = np.log10(ratio(0.1, betas, lambdas))
levels = np.linspace(-2, 2, 17)
figure, axes = plt.subplots()
picture = axes.contourf(betas, lambdas, logarithm, levels, cmap="RdBu", extend="both")
line = sp.lambdify(letters[:2], critical)
axes.plot(betas[0], line(0.1, betas[0]), "k", label="critical: γ = ω")
axes.plot(0.9, 5e-4, "k*", markersize=9, label="β = 0.9, λ = 5e-4")
axes.set(
    yscale="log", ylim=(1e-5, 1), xlabel="momentum β", ylabel="weight decay λ (1 / time)"
)
axes.legend(loc="lower left", frameon=True)
figure.colorbar(picture, label=r"$\log_{10}(\gamma/\omega)$")
print(f"γ/ω at the star: {ratio(0.1, 0.9, 5e-4):.1f}")

# %%
# *What to see: with η = 0.1 most of the plane is over-damped (blue). At the star, a usual
# setting, the brake is seven times as strong as critical; there weight decay acts on this sum as
# if it were ten times as large, 1/(1−β), and there were no momentum. One needs β near 1, or a
# strong weight decay, to see it swing (red).*
#
# What to take along
# ------------------
#
# * Momentum gives the parameters a mass :math:`\eta(1+\beta)/2`.
# * Directions that the loss does not see are oscillators with a known mass, brake and spring.
# * The formula has an error too: the next terms of Taylor's series were dropped. Lesson 5 keeps
#   all of them.
