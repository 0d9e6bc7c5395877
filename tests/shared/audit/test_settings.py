"""What `[audit]` may say."""

from pathlib import Path

import pytest

from tests.tunnel_client.test_settings import HEAD, parse, refusal


def test_everything_is_written_down_in_the_state_folder_when_nobody_says_anything() -> None:
    settings = parse(HEAD)
    assert settings.audit.on
    assert not settings.audit.reads_without
    assert settings.audit.clear == {}
    assert settings.audit_folder == Path("/etc/tunnel/state/audit")
    assert Path("/etc/tunnel/state/audit") in settings.own_files


def test_fields_in_clear_are_listed_by_class_or_tool() -> None:
    text = 'folder = "/srv/log"\n[audit.clear]\nread = ["path"]\n"mail/send_mail" = ["to", "cc"]\n'
    settings = parse(f"{HEAD}[audit]\n{text}")
    assert settings.audit_folder == Path("/srv/log")
    assert settings.audit.clear == {"read": ["path"], "mail/send_mail": ["to", "cc"]}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('of = "no"', "audit.of"),
        ('clear = {reads = ["path"]}', "UPSTREAM/TOOL"),
        ('clear = {"/x" = ["path"]}', "UPSTREAM/TOOL"),
        ('clear = {read = [""]}', "audit.clear"),
        ("segment_mib = 0", "segment_mib"),
        ("keep_days = 0", "keep_days"),
    ],
)
def test_what_it_may_not_say(line: str, said: str) -> None:
    assert said in refusal(f"{HEAD}[audit]\n{line}\n")
