"""x_{n+1} = A_n x_n + B_n f_n over arrays of shape (steps, neurons), at about the speed at which they can be read.

A block of steps is one linear map of the state before it and of its drives: x_b = Φ x_a + Σ_{a≤i<b} W_i f_i, with W_i the
product of the transitions after step i, times B_i. Hence two ways through the array:

* few steps kept: a block ends at each of them, and Σ W_i f_i is k weighted sums of its rows. The drives are read once,
  summed in their own dtype inside a block (at most :data:`LONG` terms) and in float64 from block to block;
* many kept: all steps of :data:`SHORT` blocks, one matrix product in float64 each.

What a step needs is known beforehand, so a schedule costs no more than constants. Neurons with hyper-parameters of their
own are stepped one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from numerics.step_matrices import Floats, StepMatrices

LONG, SHORT = 128, 8
"""Steps in a block where few, and where many are kept; both from benchmarks/propagate.py, as are the next three."""
COLUMNS = 4096, 10_000
"""Neurons taken at a time where few, and where many steps are kept: state and samples stay in the cache."""
FEW_NEURONS = 1000
"""Up to so many, blocks of which all steps are computed are four times as long, since calls cost more than products."""
ALONG_STEPS = 512, 256
"""Steps in a block and neurons at a time where samples of one neuron lie side by side, as in a run's log."""


def recur(steps: StepMatrices, state: Floats, drives: Sequence[Floats], keep: Floats, out: Floats) -> Floats:
    """State after the steps that ``drives`` and matrices are given for; what is kept is written to ``out``.

    Parameters
    ----------
    steps
        A and B, one a step and, for neurons that differ, one a neuron.
    state
        Float64, shape ``(k, neurons)``.
    drives
        Samples of shape ``(steps, neurons)`` for each column of B.
    keep, out
        Increasing, from 1 on: after which steps the first component of the state goes to the rows of ``out``.
    """
    if steps.per_neuron:
        return _one_by_one(steps, state, drives, keep, out)
    many = keeps_many(keep, len(steps.transition))
    return (_every_step if many else _block_ends)(steps, state, drives, keep, out)


def keeps_many(keep: Floats, total: int) -> bool:
    """Whether blocks that end at every kept step would be shorter than those of which all steps are computed."""
    return len(keep) * SHORT > total


def block_weights(steps: StepMatrices, starts: Floats, stops: Floats) -> tuple[Floats, Floats]:
    """(Φ, W) of blocks: x_stop = Φ x_start + Σ_i W_i f_i, with i counted from the start.

    ``starts`` and ``stops`` have shape ``(blocks,)``; Φ is ``(blocks, k, k)``, W ``(blocks, k, longest, drives)``, with
    zeros beyond the end of a shorter block.

    Three steps of x ← x/2 + f weigh the drives by 1/4, 1/2, 1:

    >>> halves = StepMatrices(np.full((3, 1, 1), 0.5), np.ones((3, 1, 1)))
    >>> flow, weights = block_weights(halves, np.array([0]), np.array([3]))
    >>> flow.ravel(), weights.ravel()
    (array([0.125]), array([0.25, 0.5 , 1.  ]))
    """
    if not steps.alike:
        return _distinct_weights(steps, starts, stops)
    lengths, which = np.unique(stops - starts, return_inverse=True)
    flow, weights = _distinct_weights(steps, 0 * lengths, lengths)
    return flow[which], weights[which]


def _distinct_weights(steps: StepMatrices, starts: Floats, stops: Floats) -> tuple[Floats, Floats]:
    k, drives = steps.gain.shape[-2:]
    flow = np.broadcast_to(np.eye(k), (len(starts), k, k)).copy()
    weights = np.zeros((len(starts), k, int((stops - starts).max(initial=0)), drives))
    for back in range(1, weights.shape[2] + 1):
        step = stops - back
        inside = np.flatnonzero(step >= starts)
        n = step[inside]
        weights[inside, :, n - starts[inside]] = flow[inside] @ steps.gain[n]
        flow[inside] = flow[inside] @ steps.transition[n]
    return flow, weights


def block_edges(keep: Floats, total: int, longest: int = LONG) -> Floats:
    """0, every kept step, the end, and as many between as leave no block longer than ``longest``.

    >>> block_edges(np.array([3]), 200).tolist()
    [0, 3, 101, 200]
    """
    ends = np.union1d([0, total], keep).astype(int)
    gaps = zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    return np.concatenate([[0], *(np.linspace(a, b, -(-(b - a) // longest) + 1).astype(int)[1:] for a, b in gaps)])


# Few steps kept


def _block_ends(steps: StepMatrices, state: Floats, drives: Sequence[Floats], keep: Floats, out: Floats) -> Floats:
    longest, wide = ALONG_STEPS if drives and all(map(_lies_along_steps, drives)) else (LONG, COLUMNS[0])
    edges = block_edges(keep, len(steps.transition), longest)
    flow, weights = block_weights(steps, edges[:-1], edges[1:])
    by_drive = [_in_dtype(weights[..., j], array) for j, array in enumerate(drives)]
    rows = {step: row for row, step in enumerate(keep.tolist())}
    state = np.array(state)
    for columns in _tiles(state.shape[1], wide):
        moved = state[:, columns]
        for block, (first, last) in enumerate(pairwise(edges.tolist())):
            moved = flow[block] @ moved
            for weight, samples in zip(by_drive, drives, strict=True):
                moved += _weighted_sums(weight[block, :, : last - first], samples[first:last, columns])
            if last in rows:
                out[rows[last], columns] = moved[0]
        state[:, columns] = moved
    return state


def _lies_along_steps(samples: Floats) -> bool:
    return abs(samples.strides[0]) < abs(samples.strides[1])


def _tiles(neurons: int, wide: int) -> list[slice]:
    return [slice(left, min(left + wide, neurons)) for left in range(0, neurons, wide)]


def _in_dtype(weights: Floats, samples: Floats) -> Floats:
    """Weights in float32 for samples of that precision or less, where they fit; otherwise in float64."""
    single = samples.dtype.kind == "f" and samples.dtype.itemsize <= 4
    if not single or not np.abs(weights).max(initial=0) < 1e18:
        return weights
    return np.where(np.abs(weights) < 1e-30, 0, weights).astype(np.float32)


def _weighted_sums(weights: Floats, samples: Floats) -> Floats:
    """``weights @ samples`` row by row: BLAS then streams the samples, which it would pack for a matrix of few rows."""
    samples = samples.astype(weights.dtype, copy=False)
    if samples.dtype.itemsize not in samples.strides:  # BLAS wants steps or neurons side by side
        samples = np.ascontiguousarray(samples)
    if _hides(weights, samples):
        return np.full((len(weights), samples.shape[1]), np.nan)
    return np.stack([row @ samples for row in weights])


def _hides(weights: Floats, samples: Floats) -> bool:
    """Whether a sample that is not finite has no weight at all, where BLAS may pass over it."""
    unweighted = ~weights.any(axis=0)
    return bool(unweighted.any()) and not np.isfinite(samples[unweighted]).all()


# Many steps kept


def _every_step(steps: StepMatrices, state: Floats, drives: Sequence[Floats], keep: Floats, out: Floats) -> Floats:
    size = SHORT if state.shape[1] > FEW_NEURONS else 4 * SHORT
    blocks, state, k = _block_maps(steps, size), np.array(state), len(state)
    for columns in _tiles(state.shape[1], COLUMNS[1]):
        moved = state[:, columns]
        stacked = np.empty((k + size * len(drives), moved.shape[1]))
        course = np.empty((size - 1 + k, moved.shape[1]))
        for first, last, matrix, hides in blocks:
            samples = [array[first:last, columns] for array in drives]
            np.concatenate([moved, *samples], out=stacked[: matrix.shape[1]], casting="unsafe")
            reached = np.matmul(matrix, stacked[: matrix.shape[1]], out=course[: len(matrix)])
            if not np.isfinite(reached).all() or (hides and _any_hides(matrix[:, k:], samples)):
                reached[:] = np.nan  # stays in the state, and is seen at the end
            rows = slice(*np.searchsorted(keep, [first, last], side="right"))
            all_kept = rows.stop - rows.start == last - first
            out[rows, columns] = reached[: last - first] if all_kept else reached[keep[rows] - first - 1]
            moved = reached[last - first - 1 :]
        state[:, columns] = moved
    return state


def _any_hides(weights: Floats, samples: Sequence[Floats]) -> bool:
    """:func:`_hides` for drives side by side."""
    return bool(samples) and any(map(_hides, np.split(weights, len(samples), axis=1), samples))


def _block_maps(steps: StepMatrices, size: int) -> list[tuple[int, int, Floats, bool]]:
    """(first, last, M, whether a drive has no weight in it) of blocks of ``size`` steps.

    M takes [x; drives] to the first component after each step, then the others at the end.
    """
    stops = np.arange(1, len(steps.transition) + 1)
    flow, weights = block_weights(steps, (stops - 1) // size * size, stops)
    maps = []
    for first in range(0, len(stops), size):
        last = min(first + size, len(stops))
        by_drive = np.moveaxis(weights[first:last, :, : last - first], 3, 2)
        every = np.concatenate([flow[first:last], by_drive.reshape(*flow[first:last].shape[:2], -1)], axis=2)
        matrix = np.concatenate([every[:, 0], every[-1, 1:]])
        maps.append((first, last, matrix, not matrix[:, flow.shape[1] :].any(axis=0).all()))
    return maps


# Neurons that differ


def _one_by_one(steps: StepMatrices, state: Floats, drives: Sequence[Floats], keep: Floats, out: Floats) -> Floats:
    rows = {step: row for row, step in enumerate(keep.tolist())}
    for n, (A, B) in enumerate(zip(steps.transition, steps.gain, strict=True), start=1):
        state = np.einsum("nij,jn->in", A, state)
        for j, array in enumerate(drives):
            state += B[:, :, j].T * array[n - 1]
        if n in rows:
            out[rows[n]] = state[0]
    return state
