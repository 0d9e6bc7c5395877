"""Checkpoints, byte for byte as C2SP writes them."""

import base64
import contextlib
import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.keys import PrivateKey, verify
from shared.record.checkpoint import (
    MAX_NOTE,
    Checkpoint,
    CheckpointError,
    is_origin,
    key_id,
    notes_of,
    parse,
    printed,
    read_note,
    read_verifier_key,
    sign,
    verifier_key,
)

KEY = PrivateKey.generate()
POINT = Checkpoint("example.com/log", 4096, sha256(b"root").digest())
NOTE = sign(POINT, KEY)


def test_the_note_is_the_text_of_the_standard() -> None:
    """signed-note: text, an empty line, and lines of a dash, a name and base64 of id, signature."""
    body, signature = NOTE.split("\n\n")
    root = base64.b64encode(POINT.root).decode()
    assert body == f"example.com/log\n4096\n{root}"
    dash, name, encoded = signature.rstrip("\n").split(" ")
    made = base64.b64decode(encoded)
    assert (dash, name, len(made)) == ("\u2014", "example.com/log", 68)
    assert made[:4] == sha256(b"example.com/log\n\x01" + KEY.public).digest()[:4]
    assert verify(KEY.public, made[4:], (body + "\n").encode())


def test_the_verifier_key_of_the_standard_s_example_is_ours() -> None:
    """The key of the signed-note document, in its encoding: name, id in hex, algorithm and key."""
    text = verifier_key("example.com/log", KEY.public)
    name, identifier, encoded = text.split("+", 2)
    assert (name, identifier) == ("example.com/log", key_id(name, KEY.public).hex())
    assert base64.b64decode(encoded) == b"\x01" + KEY.public
    assert read_verifier_key(text + "\n") == ("example.com/log", KEY.public)


def test_a_vector_that_others_published_is_read() -> None:
    """PeterNeumann's key and note, of the package that the standard grew from."""
    key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    name, public = read_verifier_key(key)
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )
    made = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert made[:4] == key_id(name, public)
    assert verify(public, made[4:], text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        "a+00000000+AQ==",
        "a b+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(),
        "a+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(),
        f"a+{sha256(b'x').hexdigest()[:8]}+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        read_verifier_key(text)


def test_a_note_is_believed_for_one_key_and_one_text() -> None:
    assert read_note(NOTE, KEY.public) == POINT
    with pytest.raises(CheckpointError):
        read_note(NOTE, PrivateKey.generate().public)
    with pytest.raises(CheckpointError):
        read_note(NOTE.replace("4096", "4097"), KEY.public)


def test_the_signature_of_a_witness_is_left_alone() -> None:
    witness = base64.b64encode(b"\0" * 76).decode()
    text = f"{NOTE}\u2014 witness.example {witness}\n"
    assert read_note(text, KEY.public) == POINT
    assert [name for name, _ in parse(text)[1]] == ["example.com/log", "witness.example"]
    assert list(notes_of(text + NOTE)) == [text, NOTE]


@pytest.mark.parametrize(
    "change",
    [
        ("\n4096\n", "\n04096\n"),
        ("\n4096\n", "\n-1\n"),
        ("\n4096\n", "\n+4096\n"),
        ("\n4096\n", "\n٤\n"),
        ("\n4096\n", "\n99999999999999999999\n"),
        ("\n4096\n", "\n4096\n\n"),
        ("\u2014 ", "- "),
        ("\u2014 example.com/log ", "\u2014 other.example "),
        ("example.com/log\n", "example com\n"),
    ],
)
def test_there_is_one_way_to_spell_a_checkpoint(change: tuple[str, str]) -> None:
    with pytest.raises(CheckpointError):
        read_note(NOTE.replace(*change, 1), KEY.public)


@given(st.text(max_size=300), st.integers(0, len(NOTE)))
def test_any_text_is_a_checkpoint_or_none(text: str, at: int) -> None:
    for each in (text, NOTE[:at] + text + NOTE[at:], NOTE[:at] + text):
        try:
            point, signatures = parse(each)
        except CheckpointError:
            continue
        assert is_origin(point.origin)
        assert each.startswith(point.text)
        assert signatures
        list(notes_of(each))


def test_what_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(CheckpointError):
        parse(NOTE + "\u2014 a AAAAAAAA\n" * MAX_NOTE)


def test_notes_come_one_by_one_from_a_file_and_a_torn_last_one_not_at_all() -> None:
    others = [sign(Checkpoint("example.com/log", size, POINT.root), KEY) for size in range(5)]
    text = "".join(others)
    assert list(notes_of(text)) == others
    for cut in range(1, len(others[-1])):
        assert list(notes_of(text[:-cut])) == others[:-1]
    assert list(notes_of("")) == []


def test_what_was_printed_is_read_however_it_was_kept() -> None:
    later = sign(Checkpoint("example.com/log", 4097, bytes(32)), KEY)
    as_json = json.dumps({"schema_version": 1, "checkpoint": later}, indent=2)
    for text in (NOTE + later, f"\n{NOTE}\n\n{later}", NOTE + later[:-1] + "\n \n"):
        assert printed(text) == [NOTE, later]
    assert printed(NOTE[:-1]) == [NOTE]
    assert printed(f"{as_json}\n{as_json}{NOTE}") == [later, later, NOTE]


@pytest.mark.parametrize(
    "text",
    [
        *("", " \n", "nothing\n", NOTE.partition("\n")[2], NOTE + "nothing\n", "nothing\n" + NOTE),
        *(NOTE + NOTE[:60], NOTE[:60] + NOTE, "{", "{}", '{"checkpoint": 1}', '{"checkpoint": ""}'),
        *("[]", "{" * 100_000, '{"checkpoint":' * 100_000),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_holds_more_than_checkpoints_or_none_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        printed(text)


@given(st.text() | st.text(alphabet='{}[]":, \n\u2014ab'))
def test_any_text_was_printed_or_not(text: str) -> None:
    with contextlib.suppress(CheckpointError):
        assert printed(text)
