"""The allow-list of methods."""

import pytest
from mcp_types.methods import CLIENT_NOTIFICATIONS, CLIENT_REQUESTS

from shared.jsonrpc.envelope import EnvelopeError, parse
from shared.jsonrpc.methods import LEGACY_REQUESTS, MODERN_REQUESTS, NOTIFICATIONS, refusal
from tests.shared.jsonrpc.messages import VERSION, encode, modern, request

# H21, with what only upstreams may ask for.
FOREIGN = [
    *("sampling/createMessage", "elicitation/create", "roots/list", "x/y", "__proto__", ""),
    *("tools/Call", "tools/call ", "tools/call\x00", "rpc.discover", "constructor", "toString"),
]


def refused(document: object) -> EnvelopeError:
    error = refusal(parse(encode(document)))
    assert error is not None
    return error


@pytest.mark.parametrize("method", FOREIGN)
def test_h21_a_modern_agent_gets_404(method: str) -> None:
    error = refused(modern(method))
    assert (error.code, error.status, error.id) == (-32601, 404, 7)


@pytest.mark.parametrize("method", FOREIGN)
def test_h21_a_legacy_agent_gets_a_json_rpc_error(method: str) -> None:
    error = refused(request(method))
    assert (error.code, error.status, error.id) == (-32601, 200, 7)


@pytest.mark.parametrize(
    "method", ["initialize", "ping", "logging/setLevel", "resources/subscribe"]
)
def test_what_the_modern_era_removed_is_unknown_there(method: str) -> None:
    assert refused(modern(method, uri="a:b")).status == 404
    assert refusal(parse(encode(request(method, uri="a:b")))) is None


@pytest.mark.parametrize("method", ["server/discover", "subscriptions/listen", "tasks/update"])
def test_a_modern_request_without_its_version_reaches_the_upstream(method: str) -> None:
    assert refusal(parse(encode(request(method)))) is None


@pytest.mark.parametrize(
    "uri",
    [
        *("docs://public/../secret", "docs://public/..", "file:///a/./b", "../secret", ".."),
        *("docs://public/%2e%2E/secret", "docs://public/.%2e/x", "docs://public%2f..%2Fsecret"),
        *("docs://public\\..\\secret", "docs://public%5C..%5csecret", "a:b/..?q", "a:b/..#f"),
    ],
)
@pytest.mark.parametrize("method", ["resources/read", "resources/subscribe"])
def test_p31_a_uri_that_leads_elsewhere_than_it_says_is_refused(method: str, uri: str) -> None:
    """A rule for `docs://public/*` is not for what a server makes of `docs://public/../x`."""
    error = refused(request(method, uri=uri))
    assert (error.code, error.status, error.id) == (-32602, 200, 7)


@pytest.mark.parametrize(
    "uri", ["file:///a/b.txt", "a:...", "a:b/.c/..d/e..", "https://x/?next=/../y", "a:b#/../c"]
)
def test_other_uris_are_the_servers_matter(uri: str) -> None:
    assert refusal(parse(encode(request("resources/read", uri=uri)))) is None


def test_every_request_of_the_specification_may_be_sent() -> None:
    for method, version in CLIENT_REQUESTS:
        assert method in (MODERN_REQUESTS if version == VERSION else LEGACY_REQUESTS)


def test_every_notification_of_the_specification_may_be_sent() -> None:
    assert {method for method, _ in CLIENT_NOTIFICATIONS} <= NOTIFICATIONS


@pytest.mark.parametrize(
    "method", ["notifications/message", "notifications/tools/list_changed", "x/y", "tools/call"]
)
def test_other_notifications_are_dropped_without_an_error(method: str) -> None:
    error = refused({"jsonrpc": "2.0", "method": method})
    assert (error.status, error.body()) == (202, b"")


def test_known_notifications_and_responses_pass() -> None:
    for body in (
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
    ):
        assert refusal(parse(body)) is None


MISREAD = [
    *(
        "file:///pub/.\t./etc/passwd",
        "file:///pub/s\tecret",
        "\nfile:///pub/x",
        " file:///x",
        "file:///x ",
    ),
    *("FILE:///pub/secret", "File:///x", "file:/pub/secret", "file:pub", "file:\\\\\\secret"),
    *("file://localhost/pub/secret", "file://HOST/x", "file:///pub/x?/../../etc/passwd"),
    *("http:example.com/x", "http:///example.com/x", "https://EXAMPLE.com/x", "https://a.b:443/x"),
    *("https://exa%6dple.com/x", "https://a.b\\x", "\x7fnotes://a"),
]


@pytest.mark.parametrize("uri", MISREAD)
def test_p31_a_uri_that_parsers_put_right_is_refused_before_policy_reads_it(uri: str) -> None:
    """Node.js and pydantic would look up another one than a rule was asked about."""
    for method in ("resources/read", "resources/subscribe", "resources/unsubscribe"):
        error = refused(request(method, uri=uri))
        assert (error.code, error.status) == (-32602, 200)
    assert refused(modern("resources/read", uri=uri)).status == 400
    ref = {"type": "ref/resource", "uri": uri}
    assert refused(request("completion/complete", ref=ref, argument={})).code == -32602


@pytest.mark.parametrize(
    "uri",
    [
        *("file:///pub/My Notes/x.md", "file:///C:/x", "file:////host/share", "file://host/x"),
        *(
            "https://example.com/a?b=/../c#/../d",
            "https://example.com:8443/X",
            "test://Static/Text",
        ),
        *("notes://a\\b", "urn:isbn:0451450523", "mailto:a@b.c", "plain", "file:///\u00fc.md"),
        *("test://template/{id}/data", "git+https://Example.com/x", "data:text/plain,A B"),
    ],
)
def test_others_pass_as_they_are(uri: str) -> None:
    assert refusal(parse(encode(request("resources/read", uri=uri)))) is None
    ref = {"type": "ref/resource", "uri": uri}
    asked = request("completion/complete", ref=ref, argument={})
    assert refusal(parse(encode(asked))) is None


NAMED = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "resources/subscribe": "uri",
    "resources/unsubscribe": "uri",
}


@pytest.mark.parametrize("name", [["admin_x"], {"a": "admin_x"}, 5, 1.5, True, None])
@pytest.mark.parametrize("method", NAMED)
def test_p31_what_a_rule_goes_by_is_a_text(method: str, name: object) -> None:
    """A rule that denies `admin_*` finds no name in `["admin_x"]`, and a server may find one."""
    error = refused(request(method, **{NAMED[method]: name}))
    assert (error.code, error.status, error.id) == (-32602, 200, 7)
    assert "admin_x" not in str(error)
    assert refused(request(method)).code == -32602
    assert refused({"jsonrpc": "2.0", "id": 7, "method": method}).code == -32602
    if method in MODERN_REQUESTS:
        error = refused(modern(method, **{NAMED[method]: name}))
        assert (error.code, error.status, error.id) == (-32602, 400, 7)
    assert refusal(parse(encode(request(method, **{NAMED[method]: "a:b"})))) is None


@pytest.mark.parametrize(
    "ref",
    [
        *({"type": "ref/prompt", "name": ["admin_x"]}, {"type": "ref/prompt"}),
        *({"type": "ref/prompt", "uri": "a:b"}, {"type": "ref/prompt", "Name": "admin_x"}),
        *({"type": "ref/resource", "uri": ["a:b"]}, {"type": "ref/resource", "name": "x"}),
        *({"type": ["ref/prompt"], "name": "x"}, {"type": "ref/Prompt", "name": "x"}, {}),
        *({"type": "ref/other", "name": "x", "uri": "a:b"}, {"name": "x"}, None),
    ],
)
def test_p31_so_is_what_a_completion_is_for(ref: object) -> None:
    for document in (
        request("completion/complete", ref=ref, argument={}),
        modern("completion/complete", ref=ref, argument={}),
    ):
        assert refused(document).code == -32602
    assert refused(request("completion/complete", argument={})).code == -32602


def test_a_completion_is_for_a_prompt_or_a_resource() -> None:
    for ref in ({"type": "ref/prompt", "name": "x"}, {"type": "ref/resource", "uri": "a:b"}):
        asked = request("completion/complete", ref=ref, argument={})
        assert refusal(parse(encode(asked))) is None
