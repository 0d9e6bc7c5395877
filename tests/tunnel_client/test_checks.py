"""check-config finds everything at once, without connecting anywhere."""

from pathlib import Path

from tests.helpers.sandboxes import agreed
from tests.tunnel_client.test_settings import HEAD, HTTP, STDIO
from tunnel_client.checks import check, serving_note, standing
from tunnel_client.identity import Identity, StateLock
from tunnel_client.policy.start import write_default
from tunnel_client.settings import parse_settings


def test_every_problem_is_listed_not_only_the_first(tmp_path: Path) -> None:
    text = HEAD + 'ca_file = "none.pem"\nproxy = "http://p:1"\nproxy_auth = "env:NOT_SET"\n'
    tables = STDIO.replace('"sh"', '"no-such-program"') + HTTP.replace("http:", "https:")
    settings = parse_settings(f'{text}{tables}ca_file = "none.pem"\n', tmp_path / "client.toml", {})
    codes = [problem.code for problem in check(settings, {"PATH": "/bin"})]
    assert codes == ["MT2101", "MT2206", "MT2003", "MT2500", "MT2004", "MT2001"]


def test_a_sound_configuration_has_no_problems(tmp_path: Path) -> None:
    settings = parse_settings(HEAD + HTTP + STDIO, tmp_path / "client.toml", {})
    environ = {"PATH": "/usr/bin:/bin"}
    with StateLock(settings.state_dir):
        Identity.create(settings.state_dir).save()
    write_default(tmp_path / "policy.yaml")
    assert [each.code for each in check(settings, environ)] == ["MT2560"], "nobody agreed yet"
    for upstream in settings.upstream:
        if upstream.url is None:
            agreed(settings.state_dir, upstream, environ, dangers=True)
    assert check(settings, environ) == []
    assert [(each.name, each.refusal) for each in standing(settings, environ)] == [("time", None)]
    note = serving_note(settings)
    assert note == "tunnel office at wss://relay.example, 2 upstream(s): files, time"


def test_policy_and_pins_are_read_as_the_daemon_would(tmp_path: Path) -> None:
    settings = parse_settings(HEAD + HTTP, tmp_path / "client.toml", {})
    with StateLock(settings.state_dir):
        Identity.create(settings.state_dir).save()
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nrules:\n- {id: a, efect: allow}\n")
    policy.chmod(0o600)
    (settings.state_dir / "pins.json").write_text("{")
    (settings.state_dir / "pins.json").chmod(0o600)
    broken, pins = check(settings, {"PATH": "/usr/bin:/bin"})
    assert (broken.code, pins.code) == ("MT2504", "MT2541")
    assert f"{policy}:3: " in broken.cause
