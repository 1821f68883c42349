"""What ``nmech derive`` can be asked for: a table of subjects, what each takes, and how it is derived.

Options come by their names on the command line. An option that a subject has no use for is refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import sympy as sp

from derive import symbols
from derive.discrete_law import discrete_law
from derive.families import linear_symmetry, power_rescale
from derive.law import law
from derive.modified_equation import modified_flow, modified_loss
from derive.momentum_manifold import discrete_manifold, memoryless_iteration, slow_flow
from derive.multistep import heavy_ball, nesterov
from derive.pde_scheme import modified_pde
from derive.relations import identity_of_order
from derive.runge_kutta import CATALOGUE, runge_kutta
from derive.schemes import SCHEMES
from derive.shuffling import epoch_loss
from derive.solution import solve
from derive.stochastic import ito_law, stochastic_modified_equation
from derive.symmetry import Symmetry, rescale, scale, translation
from derive.update_rule import UpdateRule, sgd

RULE = ("momentum", "dampening", "nesterov", "no_weight_decay")
KINDS = ("discrete", "ito", "identities")
LAW = (*RULE, *KINDS, "order", "form", "start")
ALL_OPTIONS = (*LAW, "powers", "matrix", "sampling", "batches")

Options = Mapping[str, Any]
"""Option -> value, of those that were given."""


class SubjectError(ValueError):
    """A subject that is not known, or options that do not go with it."""


@dataclass(frozen=True)
class Subject:
    """One thing to derive.

    Parameters
    ----------
    name, meaning
        What it is called, and what it is.
    options
        Those it takes.
    derive
        Options -> a result for :func:`derive.render`.
    """

    name: str
    meaning: str
    options: tuple[str, ...]
    derive: Callable[[Options], Any]


# Rules and orders


def _rule(options: Options) -> UpdateRule:
    for name, why in (("dampening", ", which torch ignores it without"), ("nesterov", "")):
        if options.get(name) and not options.get("momentum"):
            raise SubjectError(f"{name}: expected momentum with it{why or ', got none'}; add --momentum")
    return sgd(
        momentum=bool(options.get("momentum")),
        dampening=bool(options.get("dampening")),
        nesterov=bool(options.get("nesterov")),
        weight_decay=not options.get("no_weight_decay"),
    )


def _finite(options: Options, default: int) -> int:
    order = options.get("order", default)
    if order == sp.oo:
        raise SubjectError("order: expected a number, got oo, which only the laws of charges have here")
    return int(order)


# Charges


def _of_charge(family: Callable[[Options], Symmetry]) -> Callable[[Options], Any]:
    def derived(options: Options) -> Any:
        kinds = [kind for kind in KINDS if options.get(kind)]
        if len(kinds) > 1:
            raise SubjectError(f"{kinds[1]}: expected one of --{', --'.join(KINDS)}, got --{kinds[0]} too")
        making = {"discrete": _discrete, "ito": _ito, "identities": _identities}
        return making[kinds[0]](family(options), options) if kinds else _continuous(family(options), options)

    return derived


def _continuous(symmetry: Symmetry, options: Options) -> Any:
    """The law and, unless it is a truncated one of third or higher order in time, its solution."""
    found = law(symmetry, _rule(options), options.get("order", 1), form=options.get("form"))
    if found.higher and "start" not in options:
        return found
    return solve(found, start=options.get("start", "rest"))


def _discrete(symmetry: Symmetry, options: Options) -> Any:
    _refuse(options, ("order", "form", "start"), "discrete", "which is exact")
    return discrete_law(symmetry, _rule(options))


def _ito(symmetry: Symmetry, options: Options) -> Any:
    _refuse(options, ("order", "form", "start"), "ito", "which is of weak order 2")
    return ito_law(symmetry, _rule(options))


def _identities(symmetry: Symmetry, options: Options) -> Any:
    _refuse(options, (*RULE, "form", "start"), "identities", "which hold whatever the rule")
    return identity_of_order(symmetry, _finite(options, 0)) if "order" in options else symmetry


def _refuse(options: Options, names: tuple[str, ...], kind: str, why: str) -> None:
    for name in names:
        if name in options:
            raise SubjectError(f"{name}: expected none with --{kind}, {why}; leave it out")


def _power_rescale(options: Options) -> Symmetry:
    return power_rescale(*options["powers"])


def _linear(options: Options) -> Symmetry:
    return linear_symmetry(options["matrix"])


# Tables


FAMILIES = (
    Subject("translation", "sum of parameters: softmax, biases before a mean", LAW, _of_charge(lambda _: translation())),
    Subject("scale", "squared norm: filters before batch norm", LAW, _of_charge(lambda _: scale())),
    Subject("rescale", "difference of squared norms: across a ReLU", LAW, _of_charge(lambda _: rescale())),
    Subject(
        "power-rescale", "s^K1 on A1 and s^-K2 on A2, with --powers K1 K2", (*LAW, "powers"), _of_charge(_power_rescale)
    ),
    Subject("linear", "generator M theta, with --matrix ROWS", (*LAW, "matrix"), _of_charge(_linear)),
)
EQUATIONS = (
    Subject("modified-loss", "of SGD for any loss, to h^order", ("no_weight_decay", "order"),
            lambda o: modified_loss(_rule(o), _finite(o, 1))),
    Subject("modified-flow", "of SGD with momentum: time derivatives, to h^order", (*RULE, "order"),
            lambda o: modified_flow(_rule(o), _finite(o, 1))),
    Subject("slow-flow", "the field that SGD's iterates follow, by trees", (*RULE, "order"),
            lambda o: slow_flow(_rule(o), _finite(o, 2))),
    Subject("discrete-manifold", "momentum's velocity as a function of the parameters", (*RULE, "order"),
            lambda o: discrete_manifold(_rule(o), _finite(o, 2))),
    Subject("memoryless-iteration", "momentum's iterates without a velocity", (*RULE, "order"),
            lambda o: memoryless_iteration(_rule(o), _finite(o, 2))),
    Subject("sme", "stochastic modified equation of SGD, of weak order 1 or 2", ("no_weight_decay", "order"),
            lambda o: stochastic_modified_equation(_rule(o), _finite(o, 2))),
    Subject("epoch-loss", "modified loss of an epoch of batches", ("sampling", "batches"),
            lambda o: epoch_loss(**{name: o[name] for name in ("sampling", "batches") if name in o})),
)  # fmt: skip


def _trees(name: str, meaning: str, method: Callable[[], Any]) -> Subject:
    return Subject(name, meaning, ("order",), lambda o: modified_flow(method(), _finite(o, 4)))


def _runge_kutta(name: str) -> Subject:
    return _trees(name.replace("_", "-"), CATALOGUE[name].source, lambda: runge_kutta(name))


METHODS = (
    _trees("gradient-descent", "explicit Euler on -grad L", lambda: replace(runge_kutta("euler"), name="gradient descent")),
    _trees("heavy-ball", "momentum, beta a symbol", lambda: heavy_ball(symbols.momentum)),
    _trees("nesterov", "as torch.optim.SGD has it, beta a symbol", lambda: nesterov(symbols.momentum)),
    *map(_runge_kutta, CATALOGUE),
)


def _scheme(name: str) -> Subject:
    scheme = SCHEMES[name]()
    kind = "advection, u_t = -a u_x" if scheme.equation_order == 1 else "diffusion, u_t = d u_xx"

    def derived(options: Options) -> Any:
        return modified_pde(scheme, _finite(options, scheme.equation_order + 2))

    return Subject(name, f"for {kind}", ("order",), derived)


GROUPS: Mapping[str, tuple[Subject, ...]] = MappingProxyType(
    {
        "laws of charges": FAMILIES,
        "equations of learning": EQUATIONS,
        "modified equations by rooted trees (HLW is Hairer, Lubich, Wanner 2006)": METHODS,
        "modified equations of finite-difference schemes": tuple(map(_scheme, SCHEMES)),
    }
)
"""Heading -> subjects."""
SUBJECTS: Mapping[str, Subject] = MappingProxyType({x.name: x for group in GROUPS.values() for x in group})
"""Name -> subject."""


def overview() -> str:
    """The table, for a reader."""
    return "\n\n".join(
        "\n".join([heading, *(f"  {x.name:<21} {x.meaning}" for x in group)]) for heading, group in GROUPS.items()
    )


def derive_subject(name: str, options: Options) -> Any:
    """The result that :func:`derive.render` writes.

    >>> derive_subject("translation", {}).law.stiffness
    lambda
    >>> derive_subject("upwind", {"order": 2}).coefficients[1]
    -a*dx*(nu - 1)/2

    Raises
    ------
    SubjectError
        For an unknown subject, and for options that do not go with it or with one another.
    """
    if name not in SUBJECTS:
        raise SubjectError(f"subject: expected one of {', '.join(SUBJECTS)}, got {name!r}")
    subject = SUBJECTS[name]
    for needed, family, example in (("powers", "power-rescale", "2 3"), ("matrix", "linear", '"0 1; 1 0"')):
        if (needed in options) != (name == family):
            raise SubjectError(f"{needed}: expected with {family} and only with it, as in {family} --{needed} {example}")
    for option in options:
        if option not in subject.options:
            takes = ", ".join(f"--{x.replace('_', '-')}" for x in subject.options)
            raise SubjectError(f"{option.replace('_', '-')}: expected none with {name}, which takes {takes}")
    return subject.derive(options)
