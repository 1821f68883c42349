r"""
1. What a modified equation is
==============================

Training a network is a sequence of steps. A differential equation is much easier to think about
than a sequence. So one writes

.. math:: \dot\theta = -\nabla L(\theta)

and hopes that the steps :math:`\theta_{n+1} = \theta_n - \eta \nabla L(\theta_n)` follow its
solution. They nearly do. This lesson is about the word *nearly*: there is another equation,
close to this one, that they follow much better. It is called the **modified equation**, and
finding it is called backward error analysis.
"""

# %%
# One number first
# ----------------
#
# Take :math:`\dot x = -x`. Its solution is :math:`e^{-t}x_0`. Euler's method, with steps of
# length :math:`h`, does :math:`x_{n+1} = x_n - h x_n = (1-h)\,x_n`, so after :math:`n` steps,
# that is at the time :math:`t = nh`,
#
# .. math:: x_n = (1-h)^{t/h} x_0 = e^{-\kappa t} x_0, \qquad \kappa = -\frac{\ln(1-h)}{h}.
#
# This is an exponential too! The steps lie *exactly* on a solution of :math:`\dot x = -\kappa
# x`. The method does not solve our equation wrongly; it solves another equation rightly. How
# far is that from ours?

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
from scipy.integrate import solve_ivp

h = sp.Symbol("h", positive=True)
kappa = -sp.log(1 - h) / h
sp.series(kappa, h, 0, 4)

# %%
# The modified equation is a power series in the step: our equation first, then corrections.
#
# Any equation
# ------------
#
# Now :math:`\dot y = f(y)`, and Euler's step :math:`y + h f(y)`. Say the steps lie on a
# solution of :math:`\dot y = f(y) + h\, f_2(y) + \dots` with :math:`f_2` unknown. Taylor's
# theorem says where that solution is after the time :math:`h`:
#
# .. math:: y + h\dot y + \tfrac{h^2}{2}\ddot y + \dots = y + h f + h^2\left(f_2 + \tfrac12 f' f\right) + \dots
#
# since :math:`\ddot y = f'(y)\,\dot y`. Euler's step has no :math:`h^2` term. So :math:`f_2 =
# -\tfrac12 f' f`. That is the whole idea; the next lesson does the next order by hand. The code
# goes as far as you like. Below, :math:`F(\bullet)` is :math:`f`, and :math:`F([\bullet])` is
# :math:`f'f`:

from derive import runge_kutta

runge_kutta("euler").modified_equation(2)

# %%
# Check it on :math:`f = -x`, where :math:`f' f = x`. The modified equation is then :math:`\dot
# x = -(1 + h/2)\,x`, the first two terms of :math:`\kappa`.
#
# Going round in circles
# ----------------------
#
# Figure 7 of the paper. The field :math:`f(x, y) = (-y, x)` turns every point around the
# origin: :math:`f = Jx` with :math:`J` a quarter turn. The solution is a circle. Here :math:`f'
# f = J J x = -x`, so the modified equation is
#
# .. math:: \dot x = J x + \tfrac{h}{2}\, x ,
#
# a circle with a push outwards. We take the coefficient from the code, not from this text.

J = np.array([[0.0, -1.0], [1.0, 0.0]])
step, start = 0.1, np.array([1.0, 0.0])
series = runge_kutta("euler").modified_equation(2)
modified = float(series["t"]) * J + step * float(series["[t]"]) * J @ J
assert np.allclose(modified, J + step / 2 * np.eye(2))

dots = [start]
for _ in range(180):
    dots.append(dots[-1] + step * J @ dots[-1])
dots = np.array(dots)
times = np.linspace(0, 18, 1500)


def follow(A):
    """The solution of x' = Ax."""
    return solve_ivp(lambda t, x: A @ x, (0, 18), start, t_eval=times, rtol=1e-10).y


figure, axes = plt.subplots(figsize=(5.2, 5.2))
axes.plot(*dots.T, "k.", markersize=4, label="steps of Euler's method, $h = 0.1$")
axes.plot(*follow(J), color="tab:blue", label=r"the equation: $\dot x = Jx$")
axes.plot(
    *follow(modified), color="tab:red", label=r"modified: $\dot x = Jx + \frac{h}{2}x$"
)
axes.plot(*start, "o", markerfacecolor="white", markeredgecolor="black", zorder=5)
axes.set(xlabel="$x$", ylabel="$y$", aspect="equal")
axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12))

# %%
# *What to see: the dots leave the blue circle at once and stay on the red spiral for three
# turns.* In fact the radius of the dots grows by the factor :math:`\sqrt{1+h^2}` at each step,
# at the rate :math:`\ln(1+h^2)/(2h) = h/2 - h^3/4 + \dots`; the red curve has the first term.

radius = np.linalg.norm(dots, axis=1)
assert np.allclose(np.log(radius), np.log1p(step**2) / (2 * step) * step * np.arange(181))

# %%
# How much better?
# ----------------
#
# We measure the distance between the steps and each curve at the time :math:`t = 1` for smaller
# and smaller steps. A distance of about :math:`C h^p` is a line of slope :math:`p` in doubly
# logarithmic axes.

sizes = 1 / np.array([8, 16, 32, 64, 128])


def distance(order, size):
    """From Euler's steps at t = 1 to the modified flow with ``order`` terms."""
    series = runge_kutta("euler").modified_equation(order)
    tall = ["t", "[t]", "[[t]]"][
        :order
    ]  # f'' = 0 for a linear field: only tall trees count
    powers = [np.linalg.matrix_power(J, n + 1) for n in range(order)]
    A = sum(float(series[tree]) * size**n * powers[n] for n, tree in enumerate(tall))
    end = solve_ivp(lambda t, x: A @ x, (0, 1), start, rtol=1e-12, atol=1e-14).y[:, -1]
    steps = np.linalg.matrix_power(np.eye(2) + size * J, round(1 / size)) @ start
    return np.linalg.norm(steps - end)


figure, axes = plt.subplots()
for order, colour in [(1, "tab:blue"), (2, "tab:red"), (3, "tab:green")]:
    errors = np.array([distance(order, size) for size in sizes])
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.1
    axes.loglog(
        sizes,
        errors,
        "o-",
        color=colour,
        label=f"{order} term{'s' * (order > 1)}: slope {slope:.2f}",
    )
axes.set(xlabel="step size $h$ (time)", ylabel="distance to the steps at $t = 1$")
axes.legend()

# %%
# *What to see: each further term of the modified equation raises the slope by one. Halve the
# step and the green distance falls to an eighth.*
#
# Gradient descent
# ----------------
#
# Now :math:`f = -\nabla L = -g`. The derivative of :math:`f` is minus the matrix :math:`H` of
# second derivatives, so :math:`-\frac{\eta}{2} f'f = -\frac{\eta}{2} H g`. And :math:`Hg` is
# itself a gradient, of :math:`\frac12|g|^2`. So gradient descent follows, to this order, the
# gradient flow of *another loss*:
#
# .. math:: \widetilde L = L + \frac{\eta}{4} |\nabla L|^2 .
#
# It prefers places where the gradient is small. nmech derives it from the update rule, step by
# step, and checks every step:

from derive import modified_loss, sgd

modified_loss(sgd(weight_decay=False))

# %%
# With momentum the steps remember their past, and the natural equation has a second derivative.
# This is the paper's *modified flow*:

from derive import modified_flow, symbols

flow = modified_flow(sgd(momentum=True, weight_decay=False))
flow

# %%
# Figure 4 of the paper: both on the quadratic bowl :math:`L(w) = \frac12 w^\top A w`.

A = np.array([[2.5, -1.5], [-1.5, 2.5]])
w0 = np.array([2.0, 0.5])


def descend(lr, momentum, steps):
    """SGD on the bowl, by its definition."""
    w, v, path = w0.copy(), np.zeros(2), [w0]
    for _ in range(steps):
        v = momentum * v + A @ w
        w = w - lr * v
        path.append(w)
    return np.array(path)


def first_order(matrix, end):
    times = np.linspace(0, end, 600)
    return solve_ivp(lambda t, w: -matrix @ w, (0, end), w0, t_eval=times, rtol=1e-9).y


def second_order(mass, damping, end):
    def field(t, state):
        return np.concatenate([state[2:], (-A @ state[:2] - damping * state[2:]) / mass])

    start = np.concatenate([w0, np.zeros(2)])  # at rest
    return solve_ivp(field, (0, end), start, t_eval=np.linspace(0, end, 600), rtol=1e-9).y[
        :2
    ]


figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4.2), sharey=True)
lr = 0.1
left.plot(*descend(lr, 0, 60).T, "k.", label="steps")
left.plot(*first_order(A, 6), color="tab:blue", label=r"gradient flow of $L$")
left.plot(
    *first_order(A + lr / 2 * A @ A, 6),
    color="tab:red",
    label=r"of $L + \frac{\eta}{4}|\nabla L|^2$",
)
left.set(title=r"gradient descent, $\eta = 0.1$", ylabel="$w_2$")

lr, beta = 0.1, 0.9
values = {symbols.lr: lr, symbols.momentum: beta}
damping, mass = (float(c.subs(values)) for c in flow.time_coefficients)
right.plot(*descend(lr, beta, 120).T, "k.", label="steps")
right.plot(
    *first_order(A / damping, 12), color="tab:blue", label=r"$(1-\beta)\dot w = -\nabla L$"
)
right.plot(*second_order(mass, damping, 12), color="tab:red", label="modified flow")
right.set(title=r"momentum, $\eta = 0.1$, $\beta = 0.9$")

x = np.linspace(-2, 2.4, 80)
plane = np.array(np.meshgrid(x, x))
bowl = np.einsum("iab,ij,jab->ab", plane, A, plane) / 2
for axes in (left, right):
    axes.contour(*plane, bowl, 12, colors="0.8", linewidths=0.6)
    axes.set(xlabel="$w_1$")
    axes.grid(False)
    axes.legend(loc="lower right", fontsize=8)
figure.tight_layout()

# %%
# *What to see, left: the dots come down the steep direction a little faster than the blue curve,
# and the red curve comes with them. Right: blue creeps in along the same path as without
# momentum; the dots swing past the bottom and spiral in, and the red curve with them.*
#
# Try it: :doc:`../sliders` has these pictures with the step size and the momentum in your hand.
#
# What to take along
# ------------------
#
# * A method with finite steps follows, almost exactly, a *modified* equation: the original one
#   plus a series in the step.
# * For gradient descent the first correction is a change of the loss, for momentum it is a
#   mass.
# * Each term more gains one power of the step, as long as the step is small compared with what
#   the field does (see :doc:`../sharp_bits`: the series is not always convergent).
