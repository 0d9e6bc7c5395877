"""Shows what a server wrote to a person, so that nothing in it is invisible or moves the cursor."""

import re

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff\U0001d173-\U0001d17a\ue000-\uf8ff\U000f0000-\U0010ffff"
)
"""What takes no place on a screen or turns the direction of text, as a class of a regex."""
_CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_ODD = re.compile(f"[{_CONTROL}{INVISIBLE}]")
_TORN = re.compile("[\ud800-\udfff]")
_LOOKS_ESCAPED = re.compile(r"\\(?=u\{)")


def is_text(text: str) -> bool:
    """Tell whether it can be written in UTF-8; bytes of a command line that were none cannot."""
    return _TORN.search(text) is None


def escaped(text: str, ascii_only: bool = False) -> str:
    r"""Return the text with every character that hides, moves or is no character as `\u{...}`.

    Line feeds and tabs stay. With `ascii_only` everything beyond ASCII is written so.
    """
    text = _LOOKS_ESCAPED.sub(r"\\\\", text)
    if text.isascii() and _ODD.search(text) is None:
        return text
    return "".join(each if _shows(each, ascii_only) else f"\\u{{{ord(each):x}}}" for each in text)


def one_line(text: str, limit: int = 120) -> str:
    """Return the text escaped, on one line and not longer than `limit` characters."""
    shown = escaped(text[: limit + 1]).replace("\t", " ").replace("\n", " ")
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _shows(char: str, ascii_only: bool) -> bool:
    if char in "\n\t":
        return True
    if not char.isprintable() or (ascii_only and not char.isascii()):
        return False
    return char.isascii() or _ODD.match(char) is None
