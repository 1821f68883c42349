"""Linear equations between many unknowns, collected while walking through a network and solved once, exactly.

An unknown is an integer; :data:`NONE` (0) is the unknown that is known to be 0. Where the unknowns are the exponents with
which tensors' entries scale, or the amounts by which they shift, the free ones left over are the network's symmetries.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from fractions import Fraction

import torch
from torch import Tensor

NONE = 0

Number = int | Fraction
Form = dict[int, Number]
"""Unknown -> coefficient: a linear form without zeros."""

Terms = tuple[tuple[Number, Tensor], ...]
"""A sum of unknowns for every entry of a tensor: coefficients, and int64 tensors of unknowns of the tensor's shape."""


def varies(unknowns: Tensor, axis: int) -> bool:
    """Whether ``unknowns`` are not the same all along ``axis``.

    >>> [varies(torch.tensor([[1], [2]]).expand(2, 3), axis) for axis in (0, 1)]
    [True, False]
    """
    if unknowns.shape[axis] <= 1 or unknowns.stride(axis) == 0:
        return False
    return not bool((unknowns == unknowns.select(axis, 0).unsqueeze(axis)).all())


def collapsed(tensors: list[Tensor]) -> list[Tensor]:
    """Leave out repetitions that cost nothing to see: axes along which all tensors are expanded views."""
    for axis in range(tensors[0].dim()):
        if all(t.stride(axis) == 0 or t.shape[axis] == 1 for t in tensors):
            tensors = [t.narrow(axis, 0, min(1, t.shape[axis])) for t in tensors]
    return tensors


def first(terms: Terms, axes: Iterable[int]) -> Terms:
    """What ``terms`` are at the start of each of ``axes``, repeated along it."""
    for axis in axes:
        terms = tuple((c, t.narrow(axis, 0, 1).expand_as(t)) for c, t in terms)
    return terms


def minus(terms: Terms) -> Terms:
    """The sums with their signs turned."""
    return tuple((-c, t) for c, t in terms)


class Relations:
    """Unknowns, the equations between them, and why an unknown has to vanish.

    A negative unknown is *opaque*: a number that depends on others in a way that is not followed. It is equal to itself,
    and is made to vanish by making all that it depends on vanish.
    """

    def __init__(self) -> None:
        self._count = 1
        self._rows: list[tuple[Form, str | None]] = []
        self._starts: list[int] = [1]
        self._sources: list[frozenset[int]] = []
        self._dead: set[int] = set()
        self._products: list[tuple[frozenset[int], frozenset[int]]] = []

    def fresh(self, count: int) -> Tensor:
        """New unknowns, shape ``(count,)``."""
        self._count += count
        return torch.arange(self._count - count, self._count, device="cpu")

    def opaque(self, count: int, sources: Iterable[Tensor]) -> Tensor:
        """New opaque unknowns, each of which vanishes with all unknowns in ``sources``."""
        start = self._starts[-1]
        self._sources.append(unknowns_in(sources))
        self._starts.append(start + count)
        return -torch.arange(start, start + count, device="cpu")

    def vanish(self, terms: Terms, why: str | None = None) -> None:
        """Σ c·unknown = 0, entry by entry; ``why`` says so of the unknowns themselves. Opaque ones do not cancel."""
        for _, unknowns in terms:
            self._kill(unknowns)
        self._require(tuple((c, t.clamp(min=0) if has_opaque(t) else t) for c, t in terms), why)

    def constant(self, terms: Terms, axes: Iterable[int]) -> None:
        """The same sum all along ``axes``."""
        for axis in axes:
            for _, unknowns in terms:
                if has_opaque(unknowns) and varies(unknowns, axis):
                    start = unknowns.narrow(axis, 0, 1).expand_as(unknowns)
                    self._kill(unknowns[unknowns != start])
                    self._kill(start[unknowns != start])
            plain = tuple((c, t.clamp(min=0) if has_opaque(t) else t) for c, t in terms)
            if any(varies(t, axis) for _, t in plain):
                self._require((*plain, *minus(first(plain, [axis]))), None)

    def never_both(self, left: Iterable[Tensor], right: Iterable[Tensor]) -> None:
        """Unknowns whose product would matter: if both sides could be other than 0, both are taken to be 0."""
        self._products.append((unknowns_in(left), unknowns_in(right)))

    def _require(self, terms: Terms, why: str | None) -> None:
        if not terms:
            return
        flat = [t.reshape(-1) for t in collapsed([t for _, t in terms])]
        for column in torch.stack(flat, 1).unique(dim=0).tolist():
            form = combined(zip((c for c, _ in terms), column, strict=True))
            if form:
                self._rows.append((form, why))

    def _kill(self, unknowns: Tensor) -> None:
        """Make opaque unknowns vanish."""
        self._dead |= {self._group(u) for u in unknowns_in([unknowns]) if u < 0}

    def _group(self, opaque: int) -> int:
        return bisect_right(self._starts, -opaque) - 1

    def solve(self) -> Solution:
        """Every unknown as a linear form in the free ones."""
        solution = Solution()
        for form, why in self._rows:
            solution.connect(form, why)
        for form, _ in self._rows:
            solution.impose(form)
        self._extinguish(solution, self._dead)
        while self._settle(solution):
            pass
        return solution

    def _extinguish(self, solution: Solution, groups: set[int]) -> None:
        """Let all that opaque unknowns depend on vanish."""
        waiting, seen = list(groups), set(groups)
        while waiting:
            for source in self._sources[waiting.pop()]:
                if source > 0:
                    solution.impose({source: 1})
                elif (group := self._group(source)) not in seen:
                    seen.add(group)
                    waiting.append(group)

    def _settle(self, solution: Solution) -> bool:
        """Whether a product of two sides had to be forbidden, both of which could move."""
        groups = self._alive_groups(solution)
        for left, right in self._products:
            opaque = [{self._group(u) for u in side if u < 0} for side in (left, right)]
            plain = [{u for u in side if u > 0} for side in (left, right)]
            if all(o & groups or any(map(solution.form, p)) for o, p in zip(opaque, plain, strict=True)):
                for unknown in plain[0] | plain[1]:
                    solution.impose({unknown: 1})
                self._extinguish(solution, opaque[0] | opaque[1])
                return True
        return False

    def _alive_groups(self, solution: Solution) -> set[int]:
        """The groups of opaque unknowns that can differ from 0. A group's sources are older than itself."""
        alive: set[int] = set()
        for group, sources in enumerate(self._sources):
            if any(self._group(u) in alive if u < 0 else solution.form(u) for u in sources):
                alive.add(group)
        return alive


class Solution:
    """Unknowns as forms in free unknowns. Of two that an equation ties together, the one made first stays free."""

    def __init__(self) -> None:
        self._forms: dict[int, Form] = {}
        self._parent: dict[int, int] = {}
        self._reasons: dict[int, str] = {}

    def reduce(self, form: Form) -> Form:
        """The same form in free unknowns only."""
        total: Form = {}
        for unknown, c in form.items():
            for free, d in self.form(unknown).items():
                total[free] = total.get(free, 0) + c * d
        return {free: c for free, c in total.items() if c != 0}

    def form(self, unknown: int) -> Form:
        """One unknown in free ones: itself if it is free, nothing if it vanishes."""
        if unknown == NONE:
            return {}
        path = [unknown]
        while len(after := self._forms.get(path[-1], {})) == 1 and (only := next(iter(after))) in self._forms:
            path.append(only)
        for step in reversed(path):
            if step in self._forms:
                self._forms[step] = self._once(self._forms[step])
        return self._forms.get(unknown, {unknown: 1})

    def _once(self, form: Form) -> Form:
        if not any(unknown in self._forms for unknown in form):
            return form
        return combined((d * c, u) for free, d in form.items() for u, c in self.form(free).items())

    def impose(self, form: Form) -> None:
        """``form`` = 0."""
        form = self.reduce(form)
        if not form:
            return
        pivot = max(form)
        self._forms[pivot] = {u: _integer(Fraction(-c) / form[pivot]) for u, c in form.items() if u != pivot}

    def connect(self, form: Form, why: str | None) -> None:
        """Remember that the unknowns of an equation concern each other, and why the first had to vanish."""
        unknowns = list(form)
        for unknown in unknowns[1:]:
            a, b = self._root(unknowns[0]), self._root(unknown)
            if a != b:
                self._parent[b] = a
                if b in self._reasons:
                    self._reasons.setdefault(a, self._reasons[b])
        if why is not None:
            self._reasons.setdefault(self._root(unknowns[0]), why)

    def reason(self, unknown: int) -> str | None:
        """The first reason given for any unknown that concerns this one."""
        return self._reasons.get(self._root(unknown))

    def _root(self, unknown: int) -> int:
        root = unknown
        while (above := self._parent.get(root, root)) != root:
            root = above
        while (above := self._parent.get(unknown, unknown)) != unknown:
            self._parent[unknown] = root
            unknown = above
        return root


def combined(pairs: Iterable[tuple[Number, int]]) -> Form:
    """A form from terms, in which an unknown may occur several times.

    >>> combined([(1, 5), (2, 7), (-1, 5), (4, 0)])
    {7: 2}
    """
    total: Form = {}
    for c, unknown in pairs:
        if unknown != NONE:
            total[unknown] = total.get(unknown, 0) + c
    return {unknown: c for unknown, c in total.items() if c != 0}


def has_opaque(unknowns: Tensor) -> bool:
    """Whether some of them are opaque."""
    return unknowns.numel() > 0 and int(unknowns.min()) < 0


def unknowns_in(tensors: Iterable[Tensor]) -> frozenset[int]:
    """All unknowns in some tensors, but for :data:`NONE`."""
    found = (t for tensor in tensors for t in collapsed([tensor])[0].unique().tolist())
    return frozenset(found) - {NONE}


def _integer(number: Fraction) -> Number:
    return int(number) if number.denominator == 1 else number
