"""Which pages may read an answer."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from tunnel_relay.identity.shared_routes import shared_route

PAGE = "https://page.example"


async def answer(_request: Request) -> Response:
    return JSONResponse({"x": 1})


def client(origins: tuple[str, ...] | None) -> TestClient:
    return TestClient(Starlette(routes=[shared_route("/x", answer, "POST", origins)]))


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_a_page_of_an_allowed_origin_may_read_and_no_other(method: str) -> None:
    asked = client((PAGE,)).request(method, "/x", headers={"Origin": PAGE})
    assert asked.headers["access-control-allow-origin"] == PAGE
    assert asked.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in asked.headers
    for origin in ("https://evil.example", PAGE + ".evil.example", "null", ""):
        other = client((PAGE,)).request(method, "/x", headers={"Origin": origin})
        assert "access-control-allow-origin" not in other.headers


def test_what_is_public_may_be_read_by_all() -> None:
    asked = client(None).post("/x", headers={"Origin": "https://any.example"})
    assert asked.headers["access-control-allow-origin"] == "*"
    before = client(None).options("/x", headers={"Origin": "https://any.example"})
    assert before.status_code == 204
    assert "mcp-protocol-version" in before.headers["access-control-allow-headers"]


def test_other_methods_are_not_there() -> None:
    assert client(None).get("/x").status_code == 405
