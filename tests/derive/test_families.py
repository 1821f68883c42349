"""Linear symmetries, power rescalings and GL(k): Kunin et al. 2021, appendix A, and what follows for any Mθ + c."""

from dataclasses import FrozenInstanceError
from fractions import Fraction

import mpmath
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive import (
    SymmetryError,
    UnsupportedError,
    discrete_law,
    general_linear,
    identity_of_order,
    law,
    linear_symmetry,
    noether,
    power_rescale,
    relations,
    rescale,
    scale,
    sgd,
    theorem_1,
    translation,
)
from derive.discrete_law import C_n, Q_n
from derive.equality import refutes
from derive.matrix_flow import FlowEntry, matrix_exponential
from derive.symbols import group_parameter as s
from tests.derive.known_systems import A1, A2, POWER_RESCALE, RULES, descend, rationals, values

B1, B2 = sp.symbols("theta_B1 theta_B2", real=True)
k1, k2 = sp.symbols("k1 k2", positive=True, integer=True)
CUBIC = [[0, 0, 1], [1, 0, 1], [0, 1, 0]]
"""Its eigenvalues are the roots of x³ − x − 1, one real and two not: no closed form of use."""

rational = st.fractions(-3, 3, max_denominator=4).map(lambda x: sp.Rational(x))


def matrices(size):
    return st.lists(rational, min_size=size**2, max_size=size**2).map(lambda entries: sp.Matrix(size, size, entries))


# Generators, charges, families


@pytest.mark.parametrize(
    ("M", "c", "family", "charge"),
    [
        ([[1, 0], [0, -1]], None, "rescale", A1**2 - A2**2),
        ([[3, 0], [0, 3]], None, "scale", 3 * A1**2 + 3 * A2**2),
        ([[2, 0], [0, -3]], None, "power rescale", 2 * A1**2 - 3 * A2**2),
        ([[0, 0], [0, 0]], [1, 1], "translation", A1 + A2),
        ([[0, 1], [1, 0]], None, "linear", 2 * A1 * A2),
        ([[1, 2], [2, 5]], [3, k1], "affine", A1**2 + 4 * A1 * A2 + 5 * A2**2 + 6 * A1 + 2 * k1 * A2),
    ],
)
def test_a_symmetric_generator_has_the_charge_of_its_quadratic_form(M, c, family, charge):
    found = linear_symmetry(M, c)
    assert (found.family, sp.expand(found.charge - charge)) == (family, 0)
    assert found.degree == (1 if family == "translation" else 2)


@pytest.mark.parametrize(("M", "family"), [([[0, -1], [1, 0]], "rotation"), ([[0, 1], [0, 0]], "linear"), (CUBIC, "linear")])
def test_a_generator_that_is_not_symmetric_has_identities_and_no_charge(M, family):
    found = linear_symmetry(M)
    assert (found.family, found.has_charge) == (family, False)
    assert found.gradient_identity.value == 0
    for consequence in (
        lambda: found.charge,
        lambda: noether(found),
        lambda: law(found, sgd()),
        lambda: discrete_law(found, sgd()),
    ):
        with pytest.raises(SymmetryError, match="no charge exists"):
            consequence()


def test_the_image_is_explicit_where_it_has_a_closed_form():
    assert linear_symmetry([[1, 0], [0, -1]]).image == (A1 * sp.exp(s), A2 * sp.exp(-s))
    assert linear_symmetry([[0, -1], [1, 0]]).image == (A1 * sp.cos(s) - A2 * sp.sin(s), A1 * sp.sin(s) + A2 * sp.cos(s))
    assert all(y.has(FlowEntry) for y in linear_symmetry(CUBIC).image)


def test_a_power_rescaling_is_that_of_appendix_a():
    found = power_rescale(2, 3)
    assert (found.generator, found.charge, found.family) == ((2 * A1, -3 * A2), 2 * A1**2 - 3 * A2**2, "power rescale")
    assert found.image == POWER_RESCALE.image
    assert power_rescale(1, 1).charge == rescale().charge


def test_the_exponents_of_a_power_rescaling_may_stay_open():
    found = power_rescale(k1, k2)
    assert (found.charge, found.form_latex("g")) == (k1 * A1**2 - k2 * A2**2, "k_{1}|g_{A1}|^2 - k_{2}|g_{A2}|^2")
    assert found.generator == (k1 * A1, -k2 * A2)
    row = found.hessian_identity.coordinates[0]
    loss = sp.Function("L")(A1, A2)
    assert sp.expand(row - k1 * A1 * loss.diff(A1, 2) + k2 * A2 * loss.diff(A1, A2) - k1 * loss.diff(A1)) == 0


REFUSED = {
    "not square": (lambda: linear_symmetry([[1, 2]]), "M: expected a square matrix"),
    "ragged": (lambda: linear_symmetry([[1, 2], [3]]), "M: expected a square matrix"),
    "empty": (lambda: linear_symmetry([]), "M: expected a square matrix"),
    "no matrix": (lambda: linear_symmetry(3), "M: expected a SymPy matrix or a list of rows"),
    "a float": (lambda: linear_symmetry([[0.5]]), "M: expected exact numbers, got a float"),
    "text": (lambda: linear_symmetry([["1"]]), "M: expected real exact numbers"),
    "complex": (lambda: linear_symmetry([[sp.I]]), "M: expected real exact numbers"),
    "infinite": (lambda: linear_symmetry([[-sp.oo]]), "M: expected real exact numbers"),
    "a truth value": (lambda: linear_symmetry([[True]]), "M: expected real exact numbers"),
    "c of another size": (lambda: linear_symmetry([[1]], [1, 2]), "c: expected 1 entries"),
    "a float in c": (lambda: linear_symmetry([[1]], [0.1]), "c: expected exact numbers"),
    "no motion": (lambda: linear_symmetry([[0]], [0]), "M, c: expected a generator .* that moves"),
    "coordinates": (lambda: linear_symmetry([[1]], coordinates=(A1, A2)), "coordinates: expected 1 of them"),
    "a coordinate twice": (lambda: linear_symmetry(sp.eye(2), coordinates=(A1, A1)), "different symbols"),
    "a generator that is not constant": (lambda: linear_symmetry([[A1]]), "M, c: expected entries that do not depend"),
    "the group parameter": (lambda: linear_symmetry([[s]]), "M, c: expected entries that do not depend"),
    "power 0": (lambda: power_rescale(0, 1), "k1: expected a positive exponent"),
    "a negative power": (lambda: power_rescale(1, -2), "k2: expected a positive exponent"),
    "a power of unknown sign": (lambda: power_rescale(1, sp.Symbol("k")), "k2: expected a positive .* declared positive"),
    "a float power": (lambda: power_rescale(1.5, 1), "k1: expected exact numbers"),
    "no units": (lambda: general_linear(0), "k: expected a number of hidden units"),
    "symbolic units": (lambda: general_linear(k1), "k: expected a number of hidden units"),
    "M of another size": (lambda: general_linear(2).along([[1]]), "M: expected a 2 x 2 matrix"),
    "M = 0": (lambda: general_linear(1).along([[0]]), "M: expected a 1 x 1 matrix other than 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_generates_no_group_of_this_kind_is_refused(name):
    build, message = REFUSED[name]
    with pytest.raises(SymmetryError, match=message):
        build()


# The group, its invariants, its charge, on random generators


def numbers(expr, point):
    return sp.N(expr.subs(point), 30)


@given(M=matrices(2), c=st.lists(rational, min_size=2, max_size=2))
@settings(max_examples=8)
def test_any_generator_gives_a_group_with_that_generator(M, c):
    if M.is_zero_matrix and not any(c):
        return
    found = linear_symmetry(M, c)
    assert sp.Matrix(found.generator) == sp.expand(M * sp.Matrix([A1, A2]) + sp.Matrix(c))
    a, b = sp.Rational(1, 3), sp.Rational(-5, 7)
    point = {A1: sp.Rational(2, 5), A2: sp.Rational(-3, 4)}
    once = dict(zip((A1, A2), (numbers(y, point | {s: b}) for y in found.image), strict=True))
    twice = [numbers(y, once | {s: a}) for y in found.image]
    direct = [numbers(y, point | {s: a + b}) for y in found.image]
    wrong = [numbers(y, point | {s: a - b}) for y in found.image]
    assert max(abs(x - y) for x, y in zip(twice, direct, strict=True)) < sp.Rational(1, 10**20)
    assert max(abs(x - y) for x, y in zip(twice, wrong, strict=True)) > sp.Rational(1, 10**20)


@given(M=matrices(2))
@settings(max_examples=8)
def test_a_product_of_two_layers_is_invariant_under_every_direction_of_gl(M):
    if M.is_zero_matrix:
        return
    found = general_linear(2).along(M)
    moved = {x: y.subs(s, sp.Rational(3, 5)) for x, y in zip(found.coordinates, found.image, strict=True)}
    product = A1 * B1 + A2 * B2
    assert refutes(product.subs(moved, simultaneous=True) - product) is None
    other = A1 * B1 - 2 * A2 * B2 + A1 * A2 + B1**2
    assert refutes(other.subs(moved, simultaneous=True) - other) is not None


@given(M=matrices(2))
@settings(max_examples=15)
def test_the_charge_is_conserved_by_an_exactly_solved_gradient_flow(M):
    """L = ⟨a, b⟩ for every GL(2): a' = −b, b' = −a, solved by a = a₀ cosh t − b₀ sinh t; z = eᵗ keeps it rational."""
    if M.is_zero_matrix:
        return
    found = general_linear(2).along(M + M.T + sp.eye(2) * 20)
    z = sp.Symbol("z", positive=True)
    grow, shrink = (z + 1 / z) / 2, (z - 1 / z) / 2
    path = {
        A1: A1 * grow - B1 * shrink,
        A2: A2 * grow - B2 * shrink,
        B1: B1 * grow - A1 * shrink,
        B2: B2 * grow - A2 * shrink,
    }
    assert sp.expand(found.charge.subs(path, simultaneous=True) - found.charge) == 0
    wrong = path | {A1: A1 * grow + B1 * shrink}
    assert sp.expand(found.charge.subs(wrong, simultaneous=True) - found.charge) != 0


TURN = sp.Matrix([[0, 1], [-1, 0]])


@given(p=rational, q=rational)
@settings(max_examples=8)
def test_a_traceless_symmetric_generator_conserves_its_charge_whatever_its_eigenvalues(p, q):
    """With M in sl(2) the form θᵀJMθ is invariant under e^{sM}, as MᵀJ + JM = 0; its gradient flow is e^{−2tJM}θ₀."""
    M = sp.Matrix([[p, q], [q, -p]])
    if M.is_zero_matrix:
        return
    found, theta = linear_symmetry(M), sp.Matrix([A1, A2])
    loss = (theta.T * TURN * M * theta)[0]
    moved = dict(zip((A1, A2), (y.subs(s, sp.Rational(3, 5)) for y in found.image), strict=True))
    assert refutes(loss.subs(moved, simultaneous=True) - loss) is None
    flow = matrix_exponential(-2 * TURN * M, s).subs(s, sp.Rational(3, 5)) * theta
    after = found.charge.subs({A1: flow[0], A2: flow[1]}, simultaneous=True)
    assert refutes(after - found.charge) is None
    assert refutes(after - 2 * found.charge) is not None


# All relations, on losses that are and are not invariant


def norm_form(a, b, c):
    """The norm of a + bx + cx² in ℚ[x]/(x³ − x − 1). CUBIC multiplies by x, and e^{sx} has norm e^{s Tr x} = 1."""
    power = sp.Matrix(CUBIC)
    return (a * sp.eye(3) + b * power + c * power**2).det()


FAMILIES = {
    "power rescale": (power_rescale(1, 2), lambda a, b: (a**2 * b) ** 3 - 2 * a**2 * b),
    "boost of irrational rate": (linear_symmetry([[1, 2], [2, -1]]), lambda a, b: (a**2 - a * b - b**2) ** 2),
    "rotation": (linear_symmetry([[0, -1], [1, 0]]), lambda a, b: (a**2 + b**2) ** 2),
    "rescale about a point": (linear_symmetry([[1, 0], [0, -1]], [1, 2]), lambda a, b: ((a + 1) * (b - 2)) ** 2),
    "a direction of GL(2)": (general_linear(2).along([[1, 2], [0, 3]]), lambda a, c, b, d: (a * b + c * d - 1) ** 2),
    "no closed form": (linear_symmetry(CUBIC), norm_form),
}


def at_numbers(symmetry, loss, rows):
    concrete = sp.Lambda(symmetry.coordinates, loss(*symmetry.coordinates))
    draw = rationals(7)
    point = {x: sp.Rational(next(draw)) for x in symmetry.coordinates} | {s: sp.Rational(8, 5)}
    moved = [row.replace(sp.Function("L"), concrete).doit().subs(point) for row in rows]
    functions = (FlowEntry, sp.exp, sp.sinh, sp.cosh, sp.sin, sp.cos)
    return [row.xreplace({value: sp.N(value, 40) for value in row.atoms(*functions)}).evalf(25) for row in moved], point


def size(values):
    return max(abs(value) for value in values)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_five_relations_hold_for_an_invariant_loss_of_each_family(name):
    symmetry, loss = FAMILIES[name]
    for relation in relations(symmetry):
        assert size(at_numbers(symmetry, loss, relation.rows)[0]) < sp.Rational(1, 10**18)
        broken, _ = at_numbers(symmetry, lambda *x: loss(*x) + x[0] ** 3 + x[1], relation.rows)
        assert size(broken) > sp.Rational(1, 10**6)


@pytest.mark.parametrize("name", FAMILIES)
def test_tables_2_and_3_for_the_family_in_matrices(name):
    """On a loss without the symmetry, where the rows are not 0: with θ ↦ A θ + b, A = e^{sM}, from mpmath's exponential.

    Aᵀg(ψ) − g, ⟨g, X⟩, AᵀH(ψ)A − H, HX + Mᵀg, XᵀHX + ⟨g, ∂²ψ⟩; ∂²ψ is MX, and MX − X for a multiplicative parameter.
    """
    symmetry, _ = FAMILIES[name]

    def loss(*x):
        return x[0] ** 3 + 2 * x[0] * x[1] ** 2 + sum(y**2 for y in x) * x[-1]

    x = sp.Matrix(symmetry.coordinates)
    grad = sp.Matrix([loss(*x)]).jacobian(x).T
    hess = grad.jacobian(x)
    found = [at_numbers(symmetry, loss, relation.rows) for relation in relations(symmetry)]
    point = found[0][1]
    M, X = symmetry.linear_part, sp.Matrix(symmetry.generator).subs(point)
    n = len(x)
    with mpmath.workdps(35):
        time = sp.log(point[s]) if symmetry.identity == 1 else point[s]
        whole = mpmath.expm(
            mpmath.matrix((M.row_join(symmetry.constant_part).col_join(sp.zeros(1, n + 1)) * time).evalf(35).tolist())
        )
        whole = sp.Matrix(n + 1, n + 1, lambda i, j: sp.Float(whole[i, j], 35))
    A, b = whole[:n, :n], whole[:n, n]
    there = dict(zip(x, A * x.subs(point) + b, strict=True))
    g, H = grad.subs(point), hess.subs(point)
    second = M * X - (X if symmetry.identity == 1 else sp.zeros(n, 1))
    expected = [
        A.T * grad.subs(there) - g,
        X.T * g,
        A.T * hess.subs(there) * A - H,
        H * X + M.T * g,
        X.T * H * X + second.T * g,
    ]
    for (rows, _), matrix in zip(found, expected, strict=True):
        assert size(x - y for x, y in zip(rows, matrix, strict=True)) < sp.Rational(1, 10**15)
    assert all(size(rows) > sp.Rational(1, 10**6) for rows, _ in found)


@pytest.mark.parametrize("name", FAMILIES)
def test_identities_of_every_order_hold_in_each_family(name):
    symmetry, loss = FAMILIES[name]
    for k in range(3):
        (row,) = identity_of_order(symmetry, k).rows
        directions = {u: sp.Rational(len(u.name) + int(u.name[1]), 5) for u in row.free_symbols if u.name.startswith("u")}
        assert len(directions) == k * len(symmetry.coordinates)
        assert size(at_numbers(symmetry, loss, [row.subs(directions)])[0]) < sp.Rational(1, 10**18)
        assert size(at_numbers(symmetry, lambda *x: loss(*x) + x[0] ** 3 + x[1], [row.subs(directions)])[0]) > sp.Rational(
            1, 10**6
        )


# Theorem 1 and its sharper form


@pytest.mark.parametrize(
    ("symmetry", "follows"),
    [
        (translation(), True),
        (scale(), True),
        (rescale(), True),
        (power_rescale(k1, k2), True),
        (linear_symmetry([[1, 2], [2, 5]]), True),
        (linear_symmetry([[0, -1], [1, 0]]), True),
        (linear_symmetry([[0, 1], [0, 0]]), False),
        (linear_symmetry([[1, 2], [2, 5]], [1, 0]), False),
    ],
)
def test_the_hypothesis_of_theorem_1_is_derived_exactly_where_it_follows(symmetry, follows):
    """⟨θ, Mg⟩ = 0 at a random point of a random loss with ⟨g, X⟩ = 0, or not."""
    assert bool(theorem_1(symmetry).lemmas) == follows
    draw = rationals(3)
    theta = sp.Matrix([sp.Rational(next(draw)) for _ in symmetry.coordinates])
    X = symmetry.linear_part * theta + symmetry.constant_part
    g = sp.Matrix([-X[1], X[0]]) if len(X) == 2 else sp.zeros(1, 1)
    assert (g.T * X)[0] == 0
    assert (sp.expand((theta.T * symmetry.linear_part * g)[0]) == 0) == follows


def test_an_affine_generator_has_a_conserved_charge_where_theorem_1_needs_more():
    symmetry = linear_symmetry([[1, 2], [2, 5]], [1, 0])
    assert noether(symmetry).steps[-1].after == 0
    assert theorem_1(symmetry).lemmas == ()
    for derived in (lambda: law(symmetry, sgd()), lambda: discrete_law(symmetry, sgd())):
        with pytest.raises(UnsupportedError, match="shift the origin"):
            derived()


# GL(k): the matrix charge


def test_gl_k_has_as_many_charges_as_a_symmetric_matrix_has_entries():
    group = general_linear(3)
    assert (len(group.symmetric), len(group.antisymmetric)) == (6, 3)
    assert all(g.has_charge for g in group.symmetric)
    assert not any(g.has_charge for g in group.antisymmetric)
    assert {g.family for g in group.antisymmetric} == {"rotation"}
    with pytest.raises(FrozenInstanceError):
        group.units = 4


@given(M=matrices(3))
@settings(max_examples=6)
def test_the_charge_of_a_symmetric_direction_is_its_trace_with_the_matrix_charge(M):
    M = M + M.T
    group = general_linear(3)
    if not M.is_zero_matrix:
        assert sp.expand(group.along(M).charge - (M * group.charge).trace()) == 0


def test_a_diagonal_direction_of_gl_k_is_rescale_of_one_unit():
    unit = general_linear(2).symmetric[0]
    assert (unit.family, unit.charge) == ("rescale", A1**2 - B1**2)


WIDE = 2 * 2 + 2
"""W_1 of shape (2, 2) row by row, then W_2 of shape (1, 2)."""


def matrix_form(u, v):
    """U_1V_1ᵀ − U_2ᵀV_2, symmetrised: the matrix charge where u = v."""
    U, V = sp.Matrix(2, 2, u[:4]), sp.Matrix(2, 2, v[:4])
    full = U * V.T - sp.Matrix(u[4:]) * sp.Matrix(v[4:]).T
    return (full + full.T) / 2


def chain_gradient(theta):
    """∇L of L = (y_1 − 1)²/2 + y_1y_2, y = W_2W_1, in fractions."""
    a, b, c, d, e, f = theta
    y1, y2 = e * a + f * c, e * b + f * d
    r1, r2 = (y1 - 1) + y2, y1
    return [e * r1, e * r2, f * r1, f * r2, a * r1 + b * r2, c * r1 + d * r2]


@pytest.mark.parametrize("kind", RULES)
def test_every_step_of_sgd_on_a_linear_chain_obeys_the_law_of_the_whole_matrix(kind):
    hyper = {"lr": Fraction(1, 7), "momentum": Fraction(2, 3), "dampening": Fraction(1, 4), "weight_decay": Fraction(1, 9)}
    hyper |= dict.fromkeys({"plain": ("momentum", "dampening"), "dampening": ()}.get(kind, ("dampening",)), Fraction(0))
    found = {discrete_law(g, sgd(**RULES[kind])) for g in general_linear(2).symmetric}
    (transition,) = {law.transition.subs(values(**hyper)) for law in found}
    (drive,) = {law.drive_matrix.subs(values(**hyper)) for law in found}
    (names,) = {law.drives for law in found}
    draw = rationals(11)
    start, velocity = ([next(draw) for _ in range(WIDE)] for _ in range(2))
    velocity = velocity if kind != "plain" else None
    for step in descend(
        start, lambda n, theta: chain_gradient(theta), [hyper] * 3, nesterov=kind == "nesterov", velocity=velocity
    ):
        exact = {"gradient": (step.gradient, step.gradient), "direction": (step.direction, step.direction),
                 "overlap": (step.direction, step.next_velocity), "breaking": (step.gradient, step.theta)}  # fmt: skip
        assert matrix_form(*exact["breaking"]).is_zero_matrix
        state = [matrix_form(step.theta, step.theta), matrix_form(step.velocity, step.theta)][: transition.rows]
        after = [matrix_form(step.next_theta, step.next_theta), matrix_form(step.next_velocity, step.next_theta)]
        for i in range(transition.rows):
            predicted = sum((transition[i, j] * state[j] for j in range(transition.rows)), sp.zeros(2))
            predicted += sum((drive[i, j] * matrix_form(*exact[name]) for j, name in enumerate(names)), sp.zeros(2))
            assert predicted == after[i]
            assert predicted + transition[i, 0] * sp.eye(2) != after[i]


def test_the_discrete_law_of_a_symmetric_generator_is_that_of_rescale():
    """Q⁺ = (1−ηλ)²Q + η²gᵀMg."""
    for symmetry in (linear_symmetry([[1, 2], [2, 5]]), power_rescale(k1, k2), *general_linear(2).symmetric):
        found, known = discrete_law(symmetry, sgd()), discrete_law(rescale(), sgd())
        assert (found.transition, found.drives, found.drive_matrix) == (known.transition, known.drives, known.drive_matrix)
    assert {Q_n, C_n}.isdisjoint(found.transition.free_symbols)
