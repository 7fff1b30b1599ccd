"""Merkle trees (RFC 9162 2.1): one digest over many, and short proofs that one of them is in it.

A proof consists of digests only, so it shows where an entry stands and tells nothing of the others.
"""

import hashlib
from collections.abc import Iterable, Sequence

EMPTY = hashlib.sha256(b"").digest()


class Tree:
    """Grows leaf by leaf in memory that is logarithmic in their number."""

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []  # of 2**k leaves each, the largest first

    def add(self, data: bytes) -> None:
        """Take one more leaf."""
        joined = _leaf(data)
        complete = self.size
        while complete & 1:
            joined = _node(self._subtrees.pop(), joined)
            complete >>= 1
        self._subtrees.append(joined)
        self.size += 1

    def root(self) -> bytes:
        """Return the digest over all leaves so far."""
        if not self._subtrees:
            return EMPTY
        *others, joined = self._subtrees
        for subtree in reversed(others):
            joined = _node(subtree, joined)
        return joined


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the digest over all leaves (RFC 9162 2.1.1)."""
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()


def path_to(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion proof of one leaf, the lowest digest first (RFC 9162 2.1.3.1)."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = leaves[:split], leaves[split:]
    if index < split:
        return [*path_to(left, index), root_of(right)]
    return [*path_to(right, index - split), root_of(left)]


def root_by_path(data: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that a proof leads to, None where it fits no tree (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    joined, here, last = _leaf(data), index, size - 1
    for beside in path:
        if last == 0:
            return None
        if here & 1 or here == last:
            joined = _node(beside, joined)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            joined = _node(joined, beside)
        here, last = here >> 1, last >> 1
    return joined if last == 0 else None


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
