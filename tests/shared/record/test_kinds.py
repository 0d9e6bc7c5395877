"""The table of kinds is what the programs write, no more and no less."""

import ast
import re
from pathlib import Path

from shared.record.kinds import BEGINNINGS, WRITTEN
from shared.record.model import FAMILIES, KINDS, MEMBERS

ROOT = Path(__file__).resolve().parents[3]
NO_KINDS = frozenset({"audit.export_gap", "audit.unreadable", "client.address", "client.key"})
"""Words of exports, and a file."""
FILES = frozenset({"db", "html", "json", "key", "toml", "yaml"})


def words_in_source() -> set[str]:
    """Return every text of the programs that looks like a kind of record."""
    looks = re.compile(rf"(?:{'|'.join(FAMILIES)})\.([a-z_]+)")
    found = set()
    for package in ("shared", "tunnel_client", "tunnel_relay"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name == "kinds.py":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    kind = looks.fullmatch(node.value)
                    if kind is not None and kind[1] not in FILES:
                        found.add(kind[0])
    return found


def test_the_table_has_every_kind_that_is_written() -> None:
    assert set(WRITTEN) == words_in_source() - set(MEMBERS) - NO_KINDS
    assert set(KINDS) <= set(WRITTEN)
    assert {each.partition(".")[0] + "." for each in WRITTEN} <= set(BEGINNINGS)
