r"""
7. Every object shows itself
============================

In a Jupyter notebook the last value of a cell is displayed, and each object of nmech displays
its mathematics. Here is one of each kind: the whole vocabulary, in the order of the sentence
that nmech follows, *symmetry + update rule → equation of learning → law of the charge →
closed-form solution*.
"""

# %%
# Symmetries
# ----------
# A family, what it moves, and its charge:

import sympy as sp

import derive
from derive.schemes import lax_wendroff

# sphinx_gallery_thumbnail_path = "figures/momentum.png"
derive.scale()

# %%
# One of your own, from its action:

a = sp.Symbol("a", positive=True)
x, y = sp.symbols("x y", real=True)
derive.symmetry_from_action((x, y), (a * x, y / a**2), a)

# %%
# All of a linear layer's hidden basis changes:

derive.general_linear(2)

# %%
# What invariance forces on the gradient (Kunin et al. 2021, eq. 5), and Noether's argument, a
# chain of checked steps:

(
    derive.scale().gradient_identity,
    derive.relations(derive.scale())[1],
    derive.noether(derive.scale()),
)

# %%
# One step alone:

derive.noether(derive.scale()).steps[0]

# %%
# Update rules and methods
# ------------------------

rule = derive.sgd(momentum=True)
derive.gradient_flow(), rule

# %%
derive.runge_kutta("rk4")

# %%
derive.partitioned("stormer_verlet")

# %%
beta = sp.Symbol("beta")
derive.heavy_ball(beta), derive.nesterov(beta)

# %%
# Trees, B-series and modified equations
# --------------------------------------

derive.rooted_trees(4)

# %%
euler = derive.runge_kutta("euler").modified_equation(3)
euler, derive.split_gradient(euler)

# %%
derive.modified_loss(derive.sgd()), derive.modified_flow(rule)

# %%
derive.stochastic_modified_equation(derive.sgd())

# %%
derive.epoch_loss(4)

# %%
scheme = lax_wendroff()
scheme, derive.modified_pde(scheme, 4)

# %%
# Laws and solutions
# ------------------

law = derive.law(derive.scale(), rule)
law, derive.solve(law)

# %%
derive.discrete_law(derive.scale(), rule)

# %%
derive.ito_law(derive.scale(), derive.sgd())

# %%
# How fast the charge changes along a B-series: for Euler's method by the square of the
# gradient, and more.

derive.charge_rate(derive.scale(), derive.sgd(weight_decay=False), 2)

# %%
# Verdicts
# --------
#
# On a formula that somebody typed: right, or not, and then where (lesson 8).

derive.check(
    r"\frac{d}{dt}|\theta|^2 = -\lambda|\theta|^2 + \eta|g|^2",
    derive.law(derive.scale(), derive.sgd()),
)

# %%
# On paper
# --------
#
# What is shown can be taken away, as text, LaTeX, Markdown or SymPy source:

print(derive.render(derive.solve(derive.law(derive.translation(), derive.sgd())), "text"))
