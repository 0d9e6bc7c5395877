"""The tree of RFC 6962, against its definition and its published vectors."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.record.tree import EMPTY, Tree, TreeError

HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=70)
VECTOR_LEAVES = [
    *(b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43"),
    *(bytes(range(0x50, 0x58)), bytes(range(0x60, 0x70))),
]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def defined(leaves: list[bytes]) -> bytes:
    """The root as RFC 6962 section 2.1 defines it."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    at = 1
    while at * 2 < len(leaves):
        at *= 2
    return sha256(b"\x01" + defined(leaves[:at]) + defined(leaves[at:])).digest()


def test_the_published_vectors_of_certificate_transparency_hold() -> None:
    tree = Tree()
    roots = []
    for leaf in VECTOR_LEAVES:
        tree.add(sha256(b"\0" + leaf).digest())
        roots.append(tree.root().hex())
    assert roots == VECTOR_ROOTS
    assert Tree().root() == EMPTY == sha256().digest()


@given(HASHES, st.data())
def test_one_by_one_or_many_at_once_is_one_tree(leaves: list[bytes], data: st.DataObject) -> None:
    tree = Tree()
    at = 0
    while at < len(leaves):
        size = data.draw(st.integers(0, len(leaves) - at)) or 1
        if size == 1:
            tree.add(leaves[at])
        else:
            tree.extend(leaves[at : at + size])
        at += size
    assert (tree.size, tree.root()) == (len(leaves), defined(leaves))


@given(HASHES, HASHES)
def test_a_tree_goes_on_from_its_edge(before: list[bytes], after: list[bytes]) -> None:
    whole = Tree()
    whole.extend([*before, *after])
    begun = Tree()
    begun.extend(before)
    resumed = Tree(begun.size, begun.edge)
    resumed.extend(after)
    copied = begun.copy()
    copied.extend(after)
    assert resumed.root() == copied.root() == whole.root() == defined([*before, *after])
    assert begun.size == len(before)


@pytest.mark.parametrize(
    ("size", "edge"), [(1, []), (2, [bytes(32)] * 2), (3, [bytes(32)]), (-1, []), (1, [b"short"])]
)
def test_an_edge_of_another_size_is_none(size: int, edge: list[bytes]) -> None:
    with pytest.raises(TreeError):
        Tree(size, edge)
