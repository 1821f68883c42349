r"""
6. Where the idea comes from: waves on a grid
=============================================

Engineers met modified equations in the 1960s, when their simulated waves smeared out or grew
wiggles. The equation that the computer *really* solved explained both. It is the same idea as
in lesson 1, and the same code.
"""

# %%
# A wave that should only move
# ----------------------------
#
# The advection equation :math:`u_t + a\,u_x = 0` moves a shape to the right with the speed
# :math:`a` and changes nothing else. On a grid with spacings ``dx`` and ``dt`` the simplest
# stable scheme looks upwind, to where the wave comes from:
#
# .. math:: u_i^{n+1} = u_i^n - \nu\,(u_i^n - u_{i-1}^n), \qquad \nu = a\,dt/dx .

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

from derive import modified_pde
from derive.pde_scheme import dx
from derive.schemes import beam_warming, lax_wendroff, speed, upwind

upwind()

# %%
# Put a wave :math:`e^{ikx}` in. The scheme multiplies it by a number in each step; the
# logarithm of that number, over ``dt``, is the rate of a differential equation, just as in
# lesson 1. Its series in :math:`ik` is the modified equation, since :math:`\partial_x e^{ikx} =
# ik\,e^{ikx}`. The code works it out in exact fractions of polynomials:

modified_pde(upwind(), 3)

# %%
# The second term is *diffusion*, which nobody asked for: the wave smears as heat does. It
# vanishes at :math:`\nu = 1`, where the scheme just copies the neighbour. And for :math:`\nu >
# 1` it is negative, heat flowing backwards: the simulation blows up. The old rule that the
# Courant number ν must not exceed one is there to be read off.
#
# Two better schemes
# ------------------
#
# Lax–Wendroff and Beam–Warming have no diffusion. Their first error has three derivatives:
# short waves travel at the wrong speed, which makes wiggles. Which side are they on?

for scheme in (lax_wendroff(), beam_warming()):
    found = modified_pde(scheme, 4)
    k, error = found.leading_error
    print(f"{scheme.name}: accurate to order {found.accuracy}; {error} at derivative {k}")

# %%
# For :math:`0 < \nu < 1` the two have opposite signs. With :math:`u_t = -a u_x + c_3 u_{xxx}` a
# wave travels at the speed :math:`a + c_3 k^2`. Lax–Wendroff has a negative :math:`c_3`, so
# that short waves lag behind; Beam–Warming's run ahead.
#
# Look at it
# ----------
#
# We move a bump once around a ring, and compare with the modified equation, solved exactly,
# wave by wave.

cells, courant = 100, sp.Rational(3, 5)
x = np.arange(cells) / cells
bump = np.exp(-((x - 0.5) ** 2) / (2 * 0.04**2))
steps = 167  # of dt = ν dx / a: once around, and a fifth of a cell


def simulate(scheme):
    """The scheme itself, from its own stencil: it is explicit and has two levels in time."""
    level_n = [(shift, weight) for (level, shift), weight in scheme.stencil if level == 0]
    weights = {shift: -float(weight) for shift, weight in level_n}
    u = bump
    for _ in range(steps):
        u = sum(weight * np.roll(u, -shift) for shift, weight in weights.items())
    return u


def solve_modified(scheme, order):
    """exp(rate · t) on every wave of the bump, at the time of the last step."""
    k = sp.Symbol("k", real=True)
    rate = modified_pde(scheme, order).rate(k) * scheme.time_step * steps
    rate = rate.subs(dx, sp.Rational(1, cells)).subs(speed, 1)
    exponent = sp.lambdify(k, sp.expand(rate))
    waves = 2 * np.pi * np.fft.fftfreq(cells, 1 / cells)
    return np.fft.ifft(np.fft.fft(bump) * np.exp(exponent(waves))).real


moved = np.roll(bump, round(steps * float(courant)))
figure, panels = plt.subplots(1, 3, figsize=(7.6, 2.8), sharey=True)
cases = zip(panels, (upwind, lax_wendroff, beam_warming), (2, 4, 4), strict=True)
for axes, scheme, order in cases:
    computed, predicted = simulate(scheme(courant)), solve_modified(scheme(courant), order)
    assert abs(computed - predicted).max() < 0.2 * abs(computed - moved).max()
    axes.plot(x, moved, color="0.7", label="the equation")
    axes.plot(x, computed, "k.", markersize=4, label="the scheme")
    axes.plot(x, predicted, color="tab:red", linewidth=1.2, label="modified equation")
    axes.set(title=scheme().name, xlabel="$x$")
panels[0].set_ylabel("$u$")
figure.tight_layout()
handles = panels[1].get_legend_handles_labels()
figure.legend(*handles, loc="upper center", ncols=3, bbox_to_anchor=(0.5, 0.0))

# %%
# *What to see: grey is the bump as it should arrive. Upwind melts it. Lax–Wendroff leaves
# wiggles behind it, Beam–Warming throws them ahead, as the sign of the third derivative said.
# The red curves know of no grid.*
#
# A happy accident
# ----------------
#
# The simplest scheme for heat, :math:`u_t = d\,u_{xx}`, is accurate to second order. The factor of
# its leading error, at :math:`\partial_x^4`, vanishes for one mesh number :math:`r = d\,dt/dx^2`:

from derive.schemes import ftcs

modified_pde(ftcs(), 4)

# %%
# At :math:`r = 1/6` it is of fourth order, for free:

for number in (sp.Rational(1, 4), sp.Rational(1, 6)):
    print(f"r = {number}: order", modified_pde(ftcs(diffusion_number=number), 8).accuracy)

# %%
# What to take along
# ------------------
#
# * A scheme solves its modified equation. An even derivative too many smears, an odd one
#   disperses.
# * Training is such a simulation of gradient flow: its step size is the mesh, its "numerical
#   diffusion" is :math:`\frac{\eta}{4}|\nabla L|^2`.
# * Eight schemes are in ``derive.schemes``; make your own with
#   :func:`derive.finite_difference`.
