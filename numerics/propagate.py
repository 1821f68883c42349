"""Driven recurrences over (steps, neurons), with hyper-parameters that may change at every step.

A law is stepped from one recorded step to the next: a :class:`derive.DiscreteLaw` exactly, a continuous :class:`derive.Law`
by the exact propagator of a drive that is constant over the step. A step's factors do not grow with the length of the
run, as growing exponentials would; state is carried in float64, and a result that overflows all the same is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import scipy.linalg
import sympy as sp

from derive import DiscreteLaw, Law
from derive.discrete_law import DRIVES
from derive.symbols import ARGUMENT_NAMES, FORM_NAMES, time
from numerics.hyper_parameters import problem

Floats = np.ndarray


class PropagationError(ValueError):
    """Arrays that do not describe a run of the law."""


def propagate(
    law: Law | DiscreteLaw,
    initial: Floats,
    drives: Mapping[str, Floats],
    *,
    step_size: float | Floats | None = None,
    steps: int | None = None,
    keep: Floats | None = None,
    velocity_exists: bool = False,
    **hyper: float | Floats,
) -> Floats:
    """The charge at steps 0..T, from its initial value and the drive measured at every step.

    Parameters
    ----------
    law
        A discrete law (exact) or a continuous one.
    initial
        State at step 0, shape ``(neurons,)`` for the charge alone, or ``(k, neurons)``: charge and velocity overlap
        (discrete law with momentum), charge and Q'(0) (oscillator; 0 if only the charge is given, as the paper has it).
    drives
        Name -> samples of shape ``(steps, neurons)``. A discrete law names them in ``law.drives``; a continuous one takes
        ``law.drive_form``, constant over [t_n, t_{n+1}]. ``breaking``, ⟨g, X⟩, may be left out and is then 0.
    step_size
        Continuous laws: time h_n advanced by step n, a number or shape ``(steps,)``.
    steps
        T, needed only where no drive and no array of hyper-parameters tells it.
    keep
        Which of the steps 0..T to return, increasing; all of them if left out.
    velocity_exists
        Discrete laws with momentum: whether the run goes on from an earlier one, so that step 0 is not a first step.
    **hyper
        Those of ``law.hyper_parameters``, each a number or of shape ``(steps,)``.

    Returns
    -------
    array of shape ``(steps + 1, neurons)``, or ``(len(keep), neurons)``, float64

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
    return advance(
        law, initial, drives, step_size=step_size, steps=steps, keep=keep, velocity_exists=velocity_exists, **hyper
    )[0]


def advance(
    law: Law | DiscreteLaw,
    initial: Floats,
    drives: Mapping[str, Floats],
    *,
    step_size: float | Floats | None = None,
    steps: int | None = None,
    keep: Floats | None = None,
    velocity_exists: bool = False,
    **hyper: float | Floats,
) -> tuple[Floats, Floats]:
    """What :func:`propagate` returns, and the state after the last step, from which another call goes on.

    A run that is cut into pieces gives the same bits as the whole: pass the state as ``initial``, with
    ``velocity_exists=True`` for a discrete law.
    """
    is_discrete = isinstance(law, DiscreteLaw)
    names = tuple(law.drives) if is_discrete else (*filter(None, [law.drive_form]), "breaking")
    size = law.transition.shape[0] if is_discrete else (2 if law.is_oscillator else 1)
    if not is_discrete and step_size is None:
        raise PropagationError("step_size: expected the time advanced by a step, got None; it is lr*(1 - dampening)")
    if is_discrete and step_size is not None:
        raise PropagationError("step_size: expected none, got one; a discrete law advances by its own steps")
    allowed = {*law.hyper_parameters}
    if set(hyper) != allowed:
        raise PropagationError(f"hyper-parameters: expected {sorted(allowed)}, got {sorted(hyper)}")
    schedule = dict(hyper) if is_discrete else {**hyper, "step_size": step_size}
    state = _state(initial, size)
    if is_discrete and not velocity_exists and size == 2 and state[1].any():
        raise PropagationError("velocity_exists: expected True with an initial overlap that is not 0, got False")
    samples = _drives(names, drives, state.shape[1])
    total = _steps(samples, schedule, steps)
    table = {name: _per_step(name, value, total) for name, value in schedule.items()}
    if isinstance(law, DiscreteLaw):
        transition, gain = _discrete_matrices(law, table, total, velocity_exists)
    else:
        transition, gain = _continuous_matrices(law, table, total)
    kept = np.arange(total + 1) if keep is None else _kept(keep, total)
    return _recur(transition, gain, state, [samples.get(name) for name in names], kept)


def _recur(
    transition: Floats, gain: Floats, state: Floats, samples: list[Floats | None], keep: Floats
) -> tuple[Floats, Floats]:
    """x_{n+1} = A_n x_n + Σ_j B_n[:, j] f_n^j; the first component at the steps in ``keep``, and the last x."""
    out = np.empty((len(keep), state.shape[1]))
    rows = dict(zip(keep.tolist(), out, strict=True))
    for n in range(len(transition) + 1):
        if n in rows:
            rows[n][:] = state[0]
        if n == len(transition):
            break
        state = transition[n] @ state
        for j, sample in enumerate(samples):
            if sample is not None:
                state += gain[n][:, j, None] * sample[n]
    if not (np.isfinite(out).all() and np.isfinite(state).all()):
        raise PropagationError(
            "drives: expected a run whose charge stays finite, got one that overflows; lower lr or the drive"
        )
    return out, state


def _kept(keep: Floats, steps: int) -> Floats:
    array = np.asarray(keep)
    if array.ndim != 1 or array.dtype.kind not in "iu" or (np.diff(array, prepend=-1) <= 0).any() or (array > steps).any():
        raise PropagationError(f"keep: expected increasing steps between 0 and {steps}, got {keep}")
    return array


def _discrete_matrices(
    law: DiscreteLaw, table: dict[str, Floats], steps: int, velocity_exists: bool
) -> tuple[Floats, Floats]:
    """A and B at each step; step 0 has the first step's own, unless a velocity exists already."""
    transition, gain = _matrix(law.transition, table, steps), _matrix(law.drive_matrix, table, steps)
    if steps and not velocity_exists:
        first = {name: values[:1] for name, values in table.items()}
        transition[0] = _matrix(law.first_transition, first, 1)[0]
        gain[0] = _matrix(law.first_drive_matrix, first, 1)[0]
    return transition, gain


def _continuous_matrices(law: Law, table: dict[str, Floats], steps: int) -> tuple[Floats, Floats]:
    """exp of the law's companion matrix bordered by its drives: (Φ(h), ∫_0^h Φ) in one, for each distinct step.

    The equation of learning is projected on X (oscillator) or pX (first order), and so is its gradient: −⟨g, X⟩ or −p⟨g, X⟩.
    """
    drives = [law.drive.subs({form(time): 1 for form in FORM_NAMES})] if law.drive_form else []
    drives.append(sp.Integer(-1 if law.is_oscillator else -law.symmetry.degree))
    idle = [[0] * (len(drives) + 1 + law.is_oscillator)] * len(drives)
    if law.is_oscillator:
        m = law.mass
        rows = [[0, 1, *([0] * len(drives))], [-law.stiffness / m, -law.damping / m, *(f / m for f in drives)], *idle]
    else:
        rows = [[-law.stiffness / law.damping, *(f / law.damping for f in drives)], *idle]
    h = table.pop("step_size")
    if (h < 0).any():
        raise PropagationError("step_size: expected steps forward in time, got a negative one")
    if "lr" in table:
        if ((table["lr"] == 0) & (h > 0)).any():
            raise PropagationError("lr: expected a positive learning rate where step_size is positive, got 0")
        # where no time passes, any learning rate gives the same step of length 0
        table["lr"] = np.where(h == 0, 1.0, table["lr"])
    generators = _matrix(sp.ImmutableMatrix(rows), table, steps) * h[:, None, None]
    distinct, inverse = np.unique(generators.reshape(steps, len(rows) ** 2), axis=0, return_inverse=True)
    flows = scipy.linalg.expm(distinct.reshape(-1, len(rows), len(rows)))[inverse.ravel()]
    size = len(rows) - len(drives)
    return flows[:, :size, :size], flows[:, :size, size:]


def _matrix(matrix: sp.ImmutableMatrix, table: dict[str, Floats], steps: int) -> Floats:
    """A SymPy matrix in the hyper-parameters, evaluated at each step: shape ``(steps, *matrix.shape)``."""
    symbols = sorted(matrix.free_symbols, key=str)
    unknown = [symbol for symbol in symbols if symbol not in ARGUMENT_NAMES]
    if unknown:
        raise PropagationError(
            f"law: expected the symbols of derive.symbols, got {unknown}; put in numbers or those symbols"
        )
    out = np.empty((steps, *matrix.shape))
    for index, entry in np.ndenumerate(np.array(matrix.tolist(), dtype=object).reshape(matrix.shape)):
        function = _compiled(tuple(symbols), entry)
        out[(slice(None), *index)] = function(*(table[ARGUMENT_NAMES[symbol]] for symbol in symbols))
    return out


@lru_cache(maxsize=1024)
def _compiled(symbols: tuple[sp.Symbol, ...], entry: sp.Expr) -> Callable[..., Floats]:
    return sp.lambdify(symbols, entry, "numpy")


def _drives(names: tuple[str, ...], drives: Mapping[str, Floats], neurons: int) -> dict[str, Floats]:
    missing, unknown = set(names) - set(drives) - {"breaking"}, set(drives) - set(names)
    if missing or unknown:
        raise PropagationError(f"drives: expected {names}, got {tuple(drives)}")
    arrays = {name: _numbers(name, values) for name, values in drives.items()}
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape[1] != neurons:
            raise PropagationError(f"{name}: expected shape (steps, {neurons}), got {array.shape}")
    return arrays


def _steps(samples: dict[str, Floats], schedule: Mapping[str, float | Floats], steps: int | None) -> int:
    lengths = {name: len(x) for name, x in samples.items()}
    lengths |= {name: np.shape(x)[0] for name, x in schedule.items() if np.ndim(x)}
    if steps is not None and (not isinstance(steps, (int, np.integer)) or steps < 0):
        raise PropagationError(f"steps: expected a number of steps, 0 or more, got {steps!r}")
    lengths |= {} if steps is None else {"steps": int(steps)}
    if len(set(lengths.values())) != 1:
        raise PropagationError(f"steps: expected one number of steps, got {lengths or 'none'}")
    return next(iter(lengths.values()))


def _per_step(name: str, value: float | Floats, steps: int) -> Floats:
    array = _numbers(name, value)
    if array.shape not in ((), (steps,)):
        raise PropagationError(f"{name}: expected a number or shape ({steps},), got shape {array.shape}")
    return np.broadcast_to(array, (steps,))


def _state(initial: Floats, size: int) -> Floats:
    array = _numbers("initial", initial)
    if array.ndim == 1:
        array = np.concatenate([array[None], np.zeros((size - 1, len(array)))])
    if array.ndim != 2 or len(array) != size:
        raise PropagationError(f"initial: expected shape (neurons,) or ({size}, neurons), got {np.shape(initial)}")
    return array


def _numbers(name: str, value: float | Floats) -> Floats:
    """``value`` as an array of real numbers, finite and in the range of its name."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise PropagationError(f"{name}: expected real numbers, got dtype {array.dtype}")
    wrong = problem(name, array)
    if wrong:
        raise PropagationError(wrong)
    return array if name in DRIVES else array.astype(np.float64)
