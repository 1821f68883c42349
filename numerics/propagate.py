"""Driven response over (steps, neurons), with hyper-parameters that may change at every step and from neuron to neuron.

A law is stepped from one recorded step to the next: a :class:`derive.DiscreteLaw` exactly, a continuous :class:`derive.Law`
by its exact propagator (:mod:`numerics.step_matrices`). The way through the arrays is :mod:`numerics.recurrence`, or
:mod:`numerics.scan` for tensors. A step's factors do not grow with the length of the run, as growing exponentials would;
state is carried in float64, and a result that overflows all the same is refused.

:func:`propagate` takes a whole run; :func:`start` and :func:`advance` take it in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from derive import DiscreteLaw, Law
from numerics.array_namespace import Array, namespace
from numerics.recurrence import recur
from numerics.run_arguments import (
    Hyper,
    beside,
    checked_drives,
    checked_quadrature,
    checked_schedule,
    drive_names,
    hyper_table,
    initial_state,
    kept_steps,
    number_of_steps,
    state_size,
)
from numerics.scan import scan
from numerics.step_matrices import (
    Floats,
    PropagationError,
    Quadrature,
    StepMatrices,
    continuous_step,
    discrete_step,
)

CHUNK = 16_384
"""Steps whose matrices are held at a time, so that memory does not grow with the run; a quarter of it for tensors."""


@dataclass(frozen=True, eq=False)
class State:
    """Where a run of a law has got to: what :func:`advance` needs to go on from there.

    Parameters
    ----------
    values
        Shape ``(k, neurons)``, float64: the charge, for oscillators and discrete laws with momentum Q' or the overlap with
        the velocity, and for the quadrature ``linear`` the drive of the step before.
    steps
        How many steps it has taken.
    fresh
        Whether there is no velocity yet, so that the next step of a discrete law is a first one.
    quadrature
        How a continuous law integrates its drive.
    step_size
        Length of the step before, None where there was none.
    """

    values: Array
    steps: int = 0
    fresh: bool = True
    quadrature: Quadrature = "constant"
    step_size: Floats | None = None

    @property
    def charge(self) -> Array:
        """Q now, shape ``(neurons,)``."""
        return self.values[0]


def propagate(
    law: Law | DiscreteLaw,
    initial: Array,
    drives: Mapping[str, Array],
    *,
    step_size: Hyper | None = None,
    steps: int | None = None,
    keep: Array | Sequence[int] | None = None,
    velocity_exists: bool = False,
    quadrature: Quadrature = "constant",
    **hyper: Hyper,
) -> Array:
    """The charge at steps 0..T, from its initial value and the drive measured at every step.

    Parameters
    ----------
    law
        A discrete law (exact) or a continuous one.
    initial
        State at step 0, shape ``(neurons,)`` for the charge alone, or ``(k, neurons)``: charge and velocity overlap
        (discrete law with momentum), charge and Q'(0) (oscillator; 0 if only the charge is given, as the paper has it).
    drives
        Name -> samples of shape ``(steps, neurons)``, numpy arrays or tensors. A discrete law names them in
        ``law.drives``; a continuous one in ``law.drive_forms``. ``breaking``, ⟨g, X⟩, may be left out and is then 0.
    step_size
        Continuous laws: time h_n advanced by step n, a number or shape ``(steps,)``.
    steps
        T, needed only where no drive and no array of hyper-parameters tells it.
    keep
        Which of the steps 0..T to return, increasing; all of them if left out. A few are several times as fast as all.
    velocity_exists
        Discrete laws with momentum: whether the run goes on from an earlier one, so that step 0 is not a first step.
    quadrature
        Continuous laws: ``"constant"`` holds a sample over its step, ``"riemann"`` is the paper's sum, ``"linear"`` is of
        second order, ``"matched"`` of the law's; see :mod:`numerics.step_matrices`.
    **hyper
        Those of ``law.hyper_parameters``, each a number or of shape ``(steps,)``. Shape ``(1, neurons)`` or ``(steps,
        neurons)`` gives neurons their own; numpy arrays then, and stepped one by one, which takes longer.

    Returns
    -------
    array or tensor of shape ``(steps + 1, neurons)``, or ``(len(keep), neurons)``, float64. Few kept steps of float32
    drives are summed in float32 over at most 128 steps, which costs 1e-6 of the largest charge at the most.

    Raises
    ------
    PropagationError
        For missing or unknown drives and hyper-parameters, shapes that do not fit, values that are not finite.

    Examples
    --------
    Weight decay alone multiplies a translation charge by 1 − ηλ at each step (Kunin et al. 2021, eq. 39):

    >>> from derive import discrete_law, sgd, translation
    >>> propagate(discrete_law(translation(), sgd()), np.array([1.0]), {}, steps=3, lr=0.5, weight_decay=1.0)[:, 0]
    array([1.   , 0.5  , 0.25 , 0.125])
    """
    begun = start(law, initial, velocity_exists=velocity_exists, quadrature=quadrature)
    return advance(law, begun, drives, step_size=step_size, steps=steps, keep=keep, **hyper)[0]


def start(
    law: Law | DiscreteLaw, initial: Array, *, velocity_exists: bool = False, quadrature: Quadrature = "constant"
) -> State:
    """The state at step 0, of arguments as :func:`propagate` takes them."""
    chosen = checked_quadrature(law, quadrature)
    values = initial_state(initial, state_size(law))
    if isinstance(law, DiscreteLaw) and not velocity_exists and len(values) == 2 and bool(values[1].any()):
        raise PropagationError("velocity_exists: expected True with an initial overlap that is not 0, got False")
    if chosen == "linear":
        values = namespace(values).concatenate([values, *[0 * values[:1]] * len(drive_names(law))])
    return State(values, fresh=not velocity_exists, quadrature=chosen)


def advance(
    law: Law | DiscreteLaw,
    state: State,
    drives: Mapping[str, Array],
    *,
    step_size: Hyper | None = None,
    steps: int | None = None,
    keep: Array | Sequence[int] | None = None,
    **hyper: Hyper,
) -> tuple[Array, State]:
    """One piece of a run: the charge at steps 0..T counted from ``state``, and the state after them.

    The arguments are those of :func:`propagate`, for this piece. Pieces make the whole, to rounding; the first row of one
    is the last of the one before.

    >>> from derive import law, scale, sgd
    >>> L, drive = law(scale(), sgd(momentum=True)), np.random.default_rng(0).random((100, 2))
    >>> known = {"step_size": 0.1, "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}
    >>> state = start(L, np.ones(2))
    >>> for piece in np.split(drive, [30, 70]):  # e.g. read from a file
    ...     charge, state = advance(L, state, {"velocity": piece}, keep=[], **known)
    >>> bool(np.allclose(state.charge, propagate(L, np.ones(2), {"velocity": drive}, **known)[-1], rtol=1e-14))
    True
    """
    rows = state_size(law) + (len(drive_names(law)) if state.quadrature == "linear" else 0)
    if len(state.values) != rows:
        raise PropagationError(f"state: expected {rows} rows, got {len(state.values)}; begin with start(law, …) of this law")
    schedule = checked_schedule(law, step_size, hyper)
    samples = checked_drives(law, drives, state.values.shape[1])
    total = number_of_steps(samples, schedule, steps)
    table = hyper_table(schedule, total, state.values.shape[1])
    kept = np.arange(total + 1) if keep is None else kept_steps(keep, total)
    values = beside(state.values, samples)
    run = _run_on_arrays if _are_arrays([values, *samples.values()]) else _run
    out, values = run(law, state, values, samples, table, kept, total)
    _check_finite(out, values, samples)
    return out, replace(state, values=values, **_reached(state, table, total))


def _are_arrays(tensors: list[Array]) -> bool:
    """Whether all are tensors that numpy can look at, and no gradient is asked for: the way through arrays is faster."""
    return namespace(*tensors) is not np and all(
        x.device.type == "cpu" and not x.requires_grad and str(x.dtype) != "torch.bfloat16" for x in tensors
    )


def _run_on_arrays(
    law: Law | DiscreteLaw, state: State, values: Array, samples: dict[str, Array], *rest: Any
) -> tuple[Array, Array]:
    arrays = {name: x.numpy() for name, x in samples.items()}
    out, final = _run(law, state, values.numpy(), arrays, *rest)
    torch = namespace(values)
    return torch.from_numpy(out), torch.from_numpy(final)


def _run(
    law: Law | DiscreteLaw, state: State, values: Array, samples: dict[str, Array], table: dict, keep: Floats, total: int
) -> tuple[Array, Array]:
    """Span by span: their matrices, then the way through them."""
    xp = namespace(values)
    columns = [j for j, name in enumerate(drive_names(law)) if name in samples]
    drives = [samples[name] for name in drive_names(law) if name in samples]
    rows, out = [], np.empty((len(keep), values.shape[1])) if xp is np else None
    begin = values[:1]
    if len(keep) and keep[0] == 0:
        rows.append(begin)
    with np.errstate(over="ignore", invalid="ignore"):  # seen in the result
        for first, last, matrices in _spans(law, state, table, total, values.shape[1]):
            steps = matrices.choose(columns).over(last - first)
            part = slice(*np.searchsorted(keep, [first, last], side="right"))
            within, now = keep[part] - first, [array[first:last] for array in drives]
            if out is not None:
                values = recur(steps, values, now, within, out[part])
            else:
                kept, values = scan(steps, values, now, within)
                rows.append(kept)
    if out is None:
        return xp.cat([values[:0, :], *rows]), values
    out[: len(rows)] = begin
    return out, values


def _spans(
    law: Law | DiscreteLaw, state: State, table: dict, total: int, neurons: int
) -> Iterator[tuple[int, int, StepMatrices]]:
    """(first, last, matrices): a step that is unlike the others because nothing came before it stands alone."""
    varying = any(len(values) > 1 for values in table.values())
    edges = _span_edges(_stands_alone(law, state, table), state, total, _span(table, neurons) if varying else CHUNK)
    before, matrices = state.step_size, None
    for first, last in pairwise(edges):
        now = {name: values if len(values) == 1 else values[first:last] for name, values in table.items()}
        if matrices is None or varying or first == 1:
            if isinstance(law, DiscreteLaw):
                matrices = discrete_step(law, now, first=state.fresh and first == 0)
            else:
                matrices = continuous_step(law, now, state.quadrature, before)
                before = now["step_size"][-1:]
        yield first, last, matrices


def _span_edges(alone: bool, state: State, total: int, size: int) -> list[int]:
    """0, the end of a first step that stands alone, and the spans after it."""
    size = size if namespace(state.values) is np else max(1, size // 4)
    return sorted({0, *range(min(int(alone), total), total, size), total})


def _stands_alone(law: Law | DiscreteLaw, state: State, table: dict[str, Floats]) -> bool:
    """Whether the first step differs from others of the same hyper-parameters, because of what came before it."""
    if isinstance(law, DiscreteLaw):
        return state.fresh
    return state.step_size is None or not np.array_equal(state.step_size, table["step_size"][:1])


def _span(table: dict[str, Floats], neurons: int) -> int:
    """Steps whose matrices, one a neuron if these differ, take some megabytes."""
    own = any(values.ndim > 1 for values in table.values())
    return 2**18 // max(neurons, 1) + 1 if own else CHUNK


def _reached(state: State, table: dict[str, Floats], total: int) -> dict:
    if total == 0:
        return {}
    return {
        "steps": state.steps + total,
        "fresh": False,
        "step_size": table["step_size"][-1:] if "step_size" in table else None,
    }


def _check_finite(out: Array, values: Array, samples: dict[str, Array]) -> None:
    """A NaN or infinity in a drive reaches the state and stays there, so looking at the result tells."""
    xp = namespace(values)
    seen = xp is np and len(out) > CHUNK  # so many rows are looked at block by block, in the cache
    if bool(xp.isfinite(values).all()) and (seen or bool(xp.isfinite(out).all())):
        return
    for name, array in samples.items():
        if not all(bool(xp.isfinite(array[n : n + CHUNK]).all()) for n in range(0, len(array), CHUNK)):
            raise PropagationError(f"{name}: expected finite numbers, got NaN or infinity")
    raise PropagationError("drives: expected a run whose charge stays finite, got one that overflows; lower lr or the drive")
