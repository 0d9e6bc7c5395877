import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel_client.upstream.stdio_answers import write_line
from tunnel_client.upstream.stdio_remap import Mapping, Names

IDS = st.one_of(st.text(max_size=20), st.integers())
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20))


@given(IDS, IDS, st.dictionaries(st.text(max_size=5), LEAVES, max_size=3))
def test_what_goes_out_and_comes_back_is_the_same(
    identity: str | int, token: str | int, arguments: dict[str, object]
) -> None:
    params = {"arguments": arguments, "_meta": {"progressToken": token, "other": 1}}
    document = {"jsonrpc": "2.0", "id": identity, "method": "x", "params": params}
    mapping = Mapping(Names(), identity, params)
    sent = write_line(mapping.outgoing(document))
    assert json.loads(sent)["id"] == mapping.id
    assert json.loads(sent)["params"]["_meta"]["progressToken"] == mapping.token
    assert b"\n" not in sent
    assert json.loads(mapping.incoming(sent)) == document
    assert document["id"] == identity


def test_names_are_never_the_same() -> None:
    names, others = Names(), Names()
    made = {each.new() for each in (names, others) for _ in range(100)}
    assert len(made) == 200


@pytest.mark.parametrize("token", [None, 1.5, True, ["x"], {"a": 1}])
def test_what_is_no_token_is_left_alone(token: object) -> None:
    params = {"_meta": {"progressToken": token}}
    mapping = Mapping(Names(), 1, params)
    assert mapping.token is None
    assert mapping.outgoing({"id": 1, "params": params})["params"] == params


def test_a_name_inside_a_text_is_left_alone() -> None:
    mapping = Mapping(Names(), 1, None)
    line = json.dumps({"id": mapping.id, "text": f'he said "{mapping.id}"'}).encode()
    assert json.loads(mapping.incoming(line)) == {"id": 1, "text": f'he said "{mapping.id}"'}
