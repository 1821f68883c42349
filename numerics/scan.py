"""The recurrence of :mod:`numerics.recurrence` on tensors, by batched matrix products: a blocked parallel scan.

Blocks of equal length are computed side by side; the states at their ends obey the same recurrence with the blocks' own
matrices, and are found in the same way. So a run of T steps takes O(log T) products on the device, and gradients reach
the drives and the start. It runs wherever torch does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from numerics.array_namespace import Array, like, namespace
from numerics.recurrence import SHORT, block_edges, block_weights, keeps_many
from numerics.step_matrices import Floats, PropagationError, StepMatrices

FEW = 8
"""Blocks whose ends are found one after the other."""


def scan(steps: StepMatrices, state: Array, drives: Sequence[Array], keep: Floats) -> tuple[Array, Array]:
    """(first component of the state after the steps ``keep``, state after all), as :func:`numerics.recurrence.recur`."""
    if steps.per_neuron:
        raise PropagationError("hyper-parameters: expected the same for all neurons with tensors, got some of their own")
    total = len(steps.transition)
    if keeps_many(keep, total):
        every = _states(steps, state, drives)
        return every[:, 0].index_select(0, _index(keep - 1, state)), every[-1]
    edges = block_edges(keep, total)
    ends = _block_ends(steps, state, drives, edges)
    chosen = np.searchsorted(edges[1:], keep)
    return ends[:, 0].index_select(0, _index(chosen, state)), ends[-1]


def _index(places: Floats, example: Array) -> Array:
    return namespace(example).as_tensor(places, device=example.device)


def _tensor(values: Floats, example: Array) -> Array:
    return like(np.array(values), example)  # a copy: torch warns about views that may not be written to


def _block_ends(steps: StepMatrices, state: Array, drives: Sequence[Array], edges: Floats) -> Array:
    """States at ``edges[1:]``, shape ``(blocks, k, neurons)``."""
    flow, weights = block_weights(steps, edges[:-1], edges[1:])
    pushes = namespace(state).cat(list(_pushes(weights, drives, edges, state)))
    blocks = StepMatrices(flow, np.broadcast_to(np.eye(flow.shape[1]), flow.shape))
    return _states(blocks, state, [pushes[:, i] for i in range(pushes.shape[1])])


def _pushes(weights: Floats, drives: Sequence[Array], edges: Floats, state: Array):
    """Σ W_i f_i of each block, in float64; neighbours of one length in one product, in the drives' own precision."""
    lengths = np.diff(edges)
    for length, group in groupby(range(len(lengths)), key=lambda block: lengths[block]):
        blocks = list(group)
        here, count, push = slice(blocks[0], blocks[-1] + 1), len(blocks), 0
        for j, array in enumerate(drives):
            samples = array[edges[blocks[0]] : edges[blocks[-1] + 1]].reshape(count, int(length), -1)
            samples = samples if samples.is_floating_point() and samples.element_size() >= 4 else samples.double()
            push = push + (_tensor(weights[here, :, :length, j], samples) @ samples).double()
        yield push + 0 * state.expand(count, *state.shape)


def _states(steps: StepMatrices, state: Array, drives: Sequence[Array]) -> Array:
    """The state after every step, shape ``(steps, k, neurons)``."""
    total = len(steps.transition)
    if total <= FEW:
        return _one_after_the_other(steps, state, drives)
    starts = np.arange(0, total - total % SHORT, SHORT)
    whole = len(starts) * SHORT
    edges = np.concatenate([starts, [whole]])
    ends = _block_ends(steps, state, [array[:whole] for array in drives], edges)
    before = namespace(state).cat([state[None], ends[:-1]])
    stops = np.arange(1, whole + 1)
    flow, weights = block_weights(steps, (stops - 1) // SHORT * SHORT, stops)
    k = flow.shape[1]
    course = _tensor(flow.reshape(len(starts), SHORT * k, k), state) @ before
    for j, array in enumerate(drives):
        samples = array[:whole].double().reshape(len(starts), SHORT, -1)
        course = course + _tensor(weights[..., j].reshape(len(starts), SHORT * k, SHORT), state) @ samples
    every = course.reshape(whole, k, -1)
    if whole == total:
        return every
    rest = steps.between(whole, total)
    return namespace(state).cat([every, _one_after_the_other(rest, ends[-1], [array[whole:] for array in drives])])


def _one_after_the_other(steps: StepMatrices, state: Array, drives: Sequence[Array]) -> Array:
    course = []
    for n, (A, B) in enumerate(zip(steps.transition, steps.gain, strict=True)):
        state = _tensor(A, state) @ state
        for j, array in enumerate(drives):
            state = state + _tensor(B[:, j : j + 1], state) * array[n].double()
        course.append(state)
    return namespace(state).stack(course)
