"""Modified equations of a concrete loss or vector field, to any order: θ' = f_0 + h f_1 + … + h^p f_p.

Backward error analysis: the field is such that its flow, looked at every h, is the method's own sequence of iterates, to
O(h^{p+1}) over a fixed time (Hairer, Lubich, Wanner 2006, IX.1). For momentum it is the slow flow: see
:mod:`derive.momentum_manifold`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive import symbols
from derive.differential_ring import DifferentialRing, Vector
from derive.lie_series import multistep_fields, runge_kutta_fields
from derive.multistep import LinearMultistep, multistep_of
from derive.runge_kutta import RungeKutta
from derive.update_rule import UnsupportedError, UpdateRule
from derive.validity import Validity, validity

Method = UpdateRule | RungeKutta | LinearMultistep
Expressions = tuple[sp.Expr, ...]


def expect_method(rule: Any) -> None:
    """Refuse what is not a method that this covers, by name."""
    if not isinstance(rule, (UpdateRule, RungeKutta, LinearMultistep)):
        raise UnsupportedError("rule: expected sgd(...), runge_kutta(...) or a multistep rule such as heavy_ball(beta), got "
                               f"{type(rule).__name__}")  # fmt: skip
    if isinstance(rule, UpdateRule) and rule.is_flow:
        raise UnsupportedError("rule: expected a rule with steps, got a gradient flow, which is its own equation")


def expect_order(order: Any, lowest: int = 0) -> None:
    """Refuse what is no number of powers of h."""
    if isinstance(order, bool) or not isinstance(order, (int, sp.Integer)) or order < lowest:
        raise UnsupportedError(f"order: expected the highest power of h to keep, a whole number from {lowest} on (sympy.oo "
                               f"where it is linear), got {order!r}")  # fmt: skip


def step_of(rule: Method) -> sp.Expr:
    """h: η(1−α) of an update rule, else the symbol h."""
    return rule.step_size if isinstance(rule, UpdateRule) else symbols.step_size


def coefficients_of(rule: Method) -> list[sp.Expr]:
    """The numbers and symbols that the method is made of."""
    if isinstance(rule, RungeKutta):
        return [x for row in (*rule.A, rule.b) for x in row]
    rule = multistep_of(rule) if isinstance(rule, UpdateRule) else rule
    places = [c for _, place in rule.gradients for _, c in place]
    return [c for _, c in rule.positions] + [weight for weight, _ in rule.gradients] + places


# What the user gives


def exact_expression(name: str, given: Any) -> sp.Expr:
    """A real SymPy expression without floats."""
    try:
        expr = sp.sympify(given, strict=True)
    except (sp.SympifyError, TypeError):
        expr = sp.nan if isinstance(given, str) else given
    if isinstance(given, str) or not isinstance(expr, sp.Expr):
        raise UnsupportedError(f"{name}: expected a SymPy expression, got {given!r}")
    floats = sorted(expr.atoms(sp.Float), key=str)
    if floats:
        raise UnsupportedError(f"{name}: expected exact numbers, got the float {floats[0]}; write Rational('{floats[0]}')")
    if expr.has(sp.nan, sp.oo, -sp.oo, sp.zoo, sp.I) or not expr.is_commutative:
        raise UnsupportedError(f"{name}: expected a finite real expression, got {expr}")
    return expr


def read_variables(variables: Any) -> tuple[sp.Symbol, ...]:
    """Different symbols, at least one."""
    names = tuple(variables) if isinstance(variables, (Sequence, sp.Tuple)) and not isinstance(variables, str) else ()
    if not names or not all(isinstance(x, sp.Symbol) for x in names) or len(set(names)) != len(names):
        raise UnsupportedError(f"variables: expected different symbols such as (x, y), got {variables!r}")
    return names


def read_field(field: Any, variables: Any = None) -> tuple[tuple[sp.Symbol, ...], Expressions]:
    """(variables, components) of ``{x: …, y: …}``, or of a sequence with its ``variables``."""
    if isinstance(field, Mapping):
        names = read_variables(tuple(field) if variables is None else variables)
        if set(names) != set(field):
            raise UnsupportedError(f"variables: expected those of the field, {tuple(field)}, got {names}")
        components = [field[x] for x in names]
    else:
        components = list(field) if isinstance(field, (Sequence, sp.MatrixBase)) and not isinstance(field, str) else None
        if components is None or variables is None:
            raise UnsupportedError(f"field: expected {{x: …, y: …}}, or a list with variables=(x, y), got {field!r}")
        names = read_variables(variables)
    if len(components) != len(names):
        raise UnsupportedError(f"field: expected {len(names)} components, one for each variable, got {len(components)}")
    return names, tuple(exact_expression(f"field[{x}]", c) for x, c in zip(names, components, strict=True))


def read_loss(loss: Any, variables: Any = None) -> tuple[tuple[sp.Symbol, ...], sp.Expr]:
    """(variables, loss). Without ``variables`` every symbol of the loss is one, in alphabetical order."""
    expr = exact_expression("loss", loss)
    names = sorted(expr.free_symbols, key=lambda x: x.name) if variables is None else variables
    if variables is None and not names:
        raise UnsupportedError(f"loss: expected an expression in the parameters, got the constant {expr}")
    return read_variables(names), expr


def regularized_loss(rule: Method, loss: sp.Expr, variables: Sequence[sp.Symbol]) -> sp.Expr:
    """L + λ|θ|²/2, what an update rule with weight decay descends."""
    decay = rule.weight_decay if isinstance(rule, UpdateRule) else sp.S.Zero
    return loss + decay * sp.Add(*(x**2 for x in variables)) / 2


def force_of(rule: Method, field: Expressions, variables: Sequence[sp.Symbol]) -> Expressions:
    """f of the method: the field, less λθ for an update rule with weight decay."""
    decay = rule.weight_decay if isinstance(rule, UpdateRule) else sp.S.Zero
    return tuple(c - decay * x for c, x in zip(field, variables, strict=True))


def expect_no_clash(rule: Method, expressions: Sequence[sp.Expr], variables: Sequence[sp.Symbol]) -> None:
    """The step and the coefficients of the rule are constants of the series, so the field may not hold them."""
    own = {x.name for x in set().union(step_of(rule).free_symbols, *(c.free_symbols for c in coefficients_of(rule)))}
    if isinstance(rule, UpdateRule) and set(variables) & rule.weight_decay.free_symbols:
        own |= {x.name for x in rule.weight_decay.free_symbols}
    held = {x.name for x in set(variables).union(*(e.free_symbols for e in expressions))}
    if own & held:
        raise UnsupportedError(f"field: expected no symbol of the rule in it, got {sorted(own & held)}; rename them")


# What is derived


@dataclass(frozen=True)
class ConcreteEquation:
    """θ' = f_0 + h f_1 + … + h^p f_p for a concrete field: what the iterates of ``rule`` follow.

    Parameters
    ----------
    rule, order
        The method, and p, the highest power of h kept.
    variables
        Coordinates of θ.
    original
        f, the field that the method is given: −∇L − λθ for a loss.
    step
        h as an expression: η(1−α) for an update rule, the symbol h for other methods. Time t = Σ h.
    terms
        f_0, …, f_p, component by component. f_0 = f for methods of integration, f/(1−β) for momentum.

    Examples
    --------
    >>> from derive import modified_flow, runge_kutta
    >>> y = sp.Symbol("y")
    >>> modified_flow(runge_kutta("euler"), field={y: y**2}, order=3).terms  # HLW, IX.1, example 1.1
    ((y**2,), (-y**3,), (3*y**4/2,), (-8*y**5/3,))
    """

    rule: Method
    order: int
    variables: tuple[sp.Symbol, ...]
    original: Expressions
    step: sp.Expr
    terms: tuple[Expressions, ...]

    def __post_init__(self) -> None:
        if len(self.terms) != self.order + 1:
            raise ValueError(f"terms: expected f_0 … f_{self.order}, got {len(self.terms)} of them")
        if {len(part) for part in (self.original, *self.terms)} != {len(self.variables)}:
            raise ValueError(f"terms: expected {len(self.variables)} components each, as there are variables")

    @property
    def field(self) -> Expressions:
        """f_0 + h f_1 + … + h^p f_p."""
        return tuple(sp.Add(*(self.step**k * c for k, c in enumerate(column))) for column in zip(*self.terms, strict=True))

    @property
    def validity(self) -> Validity:
        """How large h times a curvature may be."""
        return validity(self.rule)

    def _repr_latex_(self) -> str:
        return aligned(self.variables, self.field, rf" + O\left({sp.latex(self.step ** (self.order + 1))}\right)")


def aligned(variables: Sequence[sp.Symbol], field: Expressions, rest: str = "") -> str:
    """LaTeX of x' = …, a line for each variable."""
    rows = r" \\ ".join(rf"\dot{{{sp.latex(x)}}} &= {sp.latex(c)}{rest}" for x, c in zip(variables, field, strict=True))
    return rf"$\begin{{aligned}}{rows}\end{{aligned}}$"


def ring_of(rule: Method, expressions: Sequence[sp.Expr], variables: Sequence[sp.Symbol]) -> DifferentialRing:
    """The ring in which the series of ``rule`` on these expressions live."""
    return DifferentialRing(expressions, variables, coefficients_of(rule))


def series_in(ring: DifferentialRing, rule: Method, force: Vector, order: int) -> list[Vector]:
    """f_0 … f_order."""
    if isinstance(rule, RungeKutta):
        return runge_kutta_fields(rule, force, order, ring)
    return multistep_fields(multistep_of(rule) if isinstance(rule, UpdateRule) else rule, force, order, ring)


def concrete_equation(rule: Method, field: Any, order: int, variables: Any = None) -> ConcreteEquation:
    """The modified equation of ``rule`` on a field: :func:`derive.modified_flow` with ``field=``.

    Raises
    ------
    UnsupportedError
        For a rule, an order, a field or variables that are not covered.
    """
    expect_method(rule)
    expect_order(order)
    names, components = read_field(field, variables)
    expect_no_clash(rule, components, names)
    force = force_of(rule, components, names)
    ring = ring_of(rule, force, names)
    found = series_in(ring, rule, tuple(map(ring.from_expr, force)), int(order))
    return as_equation(rule, names, force, ring, found)


def as_equation(
    rule: Method, variables: tuple[sp.Symbol, ...], force: Expressions, ring: DifferentialRing, found: list[Vector]
) -> ConcreteEquation:
    """The series in SymPy."""
    terms = tuple(tuple(map(ring.to_expr, part)) for part in found)
    return ConcreteEquation(rule, len(terms) - 1, variables, force, step_of(rule), terms)
