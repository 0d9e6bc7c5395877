"""Arguments are written by declared names, and as keyed tags."""

import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.private import AuditError
from shared.audit.redact import KEY_FILE, Redactor, read_or_make_key
from shared.jsonrpc.canonical import canonical

KEY = b"k" * 32
CANARY = "canary-5f2d9c"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def spelled(args: Any, declared: Any = ("to", "text"), key: bytes = KEY, **clear: Any) -> bytes:
    redactor = Redactor(key, clear)
    return redactor.arguments(args, redactor.fields(declared, "write", "mail/send"))


def written(args: Any, **clear: Any) -> Any:
    return json.loads(spelled(args, **clear))


def test_a_value_is_a_tag_that_the_holder_of_the_key_can_test() -> None:
    """A13: without the key a guess cannot be tested."""
    tag = hmac.digest(KEY, b'"ann@example.com"', "sha256").hex()[:32]
    assert written({"to": "ann@example.com"}) == {"to": {"hmac": tag}}
    other = spelled({"to": "ann@example.com"}, key=b"o" * 32)
    assert tag.encode() not in other


def test_listed_fields_stand_in_clear_by_class_or_tool() -> None:
    args = {"to": "ann", "text": "hello"}
    assert written(args, write=["to"])["to"] == "ann"
    assert written(args, **{"mail/send": ["text"]})["text"] == "hello"
    assert set(written(args, read=["to"])["to"]) == {"hmac"}
    assert set(written({"to": "x" * 2000}, write=["to"])["to"]) == {"hmac"}


@pytest.mark.parametrize(
    "args",
    [
        {CANARY: 1},
        {"to": {"deep": [{"password": CANARY}]}},
        {"text": json.dumps({"token": CANARY})},
        {"to": f"https://user:{CANARY}@example.com/?key={CANARY}"},
        {"unknown": {"Authorization": f"Bearer {CANARY}"}, f"x-{CANARY}": None},
        [CANARY],
        CANARY,
    ],
)
def test_secrets_under_any_key_and_in_any_shape_are_not_written(args: Any) -> None:
    """A11: values are tags, and names that the tool does not declare are not repeated."""
    found = spelled(args)
    assert CANARY.encode() not in found
    assert found != b"{}"


@given(JSON, st.lists(st.text(), max_size=3))
def test_what_is_written_has_one_spelling(args: Any, declared: list[str]) -> None:
    found = spelled(args, declared, write=declared)
    assert canonical(json.loads(found)) == found


def test_the_key_is_made_once_and_is_ours_alone(tmp_path: Path) -> None:
    key = read_or_make_key(tmp_path)
    assert read_or_make_key(tmp_path) == key
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(AuditError):
        read_or_make_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o600)
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(AuditError):
        read_or_make_key(tmp_path)
