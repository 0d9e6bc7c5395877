"""Lines, the tree over them and signed checkpoints."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.chain import (
    START,
    BadLineError,
    Checkpoint,
    Tree,
    line_of,
    link,
    read_note,
    read_notes,
    sign,
    split,
)
from shared.keys import PrivateKey

KEY = PrivateKey.generate()


def root_of(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + root_of(leaves[:half]) + root_of(leaves[half:])).digest()


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_the_tree_is_that_of_rfc_6962(records: list[bytes]) -> None:
    tree, leaves, before = Tree(), [], START
    for record in records:
        before = link(before, record)
        leaves.append(before)
        tree.add(before)
    assert (tree.size, tree.root()) == (len(records), root_of(leaves))


def test_a_line_is_read_as_it_was_written() -> None:
    found = link(START, b'{"seq":0}')
    line = line_of(found, b'{"seq":0}')
    assert split(line) == (found, b'{"seq":0}')
    for bad in (b"", line[:-1], b" " + line, line.replace(b'"record"', b'"Record"'), line[:9] * 20):
        with pytest.raises(BadLineError):
            split(bad)


def test_a_checkpoint_holds_for_its_key_and_its_words_only() -> None:
    point = Checkpoint("mcp-tunnel.example/client/0123", 7, hashlib.sha256(b"x").digest())
    note = sign(point, KEY)
    assert read_note(note, KEY.public) == point
    with pytest.raises(BadLineError):
        read_note(note, PrivateKey.generate().public)
    for bad in (note.replace("\n7\n", "\n8\n"), note[:-4], "", note.replace("client", "relay")):
        with pytest.raises(BadLineError):
            read_note(bad, KEY.public)


def test_a_file_of_checkpoints_may_end_in_a_torn_one() -> None:
    notes = [sign(Checkpoint("a", size, START), KEY) for size in range(3)]
    text = "".join(notes)
    assert read_notes(text) == notes
    assert read_notes(text[:-10]) == notes[:2]
    assert read_notes("") == []
