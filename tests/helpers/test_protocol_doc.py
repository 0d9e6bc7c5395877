"""docs/protocol.md says what the code does: tables, numbers and examples."""

import re

import pytest

from shared.errors import CloseCode, ResetCode
from shared.version import SUBPROTOCOL, WIRE_VERSION
from shared.wire import handshake, limits, mux, outbox, sequence, streams, tools
from shared.wire.frames import FRAME_HEADER, MESSAGE_HEADER
from tests.helpers.protocol_doc import (
    BLOCKS,
    CLOSE_MEANINGS,
    DOCUMENT,
    LIMIT_MEANINGS,
    RESET_MEANINGS,
    blocks,
    written,
)

TEXT = DOCUMENT.read_text()
PROSE = re.sub(r"\s+", " ", TEXT)


def test_generated_tables_are_those_of_the_code() -> None:
    assert sorted(blocks(TEXT)) == sorted(BLOCKS)
    assert written(TEXT) == TEXT


def test_a_change_of_a_table_shows() -> None:
    assert written(TEXT.replace("| 0x10 | OPEN |", "| 0x99 | OPEN |")) == TEXT


def test_every_code_and_limit_has_a_meaning() -> None:
    assert set(RESET_MEANINGS) == set(ResetCode)
    assert set(CLOSE_MEANINGS) == set(CloseCode)
    assert set(LIMIT_MEANINGS) == set(limits.LinkLimits.__dataclass_fields__)


def kib(size: int) -> str:
    whole, rest = divmod(size, 1024 * 1024)
    return f"{whole} MiB" if whole and not rest else f"{size // 1024} KiB"


@pytest.mark.parametrize(
    "sentence",
    [
        f"a header of {MESSAGE_HEADER.size} bytes",
        f"at most {limits.MAX_PAYLOAD_BYTES:,}",
        f"{MESSAGE_HEADER.size} + `flush_bytes` + {kib(limits.MAX_FRAME_BYTES)}",
        f"at most {limits.MAX_HEAD_FIELDS} headers and {kib(limits.MAX_HEAD_BYTES)}",
        f"then the body, at most {kib(limits.MAX_INLINE_BYTES)}.",
        f"up to {limits.MAX_DETAIL_BYTES:,} bytes of printable ASCII",
        f"(0 to {limits.MAX_PERMIT_BYTES:,} characters",
        f"at most {kib(limits.MAX_GRANT_BYTES)} in all",
        f"at most {limits.MAX_TOOLS:,} tools of an upstream",
        f"and {kib(limits.MAX_TOOLS_BYTES)} of a link",
        f"name (1 to {tools.MAX_TOOL_TEXT} characters",
        f"each once, at most {limits.MAX_CATALOG_UPSTREAMS};",
        f"at most {kib(limits.MAX_HANDSHAKE_BYTES)} of strict JSON",
        f"1 to {handshake.MAX_TEXT} printable ASCII characters",
        f"took {sequence.ACK_EVERY} numbered frames",
        f"over `message_bytes` or {kib(limits.MAX_MESSAGE_BYTES)}",
        f"after {streams.MAX_STREAM_FAULTS} streams broken",
        f"up to {kib(mux.MAX_PARKED_BYTES)} a link",
        f"body bytes of up to {kib(outbox.SMALL_BYTES)} go straight",
        f"above {kib(outbox.PAUSE_BYTES)} of waiting body bytes",
        f"go on below {kib(outbox.RESUME_BYTES)}",
        f"above {kib(mux.MAX_WAITING_BYTES // 2)} of them waiting",
        f"above {kib(mux.MAX_WAITING_BYTES)}, a peer",
        f"At most {limits.MAX_PINGS_PER_INTERVAL} PINGs",
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
        f"This is version {WIRE_VERSION},",
        handshake._CLIENT_DOMAIN[:-1].decode() + '" 0x00',
        handshake._RELAY_DOMAIN[:-1].decode() + '" 0x00',
    ],
)
def test_numbers_in_the_prose_are_those_of_the_code(sentence: str) -> None:
    assert sentence in PROSE


def test_the_byte_tables_add_up() -> None:
    assert (FRAME_HEADER.size, FRAME_HEADER.format) == (8, ">BBHI")
    assert MESSAGE_HEADER.format == ">QQ"
    assert "| 4 | 4 | stream |" in TEXT
    assert "| 8 | 8 | ack |" in TEXT
