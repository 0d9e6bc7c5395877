"""Numbers in the lists that a judge cuts down: pins know each as it was written."""

from pathlib import Path

import pytest

from shared.jsonrpc.canonical import digest, exact
from shared.policy.classes import ToolClass
from tests.shared.policy.texts import policy
from tests.tunnel_client.catalog.test_catalog import listing as listed
from tests.tunnel_client.test_judge import ALL, a_grant, pinned
from tunnel_client.asked import reader
from tunnel_client.catalog.catalog import Catalog, State
from tunnel_client.catalog.pins import Pins
from tunnel_client.judge import Judge

NUMBERS = [
    *(b"0.10000000000000001", b"3.14159265358979323846", b"1e400", b"1E-400"),
    *(b"100000000000000000000.5", b"0.1", b"1e5"),
]
OF_A_NUMBER = b'{"name":"b","inputSchema":{"type":"object","properties":{"n":{"maximum":%b}}}}'


def listing(found: Judge, *entries: bytes) -> bytes:
    """Return what an agent gets of a list that an upstream spells like this."""
    body = b'{"jsonrpc":"2.0","id":7,"result":{"tools":[%b]}}' % b",".join(entries)
    return reader(found.lists(a_grant()), None, events=False).rest(body)


def judge_of(folder: Path, entry: bytes) -> tuple[Judge, Catalog]:
    """Return a judge for whom an entry was listed and pinned."""
    pinned(folder, {"b": ToolClass.READ}, exact(entry))
    catalog = Catalog(Pins(folder), ["ab"])
    catalog.learn("ab", listed(exact(entry)))
    return Judge(lambda: policy(ALL), catalog), catalog


@pytest.mark.parametrize("number", NUMBERS)
def test_p13_a_definition_has_one_digest_whichever_way_it_comes(
    tmp_path: Path, number: bytes
) -> None:
    """Pins know numbers as they were written, and so does a list that passes by."""
    entry = OF_A_NUMBER % number
    found, catalog = judge_of(tmp_path, entry)
    assert entry in listing(found, entry)
    state = catalog.state("ab", "b")
    assert state is not None
    assert state.state is State.PINNED


@pytest.mark.parametrize("number", [one for one in NUMBERS if one != b"1e400"])
def test_a_number_leaves_a_list_that_is_cut_down_as_it_came(tmp_path: Path, number: bytes) -> None:
    entry = OF_A_NUMBER % number
    found, _ = judge_of(tmp_path, entry)
    (shown,) = exact(listing(found, entry, b'{"name":"zz"}'))["result"]["tools"]
    assert digest(shown) == digest(exact(entry))


def test_p13_a_number_that_differs_beyond_a_double_is_a_change(tmp_path: Path) -> None:
    found, catalog = judge_of(tmp_path, OF_A_NUMBER % b"0.1")
    other = OF_A_NUMBER % b"0.1000000000000000001"
    assert exact(listing(found, other))["result"]["tools"] == []
    state = catalog.state("ab", "b")
    assert state is not None
    assert state.state is State.CHANGED
