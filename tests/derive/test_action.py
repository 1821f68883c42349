"""Symmetries from a user's own action, in symbols of their own."""

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive import SymmetryError, law, rescale, scale, sgd, symmetry_from_action, translation
from derive.symbols import group_parameter as s

u, v, e = sp.symbols("u v epsilon", real=True)
z = sp.Symbol("z")
p, k = sp.symbols("p k", positive=True)

ACTIONS = {
    "a shift of one of two": ((u + e, v), e, "translation", u, 1),
    "shifts with weights": ((u + 2 * e, v - 3 * e), e, "translation", 2 * u - 3 * v, 1),
    "a shift by a logarithm": ((u + sp.log(p), v), p, "translation", u, 1),
    "a shift that starts at 2": ((u + e - 2, v + e - 2), e, "translation", u + v, 1),
    "a factor, undeclared": ((z * u, z * v), z, "scale", u**2 + v**2, 2),
    "a factor, exponential": ((sp.exp(e) * u, sp.exp(e) * v), e, "scale", u**2 + v**2, 2),
    "a factor that starts at 3": ((p * u / 3, p * v / 3), p, "scale", u**2 + v**2, 2),
    "a factor that starts at a constant": ((p * u / k, k * v / p), p, "rescale", u**2 - v**2, 2),
    "in- and outgoing weights": ((p * u, v / p), p, "rescale", u**2 - v**2, 2),
    "two layers with an exponent": ((p**k * u, v / p**k), p, "rescale", k * u**2 - k * v**2, 2),
    "around a square": ((p * u, v / p**2), p, "power rescale", u**2 - 2 * v**2, 2),
    "around an exponential of time": ((u * sp.exp(e - 1), v * sp.exp(2 - 2 * e)), e, "power rescale", u**2 - 2 * v**2, 2),
    "a boost": ((u * sp.cosh(e) + v * sp.sinh(e), u * sp.sinh(e) + v * sp.cosh(e)), e, "linear", 2 * u * v, 2),
    "about a point": ((p * (u - k) + k, v), p, "affine", u**2 - 2 * k * u, 2),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_family_charge_and_degree_are_found(name):
    image, parameter, family, charge, degree = ACTIONS[name]
    found = symmetry_from_action((u, v), image, parameter)
    assert (found.family, sp.expand(found.charge - charge), found.degree) == (family, 0, degree)


@pytest.mark.parametrize("name", ACTIONS)
def test_a_charge_of_another_family_is_not_found(name):
    image, parameter, family, *_ = ACTIONS[name]
    found = symmetry_from_action((u, v), image, parameter)
    others = [row for row in ACTIONS.values() if row[2] != family]
    assert all(sp.expand(found.charge - other[3]) != 0 for other in others)


def test_a_rotation_and_a_shear_are_symmetries_without_a_charge():
    rotation = (u * sp.cos(e) - v * sp.sin(e), u * sp.sin(e) + v * sp.cos(e))
    for image, family in ((rotation, "rotation"), ((u + e * v, v), "linear")):
        found = symmetry_from_action((u, v), image, e)
        assert (found.family, found.has_charge) == (family, False)
        assert found.gradient_identity.value == 0
        with pytest.raises(SymmetryError, match="no charge exists"):
            _ = found.charge


def test_an_orbit_that_bends_is_affine_and_a_group():
    """A shear and a shift along what it shears: the image is quadratic in the parameter."""
    found = symmetry_from_action((u, v), (u + e * v + e**2 / 2, v + e), e)
    assert (found.family, found.generator) == ("affine", (v, 1))


def test_the_papers_three_are_what_the_user_would_write():
    a = sp.Symbol("theta_A", real=True)
    b = sp.symbols("theta_A1 theta_A2", real=True)
    assert symmetry_from_action((a,), (a + s,), name="translation") == translation()
    assert symmetry_from_action((a,), (a * p,), p, name="scale") == scale()
    assert symmetry_from_action(b, (p * b[0], b[1] / p), p, name="rescale") == rescale()


def test_a_given_identity_is_taken():
    assert symmetry_from_action((u,), (u * p / 5,), p, identity=5).family == "scale"
    assert symmetry_from_action((u,), (u + e,), e, identity=0).degree == 1


def test_the_law_is_that_of_its_family():
    custom = symmetry_from_action((u, v), (p**2 * u, v / p**2), p)
    assert law(custom, sgd()).equation == law(rescale(), sgd()).equation


NOT_SYMMETRIES = {
    "quadratic in the parameter": ((u + e**2, v), e, {}, "expected a group with identity 0 .*, which is not"),
    "cubic in an exponent": ((u * sp.exp(e**3), v), e, {}, "expected a group with identity 0 .*, which is not"),
    "half of a rotation": ((u - e * v, v + e * u), e, {}, r"expected a group .* linear_symmetry\(M, c\)"),
    "a factor 1 + ε": ((u * (1 + e), v), e, {}, r"expected a group .* linear_symmetry\(M, c\)"),
    "projective": ((u / (1 + e * u), v), e, {}, "an affine generator .* choose coordinates"),
    "quadratic shear": ((u + e * v**2, v), e, {}, "an affine generator .* choose coordinates"),
    "moves nothing, hidden": ((u * (sp.cos(e) ** 2 + sp.sin(e) ** 2), v), e, {}, "moves the parameters"),
    "no parameter": ((u, v), e, {}, "moves the parameters with epsilon"),
    "another parameter": ((u + e, v), p, {}, "moves the parameters with p.*parameter="),
    "no identity": ((u**2 * p, v), p, {}, "a value of p at which nothing moves, found none"),
    "wrong identity 0": ((u * p, v), p, {"identity": 0}, "identity: expected the value of p at which nothing moves, got 0"),
    "wrong identity 1": ((u + e, v), e, {"identity": 1}, "at which the image is .*leave it out"),
    "singular identity": ((u / p, v), p, {"identity": 0}, "identity: expected the value of p"),
    "not smooth": ((u + sp.Abs(e), v), e, {}, "can be differentiated"),
    "a root of a square": ((u + sp.sqrt(z**2), v), z, {}, "declared positive"),
    "complex": ((u * (-1) ** e, v), e, {}, "expected a real generator"),
    "a float": ((u * 1.5**e, v), e, {}, "expected exact numbers, got a float"),
    "text": (("u + epsilon", v), e, {}, "expected real exact numbers or SymPy expressions, got 'u"),
    "text as identity": ((u * p, v), p, {"identity": "1"}, "identity: expected real exact"),
    "too few": ((u + e,), e, {}, "one expression for each of the 2 coordinates, got 1"),
    "no list": (u + e, e, {}, "image: expected a list"),
    "unknown function": ((u * sp.Function("f")(e), v), e, {}, "at which nothing moves"),
    "our own letter": ((u * p * s, v), p, {}, "rename it"),
}


@pytest.mark.parametrize("name", NOT_SYMMETRIES)
def test_what_is_no_symmetry_is_refused_with_the_reason(name):
    image, parameter, options, message = NOT_SYMMETRIES[name]
    with pytest.raises(SymmetryError, match=f"(?s){message}"):
        symmetry_from_action((u, v), image, parameter, **options)


@pytest.mark.parametrize("coordinates", [(u, u), (), u, ("u", "v"), (e, v), (s, v)])
def test_coordinates_are_different_symbols_and_not_the_parameter(coordinates):
    with pytest.raises(SymmetryError, match=r"^coordinates"):
        symmetry_from_action(coordinates, (u + e, v), e)


def test_what_is_neither_proved_nor_refuted_is_called_neither():
    unknown = sp.Function("f")(1)
    image = (u * (1 + (sp.exp(e) - 1) * unknown),)
    with pytest.raises(SymmetryError, match="could not be proved"):
        symmetry_from_action((u,), image, e)


thirds = st.fractions(-3, 3, max_denominator=3)


@given(rows=st.lists(st.tuples(thirds, thirds), min_size=1, max_size=3), start=thirds)
@settings(max_examples=10)
def test_any_diagonal_flow_is_found_wherever_its_parameter_starts(rows, start):
    """θ' = mθ + c, one coordinate each: e^{mε}θ + c(e^{mε} − 1)/m, with ε counted from anywhere."""
    x = sp.symbols(f"x1:{len(rows) + 1}", real=True)
    rates = [(sp.Rational(m), sp.Rational(c)) for m, c in rows]
    t = e - sp.Rational(start)
    image = [sp.exp(m * t) * y + (c * (sp.exp(m * t) - 1) / m if m else c * t) for y, (m, c) in zip(x, rates, strict=True)]
    if not any(m or c for m, c in rates):
        with pytest.raises(SymmetryError, match="moves the parameters"):
            symmetry_from_action(x, image, e)
        return
    found = symmetry_from_action(x, image, e)
    assert found.generator == tuple(m * y + c for y, (m, c) in zip(x, rates, strict=True))
    assert found.has_charge
