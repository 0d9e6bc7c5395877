"""Forms are read strictly and within bounds."""

from typing import Any

import pytest
from starlette.requests import Request

from tunnel_relay.admin.answers import StatusError
from tunnel_relay.console.forms import Form, read_form
from tunnel_relay.errors import RelayError


def request(body: bytes, kind: str = "application/x-www-form-urlencoded") -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def test_fields_by_name() -> None:
    form = await read_form(request(b"a=1&b=x+y&b=%C3%A9&c=&ttl=8h&list=a%2Fb,+c%0D%0Ad"))
    assert form.text("a") == "1"
    assert form.text("none") == ""
    assert form.all("b") == ["x y", "\xe9"]
    assert form.given("c") is None
    assert form.given("b") == "x y"
    assert form.words("list") == ["a/b", "c", "d"]
    assert form.lines("list") == ["a/b, c", "d"]
    assert Form({"a": [" x y \r\n \r\n\r\nz,"]}).lines("a") == [" x y ", "z,"]
    assert form.seconds("ttl") == 8 * 3600
    assert form.seconds("c") is None
    with pytest.raises(RelayError):
        form.seconds("b")
    assert Form().all("x") == []


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"a=1", "application/json", 415),
        (b"a=1", "", 415),
        (b"a=1", "multipart/form-data; boundary=x", 415),
        (b"a=%FF", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (
            b"&".join(b"a=%d" % number for number in range(101)),
            "application/x-www-form-urlencoded",
            400,
        ),
        (b"a" * 65_537, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_what_is_no_form(body: bytes, kind: str, status: int) -> None:
    with pytest.raises(StatusError) as caught:
        await read_form(request(body, kind))
    assert caught.value.status == status
