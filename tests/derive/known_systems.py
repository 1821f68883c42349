"""Systems whose answer is known without nmech, shared by the tests; their mathematics is in tests/README.md."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property

import mpmath
import sympy as sp

from derive import Law, Symmetry, law, rescale, scale, sgd, solve, translation
from derive.symbols import ARGUMENT_NAMES, group_parameter

BY_ARGUMENT = {name: symbol for symbol, name in ARGUMENT_NAMES.items()}
"""``"lr"`` -> η and so on."""
SYMMETRIES = {"translation": translation, "scale": scale, "rescale": rescale}
RULES = {
    "plain": {},
    "momentum": {"momentum": True},
    "dampening": {"momentum": True, "dampening": True},
    "nesterov": {"momentum": True, "nesterov": True},
}


@cache
def derived(symmetry: str, rule: str, **options) -> Law:
    """``law(scale(), sgd(momentum=True))`` as ``derived("scale", "momentum")``, derived once for all tests."""
    return law(SYMMETRIES[symmetry](), sgd(**RULES[rule]), **options)


@cache
def solved(symmetry: str, rule: str, start: str = "rest"):
    return solve(derived(symmetry, rule), start=start)


def values(**numbers) -> dict[sp.Symbol, sp.Rational]:
    """``{"lr": 1/10}`` -> {η: 1/10}."""
    return {BY_ARGUMENT[name]: sp.Rational(number) for name, number in numbers.items()}


def rationals(seed: int, low: int = -9, high: int = 9) -> Iterator[Fraction]:
    """Endless small random rationals, never 0."""
    draw = random.Random(seed)
    while True:
        numerator = draw.randint(low, high)
        if numerator:
            yield Fraction(numerator, draw.randint(1, 7))


# Actions

A1, A2 = sp.symbols("theta_A1 theta_A2", real=True)
SHEAR = Symmetry("shear", (A1, A2), (A1 + group_parameter * A2, A2), sp.S.Zero)
"""A group whose generator is no gradient: invariance without a charge."""
ABOUT_A_POINT = Symmetry("scale about 1", (A1,), (group_parameter * (A1 - 1) + 1,), sp.S.One)
"""A generator with both a linear and a constant part."""
POWER_RESCALE = Symmetry("power rescale", (A1, A2), (A1 * group_parameter**2, A2 / group_parameter**3), sp.S.One)
"""Kunin et al. 2021, appendix A, with k1 = 2 and k2 = 3."""


# Losses with a symmetry


@dataclass(frozen=True)
class InvariantLoss:
    """A loss of four parameters, rational with integer coefficients, and what its symmetry is in full coordinates.

    ``signs`` is 1 on A (or A1), −1 on A2, 0 on parameters that do not move.
    """

    family: str
    loss: sp.Expr
    signs: tuple[int, ...]
    parameters: tuple[sp.Symbol, ...] = field(default=tuple(sp.symbols("x y z w", real=True)))

    @cached_property
    def symmetry(self) -> Symmetry:
        """The action on all four parameters, coordinate by coordinate."""
        s, pairs = group_parameter, list(zip(self.parameters, self.signs, strict=True))
        if self.family == "translation":
            return Symmetry(self.family, self.parameters, tuple(x + sign * s for x, sign in pairs), sp.S.Zero)
        return Symmetry(self.family, self.parameters, tuple(x * s**sign for x, sign in pairs), sp.S.One)

    @cached_property
    def gradient(self) -> Callable[[list[Fraction]], list[Fraction]]:
        """∇L, exact on fractions."""
        slopes = [sp.together(sp.diff(self.loss, x)) for x in self.parameters]
        function = sp.lambdify(self.parameters, slopes, modules=[{}])
        return lambda theta: function(*theta)


x, y, z, w = sp.symbols("x y z w", real=True)
INVARIANT_LOSSES = {
    "translation": InvariantLoss("translation", (x - y) ** 3 + (y - z) ** 2 * w + w**2 * (x - z), (1, 1, 1, 0)),
    "scale": InvariantLoss("scale", x * y / (x**2 + y**2 + z**2) + w**2 * z**2 / (x**2 + y**2 + z**2), (1, 1, 1, 0)),
    "rescale": InvariantLoss("rescale", (x * z - 1) ** 2 + x * y * z**2 * w + y * z * w**2, (1, 1, -1, 0)),
}
NOT_INVARIANT = x**2 + x * y + z**3 * w

CURVED_LOSS = x**2 / 2 + y**2 + x**2 * y / 3
"""Nonlinear, and no symmetry: where the order of a modified equation shows."""


# torch.optim.SGD in exact arithmetic


@dataclass(frozen=True)
class Instant:
    """Step n: where it starts (θ_n, v_n), its gradient g_n, and what it gives (v_{n+1}, d_n, θ_{n+1})."""

    theta: list[Fraction]
    velocity: list[Fraction]
    gradient: list[Fraction]
    next_velocity: list[Fraction]
    direction: list[Fraction]
    next_theta: list[Fraction]


def descend(theta, gradient, schedule, *, nesterov=False, velocity=None) -> Iterator[Instant]:
    """Run SGD by its definition. ``gradient`` maps (n, θ) to g; ``schedule`` lists lr, momentum, dampening, weight_decay."""
    velocity = velocity or [Fraction(0)] * len(theta)
    for n, hyper in enumerate(schedule):
        g = gradient(n, theta)
        total = [a + hyper["weight_decay"] * b for a, b in zip(g, theta, strict=True)]
        gain = 1 - hyper["dampening"]
        v = [hyper["momentum"] * a + gain * b for a, b in zip(velocity, total, strict=True)]
        d = [a + hyper["momentum"] * b for a, b in zip(total, v, strict=True)] if nesterov else v
        moved = [a - hyper["lr"] * b for a, b in zip(theta, d, strict=True)]
        yield Instant(theta, velocity, g, v, d, moved)
        theta, velocity = moved, v


def random_gradients(seed: int, size: int) -> Callable[[int, list[Fraction]], list[Fraction]]:
    """Gradients that belong to no loss: what is exact for them is exact for any."""
    draw = rationals(seed)
    return lambda n, theta: [next(draw) for _ in range(size)]


# The oscillator


def oscillator(gamma, omega, t):
    """x'' + 2γx' + ω²x = 0 from 1 at rest, and the impulse response: Kunin et al. 2021, eq. 34 and App. H, case by case."""
    gamma, omega, t = map(mpmath.mpf, (gamma, omega, t))
    decay, root = mpmath.exp(-gamma * t), mpmath.sqrt(abs(gamma**2 - omega**2))
    if gamma == omega:
        return decay * (1 + gamma * t), decay * t
    even, odd = (mpmath.cosh, mpmath.sinh) if gamma > omega else (mpmath.cos, mpmath.sin)
    impulse = decay * odd(root * t) / root
    return decay * even(root * t) + gamma * impulse, impulse


REGIMES = {
    "overdamped": (sp.Rational(5, 2), sp.Rational(3, 2)),
    "slightly overdamped": (1 + sp.Rational(1, 10**12), sp.Integer(1)),
    "critical": (sp.Rational(4, 3), sp.Rational(4, 3)),
    "slightly underdamped": (sp.Integer(1), 1 + sp.Rational(1, 10**12)),
    "underdamped": (sp.Rational(1, 3), sp.Rational(7, 2)),
    "no stiffness": (sp.Rational(3, 2), sp.Integer(0)),
}
"""Name -> (γ, ω)."""


def hyper_for(gamma, omega, *, degree: int) -> dict[str, sp.Rational]:
    """lr, momentum, weight_decay at which the heavy ball's law has these rates: γ = (1−β)/(η(1+β)), ω² = 2pλ/(η(1+β))."""
    momentum = sp.Rational(1, 3)
    lr = (1 - momentum) / (gamma * (1 + momentum))
    return {"lr": lr, "momentum": momentum, "weight_decay": omega**2 * lr * (1 + momentum) / (2 * degree)}
