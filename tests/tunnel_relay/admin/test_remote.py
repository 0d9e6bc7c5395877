"""A command over the admin API: the token goes to whom it is for, and nowhere else."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import SecretStr

from tunnel_relay.admin.remote import call_api
from tunnel_relay.errors import Code, RelayError

TOKEN = SecretStr("mta_" + "x" * 43)


@contextmanager
def answering(status: int, body: bytes, location: str = "") -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(f"{self.path} {self.headers['Authorization']}")
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


def refused(origin: str) -> Code:
    with pytest.raises(RelayError) as caught:
        call_api(origin, TOKEN, "status", {})
    assert TOKEN.get_secret_value() not in caught.value.message
    return caught.value.code


def test_the_result_is_returned() -> None:
    with answering(200, b'{"result": [1]}') as (origin, seen):
        assert call_api(origin, TOKEN, "status", {"a": 1}) == [1]
        assert seen == [f"/v1/status Bearer {TOKEN.get_secret_value()}"]


def test_a_refusal_keeps_its_code() -> None:
    body = b'{"error": {"code": "MT1120", "message": "no", "next": "x"}}'
    with answering(404, body) as (origin, _):
        assert refused(origin) is Code.APPROVAL_UNKNOWN


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b'{"error": {"code": "XX", "message": "no"}}', b'{"error": 5}']
)
def test_what_makes_no_sense_is_no_answer(body: bytes) -> None:
    with answering(200, body) as (origin, _):
        assert refused(origin) is Code.RELAY_SILENT


def test_a_redirect_does_not_get_the_token() -> None:
    with answering(200, b'{"result": 1}') as (elsewhere, seen):
        with answering(307, b"{}", elsewhere + "/v1/status") as (origin, _):
            assert refused(origin) is Code.RELAY_SILENT
        assert seen == []


@pytest.mark.parametrize("origin", ["http://relay.example.com", "ftp://x", "https://a@b", "x"])
def test_the_token_goes_over_https_or_stays_here(origin: str) -> None:
    assert refused(origin) is Code.BAD_REQUEST


def test_nobody_there_is_told() -> None:
    assert refused("http://127.0.0.1:9") is Code.RELAY_SILENT
    with pytest.raises(RelayError) as caught:
        call_api("http://127.0.0.1:9", TOKEN, "status", {})
    assert caught.value.message.endswith("Connection refused; nothing was done")
    assert caught.value.explained.cause == "no relay can be reached there"
    assert "tunnel-relay serve" in caught.value.explained.next
