"""Nothing in a command can hide from the person who reads it."""

import pytest

from tunnel_client.consent.show import escaped, pages

FACTS = {
    "argv": ["/opt/server", "--name", "a b", ""],
    "cwd": None,
    "inherit_env": ["TZ"],
    "env": ["TOKEN"],
    "files": [{"path": "/opt/server", "sha256": "ab" * 32}],
    "trees": ["/opt"],
    "links": {"/data": "/mnt/data"},
    "sandbox": {
        "level": "auto",
        "read": ["/data"],
        "write": [],
        "hosts": ["api.example.com:443"],
        "network": False,
    },
    "dangers": [],
    "unpinned": None,
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain-text_1/2", "plain-text_1/2"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb\tc\x7f", "a\\x0ab\\x09c\\x7f"),
        ("a\u202eb\u200b\U000e0041", "a\\u{202e}b\\u{200b}\\u{e0041}"),
        ("p\u0430y", "p\\u{430}y"),
        ("back\\slash", "back\\\\slash"),
        ("a" + " " * 5120 + "b", "a\\x20{5120}b"),
        ("a   b", "a   b"),
    ],
)
def test_what_could_hide_is_written_out(text: str, shown: str) -> None:
    """L16."""
    assert escaped(text) == shown


def test_all_of_it_is_shown_with_lengths() -> None:
    """L16."""
    evil = "x" * 3000 + "\u202e" + " " * 5120 + "--evil"
    text = pages("server", {**FACTS, "argv": ["/opt/server", evil]}, "bubblewrap")
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert "x" * 3000 + "\\u{202e}\\x20{5120}--evil" in text
    assert f"({len(evil)} characters)" in text
    assert f"2 words, {len(evil) + 11} characters" in text


def test_everything_that_is_agreed_to_is_there() -> None:
    text = pages("server", FACTS, "bubblewrap + landlock")
    for part in (
        *("[0] /opt/server", "'a b' (3 characters)", "'' (0 characters)", "ab" * 32, "TOKEN"),
        *("PATH, HOME, LANG, TZ", "bubblewrap + landlock", "runs from /opt"),
        *("reads     /data -> /mnt/data", "reaches   api.example.com:443"),
    ):
        assert part in text


def test_no_sandbox_dangers_and_unpinned_packages_stand_out() -> None:
    loud = {
        **FACTS,
        "dangers": ["sudo runs it as another user"],
        "unpinned": "x is fetched",
        "sandbox": {**FACTS["sandbox"], "level": "off"},  # type: ignore[dict-item]
    }
    text = pages("server", loud, "UNSANDBOXED: sandbox.level is off")
    assert "DANGER:  sudo" in text
    assert "UNPINNED: x is fetched" in text
    assert "it can read and change what this user can" in text
    network = {**FACTS, "sandbox": {**FACTS["sandbox"], "network": True}}  # type: ignore[dict-item]
    assert "ALL of this machine's network" in pages("server", network, "")
