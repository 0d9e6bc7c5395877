"""HTTP/1.1 message heads that come again, known by their bytes instead of parsed once more."""

import re

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)(?=\r\n)", re.IGNORECASE)
_END = b"\r\n\r\n"
_MAX_DIGITS = 9


class RepeatedHead:
    """The head of a message that a parser read: the same bytes mean the same again.

    Only the digits of Content-Length may differ; the body must be there whole, and nothing after.
    """

    __slots__ = ("_after", "_before", "_digits_at")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after
        self._digits_at = len(before)

    @classmethod
    def of(cls, message: bytes, body: bytes) -> "RepeatedHead | None":
        """Keep the head of a message in which a parser found `body`, None if it frames another way.

        `message` must begin where the parser began to read it. Without a body nothing is kept:
        some messages have none whatever their length says (RFC 9112 section 6.3).
        """
        head = message[: len(message) - len(body)]
        lengths = list(_LENGTH.finditer(head))
        if not body or len(lengths) != 1 or head.find(_END) != len(head) - len(_END):
            return None
        digits = lengths[0]
        if (
            len(digits[1]) > _MAX_DIGITS
            or int(digits[1]) != len(body)
            or not message.endswith(body)
        ):
            return None
        return cls(head[: digits.start(1)], head[digits.end(1) :])

    def body_of(self, message: bytes) -> bytes | None:
        """Return the body of a message with this head; None when it is not exactly that."""
        if not message.startswith(self._before):
            return None
        start = self._digits_at
        end = message.find(b"\r", start, start + _MAX_DIGITS + 1)
        if end < 0 or not message.startswith(self._after, end):
            return None
        digits = message[start:end]
        body = message[end + len(self._after) :]
        return body if digits.isdigit() and int(digits) == len(body) else None
