"""What :func:`numerics.propagate` is given, checked and brought into one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from derive import DiscreteLaw, Law
from numerics.array_namespace import Array, like, namespace
from numerics.hyper_parameters import problem
from numerics.step_matrices import Floats, PropagationError, Quadrature, resolved, takes_breaking

Hyper = Array
"""A number, or an array of shape ``(steps,)``, ``(1, neurons)`` or ``(steps, neurons)``."""


def drive_names(law: Law | DiscreteLaw) -> tuple[str, ...]:
    """Names of the drives, in the order of the columns of B."""
    if isinstance(law, Law) and law.higher:
        raise PropagationError(f"law: expected at most Q'', got {law.equation.lhs}; take order=sympy.oo or form='slow flow'")
    if isinstance(law, DiscreteLaw):
        return tuple(law.drives)
    return (*law.drive_forms, "breaking") if takes_breaking(law) else law.drive_forms


def state_size(law: Law | DiscreteLaw) -> int:
    """k, how many numbers a neuron has as its state."""
    return law.transition.shape[0] if isinstance(law, DiscreteLaw) else (2 if law.is_oscillator else 1)


def checked_quadrature(law: Law | DiscreteLaw, quadrature: str) -> Quadrature:
    """The quadrature that the law takes; a discrete law, and one without drive, has but one."""
    if isinstance(law, Law):
        chosen = resolved(quadrature, law)
        return chosen if drive_names(law) else "constant"
    if quadrature != "constant":
        raise PropagationError(f"quadrature: expected none, got {quadrature!r}; a discrete law sums its drives exactly")
    return "constant"


def checked_schedule(law: Law | DiscreteLaw, step_size: Hyper | None, hyper: dict[str, Hyper]) -> dict[str, Hyper]:
    """All hyper-parameters that the law has, and for a continuous one the step size among them."""
    is_discrete = isinstance(law, DiscreteLaw)
    if not is_discrete and step_size is None:
        raise PropagationError("step_size: expected the time advanced by a step, got None; it is lr*(1 - dampening)")
    if is_discrete and step_size is not None:
        raise PropagationError("step_size: expected none, got one; a discrete law advances by its own steps")
    if set(hyper) != {*law.hyper_parameters}:
        raise PropagationError(f"hyper-parameters: expected {sorted(law.hyper_parameters)}, got {sorted(hyper)}")
    return dict(hyper) if is_discrete else {**hyper, "step_size": step_size}


def hyper_table(schedule: Mapping[str, Hyper], steps: int, neurons: int) -> dict[str, Floats]:
    """All hyper-parameters in one shape: ``(1,)`` or ``(steps,)``, with ``neurons`` behind it where they differ there."""
    arrays = {name: _hyper(name, value, steps, neurons) for name, value in schedule.items()}
    if any(array.ndim == 2 for array in arrays.values()):
        arrays = {name: array if array.ndim == 2 else array[:, None] for name, array in arrays.items()}
    shape = np.broadcast_shapes((1,), *(array.shape for array in arrays.values()))
    table = {name: np.broadcast_to(array, shape) for name, array in arrays.items()}
    h = table.get("step_size", np.ones(1))
    if (h < 0).any():
        raise PropagationError("step_size: expected steps forward in time, got a negative one")
    if "step_size" in table and "lr" in table and ((table["lr"] == 0) & (h > 0)).any():
        raise PropagationError("lr: expected a positive learning rate where step_size is positive, got 0")
    return table


def _hyper(name: str, value: Hyper, steps: int, neurons: int) -> Floats:
    if namespace(value) is not np:
        raise PropagationError(
            f"{name}: expected numbers, got a tensor; no gradient reaches it, so pass .numpy() or a number"
        )
    array = _numbers(name, value)
    if array.shape not in {(), (steps,), (1, neurons), (steps, neurons)}:
        shapes = f"shape ({steps},), or (1, {neurons}) or ({steps}, {neurons}) for neurons that differ"
        raise PropagationError(f"{name}: expected a number or {shapes}, got shape {array.shape}")
    array = array.reshape(1) if array.ndim == 0 else array
    return array[:1] if len(array) and (array == array[:1]).all() else array


def kept_steps(keep: Array | Sequence[int], steps: int) -> Floats:
    """``keep`` as increasing integers between 0 and ``steps``."""
    array = np.asarray(keep if len(keep) else np.empty(0, int))
    if array.ndim != 1 or array.dtype.kind not in "iu" or (np.diff(array, prepend=-1) <= 0).any() or (array > steps).any():
        raise PropagationError(f"keep: expected increasing steps between 0 and {steps}, got {keep}")
    return array


def checked_drives(law: Law | DiscreteLaw, drives: Mapping[str, Array], neurons: int) -> dict[str, Array]:
    """Drives by name, in shape and dtype; whether they are finite is seen in the result."""
    names = drive_names(law)
    missing, unknown = set(names) - set(drives) - {"breaking"}, set(drives) - set(names)
    if missing or unknown:
        raise PropagationError(f"drives: expected {names}, got {tuple(drives)}")
    arrays = {name: _real(name, values) for name, values in drives.items()}
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape[1] != neurons:
            raise PropagationError(f"{name}: expected shape (steps, {neurons}), got {tuple(array.shape)}")
    libraries = {namespace(array).__name__ for array in arrays.values()}
    if len(libraries) > 1:
        raise PropagationError(f"drives: expected arrays of one library, got {sorted(libraries)}")
    return arrays


def beside(values: Array, samples: dict[str, Array]) -> Array:
    """The state where the drives are: an array, or a tensor on their device."""
    xp = namespace(*samples.values()) if samples else namespace(values)
    if xp is np:
        if namespace(values) is not np:
            raise PropagationError("drives: expected tensors beside an initial state that is one, got numpy arrays")
        return values
    example = next(iter(samples.values())) if samples else values
    return like(values, example.new_empty(0, dtype=xp.float64))


def number_of_steps(samples: Mapping[str, Array], schedule: Mapping[str, Hyper], steps: int | None) -> int:
    """T, on which all that tells it must agree."""
    lengths = {name: len(x) for name, x in samples.items()}
    lengths |= {name: np.shape(x)[0] for name, x in schedule.items() if np.ndim(x) == 1 or (np.ndim(x) == 2 and len(x) > 1)}
    if steps is not None and (not isinstance(steps, (int, np.integer)) or steps < 0):
        raise PropagationError(f"steps: expected a number of steps, 0 or more, got {steps!r}")
    lengths |= {} if steps is None else {"steps": int(steps)}
    if len(set(lengths.values())) != 1:
        raise PropagationError(f"steps: expected one number of steps, got {lengths or 'none'}")
    return next(iter(lengths.values()))


def initial_state(initial: Array, size: int) -> Array:
    """The state at step 0 with all its rows, in float64."""
    array = _numbers("initial", initial)
    if array.ndim == 1:
        array = namespace(array).concatenate([array[None], *[0 * array[None]] * (size - 1)])
    if array.ndim != 2 or len(array) != size:
        raise PropagationError(f"initial: expected shape (neurons,) or ({size}, neurons), got {np.shape(initial)}")
    return array


def _numbers(name: str, value: Array) -> Array:
    """``value`` in float64, finite and in the range of its name."""
    array = _real(name, value)
    wrong = problem(name, array)
    if wrong:
        raise PropagationError(wrong)
    return array.astype(np.float64) if namespace(array) is np else array.double()


def _real(name: str, value: Array) -> Array:
    """``value`` as an array of real numbers."""
    if namespace(value) is not np:
        if value.is_complex() or str(value.dtype) == "torch.bool":
            raise PropagationError(f"{name}: expected real numbers, got dtype {value.dtype}")
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise PropagationError(f"{name}: expected real numbers, got dtype {array.dtype}")
    return array
