"""What a person reads."""

import io

from tunnel_client.connect.notes import Notes


def test_a_note_is_one_prefix_and_harmless_to_a_terminal() -> None:
    stream = io.StringIO()
    notes = Notes(stream)
    notes.say("a\x1b[2Jb\nc")
    notes.say("a\x1b[2Jb\nc")
    assert stream.getvalue() == "tunnel-client: a?[2Jb\nc\n"


def test_a_reader_that_is_gone_is_no_reason_to_stop() -> None:
    stream = io.StringIO()
    stream.close()
    Notes(stream).say("x")
