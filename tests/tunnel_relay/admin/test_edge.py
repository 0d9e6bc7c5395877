"""Only requests to the console's own name come in, and only its own pages change anything."""

import pytest
from starlette.datastructures import Headers

from tunnel_relay.admin.answers import status_of
from tunnel_relay.admin.edge import edge_of, refusal
from tunnel_relay.settings import AdminListen, Tls

LOOPBACK = AdminListen()
PUBLIC = AdminListen(
    host="0.0.0.0",
    public_url="https://console.example.com",
    tls=Tls(cert_file="/c.pem", key_file="/k.pem"),  # type: ignore[arg-type] # as in a file
)
BEHIND = AdminListen(public_url="https://console.example.com:8444")


@pytest.mark.parametrize(
    ("settings", "host", "origin"),
    [
        (LOOPBACK, "127.0.0.1:8444", "http://127.0.0.1:8444"),
        (LOOPBACK, "LOCALHOST:8444", "http://localhost:8444"),
        (LOOPBACK, "localhost:9000", "http://localhost:9000"),  # forwarded by ssh
        (LOOPBACK, "localhost", "http://localhost"),
        (LOOPBACK, "[::1]:8444", "http://[::1]:8444"),
        (LOOPBACK, "evil.example:8444", None),
        (LOOPBACK, "localhost.evil.example", None),
        (LOOPBACK, "127.0.0.1:8444@evil.example", None),
        (LOOPBACK, "127.0.0.1.nip.example:8444", None),
        (LOOPBACK, "192.0.2.1:8444", None),
        (LOOPBACK, "localhost:", None),
        (LOOPBACK, "localhost:x", None),
        (LOOPBACK, "", None),
        (PUBLIC, "console.example.com", "https://console.example.com"),
        (PUBLIC, "console.example.com:443", "https://console.example.com"),
        (PUBLIC, "console.example.com:80", None),
        (PUBLIC, "localhost:8444", None),
        (PUBLIC, "0.0.0.0:8444", None),
        (BEHIND, "console.example.com:8444", "https://console.example.com:8444"),
        (BEHIND, "localhost:8444", "http://localhost:8444"),
    ],
)
def test_hosts(settings: AdminListen, host: str, origin: str | None) -> None:
    """U14: a name that was rebound to loopback is foreign."""
    assert edge_of(settings).origin(host) == origin


OURS = {"Host": "localhost:8444"}


def status(method: str, path: str = "/", **headers: str) -> int:
    fields = OURS | {name.replace("_", "-"): value for name, value in headers.items()}
    refused = refusal(edge_of(LOOPBACK), method, path, Headers(fields))
    return 200 if refused is None else status_of(refused)


def test_a_foreign_host_is_421_before_all_else() -> None:
    assert status("GET", Host="evil.example") == 421
    twice = Headers(raw=[(b"host", b"localhost:8444"), (b"host", b"localhost:8444")])
    refused = refusal(edge_of(LOOPBACK), "GET", "/", twice)
    assert refused is not None
    assert status_of(refused) == 421


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_pages_may_link_and_nothing_else(site: str) -> None:
    """U01, U16: another port of loopback is the same site, and gets the cookie."""
    assert status("GET", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate") == 200
    for mode in ("cors", "no-cors", "websocket", "same-origin"):
        assert status("GET", "/events/after/1", Sec_Fetch_Site=site, Sec_Fetch_Mode=mode) == 403
    for origin in ("http://localhost:9999", "http://localhost:8444"):
        refused = status("POST", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Origin=origin)
        assert refused == 403


def test_changes_come_from_the_own_origin() -> None:
    """U01."""
    assert status("POST", Origin="http://localhost:8444") == 200
    assert status("POST", Origin="http://localhost:8444", Sec_Fetch_Site="same-origin") == 200
    for origin in (
        "http://localhost:9999",
        "https://localhost:8444",
        "http://127.0.0.1:8444",
        "http://evil.example",
        "null",
        "",
        "http://localhost:8444, http://evil.example",
    ):
        assert status("POST", Origin=origin) == 403, origin
        assert status("POST", "/v1/status", Origin=origin) == 403, origin
    assert status("POST") == 403
    assert status("POST", "/login", Cookie="x=y") == 403


def test_scripts_name_no_origin_and_show_no_cookie() -> None:
    assert status("POST", "/v1/status", Authorization="Bearer x") == 200
    assert status("POST", "/v1/status") == 200
    assert status("POST", "/v1/status", Cookie="x=y") == 403
