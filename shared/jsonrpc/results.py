"""Reads the JSON-RPC responses in an HTTP body as it streams by: one JSON message, or events (SSE).

Two readers, sans-I/O. `Watcher` sees what it looks for and leaves the bytes alone: they are sent on
as they come. `Editor` may change a message, so it holds one until it is whole.

Content-Length is the caller's: an Editor's output may be longer or shorter than what came, so it
goes out in chunks, or whole. So is flow control: credit goes back for the bytes that came.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from shared.errors import PeerError
from shared.jsonrpc.canonical import written
from shared.jsonrpc.envelope import EnvelopeError
from shared.jsonrpc.events import data_of, lines_of, rewritten
from shared.jsonrpc.needles import LONGEST_LETTER, holds, holds_name
from shared.jsonrpc.strict import read_strict

Document = dict[str, Any]

MAX_WATCHED = 1024 * 1024
"""Bytes of the largest message a Watcher reads; what is watched for stands in small ones."""
MAX_EDITED = 8 * 1024 * 1024
"""Bytes of the largest message an Editor holds: a list of some thousand tools."""
DROP: Document = {}
"""An edit returns this very value for a message that must not go on at all."""

_OTHER_ENDS = re.compile(rb"[\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")
"""What ends a line for Python's `str.splitlines`, and not in an event stream."""
# Two line ends. LF after CR is taken in any case, or CR LF alone would count as two.
_EVENT_END = re.compile(rb"[\r\n](?:(?<=\r)\n)?+(?:\r\n|\r|\n)")
_SEAM = 3
"""How many bytes of an event's end may have come before the rest of it."""
_CHUNK_COST = 64
"""Bytes that keeping a chunk costs beside what is in it."""


class EditError(PeerError):
    """A body that cannot be judged: not strict JSON, or too large. Nothing more of it may pass."""


class Reader(Protocol):
    """What both readers do with the bytes of a body, in the order in which they come."""

    def feed(self, data: bytes) -> bytes:
        """Take some bytes; returns what may be sent on now."""

    def end(self) -> bytes:
        """Take the end of the body; returns what is left to be sent on."""


class Watcher:
    """Hands each response that holds a needle to `see`; feed it before the bytes are sent on.

    Needles are sought in the bytes, so a member spelled with escapes is not seen, nor is a message
    above `limit` bytes (those with a needle are counted in `unseen`): what was not seen must be
    what is denied. Nothing is parsed without a needle. `length` is the announced one of a JSON
    body: with so many bytes it is whole, though its end may be told later.
    """

    __slots__ = (
        *("_cutter", "_held", "_hit", "_left", "_limit", "_needles", "_reach", "_see"),
        *("_size", "_tail", "unseen"),
    )

    def __init__(
        self,
        needles: Sequence[bytes],
        see: Callable[[Document], None],
        *,
        event_stream: bool,
        length: int | None = None,
        limit: int = MAX_WATCHED,
    ) -> None:
        self._needles = needles
        self._reach = max(map(len, needles)) - 1
        self._see = see
        self._limit = limit
        self._left = -1 if length is None else length
        self._cutter = _Cutter(needles, limit, holds, keep_parts=False) if event_stream else None
        self._held: list[bytes] = []
        self._size = 0
        self._tail = b""
        self._hit = False
        self.unseen = 0

    def feed(self, data: bytes) -> bytes:
        """Look at the next bytes; returns them as they are."""
        cutter = self._cutter
        if cutter is None:
            self._keep(data)
        elif not cutter.idle or not data.endswith(b"\n\n") or holds(self._needles, data):
            for piece in cutter.cut(data):
                self._judge(piece)
        # Else whole events, as they mostly come, and nothing of interest in them.
        return data

    def end(self) -> bytes:
        """Read what is left; returns nothing, as nothing was held back."""
        if self._cutter is not None:
            self._judge(self._cutter.last())
        elif self._hit:
            self._hit = False
            if self._size > self._limit:
                self.unseen += 1
            else:
                self._read(b"".join(self._held))
        self._held = []
        return b""

    def _keep(self, data: bytes) -> None:
        """Take some of a JSON body: only references are kept, and nothing of what is too large."""
        needles, reach = self._needles, self._reach
        if not self._hit:
            seam = self._tail + data[:reach] if self._tail else b""
            self._hit = holds(needles, data) or holds(needles, seam)
            self._tail = data[-reach:] if len(data) >= reach else (self._tail + data)[-reach:]
        self._size += len(data) + _CHUNK_COST
        if self._size <= self._limit:
            self._held.append(data)
        else:
            self._held = []
        if self._left > 0:
            self._left -= len(data)
            if self._left <= 0:
                self.end()

    def _judge(self, piece: "_Piece") -> None:
        if piece.hit and piece.last:
            if piece.whole:
                self._read(data_of(lines_of(piece.data, piece.first)) or b"")
            else:
                self.unseen += 1

    def _read(self, text: bytes) -> None:
        try:
            document = read_strict(text)
        except EnvelopeError:
            return  # nobody who reads strictly takes anything from it
        if _is_response(document):
            self._see(document)


class Editor:
    """Passes each response through `edit`, which returns what is to stand in its place, or None.

    With `requests` it sees those of the upstream, and its notifications, as well. Numbers are as
    `canonical.exact` reads them: pins tell apart what is one double. Only a message that is changed
    is written anew; everything else keeps its bytes. A message is held until it is whole. One that
    is larger than `limit` bytes, is not strict JSON or is a batch raises EditError, from `feed` or
    `end`, and so may `edit`.

    With `needles`, messages without any of them pass unread, and those too large as they come.
    They are names in lower case, sought in the bytes in any spelling (`holds_name`).
    """

    __slots__ = ("_cutter", "_edit", "_event_stream", "_needles", "_open_end", "_requests")

    def __init__(
        self,
        edit: Callable[[Document], Document | None],
        *,
        event_stream: bool,
        needles: Sequence[bytes] = (),
        limit: int = MAX_EDITED,
        requests: bool = False,
    ) -> None:
        self._edit = edit
        self._requests = requests
        self._event_stream = event_stream
        self._needles = needles
        self._cutter = _Cutter(needles, limit, holds_name, events=event_stream)
        self._open_end = False
        """Did what came last end with the CR of an event that was left out? Its LF may follow."""

    @property
    def held(self) -> int:
        """How many bytes wait until their message is whole."""
        return self._cutter.held

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; returns those of messages that are whole now."""
        cutter, needles = self._cutter, self._needles
        if self._open_end and data:
            self._open_end = False
            data = data.removeprefix(b"\n")
        whole = self._event_stream and needles and cutter.idle and data.endswith(b"\n\n")
        if whole and not holds_name(needles, data):
            cutter.skipped()  # whole events, as they mostly come
            return data
        return b"".join(map(self._pass, cutter.cut(data)))

    def end(self) -> bytes:
        """Take the end of the body; returns what was held."""
        return self._pass(self._cutter.last())

    def rest(self, data: bytes) -> bytes:
        """Take the last bytes of the body and its end; returns what is left to be sent on."""
        whole = self._needles and self._cutter.idle and not self._open_end
        if whole and not holds_name(self._needles, data):
            return data
        return self.feed(data) + self.end()

    def _pass(self, piece: "_Piece") -> bytes:
        if self._needles and not piece.hit:
            return piece.data
        if not piece.whole:
            raise EditError("a message is too large to be judged")
        if not self._event_stream:
            changed = self._judge(piece.data)
            if changed == b"":
                raise EditError("a request in the place of an answer")
            return piece.data if changed is None else changed
        lines = lines_of(piece.data, piece.first)
        if any(not line.is_data and _OTHER_ENDS.search(line.text) for line in lines):
            raise EditError("a line that some would read as two")
        text = data_of(lines)
        changed = None if text is None else self._judge(text)
        if changed is None:
            return piece.data
        passed = rewritten(lines, changed)
        self._open_end = not passed and self._cutter.idle and piece.data.endswith(b"\r")
        return passed

    def _judge(self, text: bytes) -> bytes | None:
        """Return a message as it is to be; None: as it is; nothing: it must not be."""
        if not text.strip():
            return None  # an event that only sets an id, or no body at all
        try:
            document = read_strict(text, exactly=True)
        except EnvelopeError as error:
            raise EditError(error.message) from None
        if not self._requests and not _is_response(document):
            return None
        changed = self._edit(document)
        if changed is None or changed is DROP:
            return None if changed is None else b""
        try:
            return written(changed)
        except ValueError:
            raise EditError("a number is out of range") from None


class _Piece(NamedTuple):
    """Some of a body: a whole message, or a part of one that is too large.

    `hit`: a needle was in the message so far. `first`: the body begins with it. `last`: the
    message ends with it.
    """

    data: bytes
    whole: bool
    hit: bool
    first: bool
    last: bool


class _Cutter:
    """Cuts a body where its messages end: at the ends of its events, or nowhere but at its own.

    The pieces are the body, to the byte, whatever the chunks; parts of what is too large come
    without their bytes when nobody keeps them.
    """

    __slots__ = (
        *("_events", "_first", "_hit", "_keep_parts", "_limit", "_margin", "_needles"),
        *("_over", "_plain", "_rest", "_search", "_searched"),
    )

    def __init__(
        self,
        needles: Sequence[bytes],
        limit: int,
        search: Callable[[Sequence[bytes], bytes | bytearray], bool],
        *,
        events: bool = True,
        keep_parts: bool = True,
    ) -> None:
        self._needles = needles
        self._limit = limit
        self._search = search
        self._events = events
        self._keep_parts = keep_parts
        # An end or a needle may begin in what is kept back of a part.
        self._margin = max(LONGEST_LETTER, *map(len, needles)) if needles else _SEAM
        self._rest = bytearray()
        self._searched = 0
        self._first = True
        self._hit = self._over = False
        self._plain = True
        """Has no CR come so far? Line feeds alone are found much faster."""

    @property
    def idle(self) -> bool:
        """Tell whether the next byte begins a message."""
        return not self._rest and not self._over

    @property
    def held(self) -> int:
        """How many bytes are kept."""
        return len(self._rest)

    def skipped(self) -> None:
        """Whole events passed by."""
        self._first = False

    def cut(self, data: bytes) -> Iterator[_Piece]:
        """Yield what is whole now, and parts of what is too large."""
        rest = self._rest
        rest += data
        if self._events:
            self._plain = self._plain and b"\r" not in data
            while end := self._event_end():
                yield self._take(end, last=True)
        self._searched = max(0, len(rest) - _SEAM)
        if self._over or len(rest) > self._limit:
            self._over = True
            if len(rest) > self._margin:
                yield self._take(len(rest) - self._margin, last=False)

    def _event_end(self) -> int:
        """Return where the first event ends, 0 when it is not whole."""
        if self._plain:
            end = self._rest.find(b"\n\n", self._searched)
            return 0 if end < 0 else end + 2
        found = _EVENT_END.search(self._rest, self._searched)
        return 0 if found is None else found.end()

    def last(self) -> _Piece:
        """Return what is left when the body ends."""
        return self._take(len(self._rest), last=True)

    def _take(self, size: int, *, last: bool) -> _Piece:
        rest = self._rest
        whole = not self._over and size <= self._limit
        data = bytes(rest[:size]) if whole or self._keep_parts else b""
        # In a part all of `rest` is searched: a needle may end in what is kept back.
        hit = self._hit or self._search(self._needles, data if last and data else rest)
        self._hit = hit
        piece = _Piece(data, whole, hit, self._first, last)
        del rest[:size]
        self._searched, self._first = 0, False
        if not last:
            self._searched = max(0, len(rest) - _SEAM)
        else:
            self._hit = self._over = False
        return piece


def _is_response(document: Document) -> bool:
    """Tell whether a message is, or somebody could take it for, the response to a request."""
    return "result" in document or "error" in document
