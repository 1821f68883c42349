"""The five relations of Kunin et al. 2021, App. A, Tables 2 and 3, identities of higher order, and Theorem 1."""

from itertools import pairwise

import pytest
import sympy as sp

from derive import SymmetryError, rescale, scale, symbols, translation
from derive.relations import Relation, identity_of_order, noether, relations, theorem_1
from derive.symmetry import Symmetry

s = symbols.group_parameter
A, A1, A2 = sp.symbols("theta_A theta_A1 theta_A2", real=True)
FAMILIES = {"translation": translation(), "scale": scale(), "rescale": rescale()}


def difference_of_two(family=lambda a: a + s):
    """Translation and scale on two coordinates, where invariant losses are not constant."""
    x, y = sp.symbols("theta_A1 theta_A2", real=True)
    return Symmetry("both", (x, y), (family(x), family(y)), sp.S.Zero if family(x) == x + s else sp.S.One)


CASES = [
    (rescale(), (A1 * A2) ** 3 - 2 * A1 * A2),
    (difference_of_two(), (A1 - A2) ** 4 + A1 - A2),
    (difference_of_two(lambda a: s * a), A1**2 / (A1**2 + 3 * A2**2)),
]


def holds(symmetry, loss, relation):
    """Put a concrete loss into the rows and evaluate at a rational point."""
    concrete = sp.Lambda(symmetry.coordinates, loss)
    at = dict(zip(symmetry.coordinates, (sp.Rational(3, 7), sp.Rational(-5, 4)), strict=False)) | {s: sp.Rational(8, 5)}
    rows = [row.replace(sp.Function("L"), concrete).doit() for row in relation.rows]
    return all(row.subs(at) == 0 for row in rows)


@pytest.mark.parametrize(("symmetry", "loss"), CASES)
@pytest.mark.parametrize("index", range(5))
def test_every_relation_holds_for_an_invariant_loss(symmetry, loss, index):
    assert holds(symmetry, loss, relations(symmetry)[index])


@pytest.mark.parametrize(("symmetry", "loss"), CASES)
@pytest.mark.parametrize("index", range(5))
def test_every_relation_is_missed_by_a_loss_that_is_not_invariant(symmetry, loss, index):
    assert not holds(symmetry, loss + A1**3 + A2, relations(symmetry)[index])


def test_the_five_relations_are_those_of_appendix_a():
    assert [r.source.rpartition(" ")[2] for r in relations(scale())] == ["22", "23", "24", "25", "26"]


def test_table_2_a_gradient_before_scaling_is_s_times_the_one_after():
    (row,) = relations(scale())[0].rows
    moved = row.replace(sp.Function("L"), sp.Lambda((A,), A**4 / 4)).doit()
    assert sp.expand(moved - (s * (s * A) ** 3 - A**3)) == 0


def test_table_3_the_last_row_of_rescale_is_the_papers_up_to_the_gradient_identity():
    """The paper has g_A1·θ_A1 + g_A2·θ_A2, the derivative 2 g_A2·θ_A2: they differ by ⟨g, X⟩ = 0 (eq. 7)."""
    loss = sp.Function("L")(A1, A2)
    g1, g2 = loss.diff(A1), loss.diff(A2)
    quadratic = A1**2 * loss.diff(A1, 2) - 2 * A1 * A2 * loss.diff(A1, A2) + A2**2 * loss.diff(A2, 2)
    (row,) = relations(rescale())[4].rows
    (along,) = relations(rescale())[1].rows
    assert sp.expand(row - quadratic - (g1 * A1 + g2 * A2) + along) == 0


@pytest.mark.parametrize("k", range(4))
@pytest.mark.parametrize(("symmetry", "loss"), CASES)
def test_identities_of_every_order_hold(symmetry, loss, k):
    (row,) = identity_of_order(symmetry, k).rows
    directions = [u for u in row.free_symbols if u.name.startswith("u")]
    numbers = {u: sp.Rational(len(u.name) + int(u.name[1]), 5) for u in directions}
    assert holds(symmetry, loss, Relation("numbers", (row.subs(numbers),), True, ""))


def test_the_second_identity_of_scale_is_eulers_theorem_for_third_derivatives():
    u, v = sp.symbols("u1_A u2_A", real=True)
    loss = sp.Function("L")(A)
    (row,) = identity_of_order(scale(), 2).rows
    assert sp.expand(row - u * v * (A * loss.diff(A, 3) + 2 * loss.diff(A, 2))) == 0


def test_a_negative_order_is_refused():
    with pytest.raises(ValueError, match="k: expected 0 or more, got -1"):
        identity_of_order(scale(), -1)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_flow_conserves_every_charge_step_by_step(name):
    steps = noether(FAMILIES[name]).steps
    assert steps[0].before == symbols.charge(symbols.time).diff(symbols.time)
    assert steps[-1].after == 0
    assert all(a.after == b.before for a, b in pairwise(steps))


@pytest.mark.parametrize("name", FAMILIES)
def test_theorem_1_uses_its_hypothesis(name):
    last = theorem_1(FAMILIES[name]).steps[-1]
    assert last.after == 0
    assert len(last.given) == 2
    with pytest.raises(ValueError, match="before - after"):
        type(last)(last.before, last.after, last.rule, last.reason, last.given[:1])


def test_a_rotation_conserves_nothing():
    x, y = sp.symbols("theta_A1 theta_A2", real=True)
    turned = (x * sp.cos(s) - y * sp.sin(s), x * sp.sin(s) + y * sp.cos(s))
    with pytest.raises(SymmetryError, match="no charge"):
        noether(Symmetry("rotation", (x, y), turned, sp.S.Zero))
