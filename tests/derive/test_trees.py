"""Rooted trees: counts of the literature, identities over all trees of an order, and the notation."""

from itertools import permutations
from math import factorial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derive.tree_table import MAX_ORDER, edge_cuts, rooted_trees, tree_table
from derive.trees import RootedTree, TreeError, butcher_product, rootings

t = RootedTree()
trees = st.recursive(
    st.just(t), lambda below: st.lists(below, max_size=3).map(lambda found: RootedTree(tuple(found))), max_leaves=8
)
bicoloured = st.recursive(
    st.sampled_from([t, RootedTree((), 1)]),
    lambda below: st.builds(lambda c, colour: RootedTree(tuple(c), colour), st.lists(below, max_size=3), st.integers(0, 1)),
    max_leaves=6,
)


# Known counts


def test_the_counts_are_those_of_oeis_a000081():
    table = tree_table(14)
    counts = [len(table.numbers(n)) for n in range(1, 15)]
    assert counts == [1, 1, 2, 4, 9, 20, 48, 115, 286, 719, 1842, 4766, 12486, 32973]


def test_with_two_colours_the_counts_are_those_of_oeis_a038055():
    table = tree_table(7, colours=2)
    assert [len(table.numbers(n)) for n in range(1, 8)] == [2, 4, 14, 52, 214, 916, 4116]


def test_table_iii_1_1_of_hairer_lubich_wanner():
    rows = [
        (tree.symmetry, tree.density, tree.labelings)
        for tree in map(RootedTree.parse, ("[t^3]", "[t,[t]]", "[[t,t]]", "[[[t]]]"))
    ]
    assert rows == [(6, 4, 1), (1, 8, 3), (2, 12, 1), (1, 24, 1)]


# Identities over all trees of an order


@pytest.mark.parametrize("order", range(1, 10))
def test_monotonic_labelings_add_up_to_permutations(order):
    assert sum(tree.labelings for tree in rooted_trees(order)) == factorial(order - 1)


@pytest.mark.parametrize("order", range(1, 10))
def test_labelled_trees_add_up_to_cayleys_formula(order):
    assert sum(factorial(order) // tree.symmetry for tree in rooted_trees(order)) == order ** (order - 1)


@pytest.mark.parametrize("order", range(1, 9))
def test_the_trees_of_an_order_are_different_and_have_that_order(order):
    found = rooted_trees(order)
    assert len(set(found)) == len(found)
    assert {tree.order for tree in found} == {order}


@pytest.mark.parametrize("order", range(1, 9))
def test_removing_each_edge_leaves_two_trees_that_grow_back(order):
    for tree in rooted_trees(order):
        cuts = edge_cuts(tree)
        assert sum(cuts.values()) == order - 1
        assert {trunk.order + branch.order for trunk, branch in cuts} <= {order}
        assert all(tree in grafted(trunk, branch) for trunk, branch in cuts)


def grafted(trunk, branch):
    """Every tree with the root of ``branch`` put on some vertex of ``trunk``."""
    found = {butcher_product(trunk, branch)}
    for k, child in enumerate(trunk.children):
        rest = trunk.children[:k] + trunk.children[k + 1 :]
        found |= {RootedTree((*rest, grown)) for grown in grafted(child, branch)}
    return found


def test_cuts_count_equal_edges_together():
    assert edge_cuts(RootedTree.parse("[t^3]")) == {(RootedTree.parse("[t^2]"), t): 3}


def as_parents(tree, parent=-1, start=0):
    """For each vertex in depth-first order, its parent."""
    found = [parent]
    for child in tree.children:
        found += as_parents(child, start, start + len(found))
    return found


@pytest.mark.parametrize("order", range(1, 7))
def test_the_density_counts_the_orders_in_which_a_tree_can_grow(order):
    for tree in rooted_trees(order):
        parents = as_parents(tree)
        grown = sum(all(p < 0 or when[p] < when[v] for v, p in enumerate(parents)) for when in permutations(range(order)))
        assert grown == factorial(order) // tree.density


@pytest.mark.parametrize("order", range(1, 9))
def test_each_vertex_is_a_root_once(order):
    for tree in rooted_trees(order):
        found = rootings(tree)
        assert sum(found.values()) == order
        assert all(set(rootings(other)) == set(found) for other in found)
        assert len({other.symmetry * count for other, count in found.items()}) == 1  # |Aut| of the free tree


# Notation


@given(trees)
def test_a_tree_reads_back_as_it_is_written(tree):
    assert RootedTree.parse(str(tree)) == tree


@given(bicoloured)
def test_so_does_one_of_two_colours(tree):
    assert RootedTree.parse(str(tree)) == tree
    assert tree.colours == 1 + any(mark in str(tree) for mark in "o(")


@given(st.lists(trees, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_children_does_not_matter(children, random):
    shuffled = random.sample(children, len(children))
    assert RootedTree(tuple(children)) == RootedTree(tuple(shuffled))
    assert hash(RootedTree(tuple(children))) == hash(RootedTree(tuple(shuffled)))


@settings(deadline=None)
@given(trees.filter(lambda tree: tree.order <= 9))
def test_numbers_and_trees_correspond(tree):
    table = tree_table(tree.order)
    assert table.tree(table.number(tree)) == tree


@settings(deadline=None)
@given(bicoloured.filter(lambda tree: tree.order <= 6))
def test_numbers_and_trees_of_two_colours_correspond(tree):
    table = tree_table(tree.order, colours=2)
    assert table.tree(table.number(tree)) == tree


@given(trees, trees, trees)
def test_two_branches_may_be_put_on_in_either_order(trunk, first, second):
    assert butcher_product(butcher_product(trunk, first), second) == butcher_product(butcher_product(trunk, second), first)


def test_the_table_multiplies_as_trees_do():
    table = tree_table(8)
    for trunk in range(table.count(4)):
        for branch in range(table.count(4)):
            expected = butcher_product(table.tree(trunk), table.tree(branch))
            assert table.tree(table.product(trunk, branch)) == expected


def test_latex_collects_powers():
    assert RootedTree.parse("[[t],t,t]").latex == r"[[\bullet], \bullet^{2}]"
    assert RootedTree.parse("(t,o)")._repr_latex_().startswith("$")


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "[t", "t]", "[t,]", "[t)", "x", "[t^0]", "[t^]", "[t^999]", "t,t", "[" * 5000, "[t²]"]
)
def test_what_is_no_tree_is_refused(text):
    with pytest.raises(TreeError, match=r"^text: (expected|nested)"):
        RootedTree.parse(text)


def test_other_things_are_refused_by_name():
    with pytest.raises(TreeError, match="children: expected rooted trees"):
        RootedTree(("t",))
    with pytest.raises(TreeError, match="colour: expected 0 or 1"):
        RootedTree((), 2)
    with pytest.raises(TreeError, match=f"order: expected an integer from 0 to {MAX_ORDER}"):
        rooted_trees(MAX_ORDER + 1)
    with pytest.raises(TreeError, match="order: expected an integer"):
        rooted_trees(-1)
    with pytest.raises(TreeError, match="colours: expected 1 or 2"):
        rooted_trees(3, colours=3)
    with pytest.raises(TreeError, match="tree: expected vertices of colour 0 only"):
        tree_table(3).number(RootedTree((), 1))


# Another library


def nested(tree):
    return [nested(child) for child in tree.children]


def test_kauri_has_the_same_functions_of_trees():
    kauri = pytest.importorskip("kauri")
    for order in range(1, 8):
        for tree in rooted_trees(order):
            other = kauri.Tree(nested(tree))
            assert (other.nodes(), other.sigma(), other.factorial(), other.alpha()) == (
                tree.order,
                tree.symmetry,
                tree.density,
                tree.labelings,
            )
