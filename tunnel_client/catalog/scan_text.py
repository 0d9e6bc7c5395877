"""Finds in one text what tries to hide, to look like something else, or to command a model. Pure.

Every pattern is bounded, so that the time grows with the length of the text and no faster. What is
found is a reason for a person to look, not a proof.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import StrEnum

from shared.escape import INVISIBLE, escaped

LONG_TEXT = 10_000
"""Characters in one text beyond which nobody reads on to what stands at its end."""
BLANK_RUN = 100
"""Blanks in a row that push what follows out of sight."""
_EXCERPT = 30
_LONGEST = 160


class Code(StrEnum):
    """What was found; the words operators see."""

    ANSI = "ansi_escape"
    CONTROL = "control_character"
    ZERO_WIDTH = "zero_width"
    BIDI = "bidi_control"
    TAGS = "tag_characters"
    VARIATION = "variation_selector"
    PRIVATE = "private_use"
    PADDING = "padding"
    MARKUP = "hidden_markup"
    INSTRUCTION = "instruction"
    LOOK_ALIKE = "look_alike"
    BAD_NAME = "bad_name"
    OTHER_TOOL = "other_tool"
    OTHER_SERVER = "other_server"
    SECRET_HEADER = "secret_in_header"  # noqa: S105 # a word for operators
    REMOTE_REF = "remote_ref"
    ACTIVE_LINK = "active_link"
    LINK = "link"
    TOO_LARGE = "too_large"
    CREDENTIAL = "credential"


HIDING = frozenset(
    {
        *(Code.ANSI, Code.CONTROL, Code.ZERO_WIDTH, Code.BIDI, Code.TAGS, Code.VARIATION),
        *(Code.PRIVATE, Code.PADDING, Code.MARKUP, Code.TOO_LARGE, Code.CREDENTIAL),
    }
)
"""Text that a person would not see: enough to hold a prompt or a resource back."""
NOTES = frozenset({Code.LINK})
"""Worth showing, not worth counting."""

_SUSPECT = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{INVISIBLE}]")
_EMOJI_JOINED = re.compile("[\u203c-\u3299\ufe0f\U0001f000-\U0001faff]")
_KEYCAP = frozenset("0123456789#*©®")
_BLANKS = re.compile(r"[\s\u2800\u3164\u00ad\u200b]{8,}")
_MARKUP = re.compile(
    r"<[ /]{0,4}(?:important|system|secret|instructions?|hidden|admin|assistant|prompt|critical"
    r"|rules?|override|sudo|internal|private|user)\b[^<>]{0,80}>"
    r"|<!--|\[/?inst\]|<\|[a-z_]{2,20}\|>|display ?: ?none|font-size ?: ?0",
    re.IGNORECASE,
)
_TOO = "[\u0370-\u03ff\u0400-\u052f\u0530-\u058f\u13a0-\u13ff\u2c80-\u2cff\ua640-\ua69f]"
_LATIN = "[A-Za-z\u00c0-\u024f]"
_MIXED = re.compile(f"{_LATIN}[0-9_\u0300-\u036f]?{_TOO}|{_TOO}[0-9_\u0300-\u036f]?{_LATIN}")
_STYLED = re.compile(
    "[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff\u24b6-\u24e9\U0001f130-\U0001f189]"
)
_ACTIVE = re.compile(r"\b(?:javascript|vbscript|data|file) ?:(?=[^\s])", re.IGNORECASE)
_DATA_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,", re.IGNORECASE)
_LINK = re.compile(r"\b(?:https?|ftp|wss?)://(?!json-schema\.org/)", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{2,127}")
_QUALIFIED = re.compile(r"[_.\-0-9]|[a-z][A-Z]")

_MANNER = "(?:all|any|the|your|of|these|those|my|every|what)"
_EARLIER = (
    "(?:previous|prior|above|earlier|preceding|other|existing|system|safety|former"
    "|instructions|rules|guidelines)"
)
_NOT = (
    "(?:do not|don't|don\u2019t|dont|never|without|must not|should not|no need to|avoid) (?:ever )?"
)
_TELL = (
    "(?:tell|telling|inform|informing|mention|mentioning|reveal|revealing|show|showing|notify"
    "|notifying|alert|alerting|warn|warning|ask|asking|disclose|disclosing|explain|say)"
)
_PEOPLE = "(?:user|users|human|operator|customer|person|anyone|anybody|them)"
_AROUND = "(?:before|after|when|whenever|while|prior to|instead of) (?:you )?"
_CALL = "(?:using|calling|invoking|running|executing|use|call|invoke|run)"
_WHICH = "(?:this|any|another|other|the|all|every|each)"
_MUST = "you (?:must|should|shall|need to|have to|are required to)"
_DO = (
    "(?:call|read|invoke|run|use|send|include|pass|copy|forward|access|open|execute|reply|respond)"
)
_A_NAME = "[a-z0-9_.`'\"-]{2,60}"
_AS_TOOL = "(?:tool|function|file|with|first|before)"
_MODEL = "(?:ai|llm|language|assistant|model)"
_TAKE = "(?:read|cat|open|include|pass|send|attach|upload|paste|content|contents)"
_TREASURE = (
    r"(?:~/|\.ssh|id_rsa|/etc/passwd|/etc/shadow|\.env\b|\.aws|mcp\.json|private key|api key"
    "|access token|password|credentials|conversation|chat history|system prompt)"
)
_INSTRUCTIONS = tuple(
    map(
        re.compile,
        [
            f"(?:ignore|disregard|forget|override|bypass) (?:{_MANNER} ){{0,4}}{_EARLIER}",
            rf"{_NOT}{_TELL}\b[^.!?]{{0,40}}\b{_PEOPLE}\b",
            rf"{_AROUND}{_CALL} {_WHICH}\b[^.!?]{{0,20}}\b(?:tool|function|server)",
            rf"{_MUST} (?:always |first |also |now |then ){{0,2}}{_DO}\b",
            rf"(?:always|first|then|now),? {_DO} (?:the |this )?{_A_NAME} {_AS_TOOL}",
            rf"{_TAKE}\b[^.!?]{{0,60}}{_TREASURE}",
            "system prompt|developer message|hidden instruction|secret instruction|jailbreak",
            r"you are now (?:a|an|the|in|no)\b",
            r"(?:tell|instruct|convince|persuade) the (?:model|assistant|agent|ai|llm)\b",
            rf"(?:as|dear|attention|note to|hey),? (?:an |the )?{_MODEL}\b",
        ],
    )
)
_TRIGGERS = re.compile(
    "ignore|disregard|forget|override|bypass|not |n't|n\u2019t|dont|never|without|avoid|before"
    "|after|when|while|prior|instead|you |always|first|then|now|read|cat|open|include|pass|send"
    "|attach|upload|paste|content|prompt|developer|hidden|secret|jailbreak|the |ai|llm|model"
    "|assistant"
)

Found = Iterator[tuple[Code, str]]


def scan_text(text: str) -> Found:
    """Yield what is odd about a text, with an excerpt in printable ASCII; one of each code."""
    plain = text.isascii()
    yield from _characters(text)
    if len(text) > LONG_TEXT:
        yield Code.PADDING, f"{len(text)} characters"
    else:
        run = next((each for each in _BLANKS.finditer(text) if _length(each) >= BLANK_RUN), None)
        if run is not None:
            yield Code.PADDING, f"{_length(run)} blanks in a row"
    yield from _first(Code.MARKUP, _MARKUP, text)
    if not plain:
        yield from _first(Code.LOOK_ALIKE, _MIXED, text)
        yield from _first(Code.LOOK_ALIKE, _STYLED, text)
    if ":" in text:
        yield from _links(text)
    yield from _instructions(text if plain else _unmasked(text))


def mentions(text: str, names: Mapping[str, Code]) -> Found:
    """Yield names of other tools and servers that a text mentions; `names` are in lower case.

    A name that is an ordinary word counts only where it is quoted or called a tool or a server.
    """
    seen: set[str] = set()
    for word in _WORD.finditer(text):
        name = word[0].strip(".-").lower()
        code = names.get(name)
        if code is None or name in seen:
            continue
        if _QUALIFIED.search(name) or _is_named(text, word):
            seen.add(name)
            yield code, _around(text, word.start(), word.end())


def skeleton(name: str) -> str:
    """Return what a name looks like at a glance: two that look alike have one skeleton."""
    return _unmasked(name).translate(_ALIKE).replace("rn", "m").replace("vv", "w")


_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", "5": "s", "-": "_", ".": "_"})
_TWINS = str.maketrans(
    "абвгеёзийкмнорстухѕіјһԁԛԝαβγεικνορτυχ", "abbreezuukmhopctyxsijhdqwabyeikvoptux"
)


def _characters(text: str) -> Found:
    """Yield one of each kind of character that does not show."""
    seen: set[Code] = set()
    for match in _SUSPECT.finditer(text):
        code = _kind_of(text, match.start())
        if code is not None and code not in seen:
            seen.add(code)
            yield code, _around(text, match.start(), match.end())
            if len(seen) == 7:
                return


def _kind_of(text: str, at: int) -> Code | None:
    point, before = ord(text[at]), text[at - 1 : at]
    if point in (0x1B, 0x9B):
        return Code.ANSI
    if point < 0xA0 or point in (0x2028, 0x2029):
        return Code.CONTROL
    if 0xE0000 <= point <= 0xE007F:
        return Code.TAGS
    if point == 0xFE0F:
        emoji = before in _KEYCAP or _EMOJI_JOINED.match(before)
        return None if emoji and before != "\ufe0f" else Code.VARIATION
    if 0xFE00 <= point < 0xFE0F or 0xE0100 <= point <= 0xE01EF or 0x180B <= point <= 0x180F:
        return Code.VARIATION
    if point in (0x061C, 0x200E, 0x200F) or 0x202A <= point <= 0x202E or 0x2066 <= point <= 0x2069:
        return Code.BIDI
    if point == 0x200D and _EMOJI_JOINED.match(before):
        return None
    if 0xE000 <= point <= 0xF8FF or point >= 0xE0000:
        return Code.PRIVATE
    return Code.ZERO_WIDTH


def _links(text: str) -> Found:
    for match in _ACTIVE.finditer(text):
        if _DATA_IMAGE.match(text, match.start()) is None and not _is_prose(text, match):
            yield Code.ACTIVE_LINK, _around(text, match.start(), match.end())
            break
    yield from _first(Code.LINK, _LINK, text)


def _is_prose(text: str, match: re.Match[str]) -> bool:
    """Tell `data:image/...` and `file:///` from a sentence about data: it goes on with a type."""
    word, rest = match[0].lower(), text[match.end() : match.end() + 40]
    if word.startswith("data"):
        return "," not in rest and "/" not in rest
    return word.startswith("file") and not rest.startswith("/")


def _instructions(text: str) -> Found:
    lowered = " ".join(text.lower().split())
    if _TRIGGERS.search(lowered) is None:
        return
    for pattern in _INSTRUCTIONS:
        match = pattern.search(lowered)
        if match is not None:
            yield Code.INSTRUCTION, _around(lowered, match.start(), match.end())
            return


def _unmasked(text: str) -> str:
    """Return the text as it reads: nothing invisible, one width, Latin for what looks so."""
    shown = _SUSPECT.sub("", text)
    return unicodedata.normalize("NFKC", shown).lower().translate(_TWINS)


def _is_named(text: str, word: re.Match[str]) -> bool:
    before, after = text[word.start() - 1 : word.start()], text[word.end() : word.end() + 8].lower()
    quoted = before in ("`", "'", '"', "\u201c") and after[:1] in ("`", "'", '"', "\u201d")
    return quoted or after.lstrip(" `'\"").startswith(("tool", "server"))


def _first(code: Code, pattern: re.Pattern[str], text: str) -> Found:
    match = pattern.search(text)
    if match is not None:
        yield code, _around(text, match.start(), match.end())


def _length(match: re.Match[str]) -> int:
    return match.end() - match.start()


def _around(text: str, start: int, end: int) -> str:
    piece = text[max(0, start - _EXCERPT) : min(len(text), start + 2 * _EXCERPT, end + _EXCERPT)]
    return escaped(piece, ascii_only=True).replace("\n", " ").replace("\t", " ")[:_LONGEST]
