"""One-parameter symmetries of a loss: action, generator, Noether charge, and what invariance says about ∇L and ∇²L.

Everything is obtained from the action ψ(θ, s) by differentiation. Parameters are written by *representative
coordinates*: one coordinate ``theta_A`` stands for a block of parameters A of any size on which the group acts alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import sympy as sp

from derive import inner_product as ip
from derive.equality import vanishes
from derive.symbols import group_parameter as s


class SymmetryError(ValueError):
    """The action given is not a one-parameter group of the kind that this toolkit covers."""


@dataclass(frozen=True)
class Identity:
    """What invariance forces, in two writings of one statement.

    Parameters
    ----------
    name
        Which derivative of the invariance it is.
    coordinates
        Rows of an equation ``row = 0`` in representative coordinates, with L an undefined function: obtained by
        differentiating L(ψ(θ, s)).
    word, value
        The same, free of coordinates: ``word = value``, a rewrite rule for :mod:`derive.inner_product`.
    source
        The equation's number in Kunin et al. 2021.
    """

    name: str
    coordinates: tuple[sp.Expr, ...]
    word: sp.Expr
    value: sp.Expr
    source: str

    def _repr_latex_(self) -> str:
        rows = r" \\ ".join(f"{sp.latex(row)} &= 0" for row in self.coordinates)
        return rf"$\begin{{aligned}}{rows}\end{{aligned}}$"


@dataclass(frozen=True)
class Symmetry:
    """A one-parameter group acting affinely on parameters: ψ(θ, s), identity element, generator X(θ) = Mθ + c, charge Q.

    Parameters
    ----------
    name
        ``"translation"``, ``"scale"``, ``"rescale"`` or a name of your own.
    coordinates
        Representative coordinates, one for each block of parameters that moves.
    image
        ψ of each coordinate: an expression in the coordinates and the group parameter ``s``.
    identity
        The value of ``s`` at which ψ is the identity: 1 for a multiplicative group, 0 for an additive one.

    Raises
    ------
    SymmetryError
        If ψ(θ, identity) ≠ θ, if ψ is not a group (ψ_s∘ψ_r ≠ ψ_{sr}, or ψ_{s+r}), if its generator is not affine or is 0.

    Examples
    --------
    The generator of scale is θ itself, its charge the squared norm (Kunin et al. 2021, eq. 5 and 12):

    >>> scale().generator, scale().charge
    ((theta_A,), theta_A**2)
    """

    name: str
    coordinates: tuple[sp.Symbol, ...]
    image: tuple[sp.Expr, ...]
    identity: sp.Expr

    def __post_init__(self) -> None:
        if len(self.coordinates) != len(self.image) or not self.coordinates:
            raise SymmetryError(
                f"image: expected one expression for each of the {len(self.coordinates)} coordinates, got {self.image}"
            )
        names = [x.name for x in self.coordinates]
        if len(set(names)) != len(names) or not all(name.isidentifier() for name in names):
            raise SymmetryError(f"coordinates: expected different symbols whose names are identifiers, got {names}")
        if self._differs(self._act(self.identity), self.coordinates):
            raise SymmetryError(f"image: expected the identity at {s} = {self.identity}, got {self._act(self.identity)}")
        self._check_group_law()
        self._check_affine()

    def _act(self, element: sp.Expr, on: tuple[sp.Expr, ...] | None = None) -> tuple[sp.Expr, ...]:
        values = dict(zip(self.coordinates, on or self.coordinates, strict=True)) | {s: element}
        return tuple(x.subs(values, simultaneous=True) for x in self.image)

    @staticmethod
    def _differs(left: tuple[sp.Expr, ...], right: tuple[sp.Expr, ...]) -> bool:
        return not all(vanishes(a - b) for a, b in zip(left, right, strict=True))

    def _check_group_law(self) -> None:
        a, b = sp.symbols("s_1 s_2", positive=True)
        product = a * b if self.identity == 1 else a + b
        twice, once = self._act(a, on=self._act(b)), self._act(product)
        if any(not vanishes((x - y).expand(trig=True)) for x, y in zip(twice, once, strict=True)):
            raise SymmetryError(
                f"image: expected a group with identity {self.identity} (ψ_a∘ψ_b = ψ_({product})), got {self.image}, "
                "which is not; a translation needs identity 0, a scaling identity 1"
            )

    def _check_affine(self) -> None:
        if any(entry.free_symbols & set(self.coordinates) for entry in self.linear_part):
            raise SymmetryError(f"image: expected an action with an affine generator Mθ + c, got generator {self.generator}")
        if self.linear_part.is_zero_matrix and self.constant_part.is_zero_matrix:
            raise SymmetryError("image: expected an action that moves the parameters, got the identity for every s")

    @cached_property
    def generator(self) -> tuple[sp.Expr, ...]:
        """X(θ) = ∂_s ψ(θ, s) at the identity, in representative coordinates (Kunin et al. 2021, section 3)."""
        return tuple(sp.diff(x, s).subs(s, self.identity) for x in self.image)

    @cached_property
    def linear_part(self) -> sp.ImmutableMatrix:
        """M = ∂X/∂θ, the linear part of the generator."""
        return sp.ImmutableMatrix(sp.Matrix(self.generator).jacobian(sp.Matrix(self.coordinates)))

    @cached_property
    def constant_part(self) -> sp.ImmutableMatrix:
        """c = X(0), the constant part of the generator."""
        return sp.ImmutableMatrix([x.subs(dict.fromkeys(self.coordinates, 0)) for x in self.generator])

    @property
    def degree(self) -> int:
        """Degree p of the charge: 1 for a translation (∇Q = X), 2 as soon as X is linear in θ (∇Q = 2X)."""
        return 1 if self.linear_part.is_zero_matrix else 2

    @cached_property
    def charge(self) -> sp.Expr:
        """Q(θ) with ∇Q = pX, Q(0) = 0: what gradient flow conserves (Kunin et al. 2021, eq. 10–13).

        Raises
        ------
        SymmetryError
            If M is not symmetric: then X is not a gradient and there is no charge.
        """
        if not self.linear_part.is_symmetric():
            raise SymmetryError(f"{self.name}: no charge exists, the generator {self.generator} is not a gradient field")
        theta = sp.Matrix(self.coordinates)
        quadratic = (theta.T * self.linear_part * theta)[0] * self.degree / 2
        return sp.expand(quadratic + self.degree * (self.constant_part.T * theta)[0])

    @property
    def generator_word(self) -> sp.Expr:
        """X as a coordinate-free vector: ``c``, ``M*theta``, or their sum."""
        constant = 0 if self.constant_part.is_zero_matrix else ip.constant_part
        return constant + (0 if self.linear_part.is_zero_matrix else ip.linear_part * ip.theta)

    @property
    def linear_word(self) -> sp.Expr:
        """M as a coordinate-free operator: ``M``, or 0 for a translation."""
        return sp.S.Zero if self.linear_part.is_zero_matrix else ip.linear_part

    @cached_property
    def gradient_identity(self) -> Identity:
        """⟨g, X⟩ = 0, by differentiating L(ψ(θ, s)) = L(θ) once in s (Kunin et al. 2021, eq. 1, 3, 5, 7)."""
        row = self._invariance()
        loss = sp.Function("L")(*self.coordinates)
        claimed = sum(loss.diff(x) * v for x, v in zip(self.coordinates, self.generator, strict=True))
        return Identity("gradient", _agreeing((row,), (claimed,)), ip.Inner(ip.gradient, ip.generator), sp.S.Zero, "1")

    @cached_property
    def hessian_identity(self) -> Identity:
        """HX + Mᵀg = 0, by differentiating once more in θ (Kunin et al. 2021, eq. 2, 4, 6, 8)."""
        rows = tuple(sp.diff(self._invariance(), x).doit() for x in self.coordinates)
        loss = sp.Function("L")(*self.coordinates)
        grad = sp.Matrix([loss.diff(x) for x in self.coordinates])
        claimed = grad.jacobian(self.coordinates) * sp.Matrix(self.generator) + self.linear_part.T * grad
        transposed = self.linear_word if self.linear_part.is_symmetric() else ip.linear_part_transposed
        value = -transposed * ip.gradient
        return Identity("hessian", _agreeing(rows, tuple(claimed)), ip.hessian * ip.generator, value, "2")

    def _invariance(self) -> sp.Expr:
        """d/ds L(ψ(θ, s)) at the identity, with L an undefined function of the coordinates."""
        moved = sp.Function("L")(*self.image)
        return sp.diff(moved, s).subs(s, self.identity).doit()

    def form_latex(self, letter: str) -> str:
        r"""The bilinear form ⟨x, x⟩_M (for a translation ⟨x, 1⟩) as a reader writes it, for the vector ``letter``.

        >>> rescale().form_latex("g"), translation().form_latex(r"\theta")
        ('|g_{A1}|^2 - |g_{A2}|^2', '\\langle \\theta_{A}, 1\\rangle')
        """
        names = {x: f"{letter}_{{{x.name.partition('_')[2] or x.name}}}" for x in self.coordinates}
        text = ""
        for monomial, coefficient in sp.Poly(self.charge, *self.coordinates).terms():
            factors = [x for x, power in zip(self.coordinates, monomial, strict=True) for _ in range(power)]
            text += _term_latex(coefficient, [names[x] for x in factors])
        return text.removeprefix(" + ").replace(" - ", "-", 1) if text.startswith(" - ") else text.removeprefix(" + ")

    def _repr_latex_(self) -> str:
        arrows = r",\; ".join(
            rf"{sp.latex(x)} \mapsto {sp.latex(y)}" for x, y in zip(self.coordinates, self.image, strict=True)
        )
        return rf"${arrows},\quad Q = {self.form_latex(chr(92) + 'theta')}$"


def _agreeing(derived: tuple[sp.Expr, ...], claimed: tuple[sp.Expr, ...]) -> tuple[sp.Expr, ...]:
    """``derived``, after checking that the coordinate-free writing says the same."""
    if not all(vanishes(a - b) for a, b in zip(derived, claimed, strict=True)):
        raise SymmetryError(f"identity: differentiating the action gives {derived}, the vector form {claimed}")
    return derived


def _term_latex(coefficient: sp.Expr, factors: list[str]) -> str:
    sign = " - " if coefficient.could_extract_minus_sign() else " + "
    size = sp.latex(abs(coefficient)) if abs(coefficient) != 1 else ""
    if len(factors) == 1:
        return rf"{sign}{size}\langle {factors[0]}, 1\rangle"
    first, second = factors
    return f"{sign}{size}|{first}|^2" if first == second else rf"{sign}{size}\langle {first}, {second}\rangle"


@cache
def translation() -> Symmetry:
    """θ_A ↦ θ_A + s: the logits' symmetry before softmax. Charge ⟨θ_A, 1⟩ (Kunin et al. 2021, eq. 3, 11).

    >>> translation().generator, translation().charge, translation().degree
    ((1,), theta_A, 1)
    """
    a = sp.Symbol("theta_A", real=True)
    return Symmetry("translation", (a,), (a + s,), sp.S.Zero)


@cache
def scale() -> Symmetry:
    """θ_A ↦ sθ_A: the weights' symmetry before batch norm. Charge |θ_A|² (Kunin et al. 2021, eq. 5, 12).

    >>> scale().hessian_identity.coordinates
    (theta_A*Derivative(L(theta_A), (theta_A, 2)) + Derivative(L(theta_A), theta_A),)
    """
    a = sp.Symbol("theta_A", real=True)
    return Symmetry("scale", (a,), (s * a,), sp.S.One)


@cache
def rescale() -> Symmetry:
    """θ_A1 ↦ sθ_A1, θ_A2 ↦ θ_A2/s: in- and outgoing weights of a homogeneous unit. Charge |θ_A1|² − |θ_A2|² (eq. 7, 13).

    >>> rescale().generator, rescale().charge
    ((theta_A1, -theta_A2), theta_A1**2 - theta_A2**2)
    """
    a, b = sp.symbols("theta_A1 theta_A2", real=True)
    return Symmetry("rescale", (a, b), (s * a, b / s), sp.S.One)
