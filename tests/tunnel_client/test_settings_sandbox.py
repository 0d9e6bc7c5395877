"""What `[upstream.sandbox]` may say."""

from pathlib import Path

import pytest

from tests.tunnel_client.test_settings import HEAD, HTTP, parse, refusal

STDIO = '[[upstream]]\nname = "x"\ncommand = ["/bin/true"]\n'


def test_the_sandbox_is_on_and_closed_when_nobody_says_anything() -> None:
    (upstream,) = parse(HEAD + STDIO).upstream
    rules = upstream.sandbox
    assert (rules.level, rules.read, rules.write, rules.hosts) == ("auto", [], [], [])
    assert not rules.network
    assert not upstream.allow_unpinned


def test_paths_and_hosts_are_listed() -> None:
    text = 'level = "required"\nread = ["~/data"]\nwrite = ["/srv/x"]\nhosts = ["a.example:443"]\n'
    rules = parse(f"{HEAD}{STDIO}[upstream.sandbox]\n{text}").upstream[0].sandbox
    assert rules.read == [Path.home() / "data"]
    assert rules.hosts == ["a.example:443"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('level = "none"', "level"),
        ('read = ["relative"]', "absolute path"),
        ('write = ["/a\\u0000b"]', "absolute path"),
        ('hosts = ["example.com"]', "name:port"),
        ('hosts = ["127.1:80"]', "four decimal numbers"),
        ("processes = 0", "processes"),
        ("memory_mib = 1", "memory_mib"),
        ("nework = true", "did you mean"),
    ],
)
def test_what_it_may_not_say(line: str, said: str) -> None:
    assert said in refusal(f"{HEAD}{STDIO}[upstream.sandbox]\n{line}\n")


def test_an_http_upstream_has_no_sandbox() -> None:
    assert "sandbox does not go with url" in refusal(f"{HEAD}{HTTP}sandbox = {{}}\n")
    assert "allow_unpinned does not go with url" in refusal(f"{HEAD}{HTTP}allow_unpinned = true\n")
