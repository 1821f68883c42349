r"""
5. All orders at once
=====================

Every correction so far came from Taylor's theorem, cut off somewhere. For the charges of a
symmetry one need not cut. The key is three symbols long, and a little over two hundred years
old: :math:`E = e^{hD}`.
"""

# %%
# A step is an exponential
# ------------------------
#
# Let :math:`D` be the derivative, :math:`Dx = \dot x`, and :math:`E` the shift by one step,
# :math:`Ex(t) = x(t+h)`. Taylor:
#
# .. math:: x(t+h) = x + h\,Dx + \tfrac{h^2}{2} D^2 x + \dots = \Bigl(1 + hD + \tfrac{(hD)^2}{2} + \dots\Bigr) x
#
# and the bracket is the series of the exponential. So a difference equation is a differential
# equation of infinite order, written :math:`E = e^{hD}`. Try it on :math:`x = t^3`, where the
# series ends by itself:

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

from derive import discrete_law, law, scale, sgd, solve, symbols, translation, tree_residual
from numerics import compile_kernel, propagate

t, h = sp.symbols("t h")
by_taylor = sum(h**k / sp.factorial(k) * sp.diff(t**3, t, k) for k in range(4))
assert sp.expand(by_taylor - (t + h) ** 3) == 0
by_taylor

# %%
# Plain SGD
# ---------
#
# Weight decay multiplies a translation charge by :math:`1 - \eta\lambda` at each step:
# :math:`(E - 1 + \eta\lambda)\,Q = 0`. Put :math:`E = e^{\eta D}` in. On an exponential
# :math:`e^{-\kappa t}` the operator :math:`D` is the number :math:`-\kappa`, so
# :math:`e^{-\eta\kappa} = 1 - \eta\lambda`, which is lesson 1's logarithm again:

plain = law(translation(), sgd(), sp.oo)
plain

# %%
# The laws of finite order are its series in η. (The paper's has one term, λ; it drops the
# others, as it counts λ as being as small as η.)

rates = [
    law(translation(), sgd(), order, keep_weight_decay_squared=True).stiffness
    for order in (1, 2, 3)
]
series = sp.series(plain.stiffness / plain.damping, symbols.lr, 0, 3).removeO()
assert sp.expand(series - rates[1]) == 0
rates

# %%
# Bernoulli's numbers in a training run
# -------------------------------------
#
# A scale charge is pushed by the gradient: :math:`(E - 1)\,Q = \eta^2 q` without weight decay,
# where :math:`q = |g|^2`. With :math:`E = e^{\eta D}`,
#
# .. math:: \dot Q = D\,Q = \frac{\eta D}{e^{\eta D} - 1}\;\eta q .
#
# The fraction is the most famous generating function of all. Its series has Bernoulli's numbers
# in it, which Jacob Bernoulli found when he summed powers of integers, and training a network
# is summing too:

pushed = law(scale(), sgd(weight_decay=False), sp.oo)
pushed

# %%
# To third order:

third = law(scale(), sgd(weight_decay=False), 3)
third

# %%
# The coefficients are :math:`B_k/k!`:

operator = third.drive_operators["gradient"]
for k in range(3):
    bernoulli = (-1) ** k * sp.bernoulli(k) / sp.factorial(k)
    assert operator.coeff(symbols.derivative, k) == bernoulli * symbols.lr ** (k + 1)

# %%
# (SymPy has :math:`B_1 = +\frac12`; the sign :math:`(-1)^k` turns it to the older convention
# :math:`-\frac12`, and leaves the rest alone.)
#
# This was one route. There is a second one, which does not know it: project the B-series of
# lesson 2 on the generator, tree by tree, and use the symmetry. They must agree, and the code
# holds one against the other:

assert tree_residual(third).is_zero

# %%
# Momentum
# --------
#
# Lesson 3's recurrence has two roots: :math:`z^2 - (1 + \beta - \eta\lambda) z + \beta = 0`. A
# root is :math:`z = e^{\eta s}`, so the exponents are :math:`s_\pm = \ln(z_\pm)/\eta`. And
# since :math:`z_+ z_- = \beta`, they sum to :math:`\ln(\beta)/\eta`: the exact damping is
# :math:`\gamma_\infty = -\ln(\beta)/(2\eta)`. The law to all orders is an oscillator again:

exact_law = law(translation(), sgd(momentum=True), sp.oo)
exact_law

# %%
# The paper's damping is :math:`\gamma = \tanh(\eta\gamma_\infty)/\eta`: right for small
# arguments, and too small otherwise.

gamma_all = exact_law.normal_form[0]
gamma_paper = law(translation(), sgd(momentum=True)).normal_form[0]
difference = gamma_paper - sp.tanh(symbols.lr * gamma_all).rewrite(sp.exp) / symbols.lr
assert sp.simplify(difference) == 0

# %%
# How much does it matter?
# ------------------------

rule = sgd(momentum=True)
hyper = {"lr": 0.1, "momentum": 0.99, "weight_decay": 5e-3}
steps = 4000
time = hyper["lr"] * np.arange(steps + 1)
exact_steps = discrete_law(translation(), rule)
run = propagate(exact_steps, np.array([1.0]), {}, steps=steps, **hyper)[:, 0]

kernel = compile_kernel(solve(law(translation(), rule)))
paper = kernel(time, initial_charge=1.0, **hyper)

# started so that the first step, which has no velocity, comes out right
kernel = compile_kernel(solve(exact_law, start="first step"))
resummed = kernel(time, initial_charge=1.0, **hyper)

figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 5.2), sharex=True)
top.plot(time, run, color="tab:orange", linewidth=3, label="the steps")
top.plot(time, paper, "k--", linewidth=1, label="first order (the paper)")
top.plot(time, resummed, color="tab:blue", linewidth=0.8, label="all orders")
top.set(ylabel="$Q/Q_0$")
top.legend()
for curve, colour, label in (
    (paper, "black", "first order"),
    (resummed, "tab:blue", "all orders"),
):
    error = abs(curve - run) + 1e-18
    bottom.semilogy(time, error, color=colour, linewidth=0.8, label=label)
bottom.set(xlabel=r"training time $t = \eta n$", ylabel="error / $Q_0$", ylim=(1e-17, 1))
bottom.legend(loc="upper right")
assert 5e-3 < abs(paper - run).max() < 1e-2
assert abs(resummed - run).max() < 1e-11
figure.tight_layout()

# %%
# *What to see: all three curves lie on one another above. Below, the paper's law is off by
# almost one percent of* :math:`Q_0`; *the law of all orders is off by rounding only, after
# 4,000 steps.*
#
# When it does not exist
# ----------------------
#
# A logarithm of a negative number is no real number. If a root :math:`z` is negative, the
# charge changes its sign at every step, and no smooth curve of this kind passes through. The
# law says itself where it lives:

exact_law.validity

# %%
# What to take along
# ------------------
#
# * :math:`E = e^{hD}` turns a recurrence into a differential equation with nothing dropped.
# * The paper's laws are its first terms. ``order=1, 2, 3, …`` or ``sympy.oo``: the same
#   function, :func:`derive.law`.
