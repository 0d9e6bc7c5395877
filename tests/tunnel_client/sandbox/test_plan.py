"""What the rules of an upstream come to on different machines."""

import os
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tunnel_client.sandbox.machine import NAMESPACES, Machine
from tunnel_client.sandbox.plan import Checked, Launch, Wanted, environment_of, plan, reached
from tunnel_client.settings_sandbox import SandboxSettings

FULL = Machine("/usr/bin/bwrap", 7)
ALONE = Machine(None, 7, "bubblewrap is not installed", True)
UNFILTERED = Machine(None, 7, "bubblewrap is not installed", False)
OLD = Machine(None, 3, "bubblewrap is not installed", True)
BARE = Machine(None, 0, "bubblewrap is not installed")
WANTED = Wanted(
    ("/opt/x/bin/server", "--", "two words"),
    "/srv/data",
    {"PATH": "/usr/bin", "HOME": "/home/me", "TOKEN": "CANARY"},
    (Checked("/opt/x/bin/server", 9, "1-2-3"),),
    ("/opt/x",),
)


def planned(rules: SandboxSettings, machine: Machine, egress: str | None = None) -> Launch:
    return plan(WANTED, rules, machine, "/tmp/mine", egress, 5)


def test_the_program_comes_last_and_word_for_word() -> None:
    """L02."""
    for machine in (FULL, ALONE, BARE):
        launch = planned(SandboxSettings(), machine)
        assert launch.argv[-4:] == ("--", *WANTED.argv)


def test_no_variable_of_the_program_is_in_the_words_or_in_its_walls() -> None:
    """C01, L13: an LD_PRELOAD of the program must not run in bubblewrap, outside of the sandbox."""
    marked = replace(WANTED, mark={"MARK": "1"})
    for machine in (FULL, ALONE, BARE):
        launch = plan(marked, SandboxSettings(), machine, "/tmp/mine", None, 5)
        assert "CANARY" not in " ".join(launch.argv) + repr(launch)
        assert launch.environment == {"PATH": "/usr/bin:/bin", "MARK": "1"}
        assert "env=5" in launch.argv
        assert 5 in launch.descriptors
        assert environment_of(WANTED, SandboxSettings(), machine, "/x", None)["TOKEN"] == "CANARY"


def test_bubblewrap_takes_everything_away_first() -> None:
    argv = planned(SandboxSettings(), FULL).argv
    assert {*NAMESPACES, "--unshare-net", "--die-with-parent", "--remount-ro"} <= set(argv)
    assert ("--cap-drop", "ALL") in pairwise(argv)
    assert "no-tcp" in argv
    assert "--unshare-net" not in planned(SandboxSettings(network=True), FULL).argv
    assert argv.index("/home/me") < argv.index("/opt/x") < argv.index("--remount-ro")


@pytest.mark.parametrize(
    "home", ["", "/", "relative", "/usr/sbin", "/etc", "/home/../etc", "/dev/shm"]
)
def test_a_home_that_is_part_of_the_system_is_not_covered(home: str) -> None:
    wanted = replace(WANTED, environment={"HOME": home})
    argv = plan(wanted, SandboxSettings(), FULL, "", None, 5).argv
    covered = [after for word, after in pairwise(argv) if word == "--tmpfs"]
    assert covered == ["/tmp"]
    assert f"write={home}" not in argv


def test_the_files_that_were_checked_are_the_ones_that_are_mounted() -> None:
    """L05."""
    launch = planned(SandboxSettings(), FULL)
    at = launch.argv.index("--ro-bind-fd")
    assert launch.argv[at + 1 : at + 3] == ("9", "/opt/x/bin/server")
    assert launch.descriptors == (5, 9)
    assert "same=1-2-3:/opt/x/bin/server" in planned(SandboxSettings(), ALONE).argv


def test_what_is_listed_is_mounted_and_a_folder_inside_of_another_after_it() -> None:
    rules = SandboxSettings(read=[Path("/a/b/c"), Path("/a")], write=[Path("/a/b")])
    argv = planned(rules, FULL).argv
    places = [
        argv[at + 1] for at, word in enumerate(argv) if word in ("--ro-bind-try", "--bind-try")
    ]
    own = [each for each in places if each in ("/a", "/a/b", "/a/b/c")]
    assert own == ["/a", "/a/b", "/a/b/c"]
    assert ("--bind-try", "/a/b") in pairwise(argv)
    with pytest.raises(ValueError, match="whole file system"):
        planned(SandboxSettings(read=[Path("/")]), FULL)


def test_of_the_systems_tls_it_sees_what_is_public() -> None:
    """As root it could read the keys beside it."""
    for machine in (FULL, ALONE):
        argv = planned(SandboxSettings(), machine).argv
        read = {each.removeprefix("read=") for each in argv}
        assert {"/etc/ssl/certs", "/etc/pki/tls/certs"} <= read
        assert not {"/etc", "/etc/ssl", "/etc/ssl/private", "/etc/pki", "/etc/pki/tls"} & read


def test_the_launchers_python_is_read_as_it_was_judged() -> None:
    launcher = replace(WANTED, launcher=("/srv/py/bin/python3", "/srv/py/lib/python3"))
    for machine in (FULL, ALONE):
        argv = plan(launcher, SandboxSettings(), machine, "/tmp/mine", None, 5).argv
        read = {each.removeprefix("read=") for each in argv}
        assert {"/srv/py/bin/python3", "/srv/py/lib/python3"} <= read
        assert str(Path(os.path.realpath(sys.executable)).parent.parent) not in read


def test_hosts_get_a_way_to_the_proxy_and_no_network() -> None:
    rules = SandboxSettings(hosts=["api.example.com:443"])
    launch = planned(rules, FULL, "/run/egress.sock")
    assert "--unshare-net" in launch.argv
    assert ("--bind", "/run/egress.sock") in pairwise(launch.argv)
    told = environment_of(WANTED, rules, FULL, "", "/run/egress.sock")
    assert told["HTTPS_PROXY"] == "http://127.0.0.1:3128"
    closed = planned(rules, FULL)
    assert "HTTPS_PROXY" not in environment_of(WANTED, rules, FULL, "", None)
    assert "no-tcp" in closed.argv


def test_without_namespaces_system_calls_are_filtered() -> None:
    def filters(machine: Machine, **rules: bool) -> list[str]:
        words = planned(SandboxSettings.model_validate(rules), machine).argv
        return [each for each in words if each.startswith("filter=")]

    assert filters(FULL) == filters(UNFILTERED) == filters(BARE) == []
    assert len(filters(ALONE)) == 1
    assert filters(ALONE, network=True) != filters(ALONE)


def test_limits_follow_the_rules() -> None:
    rules = SandboxSettings(processes=7, open_files=99, memory_mib=100)
    words = set(planned(rules, FULL).argv)
    assert {"limit=CORE:0", "limit=NOFILE:99", "limit=NPROC:7", "limit=AS:104857600"} <= words
    alone = " ".join(planned(rules, ALONE).argv)
    assert "NPROC" not in alone, "it would count what else this user runs"


def test_off_starts_the_command_as_it_is() -> None:
    launch = planned(SandboxSettings(level="off"), FULL)
    assert launch == Launch(WANTED.argv, WANTED.cwd, WANTED.environment)


@pytest.mark.parametrize(
    ("rules", "machine", "text", "caged"),
    [
        ({}, FULL, "bubblewrap + landlock + rlimits; no network", True),
        ({"hosts": ["a.b:1"]}, FULL, "bubblewrap + landlock + rlimits; network: a.b:1", True),
        ({"network": True}, FULL, "bubblewrap + landlock + rlimits; ALL NETWORK", True),
        ({}, ALONE, "landlock + seccomp + rlimits; no network; bubblewrap is not", True),
        ({"network": True}, ALONE, "landlock + seccomp + rlimits; ALL NETWORK; bubblew", True),
        (
            *({}, UNFILTERED, "landlock + rlimits; NETWORK AND LOCAL SOCKETS ARE OPEN; bubb"),
            True,
        ),
        ({"network": True}, UNFILTERED, "landlock + rlimits; NETWORK AND LOCAL SOCKETS ARE", True),
        (
            *(
                {},
                OLD,
                "landlock + seccomp + rlimits; no network; OTHER PROCESSES CAN BE SIGNALLED",
            ),
            True,
        ),
        ({}, BARE, "UNSANDBOXED: rlimits only; bubblewrap is not installed", False),
        ({"level": "off"}, FULL, "UNSANDBOXED: sandbox.level is off", False),
    ],
)
def test_the_level_that_was_reached_is_told(
    rules: dict[str, object], machine: Machine, text: str, caged: bool
) -> None:
    """L12."""
    found = reached(SandboxSettings.model_validate(rules), machine)
    assert str(found).startswith(text)
    assert found.caged is caged
