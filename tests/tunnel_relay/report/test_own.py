"""What the relay says of its own settings and files."""

from pathlib import Path

from tests.tunnel_relay.making import make_relay
from tunnel_relay.report.own import file_facts, settings_facts


def test_a_demo_is_told_as_one(tmp_path: Path) -> None:
    assert settings_facts(make_relay(tmp_path / "demo", demo=True))["demo_certificate"] is True
    facts = settings_facts(make_relay(tmp_path / "real"))
    assert facts["demo_certificate"] is False
    assert facts["admin"] is None
    assert facts["audit"] == {"on": True, "reads_without": False, "keep_days": 400}


def test_a_file_that_others_can_read_is_told_and_one_that_is_missing_is_not(tmp_path: Path) -> None:
    settings = make_relay(tmp_path)
    settings = settings.model_copy(update={"policy": tmp_path / "relay-policy.yaml"})
    found = {each["what"]: each for each in file_facts(settings)}
    assert not any(each["open"] for each in found.values())
    assert {"state folder", "relay key", "key of MCP session ids", "policy"} <= set(found)
    assert "TLS key" not in found
    settings.relay_key.chmod(0o640)
    (tmp_path / "relay-policy.yaml").chmod(0o644)
    after = {each["what"]: each for each in file_facts(settings)}
    assert after["relay key"]["open"] is True
    assert after["relay key"]["mode"] == "0640"
    assert after["policy"]["open"] is False
    (tmp_path / "relay-policy.yaml").chmod(0o666)
    assert [each["open"] for each in file_facts(settings) if each["what"] == "policy"] == [True]
