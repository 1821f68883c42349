"""Generators, charges and identities, against Kunin et al. 2021, section 3, 4 and appendix A."""

from dataclasses import FrozenInstanceError

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from derive import Symmetry, SymmetryError, linear_symmetry, rescale, scale, translation
from derive.equality import random_rationals
from derive.symbols import group_parameter as s
from derive.symmetry import _agreeing
from tests.derive.known_systems import A1, A2, INVARIANT_LOSSES, NOT_INVARIANT, POWER_RESCALE, SHEAR, SYMMETRIES

A = sp.Symbol("theta_A", real=True)
ONE, ZERO = sp.S.One, sp.S.Zero


def at_random(expressions, symbols, points=5):
    """Exact values of the expressions at random rational points."""
    chosen = zip(range(points), random_rationals(list(symbols), seed=1), strict=False)
    return [sp.cancel(e).xreplace(point) for _, point in chosen for e in expressions]


# The three families


@pytest.mark.parametrize(
    ("family", "generator", "charge", "degree"),
    [
        ("translation", (ONE,), A, 1),  # eq. 3, 11
        ("scale", (A,), A**2, 2),  # eq. 5, 12
        ("rescale", (A1, -A2), A1**2 - A2**2, 2),  # eq. 7, 13
    ],
)
def test_generator_and_charge_are_those_of_the_paper(family, generator, charge, degree):
    symmetry = SYMMETRIES[family]()
    assert (symmetry.generator, symmetry.charge, symmetry.degree) == (generator, charge, degree)


def test_gradient_identities_are_equations_3_5_7():
    one, two = sp.Function("L")(A), sp.Function("L")(A1, A2)
    assert translation().gradient_identity.coordinates == (one.diff(A),)
    assert scale().gradient_identity.coordinates == (A * one.diff(A),)
    assert rescale().gradient_identity.coordinates == (A1 * two.diff(A1) - A2 * two.diff(A2),)


def test_hessian_identities_are_equations_4_6_8():
    one, two = sp.Function("L")(A), sp.Function("L")(A1, A2)
    assert translation().hessian_identity.coordinates == (one.diff(A, 2),)
    assert scale().hessian_identity.coordinates == (A * one.diff(A, 2) + one.diff(A),)
    assert rescale().hessian_identity.coordinates == (
        A1 * two.diff(A1, 2) - A2 * two.diff(A1, A2) + two.diff(A1),
        A1 * two.diff(A1, A2) - A2 * two.diff(A2, 2) - two.diff(A2),
    )


# Concrete losses


def rows_on(symmetry, loss):
    """The rows of both identities with L replaced by a concrete loss."""
    unknown = sp.Function("L")(*symmetry.coordinates)
    rows = symmetry.gradient_identity.coordinates + symmetry.hessian_identity.coordinates
    return [row.subs(unknown, loss).doit() for row in rows]


@pytest.mark.parametrize("system", INVARIANT_LOSSES.values(), ids=INVARIANT_LOSSES)
def test_the_identities_hold_on_a_concrete_loss_with_the_symmetry(system):
    rows = rows_on(system.symmetry, system.loss)
    assert len(rows) == 1 + 4
    assert set(at_random(rows, system.parameters)) == {0}


@pytest.mark.parametrize("system", INVARIANT_LOSSES.values(), ids=INVARIANT_LOSSES)
def test_the_identities_fail_on_a_loss_without_the_symmetry(system):
    gradient_row, *hessian_rows = rows_on(system.symmetry, NOT_INVARIANT)
    assert 0 not in at_random([gradient_row], system.parameters)
    assert any(value != 0 for value in at_random(hessian_rows, system.parameters))


@pytest.mark.parametrize("system", INVARIANT_LOSSES.values(), ids=INVARIANT_LOSSES)
def test_the_catalogued_losses_are_invariant_and_the_other_one_is_not(system):
    move = dict(zip(system.parameters, system.symmetry.image, strict=True))
    symbols = [*system.parameters, s]
    assert set(at_random([system.loss.subs(move, simultaneous=True) - system.loss], symbols)) == {0}
    assert 0 not in at_random([NOT_INVARIANT.subs(move, simultaneous=True) - NOT_INVARIANT], symbols)


@pytest.mark.parametrize("system", INVARIANT_LOSSES.values(), ids=INVARIANT_LOSSES)
def test_gradient_flow_conserves_the_charge(system):
    def rate(loss):
        return sum(sp.diff(system.symmetry.charge, x) * sp.diff(loss, x) for x in system.parameters)

    assert set(at_random([rate(system.loss)], system.parameters)) == {0}
    assert 0 not in at_random([rate(NOT_INVARIANT)], system.parameters)


def test_the_two_writings_of_an_identity_are_compared():
    assert _agreeing((A * 2 - A,), (A,)) == (A * 2 - A,)
    with pytest.raises(SymmetryError, match="identity: differentiating the action gives"):
        _agreeing((A,), (2 * A,))


# Actions of one's own


@given(powers=st.lists(st.integers(-4, 4), min_size=1, max_size=4))
def test_a_power_rescaling_has_the_charge_of_appendix_a(powers):
    coordinates = sp.symbols(f"theta_A1:{len(powers) + 1}", real=True)
    image = tuple(x * s**k for x, k in zip(coordinates, powers, strict=True))
    if not any(powers):
        with pytest.raises(SymmetryError, match="expected an action that moves the parameters"):
            Symmetry("power rescale", coordinates, image, ONE)
        return
    symmetry = Symmetry("power rescale", coordinates, image, ONE)
    assert symmetry.generator == tuple(k * x for x, k in zip(coordinates, powers, strict=True))
    assert symmetry.charge == sum(k * x**2 for x, k in zip(coordinates, powers, strict=True))
    assert symmetry.degree == 2


def test_a_block_may_be_translated_with_weights():
    symmetry = Symmetry("weighted translation", (A1, A2), (A1 + s, A2 - 2 * s), ZERO)
    assert (symmetry.charge, symmetry.degree) == (A1 - 2 * A2, 1)


def test_a_symmetric_off_diagonal_generator_has_the_charge_twice_the_product():
    grow, shrink = (s + 1 / s) / 2, (s - 1 / s) / 2
    symmetry = Symmetry("boost", (A1, A2), (A1 * grow + A2 * shrink, A1 * shrink + A2 * grow), ONE)
    assert (symmetry.generator, symmetry.charge) == ((A2, A1), 2 * A1 * A2)


def test_a_shear_is_a_symmetry_without_a_charge():
    assert SHEAR.generator == (A2, 0)
    with pytest.raises(SymmetryError, match="shear: no charge exists"):
        _ = SHEAR.charge


def test_the_hessian_identity_of_a_shear_carries_the_transpose():
    loss = sp.Function("L")(A1, A2)
    assert SHEAR.hessian_identity.coordinates == (A2 * loss.diff(A1, 2), A2 * loss.diff(A1, A2) + loss.diff(A1))


def test_an_exponential_parametrization_is_the_same_group():
    symmetry = Symmetry("rescale", (A1, A2), (A1 * sp.exp(s), A2 * sp.exp(-s)), ZERO)
    assert (symmetry.generator, symmetry.charge) == (rescale().generator, rescale().charge)


def test_a_rotation_is_a_symmetry_without_a_charge():
    image = (A1 * sp.cos(s) - A2 * sp.sin(s), A1 * sp.sin(s) + A2 * sp.cos(s))
    rotation = Symmetry("rotation", (A1, A2), image, ZERO)
    assert rotation.generator == (-A2, A1)
    with pytest.raises(SymmetryError, match="rotation: no charge exists"):
        _ = rotation.charge


NOT_SYMMETRIES = {
    "no group": ((A + s**2,), ZERO, "expected a group with identity 0"),
    "no group, multiplicative": ((A + s - 1,), ONE, "expected a group with identity 1"),
    "an exponential that is no group": ((A * sp.exp(s**2),), ZERO, "expected a group with identity 0"),
    "wrong identity": ((s * A,), ZERO, "expected the identity at s = 0"),
    "wrong identity of a translation": ((A + s,), ONE, "expected the identity at s = 1"),
    "identity that is neither 0 nor 1": (
        (s * A / 2,),
        sp.Integer(2),
        "identity: expected 0 or 1, got 2; symmetry_from_action",
    ),
    "complex generator": ((A * (-1) ** s,), ZERO, "expected a real generator"),
    "projective": ((A / (1 + s * A),), ZERO, "expected an action with an affine generator"),
    "nothing moves": ((A,), ZERO, "expected an action that moves the parameters"),
    "too many images": ((A, A), ONE, "expected one expression for each of the 1 coordinates"),
}


@pytest.mark.parametrize(("image", "identity", "message"), NOT_SYMMETRIES.values(), ids=NOT_SYMMETRIES)
def test_what_is_no_affine_one_parameter_group_is_refused(image, identity, message):
    with pytest.raises(SymmetryError, match=message):
        Symmetry("mine", (A,), image, identity)


def test_a_symmetry_without_coordinates_is_refused():
    with pytest.raises(SymmetryError, match="for each of the 0 coordinates"):
        Symmetry("mine", (), (), ONE)


def test_a_symmetry_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        scale().name = "other"


# Writing


def test_the_form_is_written_as_a_reader_writes_it():
    assert POWER_RESCALE.form_latex("g") == "2|g_{A1}|^2 - 3|g_{A2}|^2"
    assert scale().form_latex(r"\theta") == r"|\theta_{A}|^2"
    assert translation().form_latex("g") == r"\langle g_{A}, 1\rangle"
    negative = Symmetry("inverse rescale", (A1, A2), (A1 / s, A2 * s), ONE)
    assert negative.form_latex("g") == "-|g_{A1}|^2 + |g_{A2}|^2"


def test_coefficients_are_written_as_they_are():
    k, m = sp.symbols("k m", real=True)
    open_signs = Symmetry("mine", (A1, A2), (A1 * sp.exp(k * s), A2 * sp.exp((k - m) * s)), ZERO)
    assert open_signs.form_latex("g") == r"k|g_{A1}|^2 + \left(k - m\right)|g_{A2}|^2"


def test_coordinates_are_told_apart_by_what_differs_in_their_names():
    x, y, ax, bx = sp.symbols("x y a_x b_x", real=True)
    assert Symmetry("mine", (x, y), (x * s, y / s), ONE).form_latex("g") == "|g_{x}|^2 - |g_{y}|^2"
    assert Symmetry("mine", (ax, bx), (ax * s, bx / s), ONE).labels == ("a_x", "b_x")
    assert SHEAR.labels == ("A1", "A2")


def test_a_symmetry_without_a_charge_is_written_without_one():
    assert "Q" not in SHEAR._repr_latex_()
    assert "Q" in scale()._repr_latex_()


def test_an_action_without_a_closed_form_is_written_by_its_generator():
    text = linear_symmetry([[0, 0, 1], [1, 0, 1], [0, 1, 0]])._repr_latex_()
    assert r"\tfrac{d}{ds}\theta_{A1} = \theta_{A3}" in text


# On arrays


def test_action_and_generator_act_on_the_users_arrays():
    import numpy as np

    a, b = np.arange(6.0).reshape(2, 3), np.ones(4)
    up, down = POWER_RESCALE.moved([a, b], 2)
    assert np.array_equal(up, 4 * a)
    assert np.array_equal(down, b / 8)
    up, down = POWER_RESCALE.generated([a, b])
    assert np.array_equal(up, 2 * a)
    assert np.array_equal(down, -3 * b)
    (shifted,) = translation().moved([a], 0.5)
    assert np.array_equal(shifted, a + 0.5)
    assert np.array_equal(translation().generated([a])[0], np.ones((2, 3)))
    assert np.array_equal(SHEAR.moved([a, a[::-1]], 3)[0], a + 3 * a[::-1])


def test_the_action_moves_arrays_along_its_generator():
    boost = linear_symmetry([[1, 2], [2, -1]])
    blocks, h = (0.3, -0.7), 1e-6
    slopes = [(y - x) / (2 * h) for x, y in zip(boost.moved(blocks, -h), boost.moved(blocks, h), strict=True)]
    assert slopes == pytest.approx(boost.generated(blocks), abs=1e-8)
    assert slopes != pytest.approx(rescale().generated(blocks), abs=1e-8)


@pytest.mark.parametrize(
    ("symmetry", "blocks", "message"),
    [
        (rescale(), [1.0], "blocks: expected 2 of them"),
        (linear_symmetry([[sp.Symbol("k", real=True)]]), [1.0], "blocks: expected a symmetry of numbers"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(symmetry, blocks, message):
    with pytest.raises(SymmetryError, match=message):
        symmetry.generated(blocks)


@pytest.mark.parametrize("family", SYMMETRIES)
def test_latex_shows_the_action_and_the_identities(family):
    symmetry = SYMMETRIES[family]()
    assert all(rf"{sp.latex(x)} \mapsto" in symmetry._repr_latex_() for x in symmetry.coordinates)
    assert symmetry.hessian_identity._repr_latex_().count("= 0") == len(symmetry.coordinates)
