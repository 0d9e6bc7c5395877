"""What an agent asks, judged."""

import pytest

from tunnel_relay.identity.requests import (
    RequestError,
    answer_uri,
    form_target,
    judge,
    shown_target,
    single,
    verifies,
)

ORIGINS = ("https://relay.example.com",)
GOOD = {
    "client_id": "desk",
    "response_type": "code",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "code_challenge_method": "S256",
    "resource": "https://relay.example.com/t/office/git/mcp",
}


def refused(**changed: str) -> str:
    with pytest.raises(RequestError) as caught:
        judge({**GOOD, **changed}, "https://agent/cb", ORIGINS)
    return caught.value.error


def test_a_good_request_names_its_server() -> None:
    asked = judge({**GOOD, "state": "x"}, "https://agent/cb", ORIGINS)
    assert (asked.tunnel, asked.upstream, asked.state) == ("office", "git", "x")


def test_what_is_missing_or_weak_is_refused() -> None:
    assert refused(code_challenge_method="plain") == "invalid_request"
    assert refused(code_challenge="short") == "invalid_request"
    assert refused(response_type="token") == "unsupported_response_type"
    assert refused(resource="https://elsewhere/t/a/b/mcp") == "invalid_target"
    assert refused(request="eyJ") == "request_not_supported"


@pytest.mark.parametrize(
    "pairs", [[("a", "1"), ("a", "1")], [("a", "x" * 3000)], [("a", "x\ny")], [("a", "\x00")]]
)
def test_a_parameter_comes_once_and_is_harmless(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(RequestError):
        single(pairs)


def test_a_verifier_belongs_to_its_challenge() -> None:
    """The example of RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert verifies(GOOD["code_challenge"], verifier)
    assert not verifies(GOOD["code_challenge"], verifier[:-1] + "l")
    assert not verifies(GOOD["code_challenge"], "")
    assert not verifies("x" * 43, "é" * 43)


def test_every_answer_says_who_gave_it() -> None:
    """RFC 9207."""
    issuer = "https://relay.example.com"
    answer = answer_uri("https://agent/cb?a=b", issuer, "s&t", code="c d")
    assert answer == (
        "https://agent/cb?a=b&code=c+d&state=s%26t&iss=https%3A%2F%2Frelay.example.com"
    )
    assert "state" not in answer_uri("app:/cb", issuer, None, error="access_denied")
    assert answer_uri("app:/cb?", issuer, None, code="c").startswith("app:/cb?code=c&iss=")


def test_people_and_browsers_are_told_where_the_answer_goes() -> None:
    assert form_target("http://127.0.0.1:5/cb?x") == "http://127.0.0.1:5"
    assert form_target("cursor://host/path") == "cursor:"
    # The policy's grammar has no IPv6 addresses: named so, a browser would block the answer.
    assert form_target("http://[::1]:5/cb") == "http:"
    assert shown_target("http://localhost:5/cb") == "a program on this computer"
    assert shown_target("https://agent.example/cb") == "agent.example"
    assert shown_target("cursor://x") == "the app for cursor: links"
