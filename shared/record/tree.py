"""The Merkle tree of RFC 6962 over a log's hashes; only its right edge is kept.

The edge of a tree of n leaves is one node for each bit of n that is set, the largest subtree first:
at most 64 nodes, from which the tree can be continued, and which the root commits to.
"""

from collections.abc import Sequence
from hashlib import sha256

EMPTY = sha256().digest()
"""The root of no leaves."""


class TreeError(ValueError):
    """An edge that belongs to no tree of that size."""


class Tree:
    """A tree that grows by leaves' hashes."""

    __slots__ = ("_edge", "size")

    def __init__(self, size: int = 0, edge: Sequence[bytes] = ()) -> None:
        """Go on from an edge; raises TreeError unless one of this size has so many nodes."""
        if size < 0 or size.bit_count() != len(edge) or any(len(node) != 32 for node in edge):
            raise TreeError("no edge of this size")
        self.size = size
        self._edge = list(edge)

    @property
    def edge(self) -> tuple[bytes, ...]:
        """The nodes from which the tree goes on, the largest subtree first."""
        return tuple(self._edge)

    def add(self, leaf: bytes) -> None:
        """Append one leaf."""
        size, edge = self.size, self._edge
        while size & 1:
            leaf = sha256(b"\x01" + edge.pop() + leaf).digest()
            size >>= 1
        edge.append(leaf)
        self.size += 1

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Append many, a level of the tree at a time."""
        at, end = 0, len(leaves)
        while at < end:
            # The largest subtree that begins here is as large as the size divides, and fits.
            room = self.size & -self.size or 1 << (end - at).bit_length()
            while room > end - at:
                room >>= 1
            level = leaves[at : at + room]
            at += room
            self._join(_root_of(level), room)

    def _join(self, node: bytes, leaves: int) -> None:
        """Append the root of a whole subtree, which the size is a multiple of."""
        size, edge = self.size // leaves, self._edge
        while size & 1:
            node = sha256(b"\x01" + edge.pop() + node).digest()
            size >>= 1
        edge.append(node)
        self.size += leaves

    def root(self) -> bytes:
        """Return the root."""
        if not self._edge:
            return EMPTY
        *left, root = self._edge
        for each in reversed(left):
            root = sha256(b"\x01" + each + root).digest()
        return root

    def copy(self) -> "Tree":
        """Return a tree that grows apart from this one."""
        return Tree(self.size, self._edge)


def _root_of(level: Sequence[bytes]) -> bytes:
    """Return the root of a power of two of nodes."""
    digest = sha256
    while len(level) > 1:
        nodes = iter(level)
        level = [
            digest(b"\x01" + left + right).digest()
            for left, right in zip(nodes, nodes, strict=True)
        ]
    return level[0]
