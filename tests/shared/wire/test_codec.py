"""What payloads say: read back as written, and total on everything else."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import PeerError, ResetCode, TooBigError
from shared.wire import codec
from shared.wire.codec import OpenHead
from shared.wire.limits import (
    MAX_CATALOG_UPSTREAMS,
    MAX_DETAIL_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEAD_FIELDS,
    MAX_INLINE_BYTES,
    MAX_PERMIT_BYTES,
)

SESSION = "0123456789abcdef" * 2
DECODERS: list[Callable[[bytes], Any]] = [
    codec.decode_open,
    codec.decode_head,
    codec.decode_whole,
    codec.decode_reset,
    codec.decode_detail,
    codec.decode_credit,
    codec.decode_catalog,
    codec.decode_revoke,
    codec.decode_revoked,
]
NAMES = st.from_regex(rb"\A[a-z][a-z0-9-]{0,20}\Z")
VALUES = st.binary(max_size=30).filter(lambda value: not set(value) & set(b"\r\n\0"))
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=20)
LABELS = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\Z")


def fields(*values: bytes) -> bytes:
    return b"\n".join(values)


OPEN_FIELDS = (b"time", b"POST", SESSION.encode(), b"", b"")


@given(
    LABELS,
    st.sampled_from(["POST", "GET", "DELETE"]),
    st.from_regex(r"\A[\x21-\x7e]{0,128}\Z"),
    HEADERS,
    st.from_regex(r"\A[A-Za-z0-9._~-]{0,4096}\Z"),
)
def test_a_request_head_reads_back_as_written(
    upstream: str, method: str, mcp_session: str, headers: codec.Headers, permit: str
) -> None:
    head = OpenHead(upstream, method, SESSION, mcp_session, headers, permit)
    assert codec.decode_open(codec.encode_open(head)) == head


@given(st.integers(200, 599), HEADERS)
def test_a_response_head_reads_back_as_written(status: int, headers: codec.Headers) -> None:
    assert codec.decode_head(codec.encode_head(status, headers)) == (status, headers)


@pytest.mark.parametrize("head", [0, 1, MAX_HEAD_BYTES])
@pytest.mark.parametrize("body", [0, 1, MAX_INLINE_BYTES])
def test_a_head_and_a_body_in_one_frame_read_back_up_to_their_limits(head: int, body: int) -> None:
    whole = b"h" * head, b"b" * body
    assert codec.decode_whole(codec.encode_whole(*whole)) == whole


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", 1002),
        (b"\0", 1002),
        (b"\0\5head", 1002),
        (codec.encode_whole(bytes(MAX_HEAD_BYTES + 1), b""), 1009),
        (codec.encode_whole(b"", bytes(MAX_INLINE_BYTES + 1)), 1009),
    ],
)
def test_a_head_and_a_body_beyond_their_limits_are_refused(payload: bytes, code: int) -> None:
    with pytest.raises(PeerError) as caught:
        codec.decode_whole(payload)
    assert caught.value.close_code == code


@given(st.sampled_from(ResetCode), st.text(max_size=1300))
def test_a_reset_takes_any_text_and_always_reads_back(code: ResetCode, detail: str) -> None:
    got, text = codec.decode_reset(codec.encode_reset(code, detail))
    assert got is code
    assert len(text) <= MAX_DETAIL_BYTES
    if detail.isascii() and (detail.isprintable() or not detail):
        assert text == detail[:MAX_DETAIL_BYTES]


@given(st.text(max_size=300))
def test_text_for_people_always_reads_back_as_printable_ascii(text: str) -> None:
    assert codec.decode_detail(codec.encode_detail(text)).isascii()


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_numbers_read_back_as_written(first: int, second: int) -> None:
    assert codec.decode_credit(codec.encode_credit(first)) == first
    assert codec.decode_revoked(codec.encode_revoked(first, second)) == (first, second)
    assert codec.decode_revoke(codec.encode_revoke(first, SESSION)) == (first, SESSION)


@given(st.lists(LABELS, unique=True, max_size=20))
def test_a_catalog_reads_back_as_written(upstreams: list[str]) -> None:
    assert codec.decode_catalog(codec.encode_catalog(upstreams)) == upstreams


@pytest.mark.parametrize("decode", DECODERS)
@given(payload=st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_documented_error(
    decode: Callable[[bytes], Any], payload: bytes
) -> None:
    with contextlib.suppress(PeerError):
        decode(payload)


@pytest.mark.parametrize(
    "upstream",
    [
        b"",
        b"Time",
        b"-time",
        b"http://10.0.0.1/",
        b"10.0.0.1:80",
        b"../x",
        b"a b",
        b"t\xc3\xafme",
        b"a" * 64,
        b"sh;reboot",
    ],
)
def test_no_field_of_a_request_head_can_hold_an_address_t33(upstream: bytes) -> None:
    """T33: the relay names an upstream; a URL, host or command is no name."""
    with pytest.raises(PeerError):
        codec.decode_open(fields(upstream, *OPEN_FIELDS[1:]))


@pytest.mark.parametrize(
    "payload",
    [
        fields(b"time", b"PUT", SESSION.encode(), b"", b""),
        fields(b"time", b"post", SESSION.encode(), b"", b""),
        fields(b"time", b"POST", SESSION.upper().encode(), b"", b""),
        fields(b"time", b"POST", SESSION[:-1].encode(), b"", b""),
        fields(b"time", b"POST", SESSION.encode(), b"with space", b""),
        fields(b"time", b"POST", SESSION.encode(), b"x" * 129, b""),
        fields(*OPEN_FIELDS[:-1]),
        fields(*OPEN_FIELDS[:-1], b"with space"),
        fields(*OPEN_FIELDS[:-1], b"semi;colon"),
        fields(*OPEN_FIELDS[:-1], b"x" * (MAX_PERMIT_BYTES + 1)),
        fields(b"time", b"POST", SESSION.encode()),
        fields(*OPEN_FIELDS, b"accept"),
        fields(*OPEN_FIELDS, b"", b"value"),
        fields(*OPEN_FIELDS, b"Accept", b"value"),
        fields(*OPEN_FIELDS, b"ac cept", b"value"),
        fields(*OPEN_FIELDS, b"accept:", b"value"),
        fields(*OPEN_FIELDS, b"accept", b"carriage\rreturn"),
        fields(*OPEN_FIELDS, b"accept", b"nul\0"),
        fields(*OPEN_FIELDS, *[b"a", b"b"] * (MAX_HEAD_FIELDS + 1)),
        fields(*OPEN_FIELDS, b"a", b"x" * MAX_HEAD_BYTES),
        b"",
    ],
)
def test_a_malformed_request_head_is_refused(payload: bytes) -> None:
    with pytest.raises(PeerError):
        codec.decode_open(payload)


@pytest.mark.parametrize(
    "status", [b"", b"20", b"199", b"600", b"2000", b"-20", b"+20", b"20 ", b"\xb2\xb0\xb0"]
)
def test_a_status_is_three_digits_from_200_to_599(status: bytes) -> None:
    with pytest.raises(PeerError):
        codec.decode_head(status)


def test_a_head_over_its_limits_is_not_sent() -> None:
    with pytest.raises(TooBigError):
        codec.encode_head(200, [(b"a", b"x" * MAX_HEAD_BYTES)])
    with pytest.raises(TooBigError):
        codec.encode_head(200, [(b"a", b"b")] * (MAX_HEAD_FIELDS + 1))


def test_a_header_value_cannot_become_two_headers() -> None:
    with pytest.raises(PeerError):
        codec.encode_head(200, [(b"a", b"b\nset-cookie\nx=y")])


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0", b"\0\x63", b"\0\1caf\xe9", b"\0\1\n"])
def test_a_malformed_reset_is_refused(payload: bytes) -> None:
    with pytest.raises(PeerError):
        codec.decode_reset(payload)


@pytest.mark.parametrize("payload", [b"a\na", b"a\n", b"\na", b"A", b"caf\xe9", b"a" * 64, b"a b"])
def test_a_malformed_catalog_is_refused(payload: bytes) -> None:
    with pytest.raises(PeerError):
        codec.decode_catalog(payload)


def test_a_catalog_has_a_limit() -> None:
    names = [f"u{at}" for at in range(MAX_CATALOG_UPSTREAMS)]
    assert codec.decode_catalog(codec.encode_catalog(names)) == names
    with pytest.raises(TooBigError):
        codec.decode_catalog(codec.encode_catalog([*names, "one-more"]))


@pytest.mark.parametrize("size", [0, 3, 5, 7, 9, 35, 37])
def test_payloads_of_fixed_size_have_that_size_t13(size: int) -> None:
    """T13: a wrong length is an error, not a shorter value."""
    for decode in (codec.decode_credit, codec.decode_revoke, codec.decode_revoked):
        with pytest.raises(PeerError):
            decode(bytes(size))


def test_what_is_remembered_of_field_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_known_names", set())
    monkeypatch.setattr(codec, "_KNOWN_NAMES_CAP", 10)
    for at in range(50):
        codec.decode_head(fields(b"200", b"x-%d" % at, b"y"))
    assert len(codec._known_names) == 10
