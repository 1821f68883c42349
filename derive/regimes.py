"""Where a claim is said to hold: the conditions beside the rows of cases, and inequalities beside a claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy as sp

from derive.notation import tree
from derive.notation.lexicon import listed

if TYPE_CHECKING:
    from derive.notation.reading import Reader

COMPARISONS = {"==": "="} | {
    word: sign
    for sign, words in (
        ("<", "lt ll ≪"), (">", "gt gg ≫"), ("<=", "le leq leqslant ≤"), (">=", "ge geq geqslant ≥"), ("!=", "ne neq ≠"),
    )
    for word in listed(words)
}  # fmt: skip
"""How an order may be written -> the sign it is."""


def condition(reader: Reader, node: tree.Node | None) -> list[tuple[sp.Expr, str, sp.Expr]] | None:
    """The inequalities of a chain a < b ≤ c, or None for "otherwise"."""
    if node is None or (isinstance(node, tree.Name) and node.text == "otherwise"):
        return None
    if not isinstance(node, tree.Relation):
        raise reader.fail("expected a condition such as γ > ω, or otherwise", node)
    sides = [reader.scalar(side) for side in node.sides]
    signs = [COMPARISONS.get(sign, sign) for sign in node.signs[1:]]
    return list(zip(sides, signs, sides[1:], strict=False))
