"""What is written into client.toml can be read back, and nothing else in it changes."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel_client.config_text import first_config, with_upstream, with_values, without_upstream
from tunnel_client.dial import DialTarget
from tunnel_client.errors import SettingsError
from tunnel_client.relay_url import RelayUrl

RELAY = RelayUrl(True, "relay.example", 443)
text_without_controls = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=30).filter(
    str.isprintable
)


def test_the_first_file_says_what_was_agreed() -> None:
    target = DialTarget(RELAY, Path("/ca.pem"), "http://proxy:1")
    text = first_config(target, "office", "KEY", Path("/var/lib/t"), "env:LOGIN")
    assert tomllib.loads(text) == {
        "state_dir": "/var/lib/t",
        "relay": {
            "url": "wss://relay.example",
            "tunnel": "office",
            "public_key": "KEY",
            "ca_file": "/ca.pem",
            "proxy": "http://proxy:1",
            "proxy_auth": "env:LOGIN",
        },
    }
    assert "# [[upstream]]" in text


def test_the_examples_in_the_first_file_are_valid_once_uncommented() -> None:
    text = first_config(DialTarget(RELAY), "office", "KEY", Path("/s"), None)
    tables = text[text.index("# [[upstream]]") :]
    uncommented = "\n".join(
        line.removeprefix("# ").removeprefix("#") for line in tables.split("\n")
    )
    assert [table["name"] for table in tomllib.loads(uncommented)["upstream"]] == ["files", "time"]


def test_an_upstream_is_added_and_the_rest_left_alone() -> None:
    before = "# mine\n[relay]\nurl = 'x' # why"
    after = with_upstream(before, {"name": "time", "command": ["uvx", 'a"b'], "cwd": None})
    assert after.startswith(before)
    assert tomllib.loads(after)["upstream"] == [{"name": "time", "command": ["uvx", 'a"b']}]


FULL = '''# mine
[relay]
url = "x"

# the files
[[upstream]]
name = "files"  # as in /srv \u2028 \x85
url = "http://h/"

[[ upstream ]]
command = [
  "sh", # [[upstream]]
]
"name" = "time"
[upstream.sandbox]
read = ["""
[[upstream]]
"""]   # all of it
# end of time

# the last one
[[upstream]]
name = "last"
url = "http://h/"
[vault]
address = "https://v"
'''


@pytest.mark.parametrize("name", ["files", "time", "last"])
def test_an_upstream_is_taken_out_and_the_rest_left_alone(name: str) -> None:
    after = without_upstream(FULL, name)
    before, left = tomllib.loads(FULL), tomllib.loads(after)
    before["upstream"] = [each for each in before["upstream"] if each["name"] != name]
    assert left == before
    lines = after.splitlines()
    for comment in ("# mine", "# the files", "# end of time", "# the last one"):
        assert comment in lines
    rest = iter(FULL.splitlines())
    assert all(line in rest for line in lines), "in the order they had"


def test_what_was_added_last_is_taken_out_as_if_it_had_never_been() -> None:
    table: dict[str, Any] = {"name": "x", "command": ["sh"], "sandbox": {"network": True}}
    assert without_upstream(with_upstream(FULL, table), "x") == FULL
    only = without_upstream(with_upstream("[relay]\n", table), "x")
    assert only == "[relay]\n"


@pytest.mark.parametrize(
    "text",
    [
        'upstream = [{ name = "x", url = "http://h/" }]\n',
        '[[upstream]]\nname = "x"\n[vault]\na = 1\n[upstream.sandbox]\nnetwork = true\n',
    ],
)
def test_what_cannot_be_taken_out_whole_is_left_to_its_owner(text: str) -> None:
    with pytest.raises(SettingsError, match="by hand"):
        without_upstream(text, "x")


@given(
    st.lists(text_without_controls), st.dictionaries(text_without_controls, text_without_controls)
)
def test_any_printable_text_survives(words: list[str], env: dict[str, str]) -> None:
    text = with_upstream("", {"name": "x", "command": words, "env": env})
    assert tomllib.loads(text)["upstream"] == [{"name": "x", "command": words, "env": env}]


@pytest.mark.parametrize("bad", ["a\nb", "a\x7f", "\x00", "\u2028", "\ud800"])
def test_text_that_would_break_the_file_is_refused(bad: str) -> None:
    with pytest.raises(SettingsError):
        with_upstream("", {"name": bad})


TABLE = '# a\n[relay] # r\nurl = ["a",\n  "b"] # two\nlinks = 3\n\n[health]\nx = 1.5 # y'
NEW = {("relay", "url"): "n", ("relay", "key"): "k", ("relay", "links"): None, ("at",): "/s"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (TABLE, 'at = "/s"\n# a\n[relay] # r\nurl = "n" # two\nkey = "k"\n\n[health]\nx = 1.5 # y'),
        ("relay.url='u' # u\nrelay.links = 3\n", 'relay.url="n" # u\nrelay.key = "k"\n'),
        ("relay = { links = 3, a = 2 } # r", 'relay = { a = 2, url = "n", key = "k" } # r'),
        ("at = 1 # at\n[relay]\n[[u]]\n", 'at = "/s" # at\n[relay]\nurl = "n"\nkey = "k"\n[[u]]\n'),
        ("[[u]]", '[[u]]\n\n[relay]\nurl = "n"\nkey = "k"\n'),
        ("[relay]\r\nurl = 'u'\r\n#\r\n", '[relay]\r\nurl = "n"\r\nkey = "k"\n#\r\n'),
    ],
)
def test_values_are_changed_and_the_rest_left_alone(before: str, after: str) -> None:
    head = "" if "at = " in before or after.startswith("at") else 'at = "/s"\n'
    assert with_values(before, NEW) == head + after


@pytest.mark.parametrize("text", ["relay = 1", "not toml", f"x = {'[' * 20_000}", "[[relay]]"])
def test_values_that_have_no_place_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"relay\.url"):
        with_values(text, NEW)
