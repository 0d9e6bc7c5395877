"""Bodies and forms within bounds."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from tunnel_relay.identity.reading import MAX_FORM, read_form

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def client() -> TestClient:
    async def read(request: Request) -> Response:
        try:
            return PlainTextResponse(str(sorted((await read_form(request)).items())))
        except ValueError:
            return PlainTextResponse("refused", 400)

    return TestClient(Starlette(routes=[Route("/", read, methods=["POST"])]))


def test_a_form_is_read(client: TestClient) -> None:
    assert client.post("/", content="a=1&b=%20&c=", headers=FORM).text == (
        "[('a', '1'), ('b', ' '), ('c', '')]"
    )


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"a=1", {"content-type": "text/plain"}),
        (b"a=1&a=2", FORM),
        (b"a=" + b"x" * MAX_FORM, FORM),
        ("a=é".encode(), FORM),
    ],
)
def test_what_is_no_such_form_is_refused(
    client: TestClient, content: bytes, headers: dict[str, str]
) -> None:
    assert client.post("/", content=content, headers=headers).status_code == 400
