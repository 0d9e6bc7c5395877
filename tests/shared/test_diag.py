"""What a diag archive holds, and what is taken out of it."""

import gzip
import io
import json
import tarfile

import pytest
from pydantic import SecretStr

from shared.audit.recovery import ended_by_restart
from shared.diag import MASK, Bundle, bare_record, blanked, masked, policy_facts, without_comments
from tests.helpers.log_lines import completion

CANARY = "mts_Zq7hT2kLw9XcV4bN8mR1pY6sD3fG5jA0eU2iOabcdEf"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.example:8443/mcp", "https://h.example:8443/mcp"),
        ("https://h.example/t/office/crm-2/v1", "https://h.example/t/office/crm-2/v1"),
        ("http://[::1]:9/mcp/s/9f1c2e7ab04d4c6d/mcp", f"http://[::1]:9/mcp/s/{MASK}/mcp"),
        ("https://h.example/key-a8d1f0c2-77be/x", f"https://h.example/{MASK}/x"),
        ("https://h.example/" + "a" * 31 + "/", f"https://h.example/{MASK}/"),
        ("https://h.example/a%2Fkey12345", f"https://h.example/{MASK}"),
    ],
)
def test_a_path_keeps_names_and_no_key(url: str, shown: str) -> None:
    """Hosted servers hand out URLs whose path is the key."""
    assert masked(f"cannot reach {url} now") == f"cannot reach {shown} now"
    assert blanked({"url": url}) == {"url": shown}


def test_a_uuid_is_masked_wherever_it_stands() -> None:
    assert masked("key 5d0f1e2b-77be-4a11-9c3e-5d0f1e2b3c4d.") == f"key {MASK}."


def test_what_looks_like_a_secret_is_masked_and_paths_stay() -> None:
    said = masked(f"http://user:pass@proxy:80/x?key=1 Bearer abc {CANARY} /etc/tunnel/client.toml")
    assert "pass" not in said
    assert CANARY not in said
    assert "key=1" not in said
    assert "abc" not in said
    assert "/etc/tunnel/client.toml" in said


def test_secret_values_environment_and_arguments_are_blanked() -> None:
    given = {"a": SecretStr("hidden"), "password": "hidden", "env": {"A": "hidden"}}
    said = json.dumps(blanked(given | {"command": ["/bin/server", "--key=hidden"]}))
    assert "hidden" not in said
    assert "/bin/server" in said


def test_a_record_keeps_no_argument_and_no_person() -> None:
    record = {"seq": 1, "who": {"user": "ada"}, "what": {"server": "s", "arguments": "canary"}}
    assert bare_record(record) == {"seq": 1, "what": {"server": "s"}}


def test_a_record_says_how_a_call_ended() -> None:
    """As both ends write it, and as a start does for a writer that was killed."""
    ended = json.loads(completion(3, 1, 2, b"timeout"))
    assert bare_record(ended) == {
        **{name: ended[name] for name in ("seq", "time", "kind", "call", "us")},
        "result": "timeout",
        "delivery": "done",
        "status": 200,
    }
    killed = bare_record(ended_by_restart("0.1", 2))
    assert (killed["result"], killed["delivery"], killed["closed_by"]) == (
        *("delivery_unknown", "unknown"),
        "restart",
    )


def test_a_part_that_fails_stops_no_other_and_is_named_in_the_manifest() -> None:
    bundle = Bundle({"program": "p"}, lambda data: data.replace(b"known", b"*"))
    bundle.add("bad", "b", "none", lambda: [][0])
    bundle.add("good", "g", "none", lambda: {"is": "known"})
    packed = gzip.decompress(bundle.archive("folder", 1))
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert tar.getnames() == ["folder/manifest.json", "folder/good"]
        manifest = json.load(tar.extractfile("folder/manifest.json") or io.BytesIO())
    assert [each["name"] for each in manifest["missing"]] == ["bad"]
    assert b"known" not in packed


def test_of_a_policy_the_digest_the_rules_and_never_the_comments() -> None:
    text = "rules:\n  # canary\n  - id: one\n  - id: two # canary\n"
    assert policy_facts(text)["rules"] == 2
    assert "canary" not in without_comments(text)
