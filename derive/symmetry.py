"""One-parameter symmetries of a loss: action, generator, Noether charge, and what invariance says about ∇L and ∇²L.

Everything is obtained from the action ψ(θ, s) by differentiation. Parameters are written by *representative
coordinates*: one coordinate ``theta_A`` stands for a block of parameters A of any size on which the group acts alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

import sympy as sp

from derive import inner_product as ip
from derive.equality import refutes, vanishes
from derive.matrix_flow import FlowEntry
from derive.symbols import group_parameter as s

Family = Literal["translation", "scale", "rescale", "power rescale", "rotation", "linear", "affine"]


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
        ``"translation"``, ``"scale"``, ``"rescale"`` or a name of your own. What it is, whatever its name, is its
        :attr:`family`.
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
        if self.identity not in (0, 1):
            raise SymmetryError(f"identity: expected 0 or 1, got {self.identity}; symmetry_from_action takes any parameter")
        if not is_unmoved(self._act(self.identity), self.coordinates):
            raise SymmetryError(f"image: expected the identity at {s} = {self.identity}, got {self._act(self.identity)}")
        self._check_group_law()
        self._check_affine()

    def _act(self, element: sp.Expr, on: tuple[sp.Expr, ...] | None = None) -> tuple[sp.Expr, ...]:
        values = dict(zip(self.coordinates, on or self.coordinates, strict=True)) | {s: element}
        return tuple(x.subs(values, simultaneous=True) for x in self.image)

    def _check_group_law(self) -> None:
        a, b = sp.symbols("s_1 s_2", positive=True)
        product = a * b if self.identity == 1 else a + b
        twice, once = self._act(a, on=self._act(b)), self._act(product)
        gaps = [sp.expand(x - y, trig=True) for x, y in zip(twice, once, strict=True)]
        unproved = [gap for gap in gaps if not vanishes(gap)]
        if unproved:
            refuted = any(refutes(gap) for gap in unproved if not gap.atoms(sp.core.function.AppliedUndef))
            raise SymmetryError(
                f"image: expected a group with identity {self.identity} (ψ_a∘ψ_b = ψ_({product})), got {self.image}, "
                + ("which is not" if refuted else "which could not be proved to be one")
                + "; a translation needs identity 0, a scaling identity 1; the group of X = Mθ + c is linear_symmetry(M, c)"
            )

    def _check_affine(self) -> None:
        if any(entry.free_symbols & set(self.coordinates) for entry in self.linear_part):
            raise SymmetryError(
                f"image: expected an action with an affine generator Mθ + c, got generator {self.generator}; "
                "choose coordinates in which it is affine"
            )
        if any(entry.is_real is False for entry in (*self.linear_part, *self.constant_part)):
            raise SymmetryError(f"image: expected a real generator, got {self.generator}")
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

    @cached_property
    def family(self) -> Family:
        """What the generator X = Mθ + c is, on the coordinates that move.

        M = 0: ``translation``. Both M and c: ``affine``. M diagonal: ``scale`` if its entries are all equal, ``rescale`` if
        they are ±k with both signs, else ``power rescale``. M antisymmetric: ``rotation``. Any other: ``linear``.

        >>> a, b = sp.symbols("theta_A1 theta_A2", real=True)
        >>> Symmetry("mine", (a, b), (a * s**3, b / s**3), sp.S.One).family
        'rescale'
        """
        if self.linear_part.is_zero_matrix:
            return "translation"
        if not self.constant_part.is_zero_matrix:
            return "affine"
        if self.linear_part.is_diagonal():
            return _diagonal_family([entry for entry in self.linear_part.diagonal() if entry != 0])
        return "rotation" if self.linear_part.is_anti_symmetric() else "linear"

    @property
    def degree(self) -> int:
        """Degree p of the charge: 1 for a translation (∇Q = X), 2 as soon as X is linear in θ (∇Q = 2X)."""
        return 1 if self.linear_part.is_zero_matrix else 2

    @cached_property
    def has_charge(self) -> bool:
        """Whether X is a gradient field: whether M is symmetric."""
        return bool(self.linear_part.is_symmetric())

    @cached_property
    def charge(self) -> sp.Expr:
        """Q(θ) with ∇Q = pX, Q(0) = 0: what gradient flow conserves (Kunin et al. 2021, eq. 10–13).

        Raises
        ------
        SymmetryError
            If M is not symmetric: then X is not a gradient and there is no charge.
        """
        if not self.has_charge:
            raise SymmetryError(
                f"{self.name}: no charge exists, the generator {self.generator} is not a gradient field; "
                "<g, X> = 0 holds all the same (gradient_identity)"
            )
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
        row = self._invariance
        loss = sp.Function("L")(*self.coordinates)
        claimed = sum(loss.diff(x) * v for x, v in zip(self.coordinates, self.generator, strict=True))
        return Identity("gradient", _agreeing((row,), (claimed,)), ip.Inner(ip.gradient, ip.generator), sp.S.Zero, "1")

    @cached_property
    def hessian_identity(self) -> Identity:
        """HX + Mᵀg = 0, by differentiating once more in θ (Kunin et al. 2021, eq. 2, 4, 6, 8)."""
        rows = tuple(sp.diff(self._invariance, x).doit() for x in self.coordinates)
        loss = sp.Function("L")(*self.coordinates)
        grad = sp.Matrix([loss.diff(x) for x in self.coordinates])
        claimed = grad.jacobian(self.coordinates) * sp.Matrix(self.generator) + self.linear_part.T * grad
        transposed = self.linear_word if self.linear_part.is_symmetric() else ip.linear_part_transposed
        value = -transposed * ip.gradient
        return Identity("hessian", _agreeing(rows, tuple(claimed)), ip.hessian * ip.generator, value, "2")

    @cached_property
    def _invariance(self) -> sp.Expr:
        """d/ds L(ψ(θ, s)) at the identity, with L an undefined function of the coordinates."""
        moved = sp.Function("L")(*self.image)
        return sp.diff(moved, s).subs(s, self.identity).doit()

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What tells the coordinates apart: ``A1`` of ``theta_A1``; whole names where that would not do.

        >>> rescale().labels
        ('A1', 'A2')
        """
        short = tuple(x.name.partition("_")[2] or x.name for x in self.coordinates)
        return short if len(set(short)) == len(short) else tuple(x.name for x in self.coordinates)

    @cached_property
    def action(self) -> tuple[sp.ImmutableMatrix, sp.ImmutableMatrix]:
        """(A, b) with ψ(θ, s) = A(s)θ + b(s); X = Mθ + c being affine, so is its flow.

        >>> rescale().action[0]
        Matrix([
        [s,   0],
        [0, 1/s]])
        """
        matrix = sp.Matrix(self.image).jacobian(sp.Matrix(self.coordinates))
        shift = sp.Matrix(self.image).subs(dict.fromkeys(self.coordinates, 0))
        return sp.ImmutableMatrix(matrix), sp.ImmutableMatrix(shift)

    def moved(self, blocks: Sequence[Any], element: float) -> tuple[Any, ...]:
        """ψ(θ, s) with an array for each coordinate (numpy, torch, a number) and a number for ``s``.

        >>> scale().moved([3.0], 2)
        (6.0,)
        """
        matrix, shift = (part.subs(s, element) for part in self.action)
        return _on_blocks(matrix, shift, blocks)

    def generated(self, blocks: Sequence[Any]) -> tuple[Any, ...]:
        """X(θ) with an array for each coordinate.

        >>> rescale().generated([3.0, 5.0])
        (3.0, -5.0)
        """
        return _on_blocks(self.linear_part, self.constant_part, blocks)

    def form_latex(self, letter: str) -> str:
        r"""The bilinear form ⟨x, x⟩_M (for a translation ⟨x, 1⟩) as a reader writes it, for the vector ``letter``.

        >>> rescale().form_latex("g"), translation().form_latex(r"\theta")
        ('|g_{A1}|^2 - |g_{A2}|^2', '\\langle \\theta_{A}, 1\\rangle')
        """
        names = {x: f"{letter}_{{{label}}}" for x, label in zip(self.coordinates, self.labels, strict=True)}
        text = ""
        for monomial, coefficient in sp.Poly(self.charge, *self.coordinates).terms():
            factors = [x for x, power in zip(self.coordinates, monomial, strict=True) for _ in range(power)]
            text += _term_latex(coefficient, [names[x] for x in factors])
        return text.removeprefix(" + ").replace(" - ", "-", 1) if text.startswith(" - ") else text.removeprefix(" + ")

    def _repr_latex_(self) -> str:
        pairs = zip(self.coordinates, self.image, strict=True)
        arrows = r",\; ".join(rf"{sp.latex(x)} \mapsto {sp.latex(y)}" for x, y in pairs)
        if any(y.has(FlowEntry) for y in self.image):
            rows = zip(self.coordinates, self.generator, strict=True)
            arrows = r",\; ".join(rf"\tfrac{{d}}{{ds}}{sp.latex(x)} = {sp.latex(y)}" for x, y in rows)
        return rf"${arrows}" + (rf",\quad Q = {self.form_latex(chr(92) + 'theta')}$" if self.has_charge else "$")


def is_unmoved(image: Sequence[sp.Expr], coordinates: Sequence[sp.Expr]) -> bool:
    """Whether ``image`` is shown to be the coordinates themselves; False where it is not finite."""
    return all(not y.has(sp.nan, sp.zoo, sp.oo, -sp.oo) and vanishes(y - x) for x, y in zip(coordinates, image, strict=True))


def exact(argument: str, value: Any) -> sp.Expr:
    """``value`` as a real SymPy expression of exact numbers and symbols. Text is never read.

    >>> exact("k", 3) / 2
    3/2
    """
    try:
        found = sp.sympify(value, strict=True)
    except sp.SympifyError:
        found = sp.nan
    if not isinstance(found, sp.Expr) or isinstance(value, bool) or found.has(sp.nan, sp.oo, -sp.oo, sp.zoo, sp.I):
        raise SymmetryError(f"{argument}: expected real exact numbers or SymPy expressions, got {value!r}")
    if found.has(sp.Float):
        raise SymmetryError(f"{argument}: expected exact numbers, got a float in {value}; write sympy.Rational(1, 3), say")
    return found


def _diagonal_family(exponents: list[sp.Expr]) -> Family:
    first = exponents[0]
    if all(vanishes(entry - first) for entry in exponents):
        return "scale"
    return "rescale" if all(vanishes(entry**2 - first**2) for entry in exponents) else "power rescale"


def _on_blocks(matrix: sp.ImmutableMatrix, shift: sp.ImmutableMatrix, blocks: Sequence[Any]) -> tuple[Any, ...]:
    """Each row of ``matrix`` times the blocks, plus ``shift``, in the blocks' own arithmetic."""
    if len(blocks) != matrix.cols:
        raise SymmetryError(f"blocks: expected {matrix.cols} of them, one for each coordinate, got {len(blocks)}")
    if unknown := matrix.free_symbols | shift.free_symbols:
        raise SymmetryError(f"blocks: expected a symmetry of numbers to evaluate, got one with the symbols {unknown}")
    rows = []
    for i, block in enumerate(blocks):
        row = 0 * block + float(shift[i])
        for j, other in enumerate(blocks):
            if matrix[i, j] != 0:
                row = row + float(matrix[i, j]) * other
        rows.append(row)
    return tuple(rows)


def _agreeing(derived: tuple[sp.Expr, ...], claimed: tuple[sp.Expr, ...]) -> tuple[sp.Expr, ...]:
    """``derived``, after checking that the coordinate-free writing says the same."""
    if not all(vanishes(a - b) for a, b in zip(derived, claimed, strict=True)):
        raise SymmetryError(f"identity: differentiating the action gives {derived}, the vector form {claimed}")
    return derived


def _term_latex(coefficient: sp.Expr, factors: list[str]) -> str:
    sign = " - " if coefficient.could_extract_minus_sign() else " + "
    magnitude = -coefficient if sign == " - " else coefficient
    size = "" if magnitude == 1 else rf"\left({sp.latex(magnitude)}\right)" if magnitude.is_Add else sp.latex(magnitude)
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
