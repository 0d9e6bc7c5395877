"""The service manager gets the datagrams of sd_notify(3), at both kinds of address."""

import os
import socket
from pathlib import Path

import pytest

from shared.notify import MAX_STATUS, Notifier, one_line


@pytest.mark.parametrize("abstract", [False, True])
def test_a_manager_hears_all_of_a_life(tmp_path: Path, abstract: bool) -> None:
    address = f"@tunnel-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(10)
        manager.bind(b"\0" + address[1:].encode() if abstract else address)
        notifier = Notifier(address)
        notifier.ready("linked")
        assert manager.recv(4096) == b"READY=1\nSTATUS=linked"
        notifier.alive("two\nFDSTORE=1")
        assert manager.recv(4096) == b"WATCHDOG=1\nSTATUS=two FDSTORE=1"
        notifier.reloading()
        first, second = manager.recv(4096).decode().split("\n")
        assert first == "RELOADING=1"
        assert second.startswith("MONOTONIC_USEC=")
        assert int(second.partition("=")[2]) > 0
        notifier.stopping()
        assert manager.recv(4096) == b"STOPPING=1"


def test_nobody_to_tell_is_no_error(tmp_path: Path) -> None:
    assert not Notifier(None).listening
    assert not Notifier("").send("READY=1")
    assert not Notifier("vsock:2:1").listening
    assert not Notifier(str(tmp_path / "nobody")).send("READY=1")


def test_a_status_stays_on_its_line() -> None:
    assert one_line("a\r\nREADY=1\x1b[") == "a  READY=1 ["
    assert len(one_line("x" * 1000)) == MAX_STATUS
