"""The units stay as tight as they were measured, and name commands that exist."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from tests.helpers.systemd import tool
from tunnel_client.cli import cli as client
from tunnel_relay.cli import cli as relay

UNITS = Path(__file__).resolve().parents[2] / "systemd"
UNITS_OF_PROGRAMS = [
    "tunnel-client.service",
    "tunnel-client-user.service",
    "tunnel-relay.service",
]


def exposure(folder: Path, unit: str) -> float:
    done = subprocess.run(
        [tool("systemd-analyze"), "security", "--offline=true", "--no-pager", str(folder / unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize(
    ("unit", "drop_in", "bound"),
    [
        ("tunnel-client.service", None, 1.5),
        ("tunnel-client.service", "tunnel-client-stdio.conf", 2.5),
        ("tunnel-relay.service", None, 2.0),
    ],
)
def test_the_exposure_of_a_unit_stays_low(
    tmp_path: Path, unit: str, drop_in: str | None, bound: float
) -> None:
    shutil.copy(UNITS / unit, tmp_path)
    if drop_in is not None:
        # A drop-in of the same name elsewhere would not be seen offline, so the two become one.
        with (tmp_path / unit).open("a") as whole:
            whole.write((UNITS / drop_in).read_text())
    assert exposure(tmp_path, unit) <= bound


def test_the_drop_in_allows_what_a_sandbox_needs() -> None:
    """L12: without one of these a service would start its servers with less, or none."""
    text = (UNITS / "tunnel-client-stdio.conf").read_text()
    calls = " ".join(re.findall(r"^SystemCallFilter=([^~].*)$", text, re.MULTILINE)).split()
    assert {"@mount", "pivot_root", "capset", "sethostname"} <= set(calls)
    assert {f"landlock_{name}" for name in ("create_ruleset", "add_rule", "restrict_self")} <= set(
        calls
    )
    assert text.index("~@privileged") < text.index("pivot_root"), "or it is taken away again"
    for line in ("ProtectKernelTunables=no", "ProtectKernelLogs=no", "ProcSubset=all"):
        assert line in text.splitlines(), "a new /proc is refused where ours is covered in part"
    assert "RestrictAddressFamilies=AF_NETLINK" in text


@pytest.mark.parametrize(
    ("unit", "program"),
    [
        ("tunnel-client.service", client),
        ("tunnel-client-user.service", client),
        ("tunnel-relay.service", relay),
    ],
)
def test_a_unit_starts_a_command_that_exists(unit: str, program: click.Group) -> None:
    text = (UNITS / unit).read_text()
    (line,) = re.findall(r"^ExecStart=\S+ (.*)$", text, re.MULTILINE)
    verb, *options = line.split()
    command = program.commands[verb]
    known = {option for each in command.params for option in each.opts}
    assert {word for word in options if word.startswith("--")} <= known


@pytest.mark.parametrize("unit", UNITS_OF_PROGRAMS)
def test_a_unit_has_no_word_that_systemd_does_not_know(tmp_path: Path, unit: str) -> None:
    """The program is not installed where tests run, so another stands in its place."""
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", (UNITS / unit).read_text(), flags=re.M)
    (tmp_path / unit).write_text(text)
    checked = [str(tmp_path / unit)]
    if unit == "tunnel-relay.service":
        shutil.copy(UNITS / "tunnel-relay.socket", tmp_path)
        checked.append(str(tmp_path / "tunnel-relay.socket"))
    else:
        (tmp_path / f"{unit}.d").mkdir()
        shutil.copy(UNITS / "tunnel-client-stdio.conf", tmp_path / f"{unit}.d")
    done = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", *checked],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "tunnel-" in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("unit", UNITS_OF_PROGRAMS)
def test_a_unit_hears_its_program(unit: str) -> None:
    lines = (UNITS / unit).read_text().splitlines()
    assert {"Type=notify", "WatchdogSec=30", "ExecReload=/bin/kill -HUP $MAINPID"} <= set(lines)
