"""Files of clients: what is read of them, and that nothing else than one is taken for one."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.configfile import ConfigError
from shared.keys import PrivateKey, encode_public
from tests.tunnel_client.test_report import a_client, gathered
from tests.tunnel_relay.report import a_report
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.report.parts import MAX_BYTES, part_of, read_part


def written(**more: Any) -> dict[str, Any]:
    facts = a_report.clean_part().facts
    return {**facts, "policy": {"text": a_report.POLICY, "digest": "x", "problem": None}} | more


def test_a_file_is_read_with_its_policy_and_the_text_is_left_behind(tmp_path: Path) -> None:
    key = encode_public(PrivateKey.generate().public)
    text = a_report.POLICY + f"approver_keys:\n  carol: {key!r}\n# a comment\n"
    path = tmp_path / "client.json"
    path.write_text(json.dumps(written(policy={"text": text, "digest": None, "problem": None})))
    part = read_part(path)
    assert part.policy is not None
    assert part.facts["policy"]["digest"] == part.policy.digest
    assert part.facts["policy"]["approver_keys"] == {"carol": "key"}
    assert part.facts["policy"]["rules"][0]["id"] == "looking"
    shown = json.dumps(part.facts)
    assert key not in shown
    assert "a comment" not in shown


def test_a_client_without_a_policy_that_holds_still_has_a_word(tmp_path: Path) -> None:
    policy = {"text": None, "digest": None, "problem": "MT2060: line 1"}
    part = part_of(json.dumps(written(policy=policy)).encode(), "x")
    assert part.policy is None
    assert part.facts["policy"]["rules"] == []


def broken_policy(folder: Path) -> Path:
    """Write a client whose policy has more faults than anybody wants to read at once."""
    config = a_client(folder)
    rules = "".join(f"  - {{id: r{number}, mtach: {{}}}}\n" for number in range(200))
    (folder / "policy.yaml").write_text(f"version: 1\nrules:\n{rules}")
    return config


def test_a_client_whose_policy_is_badly_broken_has_a_word(tmp_path: Path) -> None:
    found = gathered(broken_policy(tmp_path))
    assert len(found["policy"]["problem"]) <= 1000
    part = part_of(json.dumps(found).encode(), "x")
    assert part.facts["policy"]["problem"] == found["policy"]["problem"]
    assert part.facts["policy"]["problem"].startswith("MT2504: ")


def test_a_long_text_is_cut_and_does_not_keep_a_report_from_being_made() -> None:
    """As clients of before wrote them."""
    long = "x" * 5000
    policy = {"text": None, "digest": None, "problem": long}
    audit = {"on": True, "problem": long, "ok": False, "reason": long}
    upstreams = [a_report.upstream(sandbox=long, target=long)]
    part = part_of(
        json.dumps(written(policy=policy, audit=audit, upstreams=upstreams)).encode(), ""
    )
    facts = part.facts
    cut = [facts["policy"]["problem"], facts["audit"]["problem"], facts["audit"]["reason"]]
    cut += [facts["upstreams"][0][name] for name in ("sandbox", "target")]
    assert {len(each) for each in cut} == {1000}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"kind": "something else"}',
        b"\xff",
        b"[" * 100_000,
        json.dumps(written(kind="other")).encode(),
        json.dumps(written(upstreams="git")).encode(),
        json.dumps(written(made="now")).encode(),
        json.dumps(written(upstreams=[a_report.upstream(pins={"\x1b[2J": "x"})])).encode(),
        json.dumps(written(upstreams=[a_report.upstream(transport="carrier pigeon")])).encode(),
        json.dumps(written(policy={"text": "rules: [", "digest": None, "problem": None})).encode(),
        b" " * (MAX_BYTES + 1),
    ],
)
def test_what_no_client_wrote_is_refused_in_a_short_word(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "client.json"
    path.write_bytes(content)
    with pytest.raises(RelayError) as refused:
        read_part(path)
    assert refused.value.code is Code.CLIENT_PART_UNUSABLE
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 600 + len(str(path))
    with pytest.raises(RelayError, match="cannot read"):
        read_part(tmp_path / "missing.json")


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.text(max_size=9) | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([*written(), "text", "digest", "on"]), inner, max_size=9),
    max_leaves=9,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_the_reader_is_total(content: bytes) -> None:
    with suppress(ValidationError, ConfigError):
        part_of(content, "x")
