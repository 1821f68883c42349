"""The discrete law of a charge: exact, step by step, with nothing expanded and nothing dropped.

The charge Q_n of a symmetry, and with momentum its overlap C_n with the velocity, obey a linear recurrence driven by
quadratic forms that a training run can log. With the measured breaking ⟨g, X⟩ among its drives it holds for any run, and
so checks the record; with ⟨g, X⟩ = 0 it holds if the symmetry does. What separates it from a continuous law is the error
of the continuous model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import sympy as sp

from derive import inner_product as ip
from derive import symbols
from derive.derivation import Derivation, DerivationError, Step
from derive.equality import vanishes
from derive.inner_product import bilinear
from derive.symbols import shift as E
from derive.symbols import step as n
from derive.symmetry import Symmetry
from derive.update_rule import UnsupportedError, UpdateRule

Q_n, C_n = sp.symbols("Q_n C_n", real=True)
DRIVES = {name: sp.Symbol(letter, real=True) for name, letter in
          {"breaking": "b_n", "gradient": "q_n", "direction": "w_n", "overlap": "o_n"}.items()}  # fmt: skip
"""Name -> symbol of what drives the recurrence at step n:

``breaking`` b_n = ⟨g_n, X(θ_n)⟩, which is 0 for an exact symmetry; ``gradient`` q_n = ⟨g_n, g_n⟩_M; ``direction``
w_n = ⟨d_n, d_n⟩_M of the step θ_{n+1} = θ_n − ηd_n; ``overlap`` o_n = ⟨d_n, v_{n+1}⟩_M (Nesterov only).
"""


@dataclass(frozen=True)
class DiscreteLaw:
    """x_{n+1} = A x_n + B f_n with the state x = (Q,) or (Q, C), C_n = ⟨v_n, X⟩, and measured drives f_n.

    Exact for every schedule: A and B hold the hyper-parameters of step n. The first step after no velocity has matrices of
    its own, since ``torch.optim.SGD`` starts with v_1 = G_0 undamped.

    Parameters
    ----------
    symmetry, rule
        What it is the law of.
    transition
        A, of shape (k, k), k = 1 without momentum and 2 with it.
    drives
        Names of the components of f_n, see :data:`DRIVES`.
    drive_matrix
        B, of shape (k, len(drives)).
    first_transition, first_drive_matrix
        A and B of a first step without velocity, by the rule's ``first_step``.
    derivation
        One checked step for each row.

    Examples
    --------
    Kunin et al. 2021, eq. 40: (E − r²)Q = η²|g|² with r = 1 − ηλ.

    >>> from derive import discrete_law, scale, sgd
    >>> L = discrete_law(scale(), sgd())
    >>> L.transition[0].factor(), L.drives, L.drive_matrix[1]
    ((eta*lambda - 1)**2, ('breaking', 'gradient'), eta**2)
    """

    symmetry: Symmetry
    rule: UpdateRule
    transition: sp.ImmutableMatrix
    drives: tuple[str, ...]
    drive_matrix: sp.ImmutableMatrix
    first_transition: sp.ImmutableMatrix
    first_drive_matrix: sp.ImmutableMatrix
    derivation: Derivation

    def __post_init__(self) -> None:
        size = self.transition.shape[0]
        if self.transition.shape != (size, size) or self.drive_matrix.shape != (size, len(self.drives)):
            raise ValueError(
                f"drive_matrix: expected shape {(size, len(self.drives))} beside a square transition, "
                f"got {self.drive_matrix.shape} and {self.transition.shape}"
            )

    @property
    def hyper_parameters(self) -> tuple[str, ...]:
        """Names of the hyper-parameters that occur: of ``lr``, ``weight_decay``, ``momentum``, ``dampening``."""
        matrices = (self.transition, self.drive_matrix, self.first_transition, self.first_drive_matrix)
        return symbols.argument_names(sp.Add(*(entry for matrix in matrices for entry in matrix)))

    @cached_property
    def characteristic_polynomial(self) -> sp.Expr:
        """det(E − A), monic in E: (characteristic polynomial) Q_n = drive.

        >>> from derive import discrete_law, sgd, translation
        >>> discrete_law(translation(), sgd(momentum=True)).characteristic_polynomial
        E**2 + E*(-beta + eta*lambda - 1) + beta
        """
        polynomial = (E * sp.eye(*self.transition.shape) - self.transition).det()
        return sp.collect(sp.expand(polynomial), E)

    @cached_property
    def drive_polynomials(self) -> dict[str, sp.Expr]:
        """Name -> P(E) with det(E − A) Q_n = Σ P(E) f_n, for constant hyper-parameters, from the adjugate of E − A.

        With classical momentum the right side is u_{n+1} + βu_n, u_n = ⟨Δθ_n, Δθ_n⟩_M = η²w_n:

        >>> from derive import discrete_law, scale, sgd
        >>> discrete_law(scale(), sgd(momentum=True)).drive_polynomials["direction"].factor()
        eta**2*(E + beta)
        """
        adjugate = (E * sp.eye(*self.transition.shape) - self.transition).adjugate()
        row = (adjugate * self.drive_matrix)[0, :]
        return {name: sp.expand(entry) for name, entry in zip(self.drives, row, strict=True)}

    def green(self, steps: sp.Expr = n) -> sp.Expr:
        """Response of Q at ``steps`` to a unit drive at step 0: r^{n−1}, or (z₊ⁿ − z₋ⁿ)/(z₊ − z₋) with momentum."""
        roots = [root for root, count in sp.roots(sp.Poly(self.characteristic_polynomial, E)).items() for _ in range(count)]
        if len(roots) == 1:
            return roots[0] ** (steps - 1)
        first, second = roots
        if first == second:  # numbers that are exactly critical
            return steps * first ** (steps - 1)
        return (first**steps - second**steps) / (first - second)

    @cached_property
    def equation(self) -> sp.Eq:
        """The scalar recurrence for an exact symmetry (b_n = 0), as an operator polynomial in E on each side."""
        right = sum(P * DRIVES[name] for name, P in self.drive_polynomials.items() if name != "breaking")
        return sp.Eq(self.characteristic_polynomial * Q_n, right)

    def unrolled(self) -> sp.Expr:
        """Q_n of plain SGD from Q_0 and the drive (Kunin et al. 2021, eq. 39–41).

        >>> from derive import discrete_law, sgd, translation
        >>> discrete_law(translation(), sgd()).unrolled()
        Q_0*(-eta*lambda + 1)**n

        Raises
        ------
        UnsupportedError
            With momentum, whose unrolled form is the Green's function of :meth:`green`.
        """
        if self.transition.shape != (1, 1):
            raise UnsupportedError("rule: unrolled() covers plain SGD, got momentum; use green()")
        i = sp.Symbol("i", integer=True, nonnegative=True)
        r, p = 1 - self.rule.lr * self.rule.weight_decay, self.symmetry.degree
        if not vanishes(self.transition[0] - r**p):
            raise DerivationError(f"transition: expected {r**p}, got {self.transition[0]}")
        gain = dict(zip(self.drives, self.drive_matrix[0, :], strict=True)).get("gradient", sp.S.Zero)
        memory = sp.Sum(r ** (p * (n - 1 - i)) * sp.IndexedBase("q")[i], (i, 0, n - 1)) if gain != 0 else 0
        return r ** (p * n) * symbols.initial_charge + gain * memory

    def _repr_latex_(self) -> str:
        return f"${sp.latex(self.equation)}$"


def discrete_law(symmetry: Symmetry, rule: UpdateRule) -> DiscreteLaw:
    """Derive the exact recurrence of the charge of ``symmetry`` under ``rule``.

    Raises
    ------
    UnsupportedError
        For what is no symmetry or rule, for gradient flow, which has no steps, and for a generator that both scales and
        translates.
    SymmetryError
        If the symmetry has no charge.

    Examples
    --------
    >>> from derive import discrete_law, sgd, translation
    >>> discrete_law(translation(), sgd(momentum=True)).transition
    Matrix([
    [-eta*lambda + 1, -beta*eta],
    [         lambda,      beta]])
    """
    if not isinstance(symmetry, Symmetry) or not isinstance(rule, UpdateRule):
        raise UnsupportedError(
            f"symmetry, rule: expected discrete_law(scale(), sgd()) or the like, got {symmetry!r}, {rule!r}"
        )
    if rule.is_flow:
        raise UnsupportedError("rule: expected an update rule with steps, got gradient flow; use law()")
    if symmetry.linear_word != 0 and not symmetry.constant_part.is_zero_matrix:
        raise UnsupportedError(f"symmetry: {symmetry.name!r} scales and translates at once; shift the origin")
    _ = symmetry.charge  # raises where there is none
    steps = _steps(symmetry, rule, rule.gradient_gain)
    transition, drive_matrix, drives = _matrices(symmetry, [step.after for step in steps])
    first = _matrices(symmetry, [step.after for step in _steps(symmetry, rule, rule.first_gradient_gain)])
    lemmas = tuple(Derivation(step.rule, (step,)) for step in steps)
    derivation = Derivation(f"discrete law of the {symmetry.name} charge", (), lemmas)
    return DiscreteLaw(symmetry, rule, transition, drives, drive_matrix, first[0], first[1], derivation)


def _steps(symmetry: Symmetry, rule: UpdateRule, gain: sp.Expr) -> tuple[Step, ...]:
    return _plain_steps(symmetry, rule) if rule.momentum == 0 else _momentum_steps(symmetry, rule, gain)


def _charge_of(symmetry: Symmetry, vector: sp.Expr) -> sp.Expr:
    """Q(θ) at a vector: ⟨θ, θ⟩_M, or ⟨θ, c⟩ for a translation."""
    return bilinear(vector, vector) if symmetry.degree == 2 else ip.inner(vector, ip.constant_part)


def _overlap(symmetry: Symmetry, vector: sp.Expr, at: sp.Expr) -> sp.Expr:
    """⟨vector, X(at)⟩."""
    return bilinear(vector, at) if symmetry.degree == 2 else ip.inner(vector, ip.constant_part)


def _names(symmetry: Symmetry) -> dict[sp.Expr, sp.Expr]:
    """Inner products -> the state and drives they are called by."""
    named = {
        _overlap(symmetry, ip.theta, ip.theta): Q_n,
        _overlap(symmetry, ip.gradient, ip.theta): DRIVES["breaking"],
        _overlap(symmetry, ip.velocity, ip.theta): C_n,
    }
    if symmetry.degree == 2:
        named |= {
            bilinear(ip.gradient, ip.gradient): DRIVES["gradient"],
            bilinear(ip.direction, ip.direction): DRIVES["direction"],
            bilinear(ip.direction, ip.next_velocity): DRIVES["overlap"],
        }
    return named


def _plain_steps(symmetry: Symmetry, rule: UpdateRule) -> tuple[Step, ...]:
    before = _charge_of(symmetry, ip.theta - rule.lr * (ip.gradient + rule.weight_decay * ip.theta))
    reason = r"$\theta_{n+1} = \theta_n - \eta(g_n + \lambda\theta_n)$"
    return (_named_step(before, "charge after the step", reason, _names(symmetry)),)


def _momentum_steps(symmetry: Symmetry, rule: UpdateRule, gain: sp.Expr) -> tuple[Step, ...]:
    """Q_{n+1} and C_{n+1}: forms of d_n and v_{n+1} stay as measured drives, their overlaps with θ_n are expanded.

    ``gain`` is the share of G_n that enters the velocity.
    """
    total = ip.gradient + rule.weight_decay * ip.theta
    velocity = rule.momentum * ip.velocity + gain * total
    direction = total + rule.momentum * velocity if rule.nesterov else velocity
    facts = _names(symmetry) | {
        _overlap(symmetry, ip.direction, ip.theta): _overlap(symmetry, direction, ip.theta),
        _overlap(symmetry, ip.next_velocity, ip.theta): _overlap(symmetry, velocity, ip.theta),
    }
    if not rule.nesterov and symmetry.degree == 2:
        facts[bilinear(ip.direction, ip.next_velocity)] = DRIVES["direction"]
    moved = ip.theta - rule.lr * ip.direction
    charge, overlap = _charge_of(symmetry, moved), _overlap(symmetry, ip.next_velocity, moved)
    share = "" if gain == 1 else rf"({sp.latex(gain)})\,"
    taken = r"G_n + \beta v_{n+1}" if rule.nesterov else "v_{n+1}"
    decay = "" if rule.weight_decay == 0 else r" + \lambda\theta_n"
    reason = (
        rf"$\theta_{{n+1}} = \theta_n - \eta d_n$, $d_n = {taken}$, $v_{{n+1}} = \beta v_n + {share}G_n$, $G_n = g_n{decay}$"
    )
    return (
        _named_step(charge, "charge after the step", reason, facts),
        _named_step(overlap, "overlap of velocity and generator after the step", reason, facts),
    )


def _named_step(before: sp.Expr, rule: str, reason: str, facts: dict[sp.Expr, sp.Expr]) -> Step:
    after = before
    for _ in range(2):  # d_n and v_{n+1} are expanded first, then what they are made of is named
        after = sp.expand(after.subs(facts))
    closed = tuple((word, sp.expand(value.subs(facts))) for word, value in facts.items())
    return Step(before, after, rule, reason, closed, source="Kunin et al. 2021, App. I")


def _matrices(symmetry: Symmetry, rows: list[sp.Expr]) -> tuple[sp.ImmutableMatrix, sp.ImmutableMatrix, tuple[str, ...]]:
    """(A, B, names of the drives) of rows that are linear in state and drives."""
    state = (Q_n, C_n)[: len(rows)]
    drives = tuple(name for name, symbol in DRIVES.items() if any(row.has(symbol) for row in rows))
    left = [row.atoms(ip.Inner) for row in rows if row.atoms(ip.Inner)]
    if left:
        raise UnsupportedError(f"symmetry: the recurrence of {symmetry.name!r} does not close, {left} remain")
    transition = sp.ImmutableMatrix([[row.coeff(x) for x in state] for row in rows])
    matrix = sp.ImmutableMatrix(len(rows), len(drives), [row.coeff(DRIVES[d]) for row in rows for d in drives])
    return transition, matrix, drives
