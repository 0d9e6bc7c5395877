"""Packets of one loopback port that are lost, by the kernel's own filter (nftables)."""

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.helpers.tcp_proxy import WAYS, Way

_MATCH: dict[Way, str] = {"up": "dport", "down": "sport"}
_NUMBERS = itertools.count()


@contextlib.contextmanager
def losing(port: int, *ways: Way, percent: int = 100) -> Iterator[None]:
    """Drop so many of the packets to (`up`) or from (`down`) whoever listens on `port`.

    Both ways unless one is given; skips, loudly, where filtering is not allowed.
    """
    table = f"mcp_tunnel_{os.getpid()}_{next(_NUMBERS)}"
    some = "" if percent == 100 else f"numgen random mod 100 < {percent} "
    rules = "\n".join(f"tcp {_MATCH[way]} {port} {some}drop" for way in ways or WAYS)
    hook = "type filter hook input priority 0; policy accept;"
    try:
        _nft("-f", "-", text=f"table inet {table} {{\n chain c {{\n {hook}\n {rules}\n }}\n}}\n")
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"this fault needs root and nftables (Debian: nftables): {error}")
    try:
        yield
    finally:
        _nft("delete", "table", "inet", table)


def _nft(*words: str, text: str = "") -> None:
    given = text.encode()
    subprocess.run(("nft", *words), input=given, check=True, capture_output=True, timeout=10)
