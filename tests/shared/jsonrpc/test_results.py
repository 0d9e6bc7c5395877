"""Responses that stream by: seen without delay, or changed and nothing else with them."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.results import DROP, Document, EditError, Editor, Watcher

NEEDLES = (b"taskId", b"requestState")
ENDS = (b"\n", b"\r\n", b"\r")
EVENT_ENDS = tuple(a + b for a in ENDS for b in ENDS if a + b != b"\r\n")


def drop_hidden(document: Document) -> Document | None:
    """Leave out tools whose name begins with `hidden`."""
    result = document.get("result", {})
    tools = result.get("tools")
    if not isinstance(tools, list):
        return None
    kept = [tool for tool in tools if not tool["name"].startswith("hidden")]
    return None if kept == tools else {**document, "result": {**result, "tools": kept}}


def message(*tools: str, **more: Any) -> bytes:
    """Write a list of tools."""
    result = {"tools": [{"name": name} for name in tools], **more}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


def edited(body: bytes, *, event_stream: bool = True, size: int = 0, **options: Any) -> bytes:
    """Return what an editor makes of a body that comes in chunks of `size`."""
    editor = Editor(drop_hidden, event_stream=event_stream, **options)
    return b"".join(editor.feed(chunk) for chunk in chunks(body, size)) + editor.end()


def seen(
    body: bytes, *, event_stream: bool = True, size: int = 0, **options: Any
) -> list[Document]:
    """Return what a watcher sees of a body that comes in chunks of `size`."""
    found: list[Document] = []
    watcher = Watcher(NEEDLES, found.append, event_stream=event_stream, **options)
    passed = b"".join(watcher.feed(chunk) for chunk in chunks(body, size)) + watcher.end()
    assert passed == body
    return found


def chunks(body: bytes, size: int) -> list[bytes]:
    size = size or len(body) or 1
    return [body[at : at + size] for at in range(0, len(body), size)]


def cut(body: bytes, cuts: list[int]) -> list[bytes]:
    """Return a body in the chunks that these places make."""
    places = sorted({0, len(body), *(place % (len(body) + 1) for place in cuts)})
    return [body[a:b] for a, b in itertools.pairwise(places)]


# Bodies of any kind -----------------------------------------------------------------------------

names = st.sampled_from(["one", "two", "hidden", "hidden-too", "drei\N{SNOWMAN}"])
documents = st.one_of(
    st.lists(names, max_size=4).map(lambda found: message(*found)),
    st.just(b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"taskId":"t"}}'),
    st.just(b'{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}'),
    st.text("abt", max_size=3).map(lambda task: message(taskId=task)),
)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """Write one event with any line ends, its data over several lines, and what else may stand."""

    def line(text: bytes) -> bytes:
        return text + draw(st.sampled_from(ENDS))

    before = draw(st.lists(st.sampled_from([b": kept", b"id: 7", b"event: message", b"x"])))
    text = draw(documents)
    parts = [text]
    if draw(st.booleans()):
        parts = text.replace(b", ", b",\n ").split(b"\n")
    colon = draw(st.sampled_from([b"data: ", b"data:"]))
    after = draw(st.lists(st.sampled_from([b"retry: 5", b":", b"id"]), max_size=2))
    rows = [*before, *(colon + part for part in parts), *after]
    return b"".join(map(line, rows[:-1])) + rows[-1] + draw(st.sampled_from(EVENT_ENDS))


bodies = st.tuples(
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\n", b":\n\n"]),
    st.lists(events(), max_size=4),
    st.sampled_from([b"", b"data: {", b"data: 1", b": end\n", b"data: " + message("hidden")]),
).map(lambda parts: parts[0] + b"".join(parts[1]) + parts[2])
cuts = st.lists(st.integers(0, 2000), max_size=12)


def outcome(pieces: list[bytes], **options: Any) -> bytes | None:
    """Return an editor's whole output; None when it refused the body."""
    editor = Editor(drop_hidden, **options)
    try:
        return b"".join([*map(editor.feed, pieces), editor.end()])
    except EditError:
        return None


@given(bodies, cuts, st.sampled_from([(), (b"hidden",)]))
def test_chunks_do_not_matter_to_what_an_editor_makes_of_events(
    body: bytes, cuts: list[int], needles: tuple[bytes, ...]
) -> None:
    options: dict[str, Any] = {"event_stream": True, "needles": needles, "limit": 200}
    assert outcome(cut(body, cuts), **options) == outcome([body], **options)


@given(documents, cuts)
def test_chunks_do_not_matter_to_what_an_editor_makes_of_json(body: bytes, cuts: list[int]) -> None:
    made = outcome(cut(body, cuts), event_stream=False)
    assert made is not None
    wanted = drop_hidden(json.loads(body))
    if wanted is None:
        assert made == body
    else:
        assert json.loads(made) == wanted


@given(bodies, cuts)
def test_an_editor_that_changes_nothing_keeps_every_byte(body: bytes, cuts: list[int]) -> None:
    editor = Editor(lambda _: None, event_stream=True)
    try:
        made = b"".join([*map(editor.feed, cut(body, cuts)), editor.end()])
    except EditError:
        return  # it does not end in a whole message
    assert made == body


@given(bodies, cuts, st.sampled_from([200, 10**6]))
def test_chunks_do_not_matter_to_what_a_watcher_sees(
    body: bytes, cuts: list[int], limit: int
) -> None:
    found: list[Document] = []
    watcher = Watcher(NEEDLES, found.append, event_stream=True, limit=limit)
    for piece in cut(body, cuts):
        assert watcher.feed(piece) is piece
    assert watcher.end() == b""
    assert found == seen(body, limit=limit)


@given(st.lists(events(), max_size=4))
def test_a_watcher_sees_every_response_with_a_needle(found: list[bytes]) -> None:
    wanted = sum(b"taskId" in event and b'"method"' not in event for event in found)
    assert len(seen(b"".join(found))) == wanted


# One by one -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 0])
@pytest.mark.parametrize("end", ENDS)
def test_only_the_event_that_changes_is_written_anew(end: bytes, size: int) -> None:
    untouched = end.join([b": note", b"id:3", b"data:  " + message("one"), b"", b""])
    changed = end.join([b"event: message", b"data: " + message("hidden"), b"id: 4", b"", b""])
    body = untouched + changed + untouched
    compact = message().replace(b" ", b"")
    wanted = end.join([b"event: message", b"data: " + compact, b"id: 4", b"", b""])
    assert edited(body, size=size) == untouched + wanted + untouched


def test_an_event_passes_with_its_last_byte_and_not_before() -> None:
    editor = Editor(drop_hidden, event_stream=True)
    event = b"data: " + message("one") + b"\r\n"
    assert editor.feed(event) == b""
    assert editor.feed(b"\r") == event + b"\r"
    assert editor.feed(b"\n: next\n") == b""
    assert editor.feed(b"\n") == b"\n: next\n\n"


def test_data_over_many_lines_is_one_message() -> None:
    event = b'data: {"jsonrpc":"2.0","id":1,"result":\ndata:{"tools":[{"name":"hidden"}]}\n'
    body = event + b"id: 9\ndata: }\n\n"
    assert edited(body) == b'data: {"jsonrpc":"2.0","id":1,"result":{"tools":[]}}\nid: 9\n\n'


@pytest.mark.parametrize(
    "text",
    [
        b'{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"hidden"}]}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"tools":[],"Tools":[{"name":"hidden"}]}}',
        b'{"jsonrpc":"2.0","id":1,"Result":{"tools":[{"name":"hidden"}]}}',
        b'[{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"hidden"}]}}]',
        b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"hidden"}]}} x',
        b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"hidden"}],"x":1e999}}',
        b"\xff",
        b"true",
    ],
)
def test_what_two_readers_could_read_in_two_ways_does_not_pass_an_editor(text: bytes) -> None:
    with pytest.raises(EditError):
        edited(text, event_stream=False)
    with pytest.raises(EditError):
        edited(b"data: " + text + b"\n\n")
    with pytest.raises(EditError):
        edited(b"\xef\xbb\xbfdata: " + text)


def test_what_hides_behind_escapes_a_mark_or_a_missing_end_is_edited_too() -> None:
    sly = b'{"jsonrpc":"2.0","id":1,"result":{"\\u0074ools":[{"name":"\\u0068idden"}]}}'
    for body in (b"data: %b\n\n", b"\xef\xbb\xbfdata: %b\n\n", b"data: %b", b"\ndata:%b\r"):
        assert b"idden" not in edited(body % sly)
    assert b"idden" not in edited(sly, event_stream=False)


def test_what_stands_in_a_schema_is_the_upstreams() -> None:
    schema = {"properties": {"a": {}, "A": {"maximum": 0.1}}}
    made = json.loads(edited(message("one", "hidden", schema=schema), event_stream=False))
    assert made["result"] == {"tools": [{"name": "one"}], "schema": schema}


def test_a_notification_is_not_edited_but_what_could_be_a_response_is() -> None:
    note = b'{"jsonrpc":"2.0","method":"x","params":{"result":1}}'
    assert edited(note, event_stream=False) == note
    both = b'{"jsonrpc":"2.0","method":"x","id":1,"result":{"tools":[{"name":"hidden"}]}}'
    assert b"hidden" not in edited(both, event_stream=False)


def test_nothing_and_events_without_a_message_pass_an_editor() -> None:
    assert edited(b"", event_stream=False) == b""
    for body in (b"id: 1\ndata:\n\n", b":\n\n", b"retry: 3\n\n", b"data\n\n"):
        assert edited(body) == body


@pytest.mark.parametrize("size", [1, 50, 0])
def test_what_is_too_large_to_be_held_is_refused_whatever_the_chunks(size: int) -> None:
    text = message("a" * 300)
    with pytest.raises(EditError):
        edited(text, event_stream=False, size=size, limit=300)
    with pytest.raises(EditError):
        edited(b"data: " + text + b"\n\n", size=size, limit=300)
    assert edited(text, event_stream=False, size=size, limit=len(text)) == text


@pytest.mark.parametrize("size", [1, 5, 64, 0])
def test_with_needles_what_is_large_and_has_none_flows_on(size: int) -> None:
    options: dict[str, Any] = {"needles": (b'"hidden',), "limit": 100, "size": size}
    large, small = b"data: " + message("a" * 500) + b"\n\n", b"data: " + message("hidden") + b"\n\n"
    made = edited(large + small + large, **options)
    assert made.startswith(large)
    assert made.endswith(large)
    assert b"hidden" not in made
    with pytest.raises(EditError):
        edited(b"data: " + message("a" * 500, "hidden") + b"\n\n", **options)
    with pytest.raises(EditError):
        edited(message("a" * 500, "hidden"), event_stream=False, **options)


def test_with_needles_a_message_without_one_is_not_even_read() -> None:
    broken = b"data: {no json\n\n"
    assert edited(broken, needles=(b"hidden",)) == broken


@pytest.mark.parametrize("size", [1, 2, 3, 100, 0])
def test_a_watcher_finds_what_lies_across_chunks(size: int) -> None:
    text = message(taskId="t-1")
    assert [each["result"]["taskId"] for each in seen(text, event_stream=False, size=size)] == [
        "t-1"
    ]
    body = b":\n\ndata: " + message("one") + b"\n\ndata: " + text + b"\r\n\r\n" + b":\n\n"
    assert len(seen(body, size=size)) == 1


@pytest.mark.parametrize("size", [1, 64, 0])
def test_a_watcher_counts_what_was_too_large_for_it(size: int) -> None:
    found: list[Document] = []
    text = message("a" * 500, taskId="t")
    events = b"data: " + text + b"\n\ndata: " + message(taskId="u") + b"\n\n"
    watcher = Watcher(NEEDLES, found.append, event_stream=True, limit=200)
    for piece in chunks(events, size):
        watcher.feed(piece)
    watcher.end()
    assert watcher.unseen == 1
    assert [each["result"]["taskId"] for each in found] == ["u"]
    plain = Watcher(NEEDLES, found.append, event_stream=False, limit=200)
    for piece in chunks(text, size):
        plain.feed(piece)
    plain.end()
    assert plain.unseen == 1


def test_a_body_of_announced_length_is_seen_with_its_last_byte() -> None:
    found: list[Document] = []
    text = message(taskId="t")
    watcher = Watcher(NEEDLES, found.append, event_stream=False, length=len(text))
    watcher.feed(text[:-1])
    assert not found
    watcher.feed(text[-1:])
    assert len(found) == 1
    watcher.end()
    assert len(found) == 1


def test_a_watcher_does_not_mind_what_is_not_json() -> None:
    for text in (b"taskId", b"[1]", b'{"taskId":1', b'"taskId"', message(taskId=1)[:-1]):
        assert seen(text, event_stream=False) == []
        assert seen(b"data: " + text + b"\n\n") == []


@given(st.lists(st.sampled_from([b"\r", b"\n", b"data: {}", b":"]), max_size=30), cuts)
def test_events_end_where_they_end_whatever_the_line_ends_and_chunks(
    parts: list[bytes], cuts: list[int]
) -> None:
    """Counted in the plainest way: lines, and an event ends with an empty one."""
    body = b"".join(parts)
    found: list[Document] = []

    def note(document: Document) -> None:
        found.append(document)

    result = b'{"result":{},"id":1}'
    body = body.replace(b"{}", result)
    editor = Editor(note, event_stream=True)
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    wanted, messages = 0, 0
    for line in [*lines, b""]:
        messages += line == b"data: " + result
        if not line:
            wanted, messages = wanted + (messages == 1), 0
    try:
        passed = b"".join([*map(editor.feed, cut(body, cuts)), editor.end()])
    except EditError:
        return  # two messages in one event, or something behind one
    assert passed == body
    assert len(found) == wanted


# Messages that must not go on --------------------------------------------------------------------


def drop_asked(document: dict[str, Any]) -> dict[str, Any] | None:
    return DROP if "method" in document else None


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("needles", [(), (b'"method"',)])
@pytest.mark.parametrize("end", EVENT_ENDS)
@pytest.mark.parametrize("feed", [b"", b"\n"])
def test_an_event_that_is_left_out_takes_all_of_its_end_along(
    feed: bytes, end: bytes, needles: tuple[bytes, ...], size: int
) -> None:
    """A line feed right behind CR is of the end, whenever it comes; behind another it is not."""
    editor = Editor(drop_asked, event_stream=True, needles=needles, requests=True)
    pieces = chunks(b'data:{"method":""}' + end + feed + b"id: 1\n\n", size)
    passed = b"".join([*map(editor.feed, pieces[:-1]), editor.rest(pieces[-1])])
    assert passed == (b"" if end.endswith(b"\r") else feed) + b"id: 1\n\n"


@given(bodies, cuts, st.sampled_from([(), (b'"method"',)]))
def test_chunks_do_not_matter_to_what_is_left_out(
    body: bytes, cuts: list[int], needles: tuple[bytes, ...]
) -> None:
    def made(pieces: list[bytes]) -> bytes | None:
        editor = Editor(drop_asked, event_stream=True, needles=needles, requests=True)
        try:
            return b"".join([*map(editor.feed, pieces[:-1]), editor.rest(pieces[-1])])
        except EditError:
            return None

    whole = made([body])
    assert made(cut(body, cuts) or [body]) == whole
    assert whole is None or b"notifications/progress" not in whole
    if b"method" not in body:
        assert whole in (None, body)


def test_in_the_place_of_an_answer_nothing_is_left_out() -> None:
    editor = Editor(drop_asked, event_stream=False, requests=True)
    with pytest.raises(EditError):
        editor.rest(b'{"jsonrpc":"2.0","id":1,"method":"roots/list"}')


@pytest.mark.parametrize("end", ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("before", [": note", "id: 1", "event: message", "retry: 5"])
@pytest.mark.parametrize("needles", [(), (b'"tools"',)])
def test_p14_a_line_that_some_read_as_two_does_not_pass(
    end: str, before: str, needles: tuple[bytes, ...]
) -> None:
    """Agents that split text with `str.splitlines` would find a message in a comment."""
    text = f'{before}{end}data: {{"jsonrpc":"2.0","id":1,"result":{{"tools":[]}}}}\n\n'
    for event in (text, "data: {}\n" + text):
        editor = Editor(lambda document: document, event_stream=True, needles=needles)
        with pytest.raises(EditError):
            editor.feed(event.encode())


def test_such_signs_may_stand_in_the_data() -> None:
    event = 'data: {"jsonrpc":"2.0","id":1,"result":{"a":"x\u2028y\x85"}}\n\n'.encode()
    assert Editor(lambda _: None, event_stream=True).feed(event) == event
