"""The 401 leads to the metadata of the server that was asked for."""

from tunnel_relay.gateway.challenges import MAX_KEPT, Challenges

URLS = ("https://relay.example.com", "http://127.0.0.1:8080")


def test_the_metadata_is_at_the_origin_the_agent_used() -> None:
    challenges = Challenges(URLS, discovery=True)
    for host, origin in ((b"Relay.example.com", URLS[0]), (b"127.0.0.1:8080", URLS[1])):
        (field,) = [
            value
            for name, value in challenges.answer(host, b"/t/a/b/mcp", False).headers
            if name == b"www-authenticate"
        ]
        where = f'resource_metadata="{origin}/.well-known/oauth-protected-resource/t/a/b/mcp"'
        assert where in field.decode()
        assert b"error" not in field


def test_the_answer_is_the_same_whatever_is_wrong_and_is_made_once() -> None:
    challenges = Challenges(URLS, discovery=True)
    first = challenges.answer(b"relay.example.com", b"/t/a/b/mcp", True)
    assert challenges.answer(b"relay.example.com", b"/t/a/b/mcp", True) is first
    for number in range(2 * MAX_KEPT):
        challenges.answer(b"relay.example.com", b"/t/a/x%d/mcp" % number, True)
    assert len(challenges._kept) <= MAX_KEPT


def test_without_a_server_to_log_in_at_nobody_is_sent_anywhere() -> None:
    answer = Challenges(URLS, discovery=False).answer(b"relay.example.com", b"/t/a/b/mcp", False)
    assert b"resource_metadata" not in dict(answer.headers)[b"www-authenticate"]
