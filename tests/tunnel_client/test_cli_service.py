"""The service as it is installed: real files under a folder, judged by systemd's own programs."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from shared.configfile import SecretRef
from tests.helpers.systemd import tool
from tests.tunnel_client.test_settings import HTTP, KEY, STDIO
from tunnel_client.cli import cli
from tunnel_client.credentials.sources import read_reference
from tunnel_client.identity import Identity, StateLock
from tunnel_client.policy.start import write_default
from tunnel_client.service.units import MARK, UNIT
from tunnel_client.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
RELAY = f"""[relay]
url = "wss://relay.example"
tunnel = "office"
public_key = "{KEY}"
"""
HEAD = f'state_dir = "/var/lib/tunnel-client"\n{RELAY}'
CREDENTIAL = """credential = { kind = "bearer", origin = "http://127.0.0.1:3000", value = "%s" }
"""


def call(*words: str | Path, home: Path | None = None) -> Result:
    env = {} if home is None else {"XDG_CONFIG_HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    return CliRunner().invoke(cli, ["service", *map(str, words)], env=env)


def enrolled(root: Path, text: str = HEAD + HTTP) -> Path:
    """Make a file system whose client is enrolled; returns the folder of its units."""
    config = root / "etc/tunnel-client/client.toml"
    config.parent.mkdir(parents=True)
    config.write_text(text)
    for folder in (root, root / "etc", config.parent):
        folder.chmod(0o755)
    write_default(config.parent / "policy.yaml")
    with StateLock(root / "var/lib/tunnel-client"):
        Identity.create(root / "var/lib/tunnel-client").save()
    return root / "etc/systemd/system"


def install(root: Path, *words: str) -> Result:
    config = "/etc/tunnel-client/client.toml"
    return call("install", "--root", root, "--config", config, *words)


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture(scope="module")
def systemctl() -> str:
    return tool("systemctl")


@pytest.mark.usefixtures("systemctl")
def test_an_installed_service_is_enabled_and_known_to_systemd(tmp_path: Path) -> None:
    folder = enrolled(tmp_path)
    done = install(tmp_path)
    assert done.exit_code == 0, done.output
    assert set(files(folder)) == {UNIT, f"{UNIT}.d/local.conf"}
    link = folder / "multi-user.target.wants" / UNIT
    assert link.is_symlink()
    verified(folder)


def verified(folder: Path) -> None:
    unit = folder / UNIT
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.M)
    unit.write_text(text)
    done = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, [x for x in done.stderr.splitlines() if "tunnel-" in x]) == (0, [])


@pytest.mark.usefixtures("systemctl")
def test_again_changes_nothing_and_uninstall_leaves_what_it_did_not_write(tmp_path: Path) -> None:
    folder = enrolled(tmp_path, HEAD + STDIO)
    assert install(tmp_path).exit_code == 0
    before = files(folder)
    assert f"{UNIT}.d/stdio.conf" in before, "the profile follows the upstreams"
    again = json.loads(install(tmp_path, "--json").stdout)
    assert {each["state"] for each in again["files"]} == {"unchanged"}
    assert files(folder) == before

    mine = folder / f"{UNIT}.d" / "mine.conf"
    mine.write_text("[Service]\nIPAddressDeny=any\n")
    assert call("uninstall", "--root", tmp_path).exit_code == 0
    assert files(folder) == {f"{UNIT}.d/mine.conf": mine.read_text()}
    assert not (folder / "multi-user.target.wants" / UNIT).is_symlink()
    assert (tmp_path / "var/lib/tunnel-client/client.key").exists()
    once_more = call("uninstall", "--root", tmp_path)
    assert (once_more.exit_code, "Nothing is installed" in once_more.stdout) == (0, True)


@pytest.mark.usefixtures("systemctl")
def test_another_profile_takes_the_drop_in_of_the_last_away(tmp_path: Path) -> None:
    folder = enrolled(tmp_path)
    install(tmp_path, "--profile", "stdio")
    assert f"{UNIT}.d/stdio.conf" in files(folder)
    install(tmp_path, "--profile", "http")
    assert f"{UNIT}.d/stdio.conf" not in files(folder)


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_unit_of_somebody_else_is_left_alone(tmp_path: Path, command: str) -> None:
    folder = enrolled(tmp_path)
    folder.mkdir(parents=True)
    (folder / UNIT).write_text("[Service]\nExecStart=/opt/other\n")
    done = install(tmp_path) if command == "install" else call("uninstall", "--root", tmp_path)
    assert (done.exit_code, done.stderr[:6]) == (1, "MT2732")
    assert files(folder) == {UNIT: "[Service]\nExecStart=/opt/other\n"}


def test_the_shipped_unit_copied_by_hand_is_taken_over(tmp_path: Path) -> None:
    folder = enrolled(tmp_path)
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "systemd" / UNIT, folder)
    done = install(tmp_path, "--dry-run")
    assert (done.exit_code, f"would be written: {folder / UNIT}" in done.stdout) == (0, True)


def test_a_dry_run_says_all_and_does_nothing(tmp_path: Path) -> None:
    folder = enrolled(tmp_path)
    told = json.loads(install(tmp_path, "--dry-run", "--json").stdout)
    assert told["commands"] == [["systemctl", f"--root={tmp_path}", "enable", UNIT]]
    assert not folder.exists()
    unit = told["texts"][str(folder / UNIT)]
    assert unit.startswith(MARK)
    assert "LoadCredential=client.toml:/etc/tunnel-client/client.toml" in unit


def test_secrets_become_credentials_which_the_program_then_reads(tmp_path: Path) -> None:
    key = tmp_path / "srv/crm.key"
    enrolled(tmp_path, HEAD + HTTP + CREDENTIAL % "file:/srv/crm.key")
    refused = install(tmp_path, "--dry-run")
    assert (refused.exit_code, refused.stderr[:6]) == (78, "MT2733")
    key.parent.mkdir()
    key.write_text("s3cret-of-crm\n")
    told = json.loads(install(tmp_path, "--dry-run", "--json").stdout)
    (local,) = (text for path, text in told["texts"].items() if path.endswith("local.conf"))
    (name,) = re.findall(r"^LoadCredential=(\S+):/srv/crm\.key$", local, re.M)
    handed = tmp_path / "handed"
    handed.mkdir()
    shutil.copy(key, handed / name)
    (handed / name).chmod(0o440)
    reference = SecretRef("file", "/srv/crm.key")
    environ = {"CREDENTIALS_DIRECTORY": str(handed)}
    assert read_reference(reference, environ) == SecretStr("s3cret-of-crm")


def test_a_named_credential_is_looked_for_where_systemd_keeps_them(tmp_path: Path) -> None:
    enrolled(tmp_path, HEAD + HTTP + CREDENTIAL % "credential:crm")
    refused = install(tmp_path, "--dry-run")
    assert (refused.exit_code, "/etc/credstore/crm" in refused.stderr) == (78, True)
    place = tmp_path / "etc/credstore.encrypted/crm"
    place.parent.mkdir()
    place.write_text("sealed")
    told = install(tmp_path, "--dry-run").stdout
    assert "LoadCredentialEncrypted=crm:/etc/credstore.encrypted/crm" in told


def test_the_copy_of_the_configuration_means_the_same_paths(tmp_path: Path) -> None:
    enrolled(tmp_path)
    told = json.loads(install(tmp_path, "--dry-run", "--json").stdout)
    (local,) = (text for path, text in told["texts"].items() if path.endswith("local.conf"))
    environ = dict(re.findall(r"^Environment=(\w+)=(.*)$", local, re.M))
    copy = tmp_path / "copy.toml"
    shutil.copy(tmp_path / "etc/tunnel-client/client.toml", copy)
    settings = load_settings(copy, environ)
    assert str(settings.policy) == "/run/credentials/tunnel-client.service/policy.yaml"
    assert "LoadCredential=policy.yaml:/etc/tunnel-client/policy.yaml" in local
    (tmp_path / "etc/tunnel-client/policy.yaml").chmod(0o644)
    if all(step.stat().st_mode & 1 for step in tmp_path.parents):
        assert "policy.yaml:" not in install(tmp_path, "--dry-run").stdout, "it is read in place"


@pytest.mark.parametrize(
    ("text", "removed", "code"),
    [
        (HEAD, "var/lib/tunnel-client/client.key", "MT2101"),
        (HEAD, "etc/tunnel-client/policy.yaml", "MT2500"),
        (HEAD, "etc/tunnel-client/client.toml", "MT2001"),
        (f'state_dir = "/srv/state"\n{RELAY}', None, "MT2101"),
    ],
)
def test_what_is_missing_is_named_with_the_next_command(
    tmp_path: Path, text: str, removed: str | None, code: str
) -> None:
    folder = enrolled(tmp_path, text)
    if removed is not None:
        (tmp_path / removed).unlink()
    done = install(tmp_path)
    assert (done.exit_code, done.stderr[:6]) == (78, code)
    assert "next: " in done.stderr
    assert not folder.exists()


def test_state_elsewhere_and_odd_paths_are_refused(tmp_path: Path) -> None:
    enrolled(tmp_path, f'state_dir = "/srv/state"\n{RELAY}')
    with StateLock(tmp_path / "srv/state"):
        Identity.create(tmp_path / "srv/state").save()
    done = install(tmp_path)
    assert (done.exit_code, done.stderr[:6]) == (78, "MT2733")
    shutil.move(tmp_path / "etc/tunnel-client", tmp_path / "etc/a\nExecStart=x")
    config = "/etc/a\nExecStart=x/client.toml"
    (tmp_path / config[1:]).write_text(HEAD)
    odd = call("install", "--root", tmp_path, "--config", config, "--dry-run")
    assert (odd.exit_code, odd.stderr[:6]) == (78, "MT2733")


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
def test_without_a_running_systemd_nothing_is_written(tmp_path: Path) -> None:
    config = tmp_path / "client.toml"
    config.write_text(f'state_dir = "{tmp_path / "state"}"\n{RELAY}{HTTP}')
    with StateLock(tmp_path / "state"):
        Identity.create(tmp_path / "state").save()
    write_default(tmp_path / "policy.yaml")
    (tmp_path / "home").mkdir()
    done = call("install", "--user", "--config", config, home=tmp_path / "home")
    assert (done.exit_code, done.stderr[:6]) == (69, "MT2730")
    assert list((tmp_path / "home").iterdir()) == []
    shown = call("install", "--user", "--config", config, "--dry-run", home=tmp_path / "home")
    assert f"run --config {config}" in shown.stdout
    assert f"would run: systemctl --user enable --now {UNIT}" in shown.stdout
    if os.geteuid() == 0:
        assert call("uninstall").stderr[:6] == "MT2730"
    else:
        assert call("uninstall").stderr[:6] == "MT2731"


@pytest.mark.slow
def test_an_installed_package_has_its_units(tmp_path: Path) -> None:
    source = tmp_path / "source"
    leave = shutil.ignore_patterns(".*", "tests", "bench", "docs", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=leave)
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env/bin/python"
    # Only the package itself is installed; what it needs is lent by the environment of this test.
    words = ["--quiet", "--no-deps", str(source)]
    pip = [sys.executable, "-m", "pip", f"--python={python}", "install", *words]
    subprocess.run(pip, check=True, timeout=120, cwd=tmp_path)
    lent = next(path for path in sys.path if path.endswith("site-packages"))
    shutil.rmtree(source)
    enrolled(tmp_path / "root")
    words = ["service", "install", "--root", str(tmp_path / "root"), "--dry-run", "--config"]
    done = subprocess.run(
        [python, tmp_path / "env/bin/tunnel-client", *words, "/etc/tunnel-client/client.toml"],
        env={"PYTHONPATH": _without_us(tmp_path, Path(lent))},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "DynamicUser=yes" in done.stdout


def _without_us(folder: Path, site: Path) -> str:
    """Return a folder of links to all packages but our own, which is there in place."""
    lent = folder / "lent"
    lent.mkdir()
    for each in site.iterdir():
        if "mcp_tunnel" not in each.name:
            (lent / each.name).symlink_to(each)
    return str(lent)
