r"""
2. B-series by hand, to order three
===================================

In the first lesson Taylor's theorem gave one correction. The next one needs some bookkeeping,
and the bookkeeping has a beautiful shape: trees. Once it is drawn, a machine can carry it to
any order, in exact fractions.
"""

# %%
# Derivatives of a solution
# -------------------------
#
# Let :math:`\dot y = f(y)`, with :math:`y` a vector. Differentiate by the chain rule:
#
# .. math::
#
#    \dot y &= f \\
#    \ddot y &= f' f \\
#    \dddot y &= f''(f, f) + f' f' f .
#
# Here :math:`f'` is the matrix of first derivatives, a linear map that eats one vector;
# :math:`f''` eats two. Each expression is one way to plug copies of :math:`f` into derivatives
# of :math:`f`. Draw a dot for each :math:`f`, and a line to each vector that it eats: a
# **rooted tree**. One dot is :math:`f`. A dot with one child is :math:`f'f`. A dot with two
# children is :math:`f''(f, f)`; a chain of three is :math:`f'f'f`.

import matplotlib.pyplot as plt
import sympy as sp

from derive import RootedTree, rooted_trees, runge_kutta


def place(tree, depth=0, left=0.0):
    """(width, position of the root, lines) of a tree drawn upwards from its root."""
    if not tree.children:
        return 1.0, (left + 0.5, depth), []
    lines, roots, at = [], [], left
    for child in tree.children:
        width, root, inner = place(child, depth + 1, at)
        lines += inner
        roots.append(root)
        at += width
    mine = (sum(x for x, _ in roots) / len(roots), depth)
    return at - left, mine, lines + [(mine, root) for root in roots]


def draw(axes, tree):
    _, root, lines = place(tree)
    for a, b in lines:
        axes.plot(*zip(a, b, strict=True), color="0.4", zorder=1)
    dots = {root, *(point for line in lines for point in line)}
    axes.scatter(*zip(*dots, strict=True), color="black", s=35, zorder=2)
    axes.scatter(*root, facecolor="white", edgecolor="black", s=60, zorder=3)
    middle = root[0]
    axes.set(xlim=(middle - 1.7, middle + 1.7), ylim=(-0.4, 3.4), aspect="equal")
    axes.axis("off")


trees = [tree for order in (1, 2, 3, 4) for tree in rooted_trees(order)]
names = [
    "$f$",
    "$f'f$",
    "$f'f'f$",
    "$f''(f,f)$",
    "$f'f'f'f$",
    "$f'f''(f,f)$",
    "$f''(f'f,f)$",
    "$f'''(f,f,f)$",
]
texts = ["t", "[t]", "[[t]]", "[t,t]", "[[[t]]]", "[[t,t]]", "[[t],t]", "[t,t,t]"]
named = {RootedTree.parse(text): name for text, name in zip(texts, names, strict=True)}
assert set(named) == set(trees)

figure, grid = plt.subplots(2, 4, figsize=(7.2, 4.4))
for axes, tree in zip(grid.flat, trees, strict=True):
    draw(axes, tree)
    axes.set_title(f"{named[tree]}\nσ = {tree.symmetry},  γ = {tree.density}", fontsize=9)

# %%
# *What to see: the eight trees with up to four dots, the root (white) at the bottom, and the
# expression that each stands for.* Two numbers go with a tree: its symmetry σ, the number of
# ways to swap equal branches, and its density γ, the product of the sizes of all the subtrees.
# In Taylor's series of the exact solution a tree has the coefficient :math:`1/\gamma`, divided
# by σ when the term is written down:
#
# .. math:: y(h) = y + \sum_{\text{trees } \tau} \frac{h^{|\tau|}}{\sigma(\tau)}\, \frac{1}{\gamma(\tau)}\, F(\tau)(y).

from derive.bseries import exact_flow

exact_flow(3)

# %%
# The chain rule above says the same: :math:`\dddot y/6 = \frac16 f''(f,f) + \frac16 f'f'f`.
# (:math:`\sigma\gamma = 2\cdot 3` and :math:`1 \cdot 6`.) A sum like this, with any
# coefficients in place of :math:`1/\gamma`, is a **B-series**.
#
# The modified equation, by hand
# ------------------------------
#
# We look for :math:`\dot y = \tilde f = f + h f_2 + h^2 f_3`, whose solution at the time
# :math:`h` is Euler's step :math:`y + hf`. Take one dimension, so that SymPy can do the chain
# rule: :math:`\ddot y = \tilde f' \tilde f` and so on.

y, h = sp.symbols("y h")
f = sp.Function("f")(y)
f2, f3 = (sp.Function(name)(y) for name in ("f_2", "f_3"))
tilde = f + h * f2 + h**2 * f3

first = tilde
second = sp.diff(first, y) * tilde
third = sp.diff(second, y) * tilde
flow = sp.expand(y + h * first + h**2 / 2 * second + h**3 / 6 * third)
mismatch = flow - (y + h * f)

# %%
# The power :math:`h^2` of the mismatch has to vanish. It is linear in the unknown :math:`f_2`:

condition = mismatch.coeff(h, 2)
f2_found = sp.solve(condition, f2)[0]
sp.Eq(f2, f2_found)

# %%
# The power :math:`h^3`, with this :math:`f_2` put in, is linear in :math:`f_3`:

condition = mismatch.coeff(h, 3).subs(f2, f2_found).doit()
f3_found = sp.expand(sp.solve(condition, f3)[0])
sp.Eq(f3, f3_found)

# %%
# That is :math:`\frac{1}{12} f''(f,f) + \frac13 f'f'f`. The trees say the same, and hold in any
# dimension:

euler = runge_kutta("euler").modified_equation(3)
euler

# %%
# The numbers stored with a tree do not have the :math:`1/\sigma` in them, as is the custom
# (Hairer, Lubich and Wanner, *Geometric Numerical Integration*, chapter III). So the fork has
# 1/6, and 1/6 divided by its σ = 2 is our 1/12.

assert euler["[t]"] == sp.Rational(-1, 2)
assert euler["[[t]]"] == sp.Rational(1, 3)
assert euler["[t,t]"] / RootedTree.parse("[t,t]").symmetry == sp.Rational(1, 12)
f_prime, f_second = f.diff(y), f.diff(y, 2)
by_trees = euler["[[t]]"] * f_prime**2 * f + euler["[t,t]"] / 2 * f_second * f**2
assert sp.expand(by_trees - f3_found) == 0

# %%
# Another method, another field
# -----------------------------
#
# The midpoint rule steps with the slope halfway. Its first correction comes with :math:`h^2`:
# it is a method of order two.

midpoint = runge_kutta("midpoint")
assert midpoint.order == 2
midpoint.modified_equation(3)

# %%
# And momentum? It is a rule with two past points, and its slow motion is a B-series as well,
# with β as a letter:

from derive import heavy_ball

beta = sp.Symbol("beta")
heavy_ball(beta).slow_flow(3)

# %%
# At β = 0 it is Euler's method again:

slow = heavy_ball(beta).slow_flow(3)
at_zero = [sp.simplify(value.subs(beta, 0)) for value in slow.values()]
assert at_zero == euler.values()

# %%
# A warning that saves years
# --------------------------
#
# For gradient descent, :math:`f = -\nabla L`. In lesson 1 the first correction was again the
# gradient of a function. Is the second one, :math:`\frac13 H^2 g + \frac{1}{12} \nabla^3L[g,
# g]`? In general it is not:

from derive import gradient_order, split_gradient

print("gradient of a function up to order", gradient_order(euler))
split_gradient(euler)

# %%
# This is the part that *is* a gradient; :math:`\frac16 H^2g` is left over. There is no
# "modified loss at second order" of gradient descent, and nmech refuses to make one up.
#
# Why trees are worth it
# ----------------------
#
# The number of expressions grows fast; by hand one stops at order three or four.

print([len(rooted_trees(order)) for order in range(1, 11)])

# %%
# What to take along
# ------------------
#
# * A tree is one way to plug :math:`f` into its own derivatives. A B-series is a number for
#   each tree.
# * Methods, exact solutions and modified equations are all B-series. To find one from another
#   is to match coefficients.
# * ``runge_kutta(...)``, ``heavy_ball(...)`` and ``nesterov(...)`` give theirs to any order in
#   exact fractions.
