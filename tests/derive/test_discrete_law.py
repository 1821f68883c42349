"""Discrete laws, exactly: runs of SGD in fractions leave nothing over, and Kunin et al. 2021, appendix I."""

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive import (
    SymmetryError,
    UnsupportedError,
    discrete_law,
    general_linear,
    gradient_flow,
    rescale,
    scale,
    sgd,
    translation,
)
from derive.discrete_law import DRIVES, Q_n
from derive.symbols import dampening as alpha
from derive.symbols import initial_charge
from derive.symbols import lr as eta
from derive.symbols import momentum as beta
from derive.symbols import shift as E
from derive.symbols import step as n
from derive.symbols import weight_decay as lam
from tests.derive.known_systems import (
    ABOUT_A_POINT,
    INVARIANT_LOSSES,
    POWER_RESCALE,
    RULES,
    SHEAR,
    SYMMETRIES,
    descend,
    random_gradients,
    rationals,
    values,
)

LAWS = {(s, r): discrete_law(SYMMETRIES[s](), sgd(**RULES[r])) for s in SYMMETRIES for r in RULES}
SIGNS = {"translation": (1, 1, 1, 0), "scale": (1, 1, 1, 0), "rescale": (1, 1, -1, 0)}
"""Four parameters: 1 on A or A1, −1 on A2, 0 outside."""


# Measuring a run


@dataclass(frozen=True)
class Measured:
    """State before and after each step, its drives and its hyper-parameters, exact."""

    states: list[list[Fraction]]
    drives: list[dict[str, Fraction]]
    schedule: list[dict[str, Fraction]]

    def misfits(self, found):
        """x_{n+1} − A x_n − B f_n at every step: all 0 if the law is that of the run."""
        numbers = [values(**{name: hyper[name] for name in hyper}) for hyper in self.schedule]
        steps = zip(numbers, self.states, self.states[1:], self.drives, strict=False)
        return [entry for step in steps for entry in self._misfit(found, *step)]

    @staticmethod
    def _misfit(found, numbers, before, after, drives):
        size = found.transition.shape[0]
        state = sp.Matrix([sp.Rational(x) for x in before[:size]])
        drive = sp.Matrix([sp.Rational(drives[name]) for name in found.drives])
        predicted = found.transition.xreplace(numbers) * state + found.drive_matrix.xreplace(numbers) * drive
        return [sp.Rational(x) - y for x, y in zip(after, predicted, strict=False)]


def form(signs, u, v):
    return sum(sign * a * b for sign, a, b in zip(signs, u, v, strict=True))


def measure(family, course, schedule) -> Measured:
    """Charge, velocity overlap and drives of a run, by their definitions."""
    signs = SIGNS[family]

    def generator(theta):
        return [1] * 4 if family == "translation" else theta

    def state(theta, velocity):
        return [form(signs, theta, generator(theta)), form(signs, velocity, generator(theta))]

    drives = [
        {
            "breaking": form(signs, step.gradient, generator(step.theta)),
            "gradient": form(signs, step.gradient, step.gradient),
            "direction": form(signs, step.direction, step.direction),
            "overlap": form(signs, step.direction, step.next_velocity),
        }
        for step in course
    ]
    states = [state(step.theta, step.velocity) for step in course]
    return Measured([*states, state(course[-1].next_theta, course[-1].next_velocity)], drives, schedule)


def run(family, kind, schedule, gradient, seed=0) -> Measured:
    draw = rationals(seed + 100)
    start, velocity = ([next(draw) for _ in range(4)] for _ in range(2))
    course = descend(start, gradient, schedule, nesterov=kind == "nesterov", velocity=velocity)
    return measure(family, list(course), schedule)


def allowed(kind, hyper):
    """``hyper`` without what the rule of this kind has not."""
    unused = {"plain": ("momentum", "dampening"), "dampening": ()}.get(kind, ("dampening",))
    return hyper | dict.fromkeys(unused, Fraction(0))


hypers = st.fixed_dictionaries(
    {
        "lr": st.fractions(Fraction(1, 50), 2, max_denominator=50),
        "momentum": st.fractions(0, Fraction(19, 20), max_denominator=20),
        "dampening": st.fractions(0, Fraction(19, 20), max_denominator=20),
        "weight_decay": st.fractions(0, 2, max_denominator=50),
    }
)


# Exactness


@pytest.mark.parametrize(("family", "kind"), LAWS)
@settings(max_examples=8)
@given(schedule=st.lists(hypers, min_size=1, max_size=6), seed=st.integers(0, 99))
def test_any_run_under_any_schedule_obeys_the_law_with_nothing_left_over(family, kind, schedule, seed):
    schedule = [allowed(kind, hyper) for hyper in schedule]
    run_of_no_loss = run(family, kind, schedule, random_gradients(seed, 4), seed)
    assert set(run_of_no_loss.misfits(LAWS[family, kind])) == {0}


SCHEDULE = [
    {"lr": Fraction(1, 5), "momentum": Fraction(2, 3), "dampening": Fraction(1, 4), "weight_decay": Fraction(1, 7)},
    {"lr": Fraction(3, 7), "momentum": Fraction(1, 3), "dampening": Fraction(1, 2), "weight_decay": Fraction(2, 5)},
    {"lr": Fraction(1, 9), "momentum": Fraction(3, 4), "dampening": Fraction(1, 8), "weight_decay": Fraction(1, 3)},
]


@pytest.mark.parametrize(("family", "kind"), LAWS)
def test_a_law_of_another_rule_or_symmetry_is_missed(family, kind):
    measured = run(family, kind, [allowed(kind, hyper) for hyper in SCHEDULE], random_gradients(1, 4))
    others = [("scale" if family == "translation" else "translation", kind)]
    if kind != "plain":  # with β = 0 they all hold
        others.append((family, "momentum" if kind == "nesterov" else "nesterov"))
    assert all(set(measured.misfits(LAWS[other])) != {0} for other in others)


def test_a_wrong_coefficient_is_seen():
    right = LAWS["scale", "plain"]
    wrong = replace(right, drive_matrix=right.drive_matrix + sp.Matrix([[0, sp.Rational(1, 10**9)]]))
    measured = run("scale", "plain", [allowed("plain", hyper) for hyper in SCHEDULE], random_gradients(1, 4))
    assert set(measured.misfits(right)) == {0}
    assert 0 not in measured.misfits(wrong)


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("family", SYMMETRIES)
def test_training_on_an_invariant_loss_obeys_the_law_without_breaking(family, kind):
    gradient = INVARIANT_LOSSES[family].gradient
    schedule = [allowed(kind, hyper) for hyper in SCHEDULE]
    measured = run(family, kind, schedule, lambda n, theta: gradient(theta))
    assert {drives["breaking"] for drives in measured.drives} == {0}
    assert set(measured.misfits(LAWS[family, kind])) == {0}


def test_torchs_first_step_is_the_law_with_dampening_zero():
    first = SCHEDULE[0] | {"dampening": Fraction(0)}
    measured = run("scale", "dampening", [first, *SCHEDULE[1:]], random_gradients(2, 4))
    assert set(measured.misfits(LAWS["scale", "dampening"])) == {0}
    pretended = replace(measured, schedule=SCHEDULE)
    assert set(pretended.misfits(LAWS["scale", "dampening"])[:2]) != {0}


def with_first_step(found):
    """The law whose every step is the first one."""
    return replace(found, transition=found.first_transition, drive_matrix=found.first_drive_matrix)


@pytest.mark.parametrize("first_step", ["torch", "zero"])
@pytest.mark.parametrize(("family", "kind"), LAWS)
def test_the_first_step_from_no_velocity_has_matrices_of_its_own(family, kind, first_step):
    found = discrete_law(SYMMETRIES[family](), sgd(**RULES[kind], first_step=first_step))
    hyper = allowed(kind, SCHEDULE[0])
    taken = hyper | ({"dampening": Fraction(0)} if first_step == "torch" else {})
    start = [Fraction(1, 2), Fraction(-3), Fraction(2, 5), Fraction(7)]
    course = list(descend(start, random_gradients(5, 4), [taken], nesterov=kind == "nesterov"))
    assert set(measure(family, course, [hyper]).misfits(with_first_step(found))) == {0}
    if kind == "dampening":
        swapped = "zero" if first_step == "torch" else "torch"
        other = discrete_law(SYMMETRIES[family](), sgd(**RULES[kind], first_step=swapped))
        assert 0 not in measure(family, course, [hyper]).misfits(with_first_step(other))


def test_a_law_names_the_hyper_parameters_that_occur_in_it():
    assert set(LAWS["scale", "dampening"].hyper_parameters) == {"lr", "weight_decay", "momentum", "dampening"}
    assert set(LAWS["translation", "plain"].hyper_parameters) == {"lr", "weight_decay"}
    assert numeric_law(translation(), OVERDAMPED).hyper_parameters == ()


# The scalar recurrence


@pytest.mark.parametrize(("family", "kind"), LAWS)
def test_the_scalar_recurrence_holds_exactly_for_constant_hyper_parameters(family, kind):
    hyper = allowed(kind, SCHEDULE[0])
    measured = run(family, kind, [hyper] * 6, random_gradients(3, 4))
    found, numbers = LAWS[family, kind], values(**hyper)
    charges = [state[0] for state in measured.states]
    left = at_step(found.characteristic_polynomial.subs(numbers), charges)
    right = [0] * len(left)
    for name, polynomial in found.drive_polynomials.items():
        driven = at_step(polynomial.subs(numbers), [drives[name] for drives in measured.drives])
        right = [a + b for a, b in zip(right, driven, strict=False)]
    assert len(right) >= 4
    assert left[: len(right)] == right


def at_step(polynomial, sequence):
    """(Σ c_k E^k x)_n for each n at which the sequence is long enough."""
    terms = sp.Poly(polynomial, E).as_dict()
    reach = max(power for (power,) in terms)
    return [
        sum(c * sp.Rational(sequence[start + power]) for (power,), c in terms.items())
        for start in range(len(sequence) - reach)
    ]


h = eta * (1 - alpha)


@pytest.mark.parametrize(
    ("kind", "p", "polynomial"),
    [
        ("plain", 1, E - (1 - eta * lam)),
        ("plain", 2, E - (1 - eta * lam) ** 2),
        ("momentum", 1, E**2 - (1 + beta - eta * lam) * E + beta),
        ("momentum", 2, E**2 - (1 + beta - 2 * eta * lam) * E + beta),
        ("dampening", 1, E**2 - (1 + beta - h * lam) * E + beta),
        ("dampening", 2, E**2 - (1 + beta - 2 * h * lam) * E + beta),
    ],
)
def test_the_characteristic_polynomial_is_that_of_the_damped_oscillator_in_steps(kind, p, polynomial):
    for family in ["translation"] if p == 1 else ["scale", "rescale"]:
        assert sp.expand(LAWS[family, kind].characteristic_polynomial - polynomial) == 0


def test_the_drive_with_momentum_is_the_squared_displacement_at_two_steps():
    for family in ("scale", "rescale"):
        for kind in ("momentum", "dampening"):
            polynomials = LAWS[family, kind].drive_polynomials
            assert sp.expand(polynomials["direction"] - eta**2 * (E + beta)) == 0  # u_{n+1} + βu_n, u = η²w
            assert set(polynomials) == {"breaking", "direction"}


def test_only_what_moves_along_the_generator_drives_a_translation():
    assert {LAWS["translation", kind].drives for kind in RULES} == {("breaking",)}
    assert LAWS["scale", "nesterov"].drives == ("breaking", "direction", "overlap")
    assert LAWS["scale", "plain"].drives == ("breaking", "gradient")


def test_the_equation_leaves_the_breaking_out():
    equation = LAWS["scale", "plain"].equation
    assert sp.expand(equation.lhs - (E - (1 - eta * lam) ** 2) * Q_n) == 0
    assert sp.expand(equation.rhs - eta**2 * DRIVES["gradient"]) == 0
    assert LAWS["translation", "momentum"].equation.rhs == 0
    assert LAWS["scale", "plain"]._repr_latex_().startswith("$")


def test_dampening_is_ignored_without_momentum_as_in_torch():
    assert discrete_law(scale(), sgd(dampening=True)).transition == LAWS["scale", "plain"].transition


# Unrolled


@pytest.mark.parametrize(("family", "p"), [("translation", 1), ("scale", 2), ("rescale", 2)])
def test_equations_39_40_41(family, p):
    i, r, drive = sp.Symbol("i", integer=True, nonnegative=True), 1 - eta * lam, sp.IndexedBase("q")
    memory = eta**2 * sp.Sum(r ** (2 * (n - 1 - i)) * drive[i], (i, 0, n - 1)) if p == 2 else 0
    expected = r ** (p * n) * initial_charge + memory
    got = LAWS[family, "plain"].unrolled()
    for steps in range(5):
        assert sp.expand(got.subs(n, steps).doit() - expected.subs(n, steps).doit()) == 0


@pytest.mark.parametrize("family", SYMMETRIES)
def test_the_unrolled_law_is_where_a_run_arrives(family):
    hyper = allowed("plain", SCHEDULE[0])
    gradient = INVARIANT_LOSSES[family].gradient
    measured = run(family, "plain", [hyper] * 3, lambda n, theta: gradient(theta))
    unrolled = LAWS[family, "plain"].unrolled().subs(n, 3).doit().subs(values(**hyper))
    logged = {sp.IndexedBase("q")[i]: sp.Rational(drives["gradient"]) for i, drives in enumerate(measured.drives)}
    arrived = unrolled.subs(logged).subs(initial_charge, sp.Rational(measured.states[0][0]))
    assert arrived == sp.Rational(measured.states[3][0])


# Green's function

OVERDAMPED = {"lr": "1/10", "momentum": "1/4", "weight_decay": "1/2"}
UNDERDAMPED = {"lr": 1, "momentum": "9/10", "weight_decay": "1/3"}


def recurrence_response(found, steps):
    """G_0 = 0, G_1 = 1 and the homogeneous recurrence, in exact rationals."""
    (constant,), (slope,), _ = sorted_coefficients(found)
    response = [sp.S.Zero, sp.S.One]
    while len(response) <= steps:
        response.append(sp.expand(-slope * response[-1] - constant * response[-2]))
    return response


def sorted_coefficients(found):
    return [(c,) for c in reversed(sp.Poly(found.characteristic_polynomial, E).all_coeffs())]


def numeric_law(symmetry, numbers, **options):
    return discrete_law(symmetry, sgd(**{name: sp.Rational(value) for name, value in numbers.items()}, **options))


@pytest.mark.parametrize("numbers", [OVERDAMPED, UNDERDAMPED])
@pytest.mark.parametrize("symmetry", [translation(), scale()])
def test_the_response_starts_from_zero_and_obeys_the_recurrence(symmetry, numbers):
    found = numeric_law(symmetry, numbers)
    response = recurrence_response(found, 8)
    assert [sp.expand(found.green(sp.Integer(step)) - response[step]) for step in range(9)] == [0] * 9


def test_the_response_at_critical_damping_is_n_times_a_power():
    critical = {"lr": 1, "momentum": "1/4", "weight_decay": "1/4"}  # (1 + β − ηλ)² = 4β: both roots 1/2
    found = numeric_law(translation(), critical)
    assert sp.factor(found.characteristic_polynomial) == (2 * E - 1) ** 2 / 4
    assert [found.green(sp.Integer(step)) for step in range(5)] == [0, 1, 1, sp.Rational(3, 4), sp.Rational(1, 2)]


def test_without_weight_decay_the_response_is_a_geometric_sum():
    found = discrete_law(translation(), sgd(momentum=True, weight_decay=False))
    assert [sp.cancel(found.green(sp.Integer(step)) - sum(beta**j for j in range(step))) for step in range(5)] == [0] * 5


def test_without_momentum_the_response_is_a_power():
    assert LAWS["translation", "plain"].green(sp.Integer(4)) == (1 - eta * lam) ** 3
    assert sp.expand(LAWS["scale", "plain"].green(sp.Integer(4)) - (1 - eta * lam) ** 6) == 0


@pytest.mark.parametrize("numbers", [OVERDAMPED, UNDERDAMPED])
def test_a_run_is_the_superposition_of_its_responses(numbers):
    hyper = {name: Fraction(value) for name, value in numbers.items()} | {"dampening": Fraction(0)}
    measured = run("scale", "momentum", [hyper] * 5, random_gradients(4, 4))
    found, table = numeric_law(scale(), numbers), values(**numbers)
    response = [sp.expand(found.green(sp.Integer(step))) for step in range(6)]
    charges = [sp.Rational(state[0]) for state in measured.states]
    drives = [{name: sp.Rational(x) for name, x in drive.items()} for drive in measured.drives]
    step, b = table[eta], table[beta]
    right = [
        step**2 * (later["direction"] + b * earlier["direction"]) - 2 * step * later["breaking"]
        for earlier, later in pairwise(drives)
    ]
    arrived = response[5] * charges[1] - b * response[4] * charges[0] + sum(response[4 - m] * right[m] for m in range(4))
    assert sp.expand(arrived - charges[5]) == 0


# Symmetries of one's own


def test_a_power_rescaling_obeys_the_same_recurrence():
    for kind in RULES:
        found, known = discrete_law(POWER_RESCALE, sgd(**RULES[kind])), LAWS["rescale", kind]
        assert (found.transition, found.drive_matrix) == (known.transition, known.drive_matrix)


# Refusals


def test_gradient_flow_has_no_steps():
    with pytest.raises(UnsupportedError, match=r"expected discrete_law\(scale\(\), sgd\(\)\) or the like"):
        discrete_law(general_linear(2), sgd())
    with pytest.raises(UnsupportedError, match="expected an update rule with steps, got gradient flow"):
        discrete_law(scale(), gradient_flow())


def test_a_generator_that_scales_and_translates_is_refused():
    with pytest.raises(UnsupportedError, match="scales and translates at once"):
        discrete_law(ABOUT_A_POINT, sgd())


def test_a_symmetry_without_a_charge_has_no_discrete_law():
    with pytest.raises(SymmetryError, match="shear: no charge exists"):
        discrete_law(SHEAR, sgd())


@pytest.mark.parametrize("kind", ["momentum", "nesterov"])
def test_a_rule_with_momentum_is_not_unrolled(kind):
    with pytest.raises(UnsupportedError, match=r"unrolled\(\) covers plain SGD, got momentum; use green\(\)"):
        LAWS["scale", kind].unrolled()


@pytest.mark.parametrize("field", ["transition", "drive_matrix"])
def test_matrices_that_do_not_fit_are_refused(field):
    with pytest.raises(ValueError, match="drive_matrix: expected shape"):
        replace(discrete_law(rescale(), sgd()), **{field: sp.ImmutableMatrix([[1, 2, 3]])})
