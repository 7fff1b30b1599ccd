"""Merkle trees: the RFC's own hashes, and proofs that fit their leaf, place and tree only."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardflow.merkle import EMPTY, Tree, path_to, root_by_path, root_of

LEAVES = [b"", b"\0", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"]


def test_no_leaves_have_the_digest_of_nothing():
    assert Tree().root() == EMPTY == hashlib.sha256(b"").digest()


@pytest.mark.parametrize(
    ("count", "root"),
    [  # the vectors that implementations of Certificate Transparency share
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ],
)
def test_a_root_is_what_the_standard_defines(count, root):
    assert root_of(LEAVES[:count]).hex() == root


def defined(leaves):
    """Return the root by the recursion of the standard, word by word."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + defined(leaves[:split]) + defined(leaves[split:])).digest()


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=70), st.data())
def test_every_leaf_is_proven_in_its_place_and_nothing_else_is(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, path = defined(leaves), path_to(leaves, index)

    assert root_of(leaves) == root
    assert root_by_path(leaves[index], index, len(leaves), path) == root
    assert root_by_path(leaves[index] + b"!", index, len(leaves), path) != root
    assert root_by_path(leaves[index], index, len(leaves), [*path, b"0" * 32]) != root
    if path:
        assert root_by_path(leaves[index], index, len(leaves), path[:-1]) != root


@pytest.mark.parametrize(("index", "size"), [(-1, 1), (1, 1), (0, 0)])
def test_a_place_outside_of_the_tree_proves_nothing(index, size):
    assert root_by_path(b"", index, size, []) is None
