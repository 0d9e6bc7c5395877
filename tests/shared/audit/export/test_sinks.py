"""What a sink counts as taken, and what it says of a server that did not take it."""

import os
import socket
import ssl
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.audit.export import sinks
from shared.audit.export.net import SinkError, TlsSocket
from shared.audit.export.settings import ExportSettings
from shared.audit.export.sinks import FileSink, make_sink
from shared.configfile import SecretRef
from shared.record.export.joined import Origin
from tests.helpers.siem import HttpServer, NarrowServer, SyslogServer, free_port
from tests.helpers.tls import Authority

ORIGIN = Origin("tunnel-client", "mcp-tunnel/client/office/1", "1.0", "host.example")
TOKEN = "canary-61f0aa7be2"
LINES = [b'{"a":1}', b'{"b":2}']
MUCH = [b"x" * 65536] * 256
"""More than the buffers between two sockets hold."""


def sink_to(to: str, ca: Path | None = None, token: str | None = None) -> sinks.Sink:
    reference = None if token is None else SecretRef("env", "TOKEN")
    export = ExportSettings(name="siem", to=to, ca=ca, token=reference, format="jsonl")
    return make_sink(export, None if token is None else lambda: SecretStr(token), ORIGIN)


def test_a_file_is_appended_to_and_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = FileSink(path)
    sink.send(LINES)
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open("ab") as file:
        file.write(b'{"torn":')
    sink.send([b"{}"])
    assert path.read_bytes() == b'{"a":1}\n{"b":2}\n{}\n'
    path.rename(tmp_path / "old")
    sink.send([b"{}"])
    assert path.read_bytes() == b"{}\n"


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "no/folder"):
        with pytest.raises(SinkError):
            FileSink(tmp_path / name).send(LINES)


def test_http_takes_with_2xx_and_nothing_else() -> None:
    server = HttpServer()
    with server.up():
        sink = sink_to(f"http://127.0.0.1:{server.port}/in", token=TOKEN)
        sink.send(LINES)
        assert server.lines == LINES
        head = server.heads[0]
        assert head["Authorization"] == f"Bearer {TOKEN}"
        assert head["Content-Type"] == "application/x-ndjson"
        assert head["Mcp-Tunnel-Log"] == ORIGIN.log
        for mode, said in (("broken", "500"), ("moved", "302"), ("large", "413")):
            server.mode = mode
            with pytest.raises(SinkError, match=f"it answers {said}") as refused:
                sink.send(LINES * 3)
            assert refused.value.too_large == (said == "413")
        assert server.lines == LINES
    assert TOKEN not in repr(sink.__dict__)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 413 Content Too Large\r\n\r\n", "it answers 413"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\n\r\n", "it answers 503"),
    ],
)
def test_an_answer_before_all_was_sent_is_heard(
    tmp_path: Path, tls: bool, answer: bytes, said: str
) -> None:
    authority, server = Authority(), NarrowServer(1024, answers=answer)
    ca = authority.write(tmp_path / "ca.pem") if tls else None
    to = f"http{'s' * tls}://127.0.0.1:{server.port}"
    context = authority.server("127.0.0.1") if tls else None
    with server.up(context), pytest.raises(SinkError, match=said) as refused:
        sink_to(to, ca).send(MUCH)
    assert refused.value.too_large == ("413" in said)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"no HTTP"])
def test_a_connection_that_was_cut_may_have_been_sent_too_much(
    tmp_path: Path, tls: bool, answer: bytes
) -> None:
    """A yes to what was not all sent is none."""
    authority, server = Authority(), NarrowServer(1024, answers=answer)
    ca = authority.write(tmp_path / "ca.pem") if tls else None
    to = f"http{'s' * tls}://127.0.0.1:{server.port}"
    context = authority.server("127.0.0.1") if tls else None
    with server.up(context), pytest.raises(SinkError) as refused:
        sink_to(to, ca).send(MUCH)
    assert refused.value.too_large
    assert server.bodies == []


def test_an_answer_of_who_does_not_read_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the connection open, so only the deadline ends the sending."""
    monkeypatch.setattr(sinks, "DEADLINE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sink = sink_to(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with ThreadPoolExecutor() as pool:
            sending = pool.submit(sink.send, MUCH)
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 413 Content Too Large\r\n\r\n")
                with pytest.raises(SinkError, match="it answers 413") as refused:
                    sending.result()
    assert refused.value.too_large


def test_who_cuts_a_handshake_was_not_sent_too_much(tmp_path: Path) -> None:
    ca = Authority().write(tmp_path / "ca.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        sink = sink_to(f"https://127.0.0.1:{listener.getsockname()[1]}", ca)
        sending = pool.submit(sink.send, LINES)
        peer, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with pytest.raises(SinkError) as refused:
            sending.result()
    assert not refused.value.too_large


def test_a_connection_that_was_reset_before_tls_is_closed() -> None:
    """Python takes the descriptor over, and lets go of it open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dialled = socket.create_connection(listener.getsockname())
        descriptor = dialled.fileno()
        peer, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        context = ssl.create_default_context()
        context.sslsocket_class = TlsSocket
        with pytest.raises(ConnectionResetError) as reset:
            context.wrap_socket(dialled, server_hostname="127.0.0.1")
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    assert reset  # its frames have what was made


def test_a_token_cannot_begin_a_header() -> None:
    server = HttpServer()
    with server.up():
        sink = sink_to(f"http://127.0.0.1:{server.port}/", token="a\r\nX-Evil: 1")
        with pytest.raises(SinkError, match="cannot stand in a header"):
            sink.send(LINES)
    assert server.bodies == []


def test_silence_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "DEADLINE", 0.2)
    server = HttpServer()
    server.mode = "slow"
    with server.up(), pytest.raises(SinkError, match="does not answer in time"):
        sink_to(f"http://127.0.0.1:{server.port}/").send(LINES)


def test_who_is_down_or_not_who_it_should_be_is_named(tmp_path: Path) -> None:
    right, wrong = Authority(), Authority()
    ca = right.write(tmp_path / "ca.pem")
    with pytest.raises(SinkError, match="Connection refused"):
        sink_to(f"syslog+tls://127.0.0.1:{free_port()}", ca).send(LINES)
    for names, authority in ((("127.0.0.1",), wrong), (("other.example",), right)):
        server, http = SyslogServer(), HttpServer()
        context = authority.server(*names)
        with server.up(context), http.up(context):
            for to in (f"syslog+tls://127.0.0.1:{server.port}", f"https://127.0.0.1:{http.port}"):
                with pytest.raises(SinkError, match="its certificate is refused"):
                    sink_to(to, ca).send(LINES)
        assert server.messages == []
        assert http.bodies == []


def test_syslog_keeps_its_connection_and_makes_another_when_it_was_cut(tmp_path: Path) -> None:
    authority = Authority()
    ca = authority.write(tmp_path / "ca.pem")
    server = SyslogServer()
    sink = sink_to(f"syslog+tls://127.0.0.1:{server.port}", ca)
    for _ in range(2):
        with server.up(authority.server("127.0.0.1")):
            sink.send([b"first"])
            sink.send([b"second", b"3 third"])
    sink.close()
    assert server.messages == [b"first", b"second", b"3 third"] * 2
