"""Secrets are found in every spelling that programs give to text, however it is cut into pieces."""

import base64
import html
import json
import re
import secrets
import time
from collections.abc import Callable
from textwrap import indent
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunnel_client.credentials.scrub import MASK, MIN_LENGTH, Scrubber, Stream, weakness

SECRET = 'k3y/With+Odd="Signs"&9\\z~'
PLAIN = "tok_4fHq83LmZx0PvRbW"
LINES = "--BEGIN KEY--\nMIIEvQIB/ADAN+Bg\n\n\tkqhkiG9w\\0BAQ==\b\f\n+8Tz7\n--END KEY--"
DOS_LINES = LINES.replace("\n", "\r\n")
SIGNS = "tk_9fQ2xLmZ7Rb4Kd8WvY1n>>??Uq3E"
"""Its base64 has a plus or a slash in each alignment."""
LONG = "c:\\\\srv-x\\\\\\\U0001f511-9Qm2Lx7Tz"
"""What takes more than one unit of UTF-16, and more than one backslash in a row."""
SECRETS = [SECRET, PLAIN, LINES, DOS_LINES, LONG]


def each_escaped(text: str) -> str:
    units = text.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def lines_of(text: str) -> list[str]:
    return re.split(r"\r\n|\n", text)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "percent, all of it": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent, lower case": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent, as in a path": quote,
    "percent, as in a query": lambda text: quote(text, safe=""),
    "percent, as in a form": quote_plus,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with escaped slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps(text)))[7:-7],
    "JSON, all of it escaped": each_escaped,
    "JSON, escaped in upper case": lambda text: each_escaped(text).upper().replace("\\U", "\\u"),
    "escaped JSON in JSON": lambda text: json.dumps(each_escaped(text))[1:-1],
    "escaped JSON in JSON in JSON": lambda text: json.dumps(json.dumps(each_escaped(text)))[3:-3],
    "half of it escaped": lambda text: text[:9] + each_escaped(text[9:]),
    "HTML": html.escape,
    "HTML, with numbers": lambda text: "".join(
        f"&#{ord(char)};" if char in "&<>\"'+" else char for char in text
    ),
    "HTML, every sign that may be": lambda text: "".join(
        f"&#x{ord(char):X};" if char in "&<>\"'/+=`" else char for char in text
    ),
    "HTML in JSON": lambda text: json.dumps(html.escape(text)).replace("&", "\\u0026")[1:-1],
    "HTML in JSON, with numbers": lambda text: "".join(
        f"\\u0026#x{ord(char):x};" if char in "<>\"'/+=`" else char for char in text
    ),
    "XML": lambda text: "".join(
        f"&#x{ord(char):X};" if char in "\t\r\n" else char for char in text
    ),
    "XML, in decimal": lambda text: "".join(
        f"&#{ord(char)};" if char in "\t\r\n" else char for char in text
    ),
    "lines with line feeds": lambda text: "\n".join(lines_of(text)),
    "lines with both": lambda text: "\r\n".join(lines_of(text)),
    "lines with both, in JSON": lambda text: json.dumps("\r\n".join(lines_of(text)))[1:-1],
    "lines with both, in a form": lambda text: quote_plus("\r\n".join(lines_of(text))),
    "lines in one line": lambda text: " ".join(lines_of(text)),
    "lines without ends": lambda text: "".join(lines_of(text)),
    "lines that are indented": lambda text: indent("\n".join(lines_of(text)), " " * 12),
    "hex": lambda text: text.encode().hex(),
    "hex, upper case": lambda text: text.encode().hex().upper(),
    "hex, in both cases": lambda text: text.encode().hex()[:19] + text.encode().hex()[19:].upper(),
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_found_in_every_spelling(spelling: str, secret: str) -> None:
    """Row C03."""
    echoed = SPELLINGS[spelling](secret).strip().encode()
    assert Scrubber([secret]).clean(b"<<" + echoed + b">>") == b"<<" + MASK + b">>"


@pytest.mark.parametrize("end", ['\\"', "\\\n", "\\/", "\\u"])
def test_a_text_that_is_nearly_a_secret_is_looked_at_once(end: str) -> None:
    """C03: with all ways to share backslashes tried, these would take longer than anybody waits."""
    secret = "".join(f"k{number}Zq{end}" for number in range(40)) + "no-more-7Rb4Kd8W"
    scrubber = Scrubber([secret])
    written = json.dumps(json.dumps(secret))
    assert scrubber.clean(written.encode()) == b'"\\"' + MASK + b'\\""'
    near = written.replace("8W", "8w!").replace("7Rb4", "7rB4x")
    for text in (near, near.replace("no-more", "no-more-"), written[:-12]):
        assert scrubber.clean(text.encode()) == text.encode()


def signs_escaped(encoded: bytes) -> list[bytes]:
    """As template engines and JSON write the signs of base64."""
    plus = [b"&#43;", b"&#x2B;", b"\\u0026#43;", b"\\u002b", b"\\\\u002B", b"%2B"]
    slash = [b"&#47;", b"&#x2F;", b"\\u0026#x2f;", b"\\u002f", b"\\\\\\/", b"\\/"]
    equal = [b"&#61;", b"&#x3D;", b"\\u0026#61;", b"\\u003d", b"\\\\u003D", b"%3D"]
    return [
        encoded.replace(b"+", one).replace(b"/", other).replace(b"=", third)
        for one, other, third in zip(plus, slash, equal, strict=True)
    ]


def unescaped(text: str) -> str:
    """With one character for each sign again."""
    text = re.sub(r"\\+u00(..)", lambda found: chr(int(found[1], 16)), text).replace("\\", "")
    return html.unescape(unquote(text))


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "u", "us", "user:", "Bearer "])
@pytest.mark.parametrize("after", ["", "!", "!!", "!!!"])
@pytest.mark.parametrize("secret", [SECRET, PLAIN, "ünïcödé-" + PLAIN, SIGNS])
def test_base64_is_found_in_its_three_alignments(
    encode: Callable[[bytes], bytes], before: str, after: str, secret: str
) -> None:
    """Rows C03 and C22: alone, as a Basic pair and inside a blob; a character at each rim stays."""
    encoded = encode((before + secret + after).encode())
    for echoed in (encoded, encoded.rstrip(b"="), *signs_escaped(encoded)):
        cleaned = Scrubber([secret]).clean(echoed)
        assert MASK in cleaned
        kept = cleaned.replace(MASK, b"")
        assert len(unescaped(kept.decode())) <= len(encode((before + after).encode())) + 8


def wrapped(text: bytes, width: int, end: bytes) -> bytes:
    return end.join(text[at : at + width] for at in range(0, len(text), width))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\\n", b"\\r\\n", b"\\\\n", b"\\\\r\\\\n"])
@pytest.mark.parametrize("width", [24, 60, 64, 76])
@pytest.mark.parametrize("secret", [SECRET, PLAIN, PLAIN * 5, "ünïcödé-" + PLAIN])
def test_base64_in_lines_is_found_wherever_a_line_ends(secret: str, width: int, end: bytes) -> None:
    """Row C22: as MIME and PEM write it, in JSON and in JSON within JSON too."""
    for before in range(width):
        encoded = base64.b64encode(b"#" * before + secret.encode() + b"!")
        cleaned = Scrubber([secret]).clean(wrapped(encoded, width, end))
        around = wrapped(base64.b64encode(b"#" * before), width, end)
        assert MASK in cleaned, before
        assert len(cleaned.replace(MASK, b"")) <= len(around) + len(end) + 8, before


def test_what_is_left_of_a_json_document_can_still_be_read() -> None:
    scrubber = Scrubber([SECRET])
    for depth in range(3):
        told: object = {"a": "before\n" + SECRET + "\nafter"}
        text = json.dumps(told)
        for _ in range(depth):
            text = json.dumps(text)
        for spelled in (text, text.replace("k3y", "\\u006b3y")):
            read: object = json.loads(scrubber.clean(spelled.encode()))
            for _ in range(depth):
                assert isinstance(read, str)
                read = json.loads(read)
            assert isinstance(read, dict)
            assert SECRET not in read["a"]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_pieces_make_no_difference_and_little_is_held_back(data: st.DataObject) -> None:
    scrubber = Scrubber([SECRET, PLAIN, LINES])
    echoes = st.sampled_from(
        [make(secret).encode() for make in SPELLINGS.values() for secret in (SECRET, PLAIN, LINES)]
        + [base64.b64encode(f"u:{PLAIN}".encode()), b'{"a": 1}', b"\\", b"\\n", b"tok_", b"%74"]
    )
    whole = b"".join(data.draw(st.lists(echoes | st.binary(max_size=20), max_size=8)))
    stream, out, taken = Stream(scrubber), b"", 0
    while taken < len(whole):
        piece = whole[taken : taken + data.draw(st.integers(1, 60))]
        taken += len(piece)
        out += stream.feed(piece, False)
        held = len(stream._held)
        assert held < scrubber.longest
    out += stream.feed(b"", True)
    assert PLAIN.encode() not in out
    assert SECRET.encode() not in out
    if b"\n\n" not in whole and b"\r" not in whole:
        assert out == scrubber.clean(whole)


def test_blanks_around_a_secret_do_not_have_to_be_there() -> None:
    """A file that ends with two line ends, of which one is dropped."""
    for secret in (PLAIN + "\n", PLAIN + "\r", "\n" + LINES + "\n"):
        echoed = json.dumps({"a": secret.strip()}).encode()
        assert Scrubber([secret]).clean(echoed) == b'{"a": "' + MASK + b'"}'


def test_an_event_is_never_held_until_the_next() -> None:
    for end in (b"\n\n", b"\r\n\r\n", b"\r\r"):
        stream = Stream(Scrubber([PLAIN]))
        first = b"data: " + PLAIN.encode()[:9]
        assert stream.feed(first, False) == b""
        event = b"data: " + MASK + b"!" + end
        assert stream.feed(PLAIN.encode()[9:] + b"!" + end, False) == event
        assert stream.hits == 1


def test_the_end_brings_what_was_held() -> None:
    stream = Stream(Scrubber([PLAIN]))
    assert stream.feed(b'{"a":', False) == b""
    assert stream.feed(b"1}", True) == b'{"a":1}'
    assert stream.hits == 0


def test_other_secrets_may_take_over_in_the_middle() -> None:
    stream = Stream(Scrubber([PLAIN]))
    other = "another-secret-5813"
    stream.feed(b"x", False)
    cleaned = stream.feed(other.encode(), True, Scrubber([PLAIN, other]))
    assert cleaned == b"x" + MASK


def test_what_an_answer_was_asked_for_with_is_sought_to_its_end() -> None:
    """However often the secret is another one while a stream is open."""
    stream = Stream(Scrubber([PLAIN]))
    third = Scrubber(["the-second-1753-abcd", "the-third-8264-efgh"])
    first = stream.feed(f"{PLAIN} the-third-8264-efgh {PLAIN[:9]}".encode(), False, third)
    last = stream.feed(f"{PLAIN[9:]}!".encode(), True, third)
    assert first + last == b" ".join([MASK, MASK, MASK]) + b"!"
    assert stream.hits == 3


@pytest.mark.parametrize(
    "weak", ["", "short", "a" * 40, "abababababababababab", "0123456789abcdef", "x" * 15]
)
def test_a_secret_that_could_be_guessed_or_stand_there_by_chance_is_weak(weak: str) -> None:
    """Row C15: an agent could find it by watching what is masked."""
    why = weakness(weak)
    assert why is not None
    assert len(weak) < 8 or weak not in why


def test_random_secrets_are_not_weak() -> None:
    for _ in range(200):
        assert weakness(secrets.token_hex(MIN_LENGTH // 2 + 4)) is None
        assert weakness(secrets.token_urlsafe(16)) is None


def test_a_scrubber_does_not_show_what_it_looks_for() -> None:
    assert PLAIN not in repr(Scrubber([PLAIN]))


def test_odd_secrets_take_no_time_that_explodes() -> None:
    odd = "\\" * 40 + 'a"/%+ ' * 6
    ends = "abc" + "\n" * 40 + "+def" * 6 + " \n \t\r\n" * 20 + "ghi"
    scrubber = Scrubber([odd, ends])
    began = time.process_time()
    scrubber.clean(("\\" * 4000 + "%5c\\u005c" * 400).encode())
    for blanks in ("\n" * 100, "\\n" * 50 + "\\\\r\\\\n" * 20, " " * 4000, "++" * 40, ""):
        scrubber.clean(f"abc{blanks}{f'+{blanks}def' * 6}{blanks}g{blanks}".encode())
    assert time.process_time() - began < 5.0
