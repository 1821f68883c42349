r"""
4. Symmetry, conservation, and how training breaks it
=====================================================

Emmy Noether's theorem says that a symmetry of a mechanical system gives a quantity that does
not change. A network has many symmetries. This lesson finds the quantities, watches gradient
flow conserve them, and then watches real training break them in a way that can be predicted.
"""

# %%
# Three tiny networks
# -------------------
#
# Each has two weights, so that the whole loss is a landscape that we can draw.
#
# * **Translation.** Two classes, softmax: only :math:`w_1 - w_2` matters. Add the same to both
#   and nothing changes.
# * **Scale.** Batch normalisation after the weights: only the direction of :math:`(w_1, w_2)`
#   matters.
# * **Rescale.** Two linear layers (or ReLU between them): only the product :math:`w_1 w_2`
#   matters. Double one and halve the other.

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
from scipy.integrate import solve_ivp

from derive import discrete_law, law, noether, rescale, scale, sgd, translation
from numerics import propagate

w1, w2 = sp.symbols("w_1 w_2", real=True)
losses = {
    "translation": sp.log(1 + sp.exp(-(w1 - w2))) + (w1 - w2) ** 2 / 20,
    "scale": 1 - (2 * w1 + w2) / sp.sqrt(5 * (w1**2 + w2**2)),
    "rescale": (w1 * w2 - 1) ** 2 / 2,
}
generators = {"translation": (1, 1), "scale": (w1, w2), "rescale": (w1, -w2)}
charges = {"translation": w1 + w2, "scale": w1**2 + w2**2, "rescale": w1**2 - w2**2}

# %%
# The **generator** :math:`X` is the direction in which the symmetry moves a point: :math:`(1,
# 1)`, or :math:`(w_1, w_2)`, or :math:`(w_1, -w_2)`. The loss does not change along it. So its
# gradient has no component along it: :math:`\langle \nabla L, X\rangle = 0` at every point.
# SymPy checks the three:

for name, L in losses.items():
    product = sum(
        sp.diff(L, w) * x for w, x in zip((w1, w2), generators[name], strict=True)
    )
    assert sp.simplify(product) == 0
    print(f"{name:12} <grad L, X> =", sp.simplify(product))

# %%
# Figure 2 of the paper: the landscape, minus the gradient (white arrows), and the lines along
# which the symmetry moves.


def field(expressions):
    return sp.lambdify((w1, w2), [sp.sympify(e) for e in expressions], "numpy")


def arrows(expressions, grid):
    values = field(expressions)(*grid)
    return [np.broadcast_to(np.asarray(v, dtype=float), grid[0].shape) for v in values]


grid = np.meshgrid(np.linspace(-2, 2, 201), np.linspace(-2, 2, 200))
coarse = np.meshgrid(np.linspace(-1.7, 1.7, 8), np.linspace(-1.7, 1.7, 8))
figure, panels = plt.subplots(1, 3, figsize=(7.6, 3.0), sharey=True)
for axes, (name, L) in zip(panels, losses.items(), strict=True):
    axes.contourf(*grid, np.clip(field([L])(*grid)[0], None, 4), 24, cmap="viridis")
    lines = arrows(generators[name], grid)
    axes.streamplot(*grid, *lines, color="0.7", density=0.5, linewidth=0.8, arrowsize=0.6)
    down = np.array(arrows([-sp.diff(L, w) for w in (w1, w2)], coarse))
    down /= np.linalg.norm(down, axis=0) + 1e-9
    axes.quiver(*coarse, *down, color="white", scale=11, width=0.012)
    axes.set(title=name, xlabel="$w_1$", aspect="equal", xlim=(-2, 2), ylim=(-2, 2))
    axes.grid(False)
panels[0].set_ylabel("$w_2$")
figure.tight_layout()

# %%
# *What to see: brighter is a larger loss. The grey lines, along which the symmetry moves a
# point, are lines of equal loss, and the white arrows of steepest descent cross them at right
# angles, everywhere.*
#
# Noether's charge
# ----------------
#
# Now let gradient flow :math:`\dot w = -\nabla L` run. Then :math:`\langle \dot w, X\rangle =
# 0` as well. If :math:`X` is the gradient of some function :math:`Q` (up to a factor), then
# :math:`\dot Q = \langle\nabla Q, \dot w\rangle = 0`: **Q does not change**. For the three
# families Q is the sum, the squared length, and the difference of squares.

for name, Q in charges.items():
    gradient = [sp.diff(Q, w) for w in (w1, w2)]
    ratio = {sp.simplify(g / x) for g, x in zip(gradient, generators[name], strict=True)}
    assert len(ratio) == 1
    print(f"{name:12} Q = {Q},  grad Q = {ratio.pop()} X")

# %%
# This is all that nmech's derivation does, with every line checked:

noether(scale())

# %%
# Figure 3 of the paper: level sets of Q, and paths of gradient flow from a few points.


def path(L, start, end=40.0):
    gradient = field([-sp.diff(L, w) for w in (w1, w2)])
    return solve_ivp(lambda t, w: gradient(*w), (0, end), start, rtol=1e-9, atol=1e-11).y


starts = [(-1.6, 0.9), (1.5, 1.2), (0.3, -1.5), (-0.5, -1.2), (0.7, 1.8)]
figure, panels = plt.subplots(1, 3, figsize=(7.6, 3.0), sharey=True)
for axes, (name, Q) in zip(panels, charges.items(), strict=True):
    levels = np.linspace(-4.5, 4.5, 19)
    height = field([Q])(*grid)[0]
    axes.contourf(*grid, height, levels, cmap="RdBu", alpha=0.5, extend="both")
    axes.contour(*grid, height, 12, colors="black", linewidths=0.4)
    for start in starts:
        w = path(losses[name], start)
        drift = np.ptp(field([Q])(*w)[0])
        assert drift < 1e-5
        axes.plot(*w, color="tab:green", linewidth=2.2)
        axes.plot(*start, "o", color="white", markeredgecolor="black", markersize=5)
    axes.set(xlabel="$w_1$", aspect="equal", xlim=(-2, 2), ylim=(-2, 2))
    axes.set_title(f"{name}: $Q = {sp.latex(Q)}$", fontsize=9)
    axes.grid(False)
panels[0].set_ylabel("$w_2$")
figure.tight_layout()

# %%
# *What to see: the green paths of gradient flow start at the white dots and stay on a level set
# (black) of Q: a line, a circle, a hyperbola. Blue is positive, red negative.*
#
# The broken law
# --------------
#
# Now real training: steps of size η, and weight decay λ. A step along the tangent of a circle
# leaves the circle, always outwards, by Pythagoras: :math:`|w - \eta g|^2 = |w|^2 +
# \eta^2|g|^2`. Weight decay pulls back in. nmech derives the balance:

broken = law(scale(), sgd())
broken

# %%
# Here is how, from the update rule on. Every line was checked by the machine when it was made:

broken.derivation

# %%
# Theorem and practice. We train the scale network with large steps and compare three things:
# the charge as it is, the conserved value, and the law fed with the measured :math:`|g|^2`.

lr, decay, steps = 0.25, 0.02, 400
gradient = field([sp.diff(losses["scale"], w) for w in (w1, w2)])
w, charge, drive = np.array([-0.6, 0.5]), [], []
rng = np.random.default_rng(0)
for _ in range(steps + 1):
    # minibatch noise respects the symmetry: it is along the circle, and larger near the origin
    noise = rng.normal() * np.array([-w[1], w[0]]) / (w @ w)
    g = np.array(gradient(*w)) + noise
    charge.append(w @ w)
    drive.append(g @ g)
    w = w - lr * (g + decay * w)
charge, drive = np.array(charge), np.array(drive[:-1])[:, None]

hyper = {"lr": lr, "weight_decay": decay}
predicted = propagate(broken, charge[:1], {"gradient": drive}, step_size=lr, **hyper)[:, 0]
exact = propagate(discrete_law(scale(), sgd()), charge[:1], {"gradient": drive}, **hyper)[
    :, 0
]
assert abs(exact / charge - 1).max() < 1e-12

time = lr * np.arange(steps + 1)
figure, axes = plt.subplots()
axes.plot(time, charge, color="tab:orange", linewidth=3, label="training")
axes.plot(
    time,
    predicted,
    "k--",
    linewidth=1.2,
    label=r"law: $\dot Q = -2\lambda Q + \eta\,|g|^2$",
)
axes.axhline(charge[0], color="tab:blue", label="gradient flow: conserved")
axes.set(xlabel=r"training time $t = \eta n$", ylabel="$Q = |w|^2$")
axes.legend()

# %%
# *What to see: the charge is anything but conserved. It grows by the finite steps until weight
# decay balances them, and the dashed law follows it all the way.* There is also a law of the
# steps themselves, with no approximation at all. It holds to rounding, and is the referee: if a
# run misses it, the record is wrong, or the symmetry.

discrete_law(scale(), sgd())

# %%
for name, curve in (("continuous", predicted), ("discrete", exact)):
    print(f"{name} law: largest relative error {abs(curve / charge - 1).max():.0e}")

# %%
# What to take along
# ------------------
#
# * Symmetry: the gradient is perpendicular to the generator. Gradient flow: the charge is
#   constant. Training: it is not, and the law of its change needs nothing of the loss but the
#   size of the gradient.
# * The same for your own symmetry: ``linear_symmetry(M)``, ``symmetry_from_action(...)``; see
#   :doc:`../how_to/own_symmetry`.
# * For a whole network: :doc:`../how_to/attach_to_a_run`.

law(translation(), sgd()), law(rescale(), sgd())
