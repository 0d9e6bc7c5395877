import pytest

from tunnel_relay.gateway.headers import forwarded, returned


def names(*sent: bytes, connection: bytes | None = None) -> list[bytes]:
    return [name for name, _ in forwarded([(name, b"v") for name in sent], connection)]


@pytest.mark.parametrize(
    "name",
    [
        *(b"host", b"origin", b"referer", b"content-length", b"expect", b"accept-encoding"),
        *(b"content-encoding", b"accept-charset", b"range", b"if-range", b"a-im"),
        *(b"authorization", b"cookie", b"x-api-key", b"x-auth-token", b"remote-user"),
        *(b"forwarded", b"x-forwarded-for", b"x-forwarded-anything", b"x-real-ip", b"via"),
        *(b"proxy-authorization", b"x-upstream-authorization", b"x-mcp-tunnel-user"),
        *(b"mcp-session-id", b"connection", b"te", b"upgrade", b"transfer-encoding"),
        *(b"sec-fetch-site", b"http2-settings"),
    ],
)
def test_the_relays_own_and_nobodys_fields_stay_here_in_either_spelling(name: bytes) -> None:
    assert names(name, b"x-kept") == [b"x-kept"]
    assert names(name.replace(b"-", b"_"), b"x-kept") == [b"x-kept"]


def test_a_second_spelling_of_a_judged_field_does_not_pass_beside_it() -> None:
    sent = (b"mcp-method", b"mcp_method", b"mcp-param-x", b"mcp_param_x", b"content_type")
    assert names(*sent, b"content-type") == [b"mcp-method", b"mcp-param-x", b"content-type"]
    assert names(b"mcp-param_x", b"mcp-protocol_version") == []


def test_what_mirrors_an_argument_passes_under_the_arguments_name() -> None:
    assert names(b"mcp-param-user_id", b"mcp-param-a-b") == [b"mcp-param-user_id", b"mcp-param-a-b"]


def test_other_fields_pass_as_they_came() -> None:
    sent = [(b"x-trace", b" kept "), (b"x_trace", b"1"), (b"accept", b"*/*"), (b"x-trace", b"2")]
    assert forwarded(sent, None) == sent


@pytest.mark.parametrize("plain", [b"keep-alive", b"close", b" Close ", None])
def test_a_plain_connection_field_names_nothing(plain: bytes | None) -> None:
    assert names(b"close", b"x-hop", connection=plain) == [b"close", b"x-hop"]


def test_what_connection_names_is_for_one_hop_but_routing_fields_are_not_its_to_name() -> None:
    connection = b"close, X-Hop ,mcp-method"
    assert names(b"x-hop", b"mcp-method", b"x-other", connection=connection) == [
        b"mcp-method",
        b"x-other",
    ]


@pytest.mark.parametrize(
    "name",
    [
        *(b"set-cookie", b"www-authenticate", b"location", b"server", b"date", b"alt-svc"),
        *(b"access-control-allow-origin", b"proxy-authenticate", b"transfer-encoding"),
        *(b"mcp-session-id", b"strict-transport-security"),
    ],
)
def test_what_an_upstream_may_not_say_to_agents(name: bytes) -> None:
    assert returned([(name, b"v"), (b"x-kept", b"v")]) == [(b"x-kept", b"v")]


def test_many_names_do_not_fill_the_memory_of_verdicts() -> None:
    for number in range(5000):
        assert names(b"x-%d" % number) == [b"x-%d" % number]
    assert names(b"cookie") == []
