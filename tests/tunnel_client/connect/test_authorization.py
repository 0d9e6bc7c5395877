"""What is asked of an authorization server, and which answer counts (U11)."""

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest

from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.authorization import Authorization
from tunnel_client.connect.discovery import LoginPlace
from tunnel_client.errors_connect import LoginRefusedError

SERVER = WebUrl.parse("https://relay.example/t/a/b/mcp")


def asked(names_itself: bool = True, authorize: str = "https://login.example/go") -> Authorization:
    place = LoginPlace(
        issuer="https://login.example",
        authorize=WebUrl.parse(authorize),
        token=WebUrl.parse("https://login.example/token"),
        register=None,
        revoke=None,
        names_itself=names_itself,
        scope="mcp",
    )
    return Authorization(place, SERVER, "desk & co", "http://127.0.0.1:5/callback")


def test_the_address_asks_for_exactly_this_server_and_binds_the_answer() -> None:
    one = asked()
    query = {name: values[0] for name, values in parse_qs(urlsplit(one.url()).query).items()}
    digest = hashlib.sha256(one.verifier.encode()).digest()
    assert query == {
        "response_type": "code",
        "client_id": "desk & co",
        "redirect_uri": "http://127.0.0.1:5/callback",
        "state": one.state,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        "resource": SERVER.text,
        "scope": "mcp",
    }
    assert (
        asked(authorize="https://login.example/go?x=1")
        .url()
        .startswith("https://login.example/go?x=1&response_type=code")
    )


def test_every_login_has_secrets_of_its_own_which_no_log_shows() -> None:
    one, two = asked(), asked()
    assert len({one.state, one.verifier, two.state, two.verifier}) == 4
    assert len(one.verifier) >= 43
    assert one.state not in repr(one)
    assert one.verifier not in repr(one)


def test_only_the_state_of_this_login_is_ours() -> None:
    one = asked()
    assert one.is_ours({"state": one.state})
    for state in ("", asked().state, one.state + "x", "\udc80"):
        assert not one.is_ours({"state": state})
    assert not one.is_ours({})


@pytest.mark.parametrize(
    ("brought", "names_itself"),
    [
        ({"code": "c"}, True),
        ({"code": "c", "iss": "https://evil.example"}, True),
        ({"code": "c", "iss": "https://evil.example"}, False),
        ({"iss": "https://login.example"}, True),
        ({"code": "", "iss": "https://login.example"}, True),
        ({"code": "c" * 5000, "iss": "https://login.example"}, True),
        ({"code": "c", "error": "access_denied", "iss": "https://login.example"}, True),
    ],
)
def test_an_answer_that_does_not_fit_gives_no_code(
    brought: dict[str, str], names_itself: bool
) -> None:
    with pytest.raises(LoginRefusedError):
        asked(names_itself).code(brought)


def test_a_good_answer_gives_its_code() -> None:
    assert asked().code({"code": "c", "iss": "https://login.example"}) == "c"
    assert asked(names_itself=False).code({"code": "c"}) == "c"
    form = asked().form("c")
    assert (form["code"], form["resource"]) == ("c", SERVER.text)
