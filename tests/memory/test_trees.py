"""Trees, by property: any nesting, any shapes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastadam as fa
from fastadam.memory.tree import filled, leaves, mapped, matched, structure_of

settings.register_profile("suite", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("suite")

shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
keys = st.one_of(st.text(max_size=4), st.integers(0, 9))


def nested(leaf):
    return st.recursive(
        leaf,
        lambda child: st.one_of(
            st.lists(child, max_size=4),
            st.lists(child, max_size=3).map(tuple),
            st.dictionaries(keys, child, max_size=4),
        ),
        max_leaves=12,
    )


def arrays(tree):
    rng = np.random.default_rng(0)
    return mapped(lambda shape: rng.standard_normal(shape.shape).astype(np.float32), tree)


class Shape:
    """A shape that is not a tuple, so that it is a leaf."""

    def __init__(self, shape):
        self.shape = shape


trees = nested(shapes.map(Shape)).map(arrays)


@given(trees)
def test_a_structure_and_its_leaves_give_the_tree_back(tree):
    structure = structure_of(tree)
    found = [leaf for _, leaf in leaves(tree)]
    again = filled(structure, found)
    assert [path for path, _ in leaves(again)] == [path for path, _ in leaves(tree)]
    assert all(a is b for a, b in zip(matched(structure, again, "t"), found, strict=True))


@given(trees)
def test_flatten_keeps_structure_shapes_and_values(tree):
    found = list(leaves(tree))
    if not found:
        with pytest.raises(ValueError, match="no array"):
            fa.flatten(tree)
        return
    flat = fa.flatten(tree)
    assert flat.buffer.size == 0 or flat.buffer.ctypes.data % 64 == 0
    assert flat.buffer.size == sum(leaf.size for _, leaf in found)
    for (path, leaf), (other, view) in zip(found, leaves(flat.tree), strict=True):
        assert path == other
        np.testing.assert_array_equal(leaf, view)
        assert view.size == 0 or np.shares_memory(view, flat.buffer)
        assert view.size == 0 or not np.shares_memory(view, leaf)


@given(trees, st.randoms(use_true_random=False))
def test_a_step_on_a_tree_is_a_step_on_each_leaf(tree, random):
    found = [leaf for _, leaf in leaves(tree)]
    if not found:
        return
    structure = structure_of(tree)
    given_grads = [None if random.random() < 0.3 else np.ones_like(leaf) for leaf in found]
    if structure == 0:  # step(None) is step()
        given_grads = [np.ones_like(tree)]
    alone = [leaf.copy() for leaf in found]
    info = fa.AdamW(tree, lr=0.1).step(_lists_for_tuples(filled(structure, given_grads)))
    assert info.updated == any(grad is not None for grad in given_grads)
    for leaf, other, grad in zip(found, alone, given_grads, strict=True):
        if grad is not None:
            fa.AdamW(other, lr=0.1).step(grad)
        np.testing.assert_array_equal(leaf, other)


def _lists_for_tuples(tree):
    if isinstance(tree, dict):
        return {key: _lists_for_tuples(tree[key]) for key in reversed(list(tree))}
    if isinstance(tree, list | tuple):
        return [_lists_for_tuples(branch) for branch in tree]
    return tree


@given(nested(st.integers(0, 3)), nested(st.integers(0, 3)))
def test_only_trees_of_one_structure_match(one, other):
    def skeleton(tree):
        if isinstance(tree, dict):
            return {key: skeleton(branch) for key, branch in tree.items()}
        if isinstance(tree, list | tuple):
            return [skeleton(branch) for branch in tree]
        return None

    if isinstance(one, int) or skeleton(one) == skeleton(other):
        matched(structure_of(one), other, "grads")
    elif not _coarser(one, other):
        with pytest.raises(ValueError, match="grads"):
            matched(structure_of(one), other, "grads")


def _coarser(one, other):
    """True if the other tree has a leaf or a branch at every leaf of one."""
    if isinstance(one, int):
        return True
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(_coarser(one[key], other[key]) for key in one)
        )
    return (
        isinstance(other, list | tuple)
        and len(one) == len(other)
        and all(map(_coarser, one, other))
    )


def test_a_flat_is_a_container_of_its_arrays():
    flat = fa.flatten({"w": np.ones((2, 2)), "b": [np.zeros(2), np.zeros(1)]})
    assert len(flat) == 3
    assert all(a is b for a, b in zip(flat, flat.leaves, strict=True))
    assert flat["w"] is flat[0] is flat[-3]
    assert flat["b"] is flat.tree["b"]
    assert flat[1:] == flat.leaves[1:]
    assert "w" in flat
    assert "x" not in flat
    flat["w"] += 1  # which writes to the view
    np.testing.assert_array_equal(np.asarray(flat), [2, 2, 2, 2, 0, 0, 0])
    assert np.shares_memory(np.asarray(flat), flat.buffer)
    assert not np.shares_memory(np.array(flat), flat.buffer)
    assert np.asarray(flat, np.float32).dtype == np.float32
    assert fa.flatten(np.ones(2))[0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="only as a copy"):
        np.asarray(flat, np.float32, copy=False)
    with pytest.raises(TypeError, match=r"flat\['w'\]\[\.\.\.\] = value"):
        flat["w"] = np.ones((2, 2))
    with pytest.raises(KeyError, match=r"no 'ww'; did you mean 'w'\?"):
        flat["ww"]
    with pytest.raises(IndexError, match="3 arrays"):
        flat[3]
    for tree in ([flat], {"a": flat}):
        with pytest.raises(TypeError, match=r"give its tree: flat\.tree"):
            fa.SGD(tree)


def test_a_flat_survives_pickle_and_copy():
    import copy
    import pickle

    flat = fa.flatten({"a": np.arange(3.0), "b": [np.ones((2, 2))]})
    for other in (copy.deepcopy(flat), pickle.loads(pickle.dumps(flat))):
        np.testing.assert_array_equal(other.buffer, flat.buffer)
        other.tree["a"][0] = 7
        assert other.buffer[0] == 7
        assert flat.buffer[0] == 0
        assert other.buffer.ctypes.data % 64 == 0
    assert repr(flat) == "Flat(7 x float64, 2 arrays)"


def test_named_tuples_keep_their_type():
    from typing import NamedTuple

    class Layer(NamedTuple):
        w: object
        b: object

    flat = fa.flatten(Layer(np.ones(2), np.zeros(1)))
    assert flat.tree.w.tolist() == [1, 1]
    fa.AdamW(flat).step(Layer(np.ones(2), None))
    assert flat.tree.b.tolist() == [0]
